"""Our own sets and data sets by columns, as problems."""

import json
from dataclasses import replace

import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.own import load_columns, load_own
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.training.config import SourceConfig
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import puzzle_row, write_rows

CONFIG = LoadConfig()
RENDER = RenderConfig(panel_size_px=32)


@pytest.fixture
def folder(tmp_path, puzzle):
    other = replace(puzzle, puzzle_id="other", answer_index=2)
    write_puzzles([puzzle, other], tmp_path / "held_out.parquet", RENDER)
    write_puzzles([puzzle], tmp_path / "train.parquet", RENDER)
    return tmp_path


def test_a_split_of_our_own(folder, puzzle, split):
    problems, refused = split(load_own(folder, replace(CONFIG, split="test")))
    assert not refused
    assert [problem.prompt.prompt_id for problem in problems] == [
        "own/held_out/by-hand/cot",
        "own/held_out/other/cot",
    ]
    assert problems[0].prompt.images == (render_png(puzzle, RENDER),)
    assert problems[0].prompt.puzzle.has_state
    assert problems[0].tags == (
        *(("benchmark", "own"), ("split", "held_out")),
        *(("configuration", "center_single"), ("pattern", "center_single")),
        *(("rule", "progression"), ("rule", "arithmetic")),
        *(("attribute", "size"), ("attribute", "color"), ("difficulty", "2")),
    )
    assert len(split(load_own(folder, CONFIG))[0]) == 1, "all is read as train"
    with pytest.raises(DataError, match="expected the split 'val', got"):
        load_own(folder, replace(CONFIG, split="val"))


def test_a_bad_row_of_our_own_is_refused_and_the_rest_goes_on(tmp_path, puzzle, split, png_bomb):
    good = [puzzle_row(replace(puzzle, puzzle_id=n), render_png(puzzle, RENDER)) for n in "abcde"]
    good[1]["puzzle"] = "{}"
    good[2]["image"] = {"bytes": png_bomb, "path": None}
    good[3]["image"] = {"bytes": None, "path": "none.png"}
    write_rows([*good, good[4]], tmp_path / "test.parquet")
    problems, refused = split(load_own(tmp_path, replace(CONFIG, split="test")))
    assert [p.prompt.puzzle.puzzle_id for p in problems] == ["own/test/a", "own/test/e"]
    assert [item.where for item in refused] == [f"test.parquet, row {row}" for row in (1, 2, 3, 5)]
    for item, expected in zip(refused, ("a puzzle", "pixels", "missing", "before"), strict=True):
        assert expected in item.reason


def test_columns_of_any_data_set(tmp_path, split, png, png_bomb):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "bomb.png").write_bytes(png_bomb)
    row = {"picture": "a.png", "ask": "Which?", "options": ["x", "y"], "gold": "y"}
    rows = [
        row,
        {**row, "gold": "z"},
        {**row, "picture": "bomb.png"},
        {**row, "options": list("abcdefghi"), "gold": "a"},
        {**row, "options": None},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{oops\n")
    columns = SourceConfig(image=("picture",), question="ask", answer="gold", choices="options")
    config = replace(CONFIG, columns=columns, labels="digits")
    problems, refused = split(load_columns(path, config))
    assert [problem.prompt.prompt_id for problem in problems] == [
        "columns/row-0/cot",
        "columns/row-4/cot",
    ]
    assert problems[0].prompt.text.startswith("Which?\n1: x\n2: y\n")
    assert problems[0].prompt.puzzle.answer_index == 1
    assert (problems[0].labels, problems[1].labels) == ("digits", "letters")
    assert [item.where for item in refused] == ["row 1", "row 2", "row 3", "row 5"]
    for item, expected in zip(refused, ("'gold'", "pixels", "2 to 8", "JSON"), strict=True):
        assert expected in item.reason
    with pytest.raises(DataError, match="expected a JSONL file"):
        split(load_columns(tmp_path / "none.jsonl", config))
