"""Every benchmark that can be evaluated, by name: where it lies -> its problems."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rl_avr.errors import DataError, nearest
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.logicvista import load_logicvista
from rl_avr.evaluation.benchmarks.marvel import load_marvel
from rl_avr.evaluation.benchmarks.own import load_columns, load_own
from rl_avr.evaluation.benchmarks.pgm import load_pgm
from rl_avr.evaluation.benchmarks.puzzle_vqa import load_puzzle_vqa
from rl_avr.evaluation.benchmarks.raven import load_raven
from rl_avr.evaluation.benchmarks.visulogic import load_visulogic
from rl_avr.evaluation.problems import Problem, Refused

Loader = Callable[[Path, LoadConfig], Iterator[Problem | Refused]]
LOADERS: dict[str, Loader] = {
    "raven": load_raven,
    "iraven": partial(load_raven, benchmark="iraven"),
    "raven_fair": partial(load_raven, benchmark="raven_fair"),
    "pgm": load_pgm,
    "marvel": load_marvel,
    "puzzlevqa": load_puzzle_vqa,
    "algopuzzlevqa": partial(load_puzzle_vqa, benchmark="algopuzzlevqa"),
    "visulogic": load_visulogic,
    "logicvista": load_logicvista,
    "own": load_own,
    "columns": load_columns,
}
_QUESTIONS = ("marvel",)
"""Benchmarks with questions about what is seen, for `LoadConfig.ask`."""


def load_problems(name: str, path: Path, config: LoadConfig) -> Iterator[Problem | Refused]:
    """Yields the problems of a benchmark in an order that is always the same.

    What cannot be used is yielded as `Refused`; the rest goes on.

    Args:
        name: a key of `LOADERS`.
        path: where the benchmark lies.
        config: what is asked, and how it is shown.

    Raises:
        DataError: there is no such benchmark, nothing of it lies there, or it has no such
            questions.
    """
    if name not in LOADERS:
        raise DataError(
            f"expected a benchmark of {', '.join(LOADERS)}, got {name!r}; nearest: "
            f"{nearest(name, LOADERS, 1)}"
        )
    if config.ask != "puzzle" and name not in _QUESTIONS:
        raise DataError(
            f"{name}: expected ask 'puzzle', got {config.ask!r}; only {', '.join(_QUESTIONS)} has "
            "such questions"
        )
    return LOADERS[name](path, config)
