"""SFT records: coarse before fine, an order of its own for every puzzle, the mixture's share."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.questions import coarse_questions, fine_questions
from rl_avr.errors import DataError
from rl_avr.prompts import COT_PROMPT, DIRECT_PROMPT, prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_puzzle
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import write_puzzles
from sft_warmstart.config import SftConfig
from sft_warmstart.records import (
    chain_messages,
    direct_messages,
    is_question_record,
    question_messages,
    record_messages,
    sft_records,
)

RENDER = RenderConfig(8)
REASONING = SftConfig(stage="reasoning", perception_share=0.5)


@pytest.fixture
def data(tmp_path, monkeypatch, puzzles):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_puzzles(puzzles[:12], tmp_path / "train.parquet", RENDER)
    return DataConfig(path=str(tmp_path))


def asked(messages):
    return [m["content"] for m in messages if m["role"] == "user"]


def test_coarse_questions_come_first_and_every_answer_is_gold(puzzles):
    for puzzle in puzzles[:50]:
        messages = question_messages(puzzle, 8, seed=0)
        assert [m["role"] for m in messages] == ["user", "assistant"] * 11
        coarse = {q.text: q.answer for q in coarse_questions(puzzle)}
        fine = {q.text: q.answer for q in fine_questions(puzzle)}
        pairs = list(zip(messages[::2], messages[1::2], strict=True))
        for known, part in ((coarse, pairs[:3]), (fine, pairs[3:])):
            for question, answer in part:
                assert known[question["content"]] == answer["content"]


def test_fine_questions_have_an_order_of_their_own_for_every_puzzle_and_seed(puzzles):
    orders = [tuple(asked(question_messages(p, 48, 0))[3:]) for p in puzzles[:40]]
    assert len(set(orders)) == 40
    assert len({frozenset(order) for order in orders}) == 1, "all 48 are asked, in another order"
    grid = [q.text for q in fine_questions(puzzles[0])]
    assert list(orders[0]) != grid
    again, other = (tuple(asked(question_messages(puzzles[0], 48, s))[3:]) for s in (0, 1))
    assert again == orders[0]
    assert other != orders[0]
    # the place of the first grid question is spread over the conversation: 23.5 on average
    # with a standard deviation of 13.9 / sqrt(40) = 2.2
    places = [order.index(grid[0]) for order in orders]
    assert abs(np.mean(places) - 23.5) < 3.5 * 2.2


def test_a_chain_record_is_the_prompt_and_the_gold_chain(puzzle, chain):
    assert chain_messages(puzzle, prefix=True) == [
        {"role": "user", "content": COT_PROMPT},
        {"role": "assistant", "content": chain},
    ]
    assert chain_messages(puzzle, prefix=False)[1]["content"] == gold_chain(puzzle, False)


def test_a_direct_record_is_the_prompt_and_the_letter(puzzle):
    assert direct_messages(puzzle) == [
        {"role": "user", "content": DIRECT_PROMPT},
        {"role": "assistant", "content": "C"},
    ]


def test_every_puzzle_has_records_of_both_kinds(zoo):
    for puzzle in zoo:
        asked_of, solved = question_messages(puzzle, 8, 0), chain_messages(puzzle, True)
        assert len(asked_of) == 22
        assert [m["content"] for m in solved] == [prompt_text(puzzle, "cot"), gold_chain(puzzle)]


@pytest.mark.parametrize("stage", ["perception", "reasoning"])
def test_an_annotated_puzzle_gives_what_people_wrote(annotated, stage):
    questions = SftConfig(stage=stage, perception_share=1.0)
    chains = SftConfig(stage=stage, perception_share=0.0)
    full, silent = annotated(), annotated(perception=(), chain=None)
    assert sorted(asked(record_messages(full, questions, 0))) == [
        *("How many tiles are shown?", "Is the first tile red?")
    ]
    direct = direct_messages(silent)
    assert direct[1]["content"] == "C"
    assert record_messages(silent, questions, 0) == direct
    assert record_messages(silent, chains, 0) == direct
    unasked = annotated(perception=())
    if stage == "reasoning":
        assert record_messages(full, chains, 0)[1]["content"] == gold_chain(full)
        assert record_messages(unasked, questions, 0)[1]["content"] == gold_chain(unasked)
    else:
        assert record_messages(unasked, questions, 0) == direct


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_the_share_of_questions_is_near_the_one_asked_for(share):
    config = SftConfig(stage="reasoning", perception_share=share)
    total = 3000
    chosen = [is_question_record(f"puzzle-{i}", config, 0) for i in range(total)]
    assert abs(sum(chosen) - share * total) < 3.5 * math.sqrt(total * share * (1 - share))


@pytest.mark.parametrize(
    ("stage", "share", "expected"),
    [("reasoning", 0.0, False), ("reasoning", 1.0, True), ("perception", 0.0, True)],
)
def test_the_ends_of_the_mixture(stage, share, expected):
    config = SftConfig(stage=stage, perception_share=share)
    assert {is_question_record(f"p{i}", config, 0) for i in range(500)} == {expected}


def test_the_seed_changes_which_puzzles_are_asked_about():
    picks = [[is_question_record(f"p{i}", REASONING, seed) for i in range(300)] for seed in (0, 1)]
    # independent coins agree half the time: 150 of 300, standard deviation 8.7
    agreeing = sum(a == b for a, b in zip(*picks, strict=True))
    assert abs(agreeing - 150) < 3.5 * 8.7


def test_records_are_made_from_the_rows_in_order(data, puzzles):
    records = sft_records(data, REASONING, seed=0)
    assert len(records) == 12
    kinds = set()
    for index, puzzle in enumerate(puzzles[:12]):
        record = records[index]
        is_question = is_question_record(puzzle.puzzle_id, REASONING, 0)
        kinds.add(is_question)
        expected = question_messages(puzzle, 8, 0) if is_question else chain_messages(puzzle, True)
        assert record["messages"] == expected
        (image,) = record["images"]
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image)[..., 1], render_puzzle(puzzle, RENDER))
    assert kinds == {True, False}


def test_a_batch_is_its_rows_and_a_second_epoch_is_the_first(data):
    records = sft_records(data, REASONING, seed=0)
    batch = records[3:6]
    assert batch["messages"] == [records[i]["messages"] for i in (3, 4, 5)]
    assert records[3]["messages"] == batch["messages"][0]


def test_the_perception_stage_has_no_chain(data):
    records = sft_records(data, SftConfig(stage="perception", num_questions=2), seed=0)
    assert {len(messages) for messages in records[:]["messages"]} == {2 * (3 + 2)}


def test_a_damaged_row_stops_when_it_is_read_and_is_named(data, tmp_path):
    path = tmp_path / "train.parquet"
    table = pq.read_table(path).to_pylist()
    table[7]["image"] = {"bytes": b"no png", "path": None}
    table[9]["puzzle"] = "{}"
    pq.write_table(pa.Table.from_pylist(table), path)
    records = sft_records(data, REASONING, seed=0)
    assert len(records[:7]["messages"]) == 7
    with pytest.raises(DataError, match=r"train\.parquet, row 7: expected an image"):
        records[7]
    with pytest.raises(DataError, match=r"train\.parquet, row 9: not a puzzle"):
        records[9]
