"""Rows made by hand."""

from collections.abc import Callable

import pytest

from rl_avr.evaluation.rows import ProblemRow, Sample


def _sample(choice: int | None, gold: int | None, **changes) -> Sample:
    fields = {
        "status": "no_answer" if choice is None else "ok",
        "choice": choice,
        "is_right": choice is not None and choice == gold,
        "num_tokens": 10,
        "parts": {},
        "perception": {},
        "rules": {},
    }
    return Sample(**(fields | changes))


@pytest.fixture(scope="session")
def sample_at() -> Callable[..., Sample]:
    """Makes a chain that chose `choice` where `gold` is right; keywords change the rest."""
    return _sample


@pytest.fixture(scope="session")
def row_of() -> Callable[..., ProblemRow]:
    """Makes a row from what its chains chose, with eight choices; -1 means no greedy chain."""

    def make(name, gold, choices=(), greedy=-1, tags=(), **changes):
        samples = tuple(_sample(choice, gold) for choice in choices)
        first = None if greedy == -1 else _sample(greedy, gold)
        return ProblemRow(name, tuple(tags), gold, 8, first, samples, **changes)

    return make
