"""Puzzle data on disk: what is written is read, and what cannot be read is named with its place."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_avr.chat import decode_image
from rl_avr.contracts import Annotation
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.errors import ConfigError, DataError, PuzzleError
from rl_avr.prompts import COT_PROMPT, prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png, render_puzzle
from rl_avr.training import puzzle_data
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts, read_rows, write_puzzles
from rl_avr.training.puzzle_files import puzzle_row, shard_path, write_rows

RENDER = RenderConfig(8)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder of a data set; what `datasets` caches stays beside it."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "data"


def write_table(data, puzzles, **columns):
    """Writes a split with some columns replaced; None leaves a column out."""
    images = [{"bytes": render_png(p, RENDER), "path": None} for p in puzzles]
    whole = {
        "puzzle_id": [p.puzzle_id for p in puzzles],
        "puzzle": [p.to_json() for p in puzzles],
        "image": pa.array(images, IMAGE),
        **columns,
    }
    data.mkdir(exist_ok=True)
    path = data / "train.parquet"
    pq.write_table(pa.table({k: v for k, v in whole.items() if v is not None}), path)
    return path


def refusal(data, **config):
    with pytest.raises(DataError) as caught:
        read_prompts(DataConfig(path=str(data), **config))
    return str(caught.value)


def test_what_is_written_is_read(data, puzzles):
    path = data / "held_out.parquet"
    assert write_puzzles(iter(puzzles[200:206]), path, RENDER) == 6
    prompts = read_prompts(DataConfig(path=str(data), split="held_out"))
    assert [prompt.puzzle for prompt in prompts] == puzzles[200:206]
    for prompt, puzzle in zip(prompts, puzzles[200:206], strict=True):
        assert prompt.prompt_id == f"{puzzle.puzzle_id}/cot"
        assert (prompt.kind, prompt.text) == ("cot", COT_PROMPT)
        pixels = np.asarray(decode_image(prompt.images[0]))[..., 0]
        assert np.array_equal(pixels, render_puzzle(puzzle, RENDER))
    assert sorted(p.name for p in data.iterdir()) == ["held_out.parquet"]


def test_writing_again_replaces_the_split(data, puzzles):
    path = data / "train.parquet"
    write_puzzles(puzzles[:4], path, RENDER)
    assert len(read_rows(DataConfig(path=str(data)))) == 4
    write_puzzles(puzzles[4:6], path, RENDER)
    assert [p.puzzle for p in read_prompts(DataConfig(path=str(data)))] == puzzles[4:6]


def test_a_failed_write_leaves_the_split_as_it_was(data, puzzles):
    path = data / "train.parquet"
    write_puzzles(puzzles[:2], path, RENDER)
    undrawn = dataclasses.replace(puzzles[0], context=())
    with pytest.raises(PuzzleError):
        write_puzzles([puzzles[3], undrawn], path, RENDER)
    assert sorted(p.name for p in data.iterdir()) == ["train.parquet"]
    assert [p.puzzle for p in read_prompts(DataConfig(path=str(data)))] == puzzles[:2]


@pytest.mark.parametrize(("asked", "given"), [(0, 5), (1, 1), (5, 5)])
def test_the_first_rows_are_taken(data, puzzles, asked, given):
    write_puzzles(puzzles[:5], data / "train.parquet", RENDER)
    prompts = read_prompts(DataConfig(path=str(data), num_puzzles=asked), kind="perception")
    assert [p.puzzle for p in prompts] == puzzles[:given]
    assert {p.prompt_id.rpartition("/")[2] for p in prompts} == {"perception"}


def test_only_the_files_with_the_first_rows_are_read(data, puzzles):
    for index in range(3):
        part = puzzles[4 * index : 4 * index + 4]
        write_puzzles(part, shard_path(data, "train", index, 3), RENDER)
    whole = [p.puzzle for p in read_prompts(DataConfig(path=str(data)))]
    assert whole == puzzles[:12]
    shard_path(data, "train", 2, 3).write_bytes(b"damaged")
    assert [p.puzzle for p in read_prompts(DataConfig(path=str(data), num_puzzles=6))] == puzzles[
        :6
    ]
    assert refusal(data).startswith(f"{shard_path(data, 'train', 2, 3)}: expected a Parquet file")


def test_a_row_of_a_shard_is_named_by_the_split(data, puzzles):
    write_puzzles(puzzles[:2], shard_path(data, "train", 0, 2), RENDER)
    path = write_table(data, puzzles[2:4], puzzle=[puzzles[2].to_json(), "{}"])
    path.rename(shard_path(data, "train", 1, 2))
    assert refusal(data).startswith(f"{data / 'train-*.parquet'}, row 3: not a puzzle: ")


def test_a_large_split_stays_on_disk(data, puzzles, monkeypatch):
    write_puzzles(puzzles[:3], data / "train.parquet", RENDER)
    monkeypatch.setattr(puzzle_data, "_MAX_BYTES_IN_MEMORY", 0)
    rows = read_rows(DataConfig(path=str(data)))
    assert rows.cache_files
    assert [row["puzzle_id"] for row in rows] == [p.puzzle_id for p in puzzles[:3]]
    monkeypatch.undo()
    assert not read_rows(DataConfig(path=str(data))).cache_files


def test_a_prompt_asks_what_its_puzzle_asks(data, puzzle):
    note = Annotation("What is odd?", (), "the fish", prefix="An open puzzle.")
    own = dataclasses.replace(
        puzzle, family="annotated", context=(), choices=(), answer_index=None, annotation=note
    )
    write_rows([puzzle_row(own, render_png(puzzle, RENDER))], data / "train.parquet")
    (prompt,) = read_prompts(DataConfig(path=str(data)))
    assert prompt.puzzle == own
    assert prompt.text == prompt_text(own, "cot") and "What is odd?" in prompt.text


@pytest.mark.parametrize(("ask", "most"), [("perception", 6), ("yes_no", 2), ("open", 1)])
def test_questions_about_a_puzzle_share_its_image(data, puzzles, ask, most):
    write_puzzles(puzzles[:4], data / "train.parquet", RENDER)
    config = DataConfig(path=str(data), ask=ask, num_questions=6)
    prompts = read_prompts(config)
    assert prompts == read_prompts(config)
    expected = [one for puzzle in puzzles[:4] for one in ask_puzzle(puzzle, ask, 6)]
    assert [p.puzzle for p in prompts] == expected and len(expected) == 4 * most
    assert [p.prompt_id for p in prompts] == [f"{p.puzzle.puzzle_id}/perception" for p in prompts]
    assert len({p.prompt_id for p in prompts}) == len(prompts)
    assert {p.kind for p in prompts} == {"perception"}
    for start in range(0, len(prompts), most):
        assert len({id(p.images[0]) for p in prompts[start : start + most]}) == 1
    assert prompts[0].images[0] == render_png(puzzles[0], RENDER)


def test_other_puzzles_of_the_set_change_no_question(data, puzzles):
    write_puzzles(puzzles[:5], data / "train.parquet", RENDER)
    whole = read_prompts(DataConfig(path=str(data), ask="perception", num_questions=3))
    first = DataConfig(path=str(data), ask="perception", num_questions=3, num_puzzles=2)
    assert read_prompts(first) == whole[:6]


def test_without_a_number_every_question_is_asked(data, puzzles):
    write_puzzles(puzzles[:1], data / "train.parquet", RENDER)
    prompts = read_prompts(DataConfig(path=str(data), ask="perception"))
    assert [p.puzzle for p in prompts] == list(ask_puzzle(puzzles[0], "perception"))
    # 8 panels and 8 choices of three attributes each, and more
    assert len(prompts) > 48


@pytest.mark.parametrize("ask", ["puzzle", "perception"])
def test_the_form_of_the_answer_is_in_every_prompt(data, puzzles, ask):
    write_puzzles(puzzles[:2], data / "train.parquet", RENDER)
    config = DataConfig(path=str(data), ask=ask, num_questions=3)
    marked, tagged = read_prompts(config), read_prompts(config, answer_form="tags")
    assert [p.prompt_id for p in marked] == [p.prompt_id for p in tagged]
    assert not any("<answer>" in p.text for p in marked)
    for one, other in zip(marked, tagged, strict=True):
        assert other.text.startswith(one.text) and "<answer> and </answer>" in other.text
        assert ("<think>" in other.text) == (ask == "puzzle")


def test_puzzles_that_cannot_be_asked_are_left_out(data, puzzle, annotated):
    rows = [puzzle_row(one, render_png(puzzle, RENDER)) for one in (annotated(), puzzle)]
    write_rows(rows, data / "train.parquet")
    for ask in ("yes_no", "open"):
        prompts = read_prompts(DataConfig(path=str(data), ask=ask))
        assert {p.puzzle.puzzle_id.partition("/")[0] for p in prompts} == {puzzle.puzzle_id}
    first = DataConfig(path=str(data), ask="perception", num_puzzles=1)
    assert [p.puzzle.annotation.answer for p in read_prompts(first)] == ["5", "No"]


@pytest.mark.parametrize(
    ("ask", "needed"),
    [
        ("perception", "a state or people's own perception questions"),
        ("yes_no", "a state and a chain that leads to the answer"),
        ("open", "a state and a chain that leads to the answer"),
    ],
)
def test_a_set_that_cannot_be_asked_is_refused(data, puzzle, annotated, ask, needed):
    row = puzzle_row(annotated(perception=()), render_png(puzzle, RENDER))
    write_rows([row], data / "train.parquet")
    assert refusal(data, ask=ask) == (
        f"{data / 'train.parquet'}: no puzzle can be asked data.ask {ask!r}, which needs "
        f"{needed}; expected other puzzles, or data.ask 'puzzle'"
    )


def test_a_number_of_questions_below_zero_is_refused():
    with pytest.raises(ConfigError, match="num_questions: expected a number >= 0, got -1"):
        DataConfig(num_questions=-1)


def test_more_rows_than_there_are_is_refused(data, puzzles):
    write_puzzles(puzzles[:5], data / "train.parquet", RENDER)
    message = refusal(data, num_puzzles=6)
    assert f"{data / 'train.parquet'}: data.num_puzzles 6 asked for, 5 rows there" in message


def test_a_missing_file_is_named_with_the_command_that_writes_it(data):
    message = refusal(data)
    assert message.startswith(f"{data / 'train.parquet'}: no such file")
    assert "rl-avr data" in message
    assert str(data) in message.partition("rl-avr data")[2]


def test_files_that_are_no_parquet_are_refused(data, puzzles):
    path = write_table(data, puzzles[:3])
    whole = path.read_bytes()
    for raw in (b"", b"garbage", whole[: len(whole) // 2], b"PAR1" * 20):
        path.write_bytes(raw)
        assert refusal(data).startswith(f"{path}: expected a Parquet file; got: ")


def test_a_parquet_with_damaged_pages_is_refused(data, puzzles):
    path = write_table(data, puzzles[:3])
    raw = bytearray(path.read_bytes())
    raw[4:1000] = bytes(996)
    path.write_bytes(raw)
    assert refusal(data).startswith(f"{path}: expected a Parquet file; got: ")


@pytest.mark.parametrize("name", ["puzzle_id", "puzzle", "image"])
def test_a_missing_column_is_named(data, puzzles, name):
    path = write_table(data, puzzles[:2], **{name: None})
    message = refusal(data)
    assert message.startswith(f"{path}: columns ['{name}'] are missing; got [")


def test_a_corrupt_image_is_named_with_row_and_path(data, puzzles):
    good = {"bytes": render_png(puzzles[0], RENDER), "path": None}
    cut = {"bytes": good["bytes"][: len(good["bytes"]) // 2], "path": "p2.png"}
    path = write_table(data, puzzles[:3], image=pa.array([good, good, cut], IMAGE))
    message = refusal(data)
    assert message.startswith(f"{path}, row 2, image p2.png: expected an image")
    assert f"got {len(cut['bytes'])} bytes" in message
    # rows before it are still readable
    assert len(read_prompts(DataConfig(path=str(data), num_puzzles=2))) == 2


def test_an_image_file_is_read_and_a_missing_one_is_named(data, puzzles):
    data.mkdir()
    file = data / "one.png"
    file.write_bytes(render_png(puzzles[0], RENDER))
    image = pa.array([{"bytes": None, "path": str(file)}], IMAGE)
    path = write_table(data, puzzles[:1], image=image)
    (prompt,) = read_prompts(DataConfig(path=str(data)))
    assert prompt.images[0] == file.read_bytes()
    file.unlink()
    assert refusal(data) == f"{path}, row 0: image file '{file}' is missing"


def test_a_row_without_an_image_is_refused(data, puzzles):
    for missing in (None, {"bytes": None, "path": None}):
        image = [{"bytes": render_png(puzzles[0], RENDER), "path": None}, missing]
        path = write_table(data, puzzles[:2], image=pa.array(image, IMAGE))
        assert refusal(data).startswith(f"{path}, row 1: image file")


def test_an_image_column_of_another_type_is_refused(data, puzzles):
    path = write_table(data, puzzles[:2], image=pa.array([1, 2]))
    assert refusal(data).startswith(f"{path}: column 'image': expected images; got: ")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", None])
def test_a_puzzle_that_is_no_json_is_named_with_its_row(data, puzzles, text):
    path = write_table(data, puzzles[:2], puzzle=[puzzles[0].to_json(), text])
    assert refusal(data).startswith(f"{path}, row 1: not a puzzle: ")
