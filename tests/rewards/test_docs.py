"""docs/rewards.md: every snippet runs, every setting and part that it names is there."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from rewards.columns import COLUMNS
from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import AnswerKind

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def imported(snippet):
    return re.search(r"from rewards.adapters import (\w+)", snippet)[1]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=imported)
def test_every_snippet_runs(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "docs/rewards.md", "exec"), {"__name__": "snippet"})


def test_every_adapter_has_a_snippet():
    assert [imported(snippet) for snippet in SNIPPETS] == [
        "trl_rewards",
        "plain_reward",
        "verl_reward",
        "easyr1_reward",
    ]


def test_every_part_is_in_the_table_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \(([\d.]+)\) \|", PAGE, re.MULTILINE))
    assert {name: float(weight) for name, weight in rows.items()} == RewardConfig().weights()
    assert set(rows) == set(PARTS)


def test_every_mode_is_named():
    hints = get_type_hints(RewardConfig)
    values = [value for field in fields(RewardConfig) for value in get_args(hints[field.name])]
    named = [value for value in values if isinstance(value, str)]
    # the defaults of these two stand in no table, for they are what is
    missing = {value for value in named if f"`{value}`" not in PAGE and f": {value}`" not in PAGE}
    assert missing == {"advantage", "reasoning"}
    assert all(f"`{kind}`" in PAGE for kind in get_args(AnswerKind))
    assert all(f"`{column}`" in PAGE for column in COLUMNS)
