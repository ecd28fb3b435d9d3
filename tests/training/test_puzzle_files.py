"""Files of a set: which belong to a split, what a state's hash leaves out, constant memory."""

import dataclasses
import errno
import io
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_avr.contracts import Annotation, Component, Entity, Panel, Rule
from rl_avr.errors import DataError
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.training import puzzle_files
from rl_avr.training.puzzle_files import (
    COLUMNS,
    iter_rows,
    kind_of,
    puzzle_row,
    shard_path,
    split_files,
    splits_of,
    state_hash,
    write_rows,
)

PNG = b"not looked at here"


def rows(puzzles):
    return [puzzle_row(puzzle, PNG) for puzzle in puzzles]


def ids(folder, split, *columns):
    return [row["puzzle_id"] for _, _, row in iter_rows(folder, split, *columns)]


def changed(puzzle, **levels):
    """Returns the puzzle with other levels of the first panel's entity."""
    entity = dataclasses.replace(puzzle.context[0].components[0].entities[0], **levels)
    panel = Panel((Component((entity,)),))
    return dataclasses.replace(puzzle, context=(panel, *puzzle.context[1:]))


def test_the_hash_is_of_what_is_shown(puzzle):
    same = [
        dataclasses.replace(puzzle, puzzle_id="other", seed=9, difficulty=5),
        dataclasses.replace(puzzle, choices=puzzle.choices[::-1], answer_index=5),
        dataclasses.replace(puzzle, rules=(Rule("type", "constant"),)),
        changed(puzzle, angle=7),
    ]
    assert {state_hash(p, PNG) for p in same} == {state_hash(puzzle, b"another image")}
    other = [changed(puzzle, **{name: 4}) for name in ("type", "size", "color")]
    other.append(dataclasses.replace(puzzle, configuration="left_center_single"))
    assert len({state_hash(p, PNG) for p in [puzzle, *other]}) == 5


def test_the_order_of_entities_in_a_panel_does_not_matter(puzzle):
    first, second = Entity(1, 2, 3, slot=0), Entity(4, 5, 6, slot=3)
    both = [
        dataclasses.replace(puzzle, context=(Panel((Component(pair),)), *puzzle.context[1:]))
        for pair in ((first, second), (second, first))
    ]
    assert state_hash(both[0], b"") == state_hash(both[1], b"")


def test_a_puzzle_without_a_state_is_its_image_and_question(puzzle):
    def annotated(question):
        note = Annotation(question, (), "x")
        return dataclasses.replace(
            puzzle, family="annotated", context=(), choices=(), annotation=note
        )

    found = {
        state_hash(annotated(question), image)
        for question in ("What?", "Why?")
        for image in (b"a", b"b")
    }
    assert len(found) == 4
    assert all(0 <= value < 2**63 for value in found)


def test_a_kind_is_named_as_in_the_mix(puzzle):
    assert kind_of(puzzle) == "center_single"
    assert kind_of(sample_nonregular("train", 0, 0, "overlay")) == "overlay"
    scattered = [sample_nonregular("train", 5, 0, "counting") for _ in range(2)]
    assert state_hash(scattered[0], b"") == state_hash(scattered[1], b"")


def test_datasets_reads_the_columns_as_they_are_declared(tmp_path, puzzles):
    path = tmp_path / "train.parquet"
    write_rows(rows(puzzles[:3]), path)
    features = datasets.Features.from_arrow_schema(pq.read_schema(path))
    assert features == datasets.Features(
        puzzle_id=datasets.Value("string"),
        family=datasets.Value("string"),
        kind=datasets.Value("string"),
        configuration=datasets.Value("string"),
        difficulty=datasets.Value("float64"),
        state_hash=datasets.Value("int64"),
        puzzle=datasets.Value("string"),
        image=datasets.Image(),
    )
    assert tuple(features) == COLUMNS


def test_the_same_rows_give_the_same_bytes_in_small_groups(tmp_path, puzzles):
    for name in ("a", "b"):
        assert write_rows(iter(rows(puzzles)), tmp_path / f"{name}.parquet") == 300
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "a.parquet")
    # what is in memory at once does not grow with the file
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [128, 128, 44]


def test_no_more_than_one_group_is_held_while_writing(tmp_path, puzzles):
    alive, most = [0], [0]

    class Counted(dict):
        def __init__(self, row):
            super().__init__(row)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    write_rows((Counted(row) for row in rows(puzzles)), tmp_path / "train.parquet")
    assert most[0] <= 2 * 128


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, puzzles, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "train.parquet"
    write_rows(rows(puzzles[:2]), path)
    monkeypatch.setattr(puzzle_files, "open", lambda path, mode: Full(path, mode), raising=False)
    with pytest.raises(OSError) as caught:
        write_rows(rows(puzzles[:300]), path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["train.parquet"]
    assert ids(tmp_path, "train") == [p.puzzle_id for p in puzzles[:2]]


def test_a_split_is_one_file_or_all_of_its_shards(tmp_path, puzzles):
    write_rows(rows(puzzles[:3]), tmp_path / "held_out.parquet")
    for index in range(3):
        write_rows(rows(puzzles[index : index + 1]), shard_path(tmp_path, "train", index, 3))
    assert splits_of(tmp_path) == ["train", "held_out"]
    assert split_files(tmp_path, "held_out") == [tmp_path / "held_out.parquet"]
    assert [path.name for path in split_files(tmp_path, "train")] == [
        f"train-0000{index}-of-00003.parquet" for index in range(3)
    ]
    assert ids(tmp_path, "train") == [p.puzzle_id for p in puzzles[:3]]
    shard_path(tmp_path, "train", 1, 3).unlink()
    with pytest.raises(DataError) as caught:
        split_files(tmp_path, "train")
    message = str(caught.value)
    assert "1 files of the split 'train' are missing" in message
    assert "train-00001-of-00003.parquet" in message and "rl-avr data make" in message


def test_shards_of_two_sets_are_refused(tmp_path, puzzles):
    for index, num in ((0, 1), (0, 2), (1, 2)):
        write_rows(rows(puzzles[:1]), shard_path(tmp_path, "train", index, num))
    with pytest.raises(DataError, match="files of several sets lie here for the split 'train'"):
        split_files(tmp_path, "train")


def test_a_folder_without_a_set_says_what_writes_one(tmp_path):
    with pytest.raises(DataError, match="no set of puzzles; expected .* `rl-avr data make`"):
        splits_of(tmp_path)
    with pytest.raises(DataError, match=r"held_out\.parquet: no such file"):
        split_files(tmp_path, "held_out")


def test_rows_come_with_their_place_and_only_the_columns_asked_for(tmp_path, puzzles):
    for index in range(2):
        part = puzzles[150 * index : 150 * index + 150]
        write_rows(rows(part), shard_path(tmp_path, "train", index, 2))
    found = list(iter_rows(tmp_path, "train", ["puzzle", "no_such"]))
    assert [row for _, _, row in found] == [{"puzzle": p.to_json()} for p in puzzles]
    assert [index for _, index, _ in found] == [*range(150), *range(150)]
    assert [path for path, _, _ in found[149:151]] == split_files(tmp_path, "train")


def test_a_file_of_another_tool_needs_the_three_columns(tmp_path, puzzle):
    table = pa.table({"puzzle_id": ["a"], "puzzle": [puzzle.to_json()]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"columns \['image'\] are missing"):
        ids(tmp_path, "train")
    table = table.append_column("image", pa.array([{"bytes": PNG, "path": None}]))
    pq.write_table(table, tmp_path / "train.parquet")
    assert ids(tmp_path, "train") == ["a"]


def test_a_damaged_page_is_named(tmp_path, puzzles):
    path = tmp_path / "train.parquet"
    write_rows(rows(puzzles[:50]), path)
    raw = bytearray(path.read_bytes())
    raw[4:2000] = bytes(1996)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"train\.parquet: expected a Parquet file; got: "):
        ids(tmp_path, "train")


def test_the_puzzle_column_is_the_whole_state(tmp_path, puzzle):
    row = puzzle_row(puzzle, PNG)
    assert json.loads(row["puzzle"])["rules"][1]["parameter"] == 1
    assert (row["family"], row["kind"], row["difficulty"]) == ("rpm", "center_single", 2.0)
