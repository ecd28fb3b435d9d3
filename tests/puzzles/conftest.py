"""Problems that the original generators wrote, where their archive is at hand."""

import os
import tarfile
from pathlib import Path

import pytest

from rl_avr.puzzles.raven_format import read_raven

_NAME = "raven-original-280.tar.xz"
_VARIABLE = "RL_AVR_RAVEN_ORIGINALS"
_BESIDE = Path(__file__).parents[2].parent / "shared" / "data" / _NAME


@pytest.fixture(scope="session")
def originals(tmp_path_factory) -> Path:
    """A folder with `raven/` and `iraven/`: 20 problems of each configuration in each."""
    archive = Path(os.environ.get(_VARIABLE, _BESIDE))
    if not archive.is_file():
        pytest.skip(
            f"the original problems are not at {archive}; set {_VARIABLE} to the path of {_NAME}"
        )
    folder = tmp_path_factory.mktemp("originals")
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar if Path(m.name).suffix in (".npz", ".xml")]
        tar.extractall(folder, wanted, filter="data")
    return folder


@pytest.fixture(scope="session")
def original_items(originals):
    """Reads all original problems: path of the npz, puzzle, images."""
    paths = sorted(originals.rglob("*.npz"))
    assert len(paths) == 280
    return lambda: ((path, *read_raven(path)) for path in paths)
