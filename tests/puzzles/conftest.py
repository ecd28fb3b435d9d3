"""Problems that the original generators wrote, read, where their archive is at hand."""

import pytest

from rl_avr.puzzles.raven_format import read_raven


@pytest.fixture(scope="session")
def original_items(originals):
    """Reads all original problems: path of the npz, puzzle, images."""
    paths = sorted(originals.rglob("*.npz"))
    assert len(paths) == 280
    return lambda: ((path, *read_raven(path)) for path in paths)
