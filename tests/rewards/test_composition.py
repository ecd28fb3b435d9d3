"""Totals by hand, the gate, and the ends of the scale for every part."""

import dataclasses

import pytest

from rewards.composition import REWARDS, grade, score
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError
from rl_avr.parsing import parse
from rl_avr.prompts import COT_PROMPT, PANEL_QUESTIONS

GATED, OPEN = RewardConfig(), RewardConfig(gate="none")
GARBAGE = (
    "",
    " \n\n",
    COT_PROMPT,
    COT_PROMPT + "\n" + COT_PROMPT,
    "\n".join(PANEL_QUESTIONS.values()),
    "This is a regular puzzle.",
    "asdf 123 | -> ###",
    "### Answer:",
    "### Answer: A B C D E F G H",
    "\n".join(f"### Answer: {letter}" for letter in "ABCDEFGH"),
    "\x00\ufffd" * 50,
    "Type: ? ? ? | ? ? ? | ? ? -> ? -> ?",
)


def total(text, puzzle, config=GATED, finish="stop"):
    return score(parse(text, len(puzzle.choices), finish), puzzle, config).total


def test_gold_scores_one_in_every_part(puzzles):
    for puzzle in puzzles:
        for prefix in (True, False):
            found = score(parse(gold_chain(puzzle, prefix), 8), puzzle, GATED)
            assert dict(found.parts) == dict.fromkeys(REWARDS, 1.0)
            assert found.total == pytest.approx(1.0)


@pytest.mark.parametrize("config", [GATED, OPEN], ids=["gated", "open"])
@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_scores_zero_in_every_part(puzzles, text, config):
    for puzzle in puzzles[:40]:
        found = score(parse(text, 8), puzzle, config)
        assert dict(found.parts) == dict.fromkeys(REWARDS, 0.0)
        assert found.total == 0.0


def test_a_chain_cut_anywhere_scores_zero(puzzle, chain):
    for end in range(len(chain)):
        assert total(chain[:end], puzzle) == 0.0
        assert total(chain[:end], puzzle, finish="length") == 0.0
    assert total(chain, puzzle, finish="length") == 0.0


# default weights: choice 1, format 0.1, perception 0.2, rule 0.1; sum 1.4
@pytest.mark.parametrize(
    ("change", "gated", "open_"),
    [
        (("", ""), 1.0, 1.0),
        (("### Answer: C", "### Answer: A"), 0.0, 0.4 / 1.4),
        (("### Answer: C", ""), 0.0, 0.3 / 1.4),
        (("arithmetic +", "constant"), (1.3 + 0.1 * 2 / 3) / 1.4, (1.3 + 0.1 * 2 / 3) / 1.4),
        # a second sentence: the format is lost, the rest stays
        (("This is", "I see\nThis is"), 1.3 / 1.4, 1.3 / 1.4),
    ],
)
def test_totals_by_hand(puzzle, chain, change, gated, open_):
    text = chain.replace(*change, 1)
    assert total(text, puzzle, GATED) == pytest.approx(gated)
    assert total(text, puzzle, OPEN) == pytest.approx(open_)


def test_a_bare_answer_earns_the_choice_alone(puzzle):
    assert total("### Answer: C", puzzle) == pytest.approx(1 / 1.4)


def test_a_choice_that_needs_its_format_earns_nothing_without_it(puzzle, chain):
    gated, open_ = (RewardConfig(needs_format=True, gate=gate) for gate in ("choice", "none"))
    assert total(chain, puzzle, gated) == pytest.approx(1.0)
    assert total("### Answer: C", puzzle, gated) == 0.0
    late = chain.replace("This is", "I see\nThis is")
    assert total(late, puzzle, gated) == 0.0
    assert total(late, puzzle, open_) == pytest.approx(0.3 / 1.4)
    # the part itself still says that the choice was right
    assert score(parse(late, 8), puzzle, gated).part("choice") == 1.0


def test_other_weights_by_hand(puzzle):
    config = RewardConfig(choice=2, format=0, perception=1, rule=1)
    size = "Size: 5 5 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n### Answer: C"
    # perception 0.375 and one rule of three, as in test_parts
    assert total(size, puzzle, config) == pytest.approx((2 + 0.375 + 1 / 3) / 4)


def test_a_part_that_cannot_judge_leaves_the_mean(puzzle, chain):
    bare = dataclasses.replace(puzzle, rules=())
    found = score(parse(chain, 8), bare, GATED)
    assert found.part("rule") is None
    assert found.total == pytest.approx(1.0)
    assert total("### Answer: C", bare) == pytest.approx(1 / 1.3)


def test_scaling_all_weights_changes_nothing(puzzle, chain):
    text = chain.replace("arithmetic +", "constant")
    thrice = RewardConfig(choice=3, format=0.3, perception=0.6, rule=0.3)
    assert total(text, puzzle, thrice) == pytest.approx(total(text, puzzle))


def test_without_any_weight_there_is_no_reward():
    with pytest.raises(ConfigError, match="at least one weight above 0"):
        RewardConfig(0, 0, 0, 0)


def test_a_choice_that_the_puzzle_does_not_have_is_graded_without_error(puzzle, chain):
    four = dataclasses.replace(puzzle, choices=puzzle.choices[:4])
    text = chain + "\nH: circle no"
    assert total(text, four, OPEN) == pytest.approx(1.3 / 1.4)


def graded(puzzle, texts, config, finish="stop"):
    prompt = Prompt("p", puzzle, "cot", COT_PROMPT, b"")
    completions = tuple(Completion(text, (), (), finish, 0) for text in texts)
    return grade(RolloutGroup(prompt, (), completions), config)


def test_an_all_wrong_group_has_equal_totals_only_with_the_gate(puzzle, chain):
    texts = [
        chain.replace("### Answer: C", "### Answer: A"),
        chain.replace("### Answer: C", "### Answer: B\n\nso B"),
        "### Answer: H",
        "",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4",
        chain.replace("arithmetic +", "constant").replace("### Answer: C", "### Answer: D"),
    ]
    assert {s.total for s in graded(puzzle, texts, GATED).scores} == {0.0}
    assert len({s.total for s in graded(puzzle, texts, OPEN).scores}) > 3


def test_grade_keeps_the_order_and_reads_why_a_completion_ended(puzzle, chain):
    group = graded(puzzle, [chain, "", "### Answer: C"], GATED)
    assert [p.status for p in group.parsed] == ["ok", "no_answer", "malformed"]
    assert [s.total for s in group.scores] == pytest.approx([1.0, 0.0, 1 / 1.4])
    cut = graded(puzzle, [chain], GATED, finish="length")
    assert (cut.parsed[0].status, cut.scores[0].total) == ("truncated", 0.0)


@pytest.mark.parametrize("name", ["choice", "format", "perception", "rule"])
def test_every_part_has_a_weight_and_none_is_negative(name):
    assert set(REWARDS) == {"choice", "format", "perception", "rule"}
    with pytest.raises(ConfigError, match=name):
        RewardConfig(**{name: -0.1})
