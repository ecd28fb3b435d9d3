"""What an evaluation asks: problems of any benchmark, each with its gold answer and tags.

    file or row -> Problem (Prompt, tags) or Refused (where, reason)

`rl_avr.evaluation.loaders` has a loader for every benchmark.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rl_avr.contracts import Prompt
from rl_avr.evaluation.benchmarks.config import LabelStyle

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Problem:
    """One question of an evaluation.

    Args:
        prompt: what the policy is asked; `prompt.puzzle` has the gold answer.
        tags: name -> text by which results are told apart: `benchmark`, `split`,
            `configuration`, `rule`, `attribute`, `pattern`, …; a name may stand several
            times, as a problem has several rules.
        labels: how the choices are named in the prompt; `rl_avr.evaluation.labels` reads
            an answer back.
        panels: reads the panels of the problem as they are in its file, uint8 of shape
            (panels, height, width), those shown before the choices; None where it has none.
    """

    prompt: Prompt
    tags: Tags = ()
    labels: LabelStyle = "letters"
    panels: Callable[[], np.ndarray] | None = field(default=None, compare=False, repr=False)

    def values(self, name: str) -> tuple[str, ...]:
        """Returns all values of a tag, in order; none where the problem has no such tag."""
        return tuple(value for tag, value in self.tags if tag == name)


@dataclass(frozen=True)
class Refused:
    """A file or a row that cannot be used.

    Args:
        where: file and row, relative to what was loaded.
        reason: what was expected and what came.
    """

    where: str
    reason: str
