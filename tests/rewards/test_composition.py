"""Totals by hand, the gate, and the ends of the scale for every part."""

import dataclasses

import pytest

from rewards.composition import REWARDS, grade, part_names, score, stream_weights
from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError
from rl_avr.parsing import parse
from rl_avr.prompts import COT_PROMPT, PANEL_QUESTIONS, in_tags

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
            assert (found.streams, found.outcome) == ((("total", found.total),), 1.0)


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
    gated, open_ = (RewardConfig(format_mode="and", gate=gate) for gate in ("choice", "none"))
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
    # perception 0.375 and one rule of three, as in parts/test_perception
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
    assert RewardConfig(0, 0, 0, 0, own={"mine.py:mine": 1.0}).own


def test_a_choice_that_the_puzzle_does_not_have_is_graded_without_error(puzzle, chain):
    four = dataclasses.replace(puzzle, choices=puzzle.choices[:4])
    text = chain + "\nH: circle no"
    assert total(text, four, OPEN) == pytest.approx(1.3 / 1.4)


def graded(puzzle, texts, config, finish="stop"):
    prompt = Prompt("p", puzzle, "cot", COT_PROMPT, ())
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


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_a_weight_and_none_is_negative(name):
    assert set(REWARDS) == set(PARTS) - {"length"}
    with pytest.raises(ConfigError, match=name):
        RewardConfig(**{name: -0.1})


# right in a right form, right in a wrong form, wrong in a right form, nothing
MODES = {
    "separate": (1.0, 1 / 1.1, 0.1 / 1.1, 0.0),
    "and": (1.0, 0.0, 0.1 / 1.1, 0.0),
    "implicit": (1.0, 1.0, 0.0, 0.0),
    "graded": (0.9, 0.9, 0.1, 0.0),
    "added": (1.0, 1 / 1.5, 0.5 / 1.5, 0.0),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_the_form_is_worth_in_each_mode(puzzle, chain, mode):
    config = RewardConfig(perception=0, rule=0, format_mode=mode, gate="none")
    texts = [chain, "### Answer: C", chain.replace("### Answer: C", "### Answer: A"), ""]
    assert [total(text, puzzle, config) for text in texts] == pytest.approx(MODES[mode])


@pytest.mark.parametrize("mode", MODES)
def test_admission_looks_at_the_answers_not_at_their_form(puzzle, chain, mode):
    config = RewardConfig(format_mode=mode, gate="none")
    wrong = chain.replace("### Answer: C", "### Answer: A")
    found = graded(puzzle, [wrong, "### Answer: A", "", "x"], config)
    assert not found.is_admitted
    assert {s.streams for s in found.scores} == {(("total", 0.0),)}
    assert found.scores[0].total > found.scores[2].total
    assert graded(puzzle, [wrong, chain], config).is_admitted
    # both right, in different form: only the and-gate calls one of them wrong
    assert graded(puzzle, [chain, "### Answer: C"], config).is_admitted == (mode == "and")
    everyone = graded(puzzle, [wrong, ""], RewardConfig(gate="none", admission="none"))
    assert everyone.is_admitted
    assert len({s.streams for s in everyone.scores}) == 2


def test_the_streams_of_each_aggregation(puzzle, chain):
    summed = RewardConfig()
    apart = RewardConfig(aggregation="normalize_then_sum")
    stream = RewardConfig(gate="stream", stream_weight=0.25)
    assert stream_weights(summed) == {"total": 1.0}
    assert stream_weights(apart) == {"choice": 1.0, "format": 0.1, "perception": 0.2, "rule": 0.1}
    assert stream_weights(stream) == {"outcome": 1.0, "perception": 0.25}
    text = chain.replace("### Answer: C", "### Answer: A")
    parsed = parse(text, 8)
    assert dict(score(parsed, puzzle, apart).streams) == {
        "choice": 0.0,
        "format": 0.0,
        "perception": 0.0,
        "rule": 0.0,
    }
    assert dict(score(parse(chain, 8), puzzle, apart).streams) == dict.fromkeys(
        stream_weights(apart), 1.0
    )
    both = dict(score(parsed, puzzle, stream).streams)
    # choice 0 and format 1; perception and rules all right
    assert both == pytest.approx({"outcome": 0.1 / 1.1, "perception": 1.0})
    assert score(parsed, puzzle, stream).total == pytest.approx((0.1 / 1.1 + 0.25) / 1.25)


def test_a_format_without_a_term_has_no_stream(puzzle, chain):
    config = RewardConfig(format_mode="implicit", aggregation="normalize_then_sum")
    assert "format" not in stream_weights(config)
    assert "format" not in dict(score(parse(chain, 8), puzzle, config).streams)


def test_the_perception_stage_rewards_seeing_whatever_the_answer(puzzle, chain):
    config = RewardConfig(stage="perception", format=0)
    wrong = chain.replace("### Answer: C", "### Answer: A")
    assert total(chain, puzzle, config) == total(wrong, puzzle, config) == 1.0
    blind = "### Answer: C"
    found = score(parse(blind, 8), puzzle, config)
    assert (found.total, found.outcome) == (0.0, 0.0)
    assert found.part("choice") is None
    group = graded(puzzle, [wrong, blind], config)
    assert group.is_admitted


@pytest.mark.parametrize("kind", ["direct", "perception"])
def test_a_short_answer_misses_no_chain(puzzle, kind):
    for stage in ("reasoning", "perception"):
        config = RewardConfig(stage=stage)
        found = score(read("C", puzzle, "stop", kind), puzzle, config, kind)
        assert (found.total, found.outcome) == (1.0, 1.0)
        assert {name for name, v in found.parts if v is not None} == {"choice", "format"}
        assert score(read("A", puzzle, "stop", kind), puzzle, config, kind).total == 0.0


def test_the_length_part_enters_with_a_limit(puzzle, chain):
    config = RewardConfig(length=1.0, length_limit=100, length_buffer=50)
    assert part_names(config)[-1] == "length"
    ids = tuple(range(75))
    prompt = Prompt("p", puzzle, "cot", COT_PROMPT, ())
    group = RolloutGroup(prompt, (), (Completion(chain, ids, (), "stop", 0),))
    found = grade(group, config).scores[0]
    # 25 of the last 50 tokens are left
    assert found.part("length") == pytest.approx(0.5)
    assert found.total == pytest.approx((1.4 + 0.5) / 2.4)
    with pytest.raises(ConfigError, match="length_limit: expected the number of tokens"):
        RewardConfig(length=1.0)
    with pytest.raises(ConfigError, match="length_buffer"):
        RewardConfig(length_limit=10, length_buffer=11)


def test_weights_whose_sum_is_not_finite_are_refused():
    with pytest.raises(ConfigError, match="their sum: expected a finite number, got inf"):
        RewardConfig(choice=1e308, format=1e308, perception=1e308)


def test_a_weight_on_the_reward_is_refused_because_it_cancels():
    with pytest.raises(ConfigError, match=r"difficulty_on.*A\(w r\) = A\(r\)"):
        RewardConfig(difficulty_slope=0.5, difficulty_on="reward")


def test_the_users_own_parts_count_like_the_others(puzzle, chain):
    config = RewardConfig(own={"mine.py:brevity": 1.0}, format=0, perception=0, rule=0)
    right, wrong = parse(chain, 8), parse("### Answer: A", 8)
    found = score(right, puzzle, config, own={"brevity": 0.5})
    assert found.part("brevity") == 0.5
    assert found.total == pytest.approx(0.75)
    assert score(wrong, puzzle, config, own={"brevity": 1.0}).total == 0.0
    assert score(right, puzzle, config, own={"brevity": None}).total == 1.0


def test_an_answer_in_tags_is_graded_where_tags_are_asked_for(puzzle, chain):
    tags = RewardConfig(answer_form="tags")
    assert graded(puzzle, [in_tags(chain)], tags).scores[0].total == pytest.approx(1.0)
    assert graded(puzzle, [chain], tags).scores[0].total == 0.0
    assert graded(puzzle, [in_tags(chain)], GATED).scores[0].total == 0.0
