"""Rows of a run: what the plan says, made when read, the same whatever was read before."""

import io
import json
import logging
import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.prompts import prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_puzzle
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import write_puzzles
from rollouts.recorder import append_groups
from sft_warmstart.config import (
    MIXED,
    ElicitationConfig,
    OwnChainsConfig,
    ReplayConfig,
    SftConfig,
)
from sft_warmstart.conversations import Visit, puzzle_messages
from sft_warmstart.records import Conversations, conversations_per_epoch, sft_rows

RENDER = RenderConfig(8)
EVERYTHING = SftConfig(stage="reasoning", mixture=dict.fromkeys(MIXED, 1.0))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes puzzles as a data set; returns its settings."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write_them(puzzles):
        write_puzzles(puzzles, tmp_path / "train.parquet", RENDER)
        return DataConfig(path=str(tmp_path))

    return write_them


@pytest.fixture
def data(write, puzzles):
    return write(puzzles[:12])


@pytest.fixture
def replay(tmp_path):
    """A file of five conversations with images of shades 0 to 4."""
    records = []
    for shade in range(5):
        buffer = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), shade, np.uint8)).save(buffer, "PNG")
        (tmp_path / f"{shade}.png").write_bytes(buffer.getvalue())
        said = [{"from": "human", "value": "<image>Shade?"}, {"from": "gpt", "value": str(shade)}]
        records.append({"image": f"{shade}.png", "conversations": said})
    path = tmp_path / "replay.json"
    path.write_text(json.dumps(records))
    return ReplayConfig(path=str(path), share=0.25)


def shown(row):
    """Returns a row with its pixels, to be compared."""
    return {**row, "images": [np.asarray(image).tolist() for image in row["images"]]}


def test_rows_are_what_the_plan_says(data, puzzles):
    rows = sft_rows(data, EVERYTHING, 5, 60)
    assert len(rows) == 60
    plan = rows.with_format(None)
    assert plan.column_names == ["kind", "row", "part", "cycle"]
    assert Counter(plan["kind"]) == dict.fromkeys(MIXED, 10)
    for row, place in zip(rows, plan, strict=True):
        puzzle = puzzles[place["row"]]
        visit = Visit(place["kind"], place["part"], place["cycle"], 5)
        assert row["messages"] == puzzle_messages(puzzle, visit, EVERYTHING, {})
        assert row["kind"] == place["kind"]
        assert row["name"].endswith(f"train.parquet, row {place['row']}, {place['kind']}")
        (image,) = row["images"]
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image)[..., 1], render_puzzle(puzzle, RENDER))


def test_a_row_is_the_same_whatever_was_read_before(data, replay):
    sft = SftConfig(stage="reasoning", mixture=EVERYTHING.mixture, replay=replay)
    rows = [shown(row) for row in sft_rows(data, sft, 0, 80)]
    again = sft_rows(data, sft, 0, 80)
    for index in (79, 3, 40, 3):
        assert shown(again[index]) == rows[index]
    late = again.select(range(60, 80))
    assert [shown(row) for row in late] == rows[60:]
    batch = again[70:74]
    assert batch["messages"] == [row["messages"] for row in rows[70:74]]


def test_a_copy_in_another_process_reads_the_same(data, replay):
    sft = SftConfig(stage="reasoning", replay=replay)
    rows = sft_rows(data, sft, 0, 20)
    first = [shown(row) for row in rows]
    copy = pickle.loads(pickle.dumps(rows))
    assert [shown(row) for row in copy] == first
    made = Conversations(data, sft, 0)
    made.rows(20)[0]
    assert len(pickle.dumps(made)) < 4000, "the settings alone, no rows"


def test_the_perception_stage_asks_every_puzzle_once_an_epoch(data, puzzles):
    sft = SftConfig(stage="perception", elicitation=ElicitationConfig(num_coarse=2, num_fine=3))
    assert conversations_per_epoch(data, sft, 0) == 12
    rows = sft_rows(data, sft, 0, 24)
    assert {len(messages) for messages in rows[:]["messages"]} == {2 * (2 + 3)}
    plan = rows.with_format(None)
    for epoch in (plan[:12], plan[12:]):
        assert sorted(epoch["row"]) == list(range(12))
    again = plan["row"][:].index(plan["row"][0], 12)
    assert rows[0]["messages"] != rows[again]["messages"], "an epoch later it is asked otherwise"


def test_separate_questions_are_all_asked_in_an_epoch(data):
    sft = SftConfig(
        stage="perception",
        elicitation=ElicitationConfig(num_coarse=2, num_fine=3, conversations="separate"),
    )
    assert conversations_per_epoch(data, sft, 0) == 12 * 5
    rows = sft_rows(data, sft, 0, 60)
    assert {len(messages) for messages in rows[:]["messages"]} == {2}
    places = list(zip(rows.with_format(None)["row"], rows.with_format(None)["part"], strict=True))
    assert sorted(places) == [(row, part) for row in range(12) for part in range(5)]
    assert {tuple(image.size for image in images) for images in rows[:]["images"]} == {
        tuple(image.size for image in rows[0]["images"])
    }


def test_replay_is_mixed_in_with_its_share(data, replay):
    sft = SftConfig(stage="perception", replay=replay)
    assert conversations_per_epoch(data, sft, 0) == 16
    rows = sft_rows(data, sft, 0, 40)
    found = [row for row in rows if row["kind"] == "replay"]
    assert len(found) == 10
    shades = [np.asarray(row["images"][0])[0, 0, 0] for row in found]
    assert [row["messages"][1]["content"] for row in found] == [str(shade) for shade in shades]
    assert sorted(shades) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert {row["name"].rpartition(",")[0] for row in found} == {replay.path}


def test_replay_that_cannot_be_used_stops_before_any_row(data, replay, tmp_path):
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"1 of 5 records .*row 3"):
        sft_rows(data, SftConfig(stage="perception", replay=replay), 0, 8)


def test_own_chains_take_the_place_of_gold_ones(data, puzzles, tmp_path):
    path = tmp_path / "rank0.jsonl"
    texts = {p.puzzle_id: gold_chain(p).replace("regular", "quite regular") for p in puzzles[:4]}
    for puzzle in puzzles[:4]:
        prompt = Prompt("p", puzzle, "cot", prompt_text(puzzle, "cot"), ())
        group = RolloutGroup(
            prompt, (), (Completion(texts[puzzle.puzzle_id], (1,), (), "stop", 0),)
        )
        append_groups(path, [grade(group, RewardConfig())])
    for fallback, num in (("gold", 12), ("none", 4)):
        own = OwnChainsConfig(path=str(path), fallback=fallback)
        sft = SftConfig(stage="reasoning", mixture={"chain": 1}, own_chains=own)
        assert conversations_per_epoch(data, sft, 0) == num
        said = {row["messages"][1]["content"] for row in sft_rows(data, sft, 0, num)}
        gold = {gold_chain(p) for p in puzzles[4:12]} if fallback == "gold" else set()
        assert said == {*texts.values()} | gold
    gold_only = SftConfig(stage="perception", own_chains=OwnChainsConfig(path="not read here"))
    assert len(sft_rows(data, gold_only, 0, 12)) == 12


def test_puzzles_that_cannot_give_a_kind_are_left_out_and_counted(
    write, puzzles, annotated, caplog
):
    silent = annotated(perception=(), chain=None)
    data = write_mixed(write, [*puzzles[:5], silent])
    sft = SftConfig(stage="reasoning", mixture={"perception": 1, "chain": 1, "direct": 2})
    with caplog.at_level(logging.WARNING):
        rows = sft_rows(data, sft, 0, 60)
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert [line.rpartition("train.parquet: ")[2] for line in said] == [
        f"1 of 6 puzzles cannot give a conversation of the kind {kind} and are left out of it"
        for kind in ("perception", "chain")
    ]
    plan = rows.with_format(None)
    kinds = {kind for kind, row in zip(plan["kind"], plan["row"], strict=True) if row == 5}
    assert kinds == {"direct"}
    assert len(rows[:]["messages"]) == 60


def write_mixed(write, puzzles):
    """Writes puzzles of which an annotated one is the last; it shows the first one's image."""
    data = write(puzzles[:-1])
    path = f"{data.path}/train.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows.append(rows[0] | {"puzzle_id": puzzles[-1].puzzle_id, "puzzle": puzzles[-1].to_json()})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return data


def test_a_kind_that_no_puzzle_can_give_is_refused(write, annotated, puzzles):
    data = write_mixed(write, [puzzles[0], annotated(chain=None)])
    data = DataConfig(path=data.path)
    rows = pq.read_table(f"{data.path}/train.parquet")
    pq.write_table(rows.slice(1), f"{data.path}/train.parquet")
    for kind in ("chain", "critique", "yes_no", "open"):
        sft = SftConfig(stage="reasoning", mixture={kind: 1, "direct": 1})
        with pytest.raises(DataError, match=f"no puzzle can give .* kind '{kind}'"):
            sft_rows(data, sft, 0, 4)


def test_every_family_gives_every_kind(write, zoo):
    data = write(zoo)
    num = 6 * len(zoo)
    rows = sft_rows(data, EVERYTHING, 1, num)
    plan = rows.with_format(None)
    places = set(zip(plan["kind"], plan["row"], strict=True))
    assert places == {(kind, row) for kind in MIXED for row in range(len(zoo))}
    assert all(len(row["messages"]) >= 2 and row["images"] for row in rows)


def test_a_damaged_image_stops_when_it_is_read_and_is_named(data, tmp_path):
    damage(tmp_path / "train.parquet", 7, image={"bytes": b"no png", "path": None})
    rows = sft_rows(data, SftConfig(), 0, 12)
    place = rows.with_format(None)["row"][:].index(7)
    assert len(rows[:place]["messages"]) == place
    with pytest.raises(DataError, match=r"train\.parquet, row 7: expected an image"):
        rows[place]


def test_a_damaged_puzzle_stops_before_any_row(data, tmp_path):
    damage(tmp_path / "train.parquet", 9, puzzle="{}")
    with pytest.raises(DataError, match=r"train\.parquet, row 9: not a puzzle"):
        sft_rows(data, SftConfig(), 0, 12)


def damage(path, index, **changes):
    rows = pq.read_table(path).to_pylist()
    rows[index] |= changes
    pq.write_table(pa.Table.from_pylist(rows), path)
