"""What a policy without the context is taught: pictures of choices alone, and ends of chains."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png, render_puzzle
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import puzzle_row, write_rows
from sft_warmstart.config import ReplayConfig
from sft_warmstart.replay import ReplaySet

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/blind_chains.py"


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("_blind_chains", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_show_the_choices_alone_and_chains_begin_at_the_missing_panel(
    tmp_path, puzzle, script
):
    look = RenderConfig(panel_size_px=36, has_letters=True)
    write_puzzles([puzzle], tmp_path / "set/train.parquet", look)
    assert script.main([str(tmp_path / "set"), str(tmp_path / "blind")]) == 0
    [row] = json.loads((tmp_path / "blind/blind.json").read_text())
    answer = row["conversations"][1]["value"]
    assert answer.startswith("Missing panel:")
    assert gold_chain(puzzle).endswith(answer)
    blind = np.asarray(Image.open(tmp_path / "blind" / row["image"]).convert("L"))
    whole = render_puzzle(puzzle, look)
    # the matrix has three rows of panels, the choices are below it
    assert np.array_equal(blind[3 * 36 + 1 :], whole[3 * 36 + 1 :])
    assert np.any(blind[: 3 * 36] != whole[: 3 * 36])
    # no shape is left in the first two rows
    assert blind[: 2 * 36].min() > 200


def test_sft_reads_what_was_written(tmp_path, puzzle, script):
    write_puzzles([puzzle], tmp_path / "set/train.parquet", RenderConfig(36, True))
    assert script.write(tmp_path / "set", tmp_path / "blind") == 1
    records = ReplaySet(ReplayConfig(path=str(tmp_path / "blind/blind.json")))
    messages, images, _ = records.conversation(0)
    assert len(records) == len(images) == 1
    assert [message["role"] for message in messages] == ["user", "assistant"]


def test_a_set_without_matrices_is_refused(tmp_path, annotated, puzzle, script):
    photo = render_png(puzzle, RenderConfig(36))
    write_rows([puzzle_row(annotated(), photo)], tmp_path / "set/train.parquet")
    with pytest.raises(DataError, match="no puzzle .* without its context; expected matrices"):
        script.write(tmp_path / "set", tmp_path / "blind")
    assert not (tmp_path / "blind/blind.json").exists()
