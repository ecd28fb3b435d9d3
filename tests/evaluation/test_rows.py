"""Rows keep what metrics need, and go to JSON and back."""

import json

import pytest

from rewards.config import RewardConfig
from rewards.parts.perception import perception_accuracy
from rewards.parts.rule import rule
from rl_avr.collector import Collector
from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.evaluation.rows import (
    ProblemRow,
    Tally,
    perception_tallies,
    rule_tallies,
    samples_of,
)
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine


def totals(tallies):
    return [sum(column) for column in zip(*tallies.values(), strict=True)]


def test_tallies_by_hand(puzzle, chain):
    # a wrong size in panel 2, no rule of the color, no type at all
    text = "\n".join(
        line for line in chain.split("\n") if not line.startswith(("Type", "Color"))
    ).replace("Size: 0 1 2", "Size: 0 3 2")
    parsed = read(text, puzzle)
    assert perception_tallies(parsed, puzzle) == {
        "color": Tally(0, 0, 8),
        "size": Tally(7, 1, 8),
        "type": Tally(0, 0, 8),
    }
    assert rule_tallies(parsed, puzzle) == {
        "color": Tally(0, 0, 1),
        "size": Tally(1, 0, 1),
        "type": Tally(0, 0, 1),
    }


def test_a_rule_named_wrongly_and_one_that_does_not_hold_are_wrong(grid, grid_chain):
    text = grid_chain.replace("progression +1", "progression +2").replace(
        "1.2.2 1.2.2 -> no rule", "1.2.2 1.2.2 -> constant -> 4"
    )
    found = rule_tallies(read(text, grid), grid)
    assert found["size"] == Tally(0, 1, 1)
    assert found["color"] == Tally(0, 1, 1)
    assert found["position"] == found["type"] == Tally(1, 0, 1)


def test_what_is_said_rightly_and_wrongly_is_wrong(puzzle, chain):
    parsed = read(chain + "\nIn panel 1 there is a circle of size 0 and color 3.", puzzle)
    assert perception_tallies(parsed, puzzle)["type"] == Tally(7, 1, 8)


def test_tallies_add_up_to_the_parts_of_the_reward(zoo):
    """Of gold chains with a few words exchanged, of every configuration and kind."""
    for number, one in enumerate(zoo):
        text = gold_chain(one).replace(" 2 ", " 3 ").replace("square", "circle")
        if number % 3 == 0:
            text = gold_chain(one)
        parsed = read(text, one)
        right, _, total = totals(perception_tallies(parsed, one))
        assert right / total == perception_accuracy(parsed, one)
        right, _, total = totals(rule_tallies(parsed, one))
        assert right / total == rule(parsed, one)


def test_no_state_no_tallies(annotated):
    photo = annotated()
    parsed = read("### Answer: C", photo)
    assert perception_tallies(parsed, photo) == rule_tallies(parsed, photo) == {}


@pytest.fixture
def row(puzzle, chain) -> ProblemRow:
    prompt = Prompt("p/cot", puzzle, "cot", "", ())
    engine = ScriptedEngine(lambda prompt, index: chain if index else "no idea")
    config = SamplingConfig(max_new_tokens=10_000)
    with Collector(engine, config, RewardConfig(), 0) as collector:
        (graded,) = collector.collect([prompt], 2, "eval")
    return ProblemRow("p/cot", (("rule", "constant"), ("rule", "arithmetic")), 2, 8, None,
                      samples_of(graded))  # fmt: skip


def test_samples_of_a_graded_group(row):
    nothing, gold = row.samples
    assert (nothing.status, nothing.choice, nothing.is_right) == ("no_answer", None, False)
    assert (gold.status, gold.choice, gold.is_right) == ("ok", 2, True)
    assert gold.num_tokens > nothing.num_tokens > 0
    assert gold.parts["perception"] == 1.0
    assert gold.perception["size"] == Tally(8, 0, 8)
    assert nothing.perception["size"] == Tally(0, 0, 8)


def test_rows_go_to_json_and_back(row):
    assert ProblemRow.from_json(row.to_json()) == row
    failed = ProblemRow("q", (), None, 0, error="prompt too long")
    assert ProblemRow.from_json(failed.to_json()) == failed
    assert "\n" not in row.to_json()


def test_values_of_a_tag(row):
    assert row.values("rule") == ("constant", "arithmetic")
    assert row.values("pattern") == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.pop("tags"),
        lambda raw: raw.update(surprise=1),
        lambda raw: raw["samples"][0].update(status="fine"),
        lambda raw: raw["samples"][0].pop("choice"),
        lambda raw: raw["samples"][0]["perception"].update(size=[1]),
    ],
)
def test_what_is_no_row_is_named(row, change):
    raw = json.loads(row.to_json())
    change(raw)
    with pytest.raises(DataError, match=r"problems\.jsonl, line 7: expected a problem's row"):
        ProblemRow.from_json(json.dumps(raw), "problems.jsonl, line 7")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"tags": []'])
def test_text_that_is_no_object_is_refused(text):
    with pytest.raises(DataError, match="expected a problem's row"):
        ProblemRow.from_json(text)
