"""The error family. A message says what was expected, what came, where, and what to do.

Every class is also the matching standard type, so that `except ValueError` of a
caller who does not know this package still works.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches


class RlAvrError(Exception):
    """Base of every error that this package raises on bad input."""


class ConfigError(RlAvrError, ValueError):
    """A configuration key, type, range or combination that cannot be used."""


class PuzzleError(RlAvrError, ValueError):
    """A puzzle whose state breaks the grammar, or that cannot be sampled."""


class DataError(RlAvrError, ValueError):
    """A data file or record that cannot be read."""


class RolloutError(RlAvrError, RuntimeError):
    """A rollout engine that failed, or that broke one of its guarantees."""


class RewardError(RlAvrError, ValueError):
    """A reward composition that is not well defined."""


class PromptError(RolloutError):
    """A prompt that an engine cannot take, so that no other try would help."""


class UpdateError(RlAvrError, ArithmeticError):
    """An update that would leave weights that are no numbers."""


def nearest(word: str, candidates: Iterable[str], count: int = 3) -> str:
    """Returns the `count` candidates nearest to `word`, best first, as one string.

    >>> nearest("learning_rat", ["learning_rate", "seed"], count=1)
    'learning_rate'
    """
    return ", ".join(get_close_matches(word, list(candidates), n=count, cutoff=0.0))


def check_range(
    name: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Refuses a number outside its range; for the `__post_init__` of a config.

    The message begins with `name`, so that the loader of settings can put the
    dotted path before it. Infinity and NaN are always refused.

    Args:
        name: The field's name.
        value: The field's value.
        low: Least value.
        high: Greatest value.
        open_low: Refuse `low` itself.
        open_high: Refuse `high` itself.

    Raises:
        ConfigError: With the field's name, its value and the allowed range.

    >>> check_range("top_p", 1.0, 0, 1, open_low=True)
    >>> check_range("top_p", 0.0, 0, 1, open_low=True)
    Traceback (most recent call last):
    rl_avr.errors.ConfigError: top_p: expected a number in (0, 1], got 0.0
    """
    is_above = value > low if open_low else value >= low
    is_below = value < high if open_high else value <= high
    if math.isfinite(value) and is_above and is_below:
        return
    if math.isfinite(high):
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        allowed = f"a number in {left}{low:g}, {high:g}{right}"
    elif math.isfinite(low):
        allowed = f"a number {'>' if open_low else '>='} {low:g}"
    else:
        allowed = "a finite number"
    raise ConfigError(f"{name}: expected {allowed}, got {value!r}")
