"""Explanations: which claims are marked how, what is missed, what composition did."""

import pytest

from rewards.config import RewardConfig
from rewards.explain import explain
from rl_avr.contracts import Puzzle
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.prompts import in_tags
from rl_avr.seeding import rng_for


def explained(text, puzzle, config=None, kind="cot", own=None, finish_reason="stop"):
    config = config or RewardConfig()
    parsed = read(text, puzzle, finish_reason, kind, config.answer_form)
    return explain(text, parsed, puzzle, config, kind, own or {})


def marks(text, puzzle, **options):
    """Returns what is marked wrong, with the words in the text, and the number marked right."""
    found = explained(text, puzzle, **options)
    wrong = [(text[c.span.start : c.span.end], c.says, c.truth) for c in found.claims]
    is_wrong = [not c.is_true for c in found.claims]
    return [w for w, bad in zip(wrong, is_wrong, strict=True) if bad], is_wrong.count(False)


def test_every_claim_of_the_gold_chain_is_right(puzzle, chain):
    found = explained(chain, puzzle)
    # 8 panels and a prediction of three attributes, three rules, three predictions again,
    # 1 + 2 + 3 values tried with a verdict each, and the answer
    assert len(found.claims) == 27 + 3 + 3 + 12 + 1
    assert all(claim.is_true and not claim.is_repeat for claim in found.claims)
    assert (found.chosen, found.right, found.gold, found.missed) == ("C", "C", chain, ())
    assert [s.name for s in found.sections] == [
        *("prefix", "type", "size", "color", "missing", "choice A", "choice B", "choice C"),
        "answer",
    ]
    assert found.notes == ("gate: choice. The answer is right, so every part counts.",)


def test_the_gold_chains_of_every_kind_have_nothing_wrong(zoo):
    for form in ("mark", "tags"):
        config = RewardConfig(answer_form=form)
        for puzzle in zoo:
            for text in (gold_chain(puzzle), fluent_chain(puzzle, rng_for("t", puzzle.puzzle_id))):
                found = explained(in_tags(text) if form == "tags" else text, puzzle, config)
                assert all(c.is_true and not c.is_repeat for c in found.claims)
                assert found.missed == () and len(found.claims) >= 10
                assert found.claims[-1].says == f"answer: {puzzle.answer_letter}"


def test_each_kind_of_wrong_claim_says_what_is_true(puzzle, chain):
    text = (
        chain.replace("Type: square", "Type: circle")
        .replace("progression +1 -> 4", "progression +2 -> 5")
        .replace("hexagon 4 7\n", "hexagon 4 6\n")
        .replace("B: hexagon yes, 3 no", "B: hexagon yes, 3 yes, 7 no")
        .replace("Answer: C", "Answer: B")
    )
    wrong, num_right = marks(text, puzzle)
    assert wrong == [
        ("circle", "panel 1, type: circle", "it is square"),
        ("progression +2", "rule of size: progression +2", "it is progression +1"),
        ("5", "the missing panel, size: 5", "it is 4"),
        ("6", "the missing panel, color: 6", "it is 7"),
        ("yes", "choice B, size: fits", "it is 3, right is 4"),
        ("no", "choice B, color: does not fit", "it is 7, right is 7"),
        ("### Answer: B", "answer: B", "right is C"),
    ]
    assert num_right == 46 + 2 - 7


def test_values_of_single_slots_are_named(grid, grid_chain):
    wrong, _ = marks(grid_chain.replace("Color: 3.5", "Color: 3.6"), grid)
    assert wrong == [("6", "panel 1, slot 4, color: 6", "it is 3.5")]
    wrong, _ = marks(grid_chain.replace("Position: 14", "Position: 13"), grid)
    # slots 1 and 3 are read as the text has them, so the color of slot 3 is wrong too
    assert [says for _, says, _ in wrong] == ["panel 1, position: 13", "panel 1, slot 3, color: 5"]


def test_a_rule_where_there_is_none_is_wrong(grid, grid_chain):
    text = grid_chain.replace("3 3 -> no rule", "3 3 -> constant -> 3")
    (wrong, *_), _ = marks(text, grid)
    assert wrong == ("constant", "rule of number: constant", "it is no rule")


def test_what_is_said_again_is_told(puzzle, chain):
    line = chain.split("\n")[1]
    found = explained(chain.replace(line, f"{line}\n{line}"), puzzle)
    repeats = [claim.says for claim in found.claims if claim.is_repeat]
    assert repeats[0] == "panel 1, type: square" and len(repeats) == 9
    assert repeats[-1] == "rule of type: constant"


def test_what_is_not_said(puzzle, chain):
    lines = chain.split("\n")
    size, color = lines.pop(2), lines.pop(2)
    assert size.startswith("Size") and color.startswith("Color")
    assert explained("\n".join(lines), puzzle).missed == (
        *("size of every panel", "rule of size: progression +1"),
        *("color of every panel", "rule of color: arithmetic +"),
    )
    prose = "The shape in panel 3 is a square with size 2 and color 7."
    assert explained(prose, puzzle).missed[:3] == (
        "type of panels 1, 2, 4, 5, 6, 7, 8",
        "rule of type: constant",
        "type of the missing panel",
    )


def test_nothing_is_missed_where_no_chain_was_asked_for(puzzle):
    found = explained("C", puzzle, kind="direct")
    assert (found.missed, found.gold) == ((), "### Answer: C")
    assert [(c.says, c.is_true) for c in found.claims] == [("answer: C", True)]
    assert found.notes[0].startswith("The prompt is of the kind direct: choice, format, length")


def test_how_parts_count(puzzle, chain):
    def parts(text, **options):
        found = explained(text, puzzle, RewardConfig(**options))
        return {p.name: (p.value, p.counted) for p in found.parts}, found

    wrong = chain.replace("Answer: C", "Answer: A")
    gated, found = parts(wrong)
    assert gated["perception"] == (1.0, 0.0) and gated["knowledge"] == (1.0, None)
    assert "the other parts count as 0" in found.notes[0]
    assert parts(wrong, gate="none")[0]["perception"] == (1.0, 1.0)
    streams, found = parts(wrong, gate="stream")
    assert streams["rule"] == (1.0, 1.0)
    # choice 0 and format 1 by 1 and 0.1
    assert "outcome 0.09 (weight 1), perception 1.00 (weight 0.5)" in found.notes[0]

    loose = chain.replace("A: circle no\n", "")
    both, found = parts(loose, format_mode="and")
    assert both["choice"] == (1.0, 0.0) and found.score.total == 0.0
    assert found.notes[0].endswith("The form is wrong, so choice counts as 0.")
    assert parts(loose, format_mode="graded")[0]["choice"] == (1.0, 0.9)
    assert parts(loose, format_mode="added")[0]["choice"] == (1.0, pytest.approx(1 / 1.5))
    assert parts(loose, format_mode="implicit")[0]["format"] == (0.0, None)


def test_the_total_is_the_mean_of_what_counts(puzzle, chain):
    for options in ({}, {"gate": "none"}, {"format_mode": "graded"}, {"stage": "perception"}):
        for text in (chain, chain.replace("square", "circle"), "### Answer: C", ""):
            found = explained(text, puzzle, RewardConfig(**options))
            counted = [p for p in found.parts if p.counted is not None]
            mean = sum(p.weight * p.counted for p in counted) / sum(p.weight for p in counted)
            assert found.score.total == pytest.approx(mean)


def test_the_users_own_parts_are_shown(puzzle, chain):
    config = RewardConfig(own={"mine.py:brevity": 0.5})
    found = explained(chain, puzzle, config, own={"brevity": 0.25})
    part = found.parts[-1]
    assert (part.name, part.value, part.weight, part.counted) == ("brevity", 0.25, 0.5, 0.25)


@pytest.mark.parametrize(
    ("text", "truth"), [("### Answer: 4", ""), ("### Answer: 5", "right is 4"), ("", None)]
)
def test_without_a_state_the_answer_alone_is_marked(annotated, text, truth):
    puzzle = annotated(choices=(), answer="4", chain=None)
    found = explained(text, puzzle)
    assert [claim.truth for claim in found.claims] == ([] if truth is None else [truth])
    assert found.missed == () and found.gold == "### Answer: 4"
    assert "perception, rule" in found.notes[-1]


def test_an_answer_that_is_worth_something_says_so(annotated):
    puzzle = annotated(choices=(), answer="red, round", answer_kind="tuple", chain=None)
    (claim,) = explained("### Answer: red, square", puzzle).claims
    assert not claim.is_true and claim.truth == "right is red, round, worth 0.33"


def test_a_puzzle_without_any_answer_can_be_explained(puzzle):
    bare = Puzzle(**{**puzzle.__dict__, "answer_index": None, "rules": ()})
    found = explained("Type: a\n### Answer: C", bare)
    assert (found.right, found.gold) == ("", "")


def test_a_very_long_answer_is_cut(annotated):
    puzzle = annotated(choices=(), answer="4", chain=None)
    found = explained("### Answer: " + "x" * 1_000_000, puzzle)
    assert len(found.chosen) == 201 and len(found.claims[0].says) < 220
