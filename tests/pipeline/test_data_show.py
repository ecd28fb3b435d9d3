"""Showing a set: which puzzles are chosen, what stands beside them, where the files go."""

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from rl_avr.contracts import Annotation
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.pipeline import data_show
from rl_avr.pipeline.data_show import chosen_items, make_item, show_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import kind_of, puzzle_row, shard_path, write_rows

RENDER = RenderConfig(panel_size_px=8)


def puzzle_of(kind, index=0):
    return sample_puzzle("train", index, 0, PuzzleConfig(mix={kind: 1.0}))


@pytest.fixture
def folder(tmp_path):
    """Two shards: eight Center puzzles, then two of a kind that comes late."""
    center = [puzzle_of("center_single", index) for index in range(8)]
    late = [puzzle_of("overlay", index) for index in range(2)]
    write_puzzles(center, shard_path(tmp_path, "train", 0, 2), RENDER)
    write_puzzles(late, shard_path(tmp_path, "train", 1, 2), RENDER)
    return tmp_path


def test_kinds_take_turns(folder):
    kinds = [item.kind for item in chosen_items(folder, "train", 5)]
    assert kinds == ["center_single", "overlay", "center_single", "overlay", "center_single"]
    assert len(chosen_items(folder, "train", 100)) == 10
    names = [item.puzzle.puzzle_id for item in chosen_items(folder, "train", 5)]
    assert names[0].endswith("-0") and len(set(names)) == 5


def test_only_the_rows_up_to_the_last_chosen_are_read(folder, monkeypatch):
    read = []
    iter_rows = data_show.iter_rows

    def watched(*args):
        for item in iter_rows(*args):
            if len(args) == 2:
                read.append(item)
            yield item

    monkeypatch.setattr(data_show, "iter_rows", watched)
    chosen_items(folder, "train", 1)
    assert len(read) <= 2


@pytest.mark.parametrize("kind", [*CONFIGURATIONS, *KINDS])
def test_every_kind_has_questions_and_both_chains(kind):
    puzzle = puzzle_of(kind, 3)
    item = make_item(puzzle_row(puzzle, render_png(puzzle, RENDER)), 0, Path("x"))
    assert (item.kind, item.puzzle) == (kind, puzzle)
    assert len(item.questions) >= 6 and all(q and a for q, a in item.questions)
    (_, compact), (_, fluent) = item.chains
    assert compact == gold_chain(puzzle) and fluent != compact
    assert fluent.endswith(f"### Answer: {puzzle.answer_letter}")
    assert kind_of(puzzle) == kind


def test_a_puzzle_without_a_state_shows_what_people_wrote(tmp_path, puzzle):
    def own(number, chain):
        note = Annotation(
            "What is odd?", ("A", "B"), "B", (("How many fish?", "two"),), chain, "A fish puzzle."
        )
        return dataclasses.replace(
            puzzle,
            puzzle_id=f"own-{number}",
            family="annotated",
            configuration="annotated",
            context=(),
            choices=(),
            rules=(),
            answer_index=1,
            annotation=note,
        )

    image = render_png(puzzle, RENDER)
    rows = [puzzle_row(own(0, None), image), puzzle_row(own(1, "Two fish."), image)]
    write_rows(rows, tmp_path / "held_out.parquet")
    page, sheet = show_data(tmp_path, ["held_out"], 5)
    text = page.read_text()
    for shown in ("What is odd?", "How many fish?", "two", "Two fish.", "own-0", "own-1"):
        assert shown in text
    assert text.count("Chain of thought, annotated") == 1
    with Image.open(sheet) as picture:
        assert picture.mode == "RGB"


def test_the_page_and_the_sheet_lie_in_the_folder_or_where_they_are_asked_for(folder):
    assert show_data(folder, ["train"], 2) == (folder / "gallery.html", folder / "gallery.png")
    out = folder / "deep" / "page.html"
    page, sheet = show_data(folder, ["train"], 2, out, notes=["a note"])
    assert (page, sheet) == (out, folder / "deep" / "page.png")
    assert "a note" in page.read_text() and page.read_text().count("data:image/png") == 2
    with Image.open(sheet) as picture:
        assert picture.mode == "L" and picture.width > 2 * 4 * 64


def test_what_cannot_be_shown_is_refused(folder):
    with pytest.raises(ConfigError, match="--num: expected at least 1, got 0"):
        show_data(folder, ["train"], 0)
    with pytest.raises(DataError, match=r"held_out\.parquet: no such file"):
        show_data(folder, ["held_out"], 3)
    (folder / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        show_data(folder, ["train"], 1, folder / "file" / "page.html")


def test_a_damaged_image_is_named_with_its_row(tmp_path, puzzle):
    write_rows([puzzle_row(puzzle, b"no image")], tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet, row 0: expected an image"):
        show_data(tmp_path, ["train"], 1)


def test_rows_without_a_kind_column_are_shown_too(tmp_path, puzzle):
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = {"bytes": render_png(puzzle, RENDER), "path": None}
    table = pa.table({"puzzle_id": ["a"], "puzzle": [puzzle.to_json()], "image": pa.array([image])})
    pq.write_table(table, tmp_path / "train.parquet")
    (item,) = chosen_items(tmp_path, "train", 3)
    assert item.kind == "center_single"
