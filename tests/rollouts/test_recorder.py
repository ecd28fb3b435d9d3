"""Recorded groups: every line stands alone and reads back what was graded."""

import dataclasses
import json

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, Puzzle, RolloutGroup
from rl_avr.errors import DataError
from rl_avr.prompts import COT_PROMPT
from rollouts.recorder import append_groups, drop_groups_from, read_groups


def graded(puzzle, *texts):
    prompt = Prompt("p/cot", puzzle, "cot", "Which?", (b"\x89PNG",))
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
    assert set(whole["parts"].values()) == {1.0} and whole["num_tokens"] == 2
    assert (record["kind"], record["prompt"], record["is_admitted"]) == ("cot", "Which?", False)
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


def damaged(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


def test_what_was_recorded_is_read_back_and_graded_alike(tmp_path, puzzle, chain):
    path = tmp_path / "r.jsonl"
    before = graded(puzzle, chain, "### Answer: A", "")
    append_groups(path, [before, before], step=4)
    first, second = read_groups(path)
    assert (first.line, second.line, first.tags) == (1, 2, {"step": 4})
    assert first.group.prompt == dataclasses.replace(before.group.prompt, images=())
    assert first.totals == tuple(score.total for score in before.scores)
    assert first.is_admitted is True
    after = grade(first.group, RewardConfig())
    assert (after.scores, after.parsed) == (before.scores, before.parsed)
    assert [len(c.token_ids) for c in first.group.completions] == [2, 2, 2]
    assert {c.weights_version for c in first.group.completions} == {3}


def test_the_kind_and_the_length_of_a_prompt_are_kept(tmp_path, puzzle):
    prompt = Prompt("p/direct", puzzle, "direct", "Which?", ())
    cut = Completion("C", (1,) * 7, (0.0,) * 7, "length", 0)
    config = RewardConfig(length=1, length_limit=10)
    append_groups(tmp_path / "r.jsonl", [grade(RolloutGroup(prompt, (), (cut,)), config)])
    (found,) = read_groups(tmp_path / "r.jsonl")
    assert found.group.prompt.kind == "direct"
    assert found.group.completions[0].finish_reason == "length"
    assert grade(found.group, config).parsed[0].num_tokens == 7


def test_a_file_without_the_newer_keys_is_read(tmp_path, puzzle, chain):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, chain)])
    (record,) = read(path)
    for key in ("kind", "prompt", "is_admitted"):
        del record[key]
    for key in ("num_tokens", "total", "weights_version"):
        del record["completions"][0][key]
    path.write_text(json.dumps(record) + "\n\n")
    (found,) = read_groups(path)
    assert (found.group.prompt.kind, found.group.prompt.text) == ("cot", COT_PROMPT)
    assert (found.totals, found.is_admitted) == ((None,), None)
    assert grade(found.group, RewardConfig()).scores[0].total == 1.0


@pytest.mark.parametrize("cut", [1, 40, 900])
def test_half_a_last_line_is_named_and_left_out(tmp_path, puzzle, cut):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a"), graded(puzzle, "图形")])
    path.write_bytes(path.read_bytes()[: -1 - cut])
    told = []
    assert [found.line for found in read_groups(path, told.append)] == [1]
    assert told == [f"{path}, line 2: the last line is broken and left out"]


def test_the_next_group_does_not_join_half_a_line(tmp_path, puzzle):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a"), graded(puzzle, "b" * 200_000)], step=1)
    path.write_bytes(path.read_bytes()[:-20])
    append_groups(path, [graded(puzzle, "c")], step=2)
    assert [(row["step"], row["completions"][0]["text"]) for row in read(path)] == [
        (1, "a"),
        (2, "c"),
    ]
    path.write_bytes(b"half of the only line")
    append_groups(path, [graded(puzzle, "d")])
    assert len(read(path)) == 1


def test_a_lone_surrogate_is_written_and_read(tmp_path, puzzle):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a\ud800\\ud800")])
    (found,) = read_groups(path)
    assert found.group.completions[0].text == "a\ud800\\ud800"
    path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('{"prompt_id"', '"prompt_id"', "line 1: not JSON"),
        ('"finish_reason": "stop"', '"finish_reason": "eos"', "line 1: .*finish_reason: expected"),
        ('"kind": "cot"', '"kind": "xyz"', "line 1: .*kind: expected one of perception, cot, dir"),
        ('"text": "a"', '"text": 3', "line 1: .*text: expected text, got int"),
        ('"num_tokens": 2', '"num_tokens": -2', "line 1: .*num_tokens: expected a whole number"),
        ('"completions"', '"complitions"', "line 1: .* KeyError"),
        ('{"prompt_id"', '[{"prompt_id"', "line 1: not JSON"),
    ],
)
def test_other_damage_is_refused_with_path_and_line(tmp_path, puzzle, old, new, expected):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a"), graded(puzzle, "b")])
    damaged(path, old, new)
    with pytest.raises(DataError, match=f"r.jsonl, {expected}"):
        list(read_groups(path))


def test_a_last_line_that_is_json_and_no_group_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1: expected a group as this version records it"):
        list(read_groups(path))
    with pytest.raises(DataError, match="expected recorded rollouts; got"):
        list(read_groups(tmp_path / "none.jsonl"))


def test_a_file_is_cut_before_the_step_that_comes_again(tmp_path, puzzle):
    path = tmp_path / "r.jsonl"
    drop_groups_from(path, 0)
    assert not path.exists()
    for step in (0, 0, 2, 3):
        append_groups(path, [graded(puzzle, f"at {step}")], step=step)
    with path.open("a") as stream:
        stream.write('{"step": 3, "half')
    drop_groups_from(path, 4)
    assert [row["step"] for row in read(path)] == [0, 0, 2, 3]
    drop_groups_from(path, 1)
    assert [row["step"] for row in read(path)] == [0, 0]
    drop_groups_from(path, 0)
    assert path.read_bytes() == b""


def test_a_line_without_a_step_cannot_be_cut(tmp_path, puzzle):
    path = tmp_path / "r.jsonl"
    append_groups(path, [graded(puzzle, "a")], step=0)
    append_groups(path, [graded(puzzle, "b")])
    with pytest.raises(DataError, match=r"r.jsonl, line 2: expected a group with its step"):
        drop_groups_from(path, 1)
    assert len(read(path)) == 2
