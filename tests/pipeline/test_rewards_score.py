"""Regrading: a table by hand, what changed, what is written, and what is refused."""

import json
from dataclasses import replace

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.errors import ConfigError, DataError
from rl_avr.pipeline.rewards_score import rollout_files, score_rollouts
from rollouts.recorder import append_groups, read_groups


def group_of(puzzle, *texts, kind="cot", finish_reason="stop"):
    completions = tuple(Completion(t, (1, 2), (), finish_reason, 0) for t in texts)
    return RolloutGroup(
        Prompt(f"{puzzle.puzzle_id}/{kind}", puzzle, kind, "?", ()), (), completions
    )


@pytest.fixture
def run(tmp_path, puzzle, chain, grid, annotated):
    """A run's folder: two ranks, three kinds of puzzle, one direct answer."""
    config = RewardConfig()
    wrong = chain.replace("Answer: C", "Answer: D")
    own = annotated(choices=(), answer="4", chain=None)
    first = [group_of(puzzle, chain, wrong, ""), group_of(grid, "### Answer: A", "### Answer: C")]
    second = [group_of(own, "### Answer: 4"), group_of(puzzle, "C", "D", kind="direct")]
    folder = tmp_path / "run"
    for rank, groups in enumerate((first, second)):
        path = folder / "rollouts" / f"rank{rank}.jsonl"
        append_groups(path, [grade(group, config) for group in groups], step=rank)
    return folder


def rows(text):
    """Returns the table's rows by their first cell, each with its column."""
    header, *lines = text.partition("\n\n")[0].split("\n")
    names = header.split()
    found = {}
    for line in lines:
        cells = line.split()
        # a kind of a prompt other than a chain has a space in its name
        kind = " ".join(cells[: len(cells) - len(names) + 1])
        found[kind] = dict(zip(names[1:], cells[-len(names) + 1 :], strict=True))
    return found


def test_the_table_by_hand(run):
    text = score_rollouts([run])
    table = rows(text)
    assert list(table) == [
        *("annotated", "center_single", "center_single, direct", "distribute_four"),
        "all",
    ]
    center = table["center_single"]
    # three completions: all right; the wrong letter; nothing at all
    assert (center["n"], center["choice"], center["format"]) == ("3", "0.333", "0.667")
    assert (center["perception"], center["total"]) == ("0.667", "0.333")
    assert (center["ok"], center["no_answer"]) == ("66.7%", "33.3%")
    assert (center["groups"], center["admitted"]) == ("1", "100.0%")
    assert table["annotated"]["perception"] == "—" and table["annotated"]["total"] == "1.000"
    assert table["center_single, direct"]["rule"] == "—"
    # two equal outcomes, both wrong
    assert table["distribute_four"]["admitted"] == "0.0%"
    assert table["all"]["n"] == "8" and table["all"]["groups"] == "4"
    # 1 + 0 + 0, 0 + 0, 1, 1 + 0 of 8
    assert table["all"]["total"] == "0.375" and table["all"]["admitted"] == "50.0%"
    assert "truncated" not in table["all"]
    assert text.endswith("None of 8 recorded totals changed.")


def test_another_config_changes_totals_and_admission(run, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "trainer:\n  beta: 0.1\nrewards:\n  gate: none\n  admission: none\n"
    )
    text = score_rollouts([run], tmp_path / "c.yaml")
    # of the chains with a wrong letter one has 0.4 of 1.4; the direct one format alone
    assert rows(text)["center_single"]["total"] == f"{(1 + 0.4 / 1.4) / 3:.3f}"
    assert "2 of 8 recorded totals changed, by 0.188 on average." in text
    assert "2 of 4 groups are admitted otherwise." in text


def test_the_new_grades_are_written_with_the_old_tags(run, tmp_path):
    (tmp_path / "c.yaml").write_text("rewards:\n  choice: 0\n  gate: none\n")
    out = tmp_path / "new" / "out.jsonl"
    text = score_rollouts([run], tmp_path / "c.yaml", out)
    assert text.endswith(f"written: {out}")
    found = list(read_groups(out))
    assert [group.tags for group in found] == [{"step": 0}] * 2 + [{"step": 1}] * 2
    record = json.loads(out.read_text().split("\n")[0])
    assert record["completions"][1]["total"] == 1.0
    again = score_rollouts([out], tmp_path / "c.yaml")
    assert "None of 8 recorded totals changed." in again
    assert not list(out.parent.glob("*.partial"))


def test_a_broken_last_line_is_counted_and_named(run):
    path = run / "rollouts" / "rank0.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    text = score_rollouts([path])
    assert f"1 broken line left out:\n  {path}, line 2: the last line is broken" in text


def test_totals_that_were_not_recorded_are_not_compared(run, tmp_path):
    record = json.loads((run / "rollouts" / "rank1.jsonl").read_text().split("\n")[0])
    for completion in record["completions"]:
        del completion["total"]
    (tmp_path / "old.jsonl").write_text(json.dumps(record) + "\n")
    assert "No recorded totals to compare with." in score_rollouts([tmp_path / "old.jsonl"])


def test_the_users_own_functions_grade_too(run, tmp_path):
    (tmp_path / "mine.py").write_text("def half(completion):\n    return 0.5\n")
    (tmp_path / "c.yaml").write_text(f"rewards:\n  own: {{'{tmp_path}/mine.py:half': 1.0}}\n")
    table = rows(score_rollouts([run], tmp_path / "c.yaml"))
    assert {row["half"] for row in table.values()} == {"0.500"}


def test_truncated_completions_are_shown(tmp_path, puzzle, chain):
    cut = group_of(puzzle, chain, finish_reason="length")
    append_groups(tmp_path / "r.jsonl", [grade(cut, RewardConfig())])
    row = rows(score_rollouts([tmp_path / "r.jsonl"]))["all"]
    assert (row["ok"], row["truncated"], row["choice"]) == ("0.0%", "100.0%", "0.000")


def test_what_a_folder_stands_for(run, tmp_path):
    assert [path.name for path in rollout_files(run)] == ["rank0.jsonl", "rank1.jsonl"]
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "greedy.jsonl").touch()
    assert rollout_files(tmp_path / "eval") == [tmp_path / "eval" / "greedy.jsonl"]
    with pytest.raises(DataError, match="a run's folder with rollouts/\\*.jsonl"):
        rollout_files(tmp_path)


def test_what_cannot_be_graded_is_refused(run, tmp_path, puzzle, chain):
    path = run / "rollouts" / "rank0.jsonl"
    with pytest.raises(ConfigError, match="--out: expected another file"):
        score_rollouts([run], None, path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="empty.jsonl: expected a group or more, found none"):
        score_rollouts([tmp_path / "empty.jsonl"])
    with pytest.raises(DataError, match="none.jsonl: expected recorded rollouts"):
        score_rollouts([tmp_path / "none.jsonl"])
    odd = replace(puzzle, configuration="center_double")
    record = json.loads(path.read_text().split("\n")[0]) | {"puzzle": odd.to_json()}
    (tmp_path / "odd.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match="odd.jsonl, lines 1 to 1: configuration: expected one of"):
        score_rollouts([tmp_path / "odd.jsonl"])


def test_a_failure_leaves_an_older_file_as_it_was(run, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    path = run / "rollouts" / "rank0.jsonl"
    path.write_text("no JSON\n" + path.read_text())
    with pytest.raises(DataError, match="line 1: not JSON"):
        score_rollouts([run], None, out)
    assert out.read_text() == "old" and not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trainer:\n  beta: 1\n", "c.yaml: expected a block 'rewards', got trainer"),
        ("", "c.yaml: expected a block 'rewards', got nothing"),
        ("rewards:\n  choise: 1\n", "c.yaml: unknown key rewards.choise; nearest: rewards.choice"),
        ("rewards:\n  choice: -1\n", "c.yaml: rewards.choice: expected a number >= 0"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(run, tmp_path, text, expected):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected):
        score_rollouts([run], tmp_path / "c.yaml")
