"""Parsing: claims and spans by hand, every status, and text that no one expects."""

import random

import pytest

from rl_avr.contracts import Rule, Span
from rl_avr.elicitation.chains import gold_chain
from rl_avr.parsing import parse
from rl_avr.prompts import value_level

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


def claims(parsed):
    return [(c.panel, c.attribute, c.value) for c in parsed.panel_claims]


def test_the_gold_chain_by_hand(chain):
    parsed = parse(chain, 8)
    assert parsed.status == "ok"
    assert parsed.choice_index == 2
    assert parsed.sections == (
        *("prefix", "type", "size", "color", "missing"),
        *("choice:0", "choice:1", "choice:2", "answer"),
    )
    types = [2, 2, 2, 5, 5, 5, 4, 4]
    assert claims(parsed)[:9] == [
        *((f"context:{i}", "type", level) for i, level in enumerate(types)),
        ("missing", "type", 4),
    ]
    assert claims(parsed)[27:] == [
        ("missing", "type", 4),
        ("missing", "size", 4),
        ("missing", "color", 7),
        ("choice:0", "type", 5),
        ("choice:1", "type", 4),
        ("choice:1", "size", 3),
        ("choice:2", "type", 4),
        ("choice:2", "size", 4),
        ("choice:2", "color", 7),
    ]
    assert [claim.rule for claim in parsed.rule_claims] == [
        Rule("type", "constant"),
        Rule("size", "progression", 1),
        Rule("color", "arithmetic", 1),
    ]


@pytest.mark.parametrize("before", ["", "Ωmega 图形\n\n", "\r\n", "😀 \n"])
def test_spans_cut_the_claimed_words_out_of_the_text(puzzles, before):
    for puzzle in puzzles[:20]:
        text = before + gold_chain(puzzle)
        parsed = parse(text, 8)
        for claim in parsed.panel_claims:
            word = text[claim.span.start : claim.span.end]
            assert value_level(claim.attribute, word) == claim.value
        starts = [claim.span.start for claim in parsed.panel_claims]
        assert starts == sorted(set(starts))
        for claim in parsed.rule_claims:
            phrase = text[claim.span.start : claim.span.end]
            assert phrase.split()[0] == claim.rule.kind.split("_")[0]


def test_spans_by_hand():
    parsed = parse("x\n" + SIZE_LINE, 8)
    assert parsed.panel_claims[0].span == Span(8, 9)
    assert parsed.panel_claims[-1].span == Span(2 + len(SIZE_LINE) - 1, 2 + len(SIZE_LINE))
    assert parsed.rule_claims[0].span == Span(31, 45)


@pytest.mark.parametrize(
    ("answer", "status", "choice"),
    [
        ("### Answer: C", "ok", 2),
        ("###Answer:C", "ok", 2),
        ("### Answer: H  ", "ok", 7),
        ("### Answer: C\r", "ok", 2),
        ("### Answer: C\n", "ok", 2),
        ("### Answer: I", "not_a_choice", None),
        ("### Answer: c", "not_a_choice", None),
        ("### Answer: AB", "not_a_choice", None),
        ("### Answer: C.", "not_a_choice", None),
        ("### Answer: C or D", "not_a_choice", None),
        ("### Answer: \uff23", "not_a_choice", None),
        ("### Answer: 3", "not_a_choice", None),
        ("### Answer:", "not_a_choice", None),
        ("### answer: C", "no_answer", None),
        ("Answer: C", "no_answer", None),
        ("The answer is C", "no_answer", None),
        ("x ### Answer: C", "no_answer", None),
        ("### Answer: C\n### Answer: C", "several_answers", None),
        ("### Answer: C\n### Answer: D", "several_answers", None),
        ("### Answer: C\n### Answer:", "several_answers", None),
        ("### Answer: C\nSo it is C.", "malformed", 2),
    ],
)
def test_answers(chain, answer, status, choice):
    parsed = parse(chain.removesuffix("### Answer: C") + answer, 8)
    assert (parsed.status, parsed.choice_index) == (status, choice)


def test_verdicts_by_hand(chain):
    verdicts = parse(chain, 8).verdict_claims
    assert [(v.choice_index, v.attribute, v.fits) for v in verdicts] == [
        (0, "type", False),
        (1, "type", True),
        (1, "size", False),
        (2, "type", True),
        (2, "size", True),
        (2, "color", True),
    ]
    words = [chain[v.span.start : v.span.end] for v in verdicts]
    assert words == ["no", "yes", "no", "yes", "yes", "yes"]


def test_a_letter_beyond_the_choices_is_no_choice():
    assert parse("### Answer: E", 4).status == "not_a_choice"
    assert parse("### Answer: D", 4).choice_index == 3


def test_a_claim_about_a_choice_that_is_not_there_is_no_claim():
    parsed = parse("D: circle no\nE: circle no\n### Answer: D", 4)
    assert claims(parsed) == [("choice:3", "type", 5)]
    assert parsed.sections == ("choice:3", "other", "answer")


def test_the_limit_wins_over_every_other_status(chain):
    for text in (chain, "", "### Answer: C\n### Answer: D"):
        assert parse(text, 8, "length").status == "truncated"


def test_the_prefix_may_be_left_out_and_blank_lines_do_not_count(chain):
    body = chain.removeprefix("This is a regular puzzle.\n")
    assert parse(body, 8).status == "ok"
    assert parse(chain.replace("\n", "\n \n"), 8).status == "ok"
    assert parse(body.replace("Size", "This is a regular puzzle.\nSize"), 8).status == "malformed"


@pytest.mark.parametrize("index", range(1, 8))
def test_a_section_that_is_missing_repeated_or_misplaced_is_malformed(chain, index):
    lines = chain.split("\n")
    without = lines[:index] + lines[index + 1 :]
    repeated = [*lines[: index + 1], *lines[index:]]
    swapped = [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]
    # the last choice tried may be left out: fewer choices are tried then
    assert parse("\n".join(without), 8).status == ("ok" if index == 7 else "malformed")
    assert parse("\n".join(repeated), 8).status == "malformed"
    assert parse("\n".join(swapped), 8).status == "malformed"


@pytest.mark.parametrize(
    "line",
    [
        "Size: 0 1 | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Size: 0 1 2 3 | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Size: 0 1 2 | 1 2 | 2 3 4 -> progression +1 -> 4",
        "Size: 0 1 2 | 1 2 3 | 2 3 4 -> progression +1 -> 4",
        "Size: 0 1 2 | 1 2 3 -> progression +1 -> 4",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +9 -> 4",
        "Size: 0 1 2 | 1 2 3 | 2 3 ->  -> 4",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4 5",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> constant -> progression +1 -> 4",
        "Size: 0 1 ٢ | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> ٤",
        "Size: 0 1 circle | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Size: 00 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4",
        " Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Shape: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4",
        "Missing panel: hexagon 4",
        "Missing panel: hexagon 4 7 1",
        "Missing panel: 4 4 7",
        "Missing panel:",
        "A: circle maybe",
        "A: circle",
        "A: 4 yes",
        "A: circle yes, hexagon no",
        "A: circle yes, 3 yes, 4 yes, 5 yes",
        "I: circle no",
        "A:circle no",
    ],
)
def test_a_line_that_comes_close_makes_no_claim(line):
    parsed = parse(line, 8)
    assert parsed.panel_claims == ()
    assert parsed.rule_claims == ()
    assert parsed.verdict_claims == ()
    assert parsed.sections == ("other",)


def test_a_repeated_claim_appears_twice():
    parsed = parse(f"{SIZE_LINE}\n{SIZE_LINE}", 8)
    assert claims(parsed)[:9] == claims(parsed)[9:]
    assert len(parsed.rule_claims) == 2


def test_an_empty_completion_says_nothing():
    for text in ("", "\n", " \n\t\n"):
        parsed = parse(text, 8)
        assert (parsed.status, parsed.choice_index, parsed.sections) == ("no_answer", None, ())


@pytest.mark.parametrize("num_choices", [8, 4])
def test_no_garbage_raises_or_chooses(num_choices):
    rng = random.Random(0)
    pieces = ["Type:", "Size:", "A:", " ", "|", "->", "###", "Answer", ":", "\n", "٣", "\x00", "🙂"]
    pieces += [
        "circle",
        "yes",
        ",",
        "\ud800",
        "\r",
        "\u2028",
        "Missing panel:",
        "constant",
        "7",
        "(",
    ]
    for _ in range(2000):
        parsed = parse("".join(rng.choices(pieces, k=rng.randrange(60))), num_choices)
        assert parsed.status != "ok"
        assert all(value.value in range(10) for value in parsed.panel_claims)


@pytest.mark.parametrize(
    "text",
    [
        "Size: " * 60_000,
        "Size: " + "0 " * 200_000 + "| 1 | 2 -> x -> y z",
        "Size: 0 | 1 | 2" + " -> a" * 100_000 + " b c",
        "Size: 0 | 1 | 2 -> " + "->" * 200_000,
        "A: " + "circle yes, " * 50_000,
        "A: " + "x" * 400_000,
        "###" + " " * 400_000,
        "### Answer:" + " " * 400_000 + "\x00 C",
        "Missing panel: " + "4 " * 200_000,
        "\n" * 400_000,
        "| " * 200_000,
    ],
    ids=range(11),
)
def test_huge_lines_are_read_to_the_end(text):
    # With a pattern that backtracks over pairs of positions this would not come to an end.
    parsed = parse(text, 8)
    assert parsed.choice_index is None
    assert parsed.panel_claims == ()


def test_a_chain_behind_a_huge_text_is_still_found(chain):
    parsed = parse("garbage -> | " * 50_000 + "\n" + chain, 8)
    assert (parsed.status, parsed.choice_index) == ("malformed", 2)
    assert len(parsed.panel_claims) == 36
