import pytest

from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig


@pytest.fixture(scope="session")
def puzzle_folder(tmp_path_factory):
    """A small data set with the demo's images."""
    folder = tmp_path_factory.mktemp("data")
    render = RenderConfig(panel_size_px=36)
    puzzles = PuzzleConfig(num_train=16, num_held_out=6, render=render)
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    return folder
