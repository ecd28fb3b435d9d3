"""Recorded groups: every line stands alone and reads back what was graded."""

import dataclasses
import json

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, Puzzle, RolloutGroup
from rollouts.recorder import append_groups


def graded(puzzle, *texts):
    prompt = Prompt("p/cot", puzzle, "cot", "Which?", b"\x89PNG")
    completions = tuple(Completion(t, (1, 2), (-0.5, -0.25), "stop", 3) for t in texts)
    return grade(RolloutGroup(prompt, (), completions), RewardConfig())


def read(path):
    with path.open(encoding="utf-8", newline="\n") as stream:
        return [json.loads(line) for line in stream]


def test_a_record_by_hand(tmp_path, puzzle, chain):
    path = tmp_path / "new" / "rollouts.jsonl"
    append_groups(path, [graded(puzzle, chain, "### Answer: C")], step=7, rank=0)
    (record,) = read(path)
    assert (record["step"], record["rank"], record["prompt_id"]) == (7, 0, "p/cot")
    assert Puzzle.from_json(record["puzzle"]) == puzzle
    whole, bare = record["completions"]
    assert whole["text"] == chain
    assert (whole["status"], whole["choice_index"]) == ("ok", 2)
    assert whole["total"] == pytest.approx(1.0)
    assert whole["parts"] == {"choice": 1.0, "format": 1.0, "perception": 1.0, "rule": 1.0}
    assert (bare["finish_reason"], bare["weights_version"]) == ("stop", 3)
    assert bare["total"] == pytest.approx(1 / 1.4)


def test_any_text_of_a_model_stays_in_one_line_and_comes_back(tmp_path, puzzle):
    texts = ["", 'a "quote"\n\r\nline', "图形 🙂", "\u2028\u2029\x85", "\x00\ufffd", "\\n"]
    append_groups(tmp_path / "r.jsonl", [graded(puzzle, *texts)])
    (record,) = read(tmp_path / "r.jsonl")
    assert [c["text"] for c in record["completions"]] == texts


def test_a_part_that_cannot_judge_is_null(tmp_path, puzzle, chain):
    append_groups(tmp_path / "r.jsonl", [graded(dataclasses.replace(puzzle, rules=()), chain)])
    assert read(tmp_path / "r.jsonl")[0]["completions"][0]["parts"]["rule"] is None


def test_later_groups_are_appended(tmp_path, puzzle):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a"), graded(puzzle, "b")], step=1)
    append_groups(path, [], step=2)
    append_groups(path, [graded(puzzle, "c")], step=3)
    rows = read(path)
    assert [(r["step"], r["completions"][0]["text"]) for r in rows] == [
        (1, "a"),
        (1, "b"),
        (3, "c"),
    ]
