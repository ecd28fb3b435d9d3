"""Parsing: claims and spans by hand, every status, and text that no one expects."""

import random

import pytest

from rl_avr.contracts import Rule, Span
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.schema import (
    all_schemas,
    annotated_schema,
    nonregular_schema,
    regular_schema,
)
from rl_avr.parsing import parse, parse_direct
from rl_avr.prompts import in_tags, value_level

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


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        ("Size:  0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4", True),
        ("Size: 0\t1  2 | 1 2 3 |  2 3 -> progression +1 -> 4", True),
        ("Size: 0 1\u20032 | 1 2 3 | 2\x1c3 -> progression +1 -> 4", True),
        ("Size: 0 1 2\t| 1 2 3 | 2 3 -> progression +1 -> 4", False),
        ("Size:\t0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4", False),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 ->  4", False),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression  +1 -> 4", False),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\r", False),
        ("Missing panel: hexagon\t4  7\r", True),
        ("A: circle\tno", False),
        ("A: circle no\r", False),
        ("B: hexagon yes,  3 no", False),
        ("B: hexagon  yes, 3 no", False),
        ("B: hexagon yes, 3 no, ", False),
    ],
)
def test_white_space_other_than_one_space(line, is_read):
    parsed = parse(line, 8)
    assert bool(parsed.panel_claims) == is_read
    for claim in parsed.panel_claims:
        word = line[claim.span.start : claim.span.end]
        assert value_level(claim.attribute, word) == claim.value


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


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        "a\n",
        "A: a\n",
        "Size: \n",
        " -> \n",
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 5\n",
        "A: circle yes, 3 yes, 4 no\n",
        "Missing panel: 4 4 4\n",
        "###" + " " * 500 + "\n",
        "<think></think>",
    ],
)
def test_a_million_characters_before_the_answer(unit):
    text = unit * (1_000_000 // len(unit))
    parsed = parse(f"{text}\n### Answer: C", 8)
    assert (parsed.status, parsed.choice_index) == ("malformed", 2)
    tagged = parse(f"{text}<answer>C</answer>", 8, answer_form="tags")
    assert (tagged.status, tagged.choice_index) == ("malformed", 2)


def test_a_million_answers_are_several():
    assert parse("### Answer: A\n" * 70_000, 8).status == "several_answers"
    assert parse("<answer>A</answer>" * 60_000, 8, answer_form="tags").status == "several_answers"
    assert parse("### Answer: " + "A" * 1_000_000, 8).status == "not_a_choice"


def test_a_chain_behind_a_huge_text_is_still_found(chain):
    parsed = parse("garbage -> | " * 50_000 + "\n" + chain, 8)
    assert (parsed.status, parsed.choice_index) == ("malformed", 2)
    assert len(parsed.panel_claims) == 36


GRID_LINES = (
    "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule",
    "Position: 14 14 14 | 2 2 2 | 123 123 -> constant -> 123",
    "Color: 3.5 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule",
)


def read_grid(*lines, num_choices=8):
    return parse("\n".join(lines), num_choices, schema=regular_schema("distribute_four"))


def test_the_grid_s_chain_by_hand(grid_chain):
    parsed = parse(grid_chain, 4, schema=regular_schema("distribute_four"))
    assert parsed.status == "ok"
    assert parsed.choice_index == 1
    assert parsed.sections == (
        *("prefix", "number", "position", "type", "size", "color", "missing"),
        *("choice:0", "choice:1", "answer"),
    )
    found = [(c.panel, c.attribute, c.slot, c.value) for c in parsed.panel_claims]
    assert found[:2] == [("context:0", "number", None, 2), ("context:1", "number", None, 2)]
    assert ("context:0", "position", None, 0b1001) in found
    colors = [claim for claim in found if claim[1] == "color"]
    assert colors[:2] == [("context:0", "color", 0, 3), ("context:0", "color", 3, 5)]
    assert colors[6:9] == [(f"context:{i}", "color", None, 4) for i in (3, 4, 5)]
    assert colors[-3:] == [("context:7", "color", slot, v) for slot, v in ((0, 1), (1, 2), (2, 2))]
    assert [v.attribute for v in parsed.verdict_claims if v.choice_index == 0] == [
        *("position", "type", "size")
    ]
    assert {claim[1] for claim in found if claim[0] == "missing"} == {"position", "type", "size"}


def test_spans_of_differing_words():
    text = "\n".join(GRID_LINES)
    parsed = parse(text, 8, schema=regular_schema("distribute_four"))
    words = [text[c.span.start : c.span.end] for c in parsed.panel_claims if c.slot is not None]
    assert words == list("353535122122")


def test_differing_words_need_a_position_of_as_many_slots():
    alone = read_grid(GRID_LINES[2])
    assert (alone.panel_claims, alone.sections) == ((), ("other",))
    # 14 is read as 124: three slots, two words
    wrong = read_grid(GRID_LINES[1].replace("14 14 14", "124 14 14"), GRID_LINES[2])
    assert wrong.sections == ("position", "other")
    moved = read_grid(GRID_LINES[1].replace("14 14 14", "23 14 14"), GRID_LINES[2])
    slots = [
        c.slot for c in moved.panel_claims if c.panel == "context:0" and c.attribute == "color"
    ]
    assert slots == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule -> 3",
        "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule -> any",
        "Number: 2 2 2 | 1 1 1 | 3 3 -> any",
        "Number: 2.2 2 2 | 1 1 1 | 3 3 -> no rule",
        "Number: 2 2 2 | 1 1 1 -> no rule",
        "Position: 41 14 14 | 2 2 2 | 123 123 -> no rule",
        "Position: 11 14 14 | 2 2 2 | 123 123 -> no rule",
        "Position: 15 14 14 | 2 2 2 | 123 123 -> no rule",
        "Position: 1,4 14 14 | 2 2 2 | 123 123 -> no rule",
        "Position: 0 14 14 | 2 2 2 | 123 123 -> constant -> 123",
        "Left Type: square square square | circle circle circle | hexagon hexagon -> no rule",
        "Size: mixed 1 2 | 1 2 3 | 2 3 -> no rule",
    ],
)
def test_a_grid_s_line_that_comes_close_makes_no_claim(line):
    parsed = read_grid(GRID_LINES[1], line)
    assert len(parsed.panel_claims) == 9
    assert parsed.sections == ("position", "other")


def test_center_knows_no_line_without_a_rule():
    parsed = parse("Size: 0 1 2 | 1 2 3 | 2 3 -> no rule", 8)
    assert (parsed.panel_claims, parsed.sections) == ((), ("other",))
    assert parse("Missing panel: any 4 7", 8).panel_claims == ()
    assert parse("A: mixed no", 8).verdict_claims == ()


@pytest.mark.parametrize(
    ("missing", "is_read"),
    [
        ("any 123 hexagon 4 any", True),
        ("3 123 hexagon 4 any", False),
        ("any any hexagon 4 any", False),
        ("any 123 hexagon 4", False),
        ("any 123 hexagon 4 any any", False),
    ],
)
def test_any_stands_exactly_where_the_text_found_no_rule(grid_chain, missing, is_read):
    text = grid_chain.replace("any 123 hexagon 4 any", missing)
    parsed = parse(text, 4, schema=regular_schema("distribute_four"))
    assert parsed.status == ("ok" if is_read else "malformed")


def test_choices_are_read_by_the_attributes_that_the_text_calls_ruled():
    verdicts = read_grid("A: 3 yes, 14 no").verdict_claims
    assert [v.attribute for v in verdicts] == ["number", "position"]
    # here the text has said that the number follows no rule
    verdicts = read_grid(GRID_LINES[0], "A: 14 yes, circle no").verdict_claims
    assert [v.attribute for v in verdicts] == ["position", "type"]
    # the last line about an attribute counts
    ruled = GRID_LINES[0].replace("no rule", "constant -> 3")
    (verdict,) = read_grid(GRID_LINES[0], ruled, "A: 3 no").verdict_claims
    assert verdict.attribute == "number"


def test_the_values_of_a_choice_whose_slots_are_not_known():
    mixed = read_grid(*GRID_LINES[:1], "A: 14 yes, mixed no")
    assert [v.attribute for v in mixed.verdict_claims] == ["position", "type"]
    assert len([c for c in mixed.panel_claims if c.panel == "choice:0"]) == 1
    named = read_grid(*GRID_LINES[:1], "A: 14 yes, circle.square no").panel_claims
    assert [(c.slot, c.value) for c in named if c.attribute == "type"] == [(0, 5), (3, 2)]
    nowhere = read_grid(GRID_LINES[1].replace("constant -> 123", "no rule"), "A: 3 yes, 1.2 no")
    assert nowhere.sections == ("position", "other")
    assert read_grid("A: mixed no").sections == ("other",), "a count is one number"


def test_components_by_hand():
    text = (
        "Left Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n"
        "Right Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"
    )
    schema = regular_schema("left_center_single_right_center_single")
    parsed = parse(text, 8, schema=schema)
    assert [c.component for c in parsed.panel_claims] == [0] * 9 + [1] * 9
    assert [c.rule.component for c in parsed.rule_claims] == [0, 1]
    assert parsed.sections == ("left size", "right size")
    assert parse(SIZE_LINE, 8, schema=schema).sections == ("other",)


def test_a_non_regular_chain_by_hand():
    text = (
        "This is a non-regular puzzle.\n"
        "Item count: 1 2 3 4 -> plus 1 -> 5\n"
        "Item shape: disc box disc plus -> no rule\n"
        "Missing panel: 5 any\n"
        "A: 3 no\n"
        "B: 5 yes\n"
        "### Answer: B"
    )
    schema = nonregular_schema("counting", "sequence")
    parsed = parse(text, 4, schema=schema)
    assert (parsed.status, parsed.choice_index) == ("ok", 1)
    counts = [(c.panel, c.value) for c in parsed.panel_claims if c.attribute == "item_count"]
    assert counts[:5] == [
        *(("context:0", 1), ("context:1", 2), ("context:2", 3), ("context:3", 4)),
        ("missing", 5),
    ]
    assert [c.rule for c in parsed.rule_claims] == [Rule("item_count", "progression", 1)]
    # a value that the attribute cannot have, a row of another layout
    assert parse(text.replace("-> 5", "-> 10"), 4, schema=schema).status == "malformed"
    assert parse(text, 4, schema=nonregular_schema("counting", "group")).status == "malformed"
    # the other kind's first sentence
    wrong = text.replace("non-regular", "regular")
    assert parse(wrong, 4, schema=schema).sections[0] == "other"


@pytest.mark.parametrize(
    ("text", "num_choices", "status", "choice"),
    [
        ("I think so.\n### Answer: B", 4, "ok", 1),
        ("### Answer: B\nI am sure.", 4, "malformed", 1),
        ("### Answer: E", 4, "not_a_choice", None),
        ("It is B.", 4, "no_answer", None),
        ("A fish.\n### Answer: a fish", 0, "ok", None),
        ("### Answer:", 0, "not_a_choice", None),
        ("Size: 0 1 2 | 1 2 3 | 2 3 -> constant -> 4\nA: circle no\n### Answer: A", 4, "ok", 0),
    ],
)
def test_without_a_state_an_answer_at_the_end_is_all_there_is(text, num_choices, status, choice):
    parsed = parse(text, num_choices, schema=annotated_schema(None))
    assert (parsed.status, parsed.choice_index) == (status, choice)
    assert parsed.panel_claims == parsed.verdict_claims == ()


@pytest.mark.parametrize(
    ("text", "status", "choice"),
    [
        ("C", "ok", 2),
        (" C\n", "ok", 2),
        ("### Answer: C", "ok", 2),
        ("###Answer:C\n", "ok", 2),
        ("E", "not_a_choice", None),
        ("### Answer: c", "not_a_choice", None),
        ("c", "no_answer", None),
        ("C.", "no_answer", None),
        ("CD", "no_answer", None),
        ("C or D", "no_answer", None),
        ("", "no_answer", None),
        ("C\nD", "no_answer", None),
        ("Because.\n### Answer: C", "malformed", 2),
        ("### Answer: C\n### Answer: C", "several_answers", None),
        ("\uff23", "not_a_choice", None),
    ],
)
def test_direct_answers(text, status, choice):
    parsed = parse_direct(text, 4)
    assert (parsed.status, parsed.choice_index) == (status, choice)
    assert parse_direct(text, 4, "length").status == "truncated"


def test_direct_answers_to_open_questions():
    assert parse_direct("a fish", 0).status == "ok"
    assert parse_direct("### Answer: a fish", 0).status == "ok"
    assert parse_direct("", 0).status == "no_answer"
    assert parse_direct("a fish\nor two", 0).status == "no_answer"


def test_the_words_of_the_answer():
    assert parse("Well.\n### Answer: a fish \nx", 0).answer == "a fish"
    assert parse("### Answer: A\n### Answer: A", 0).answer is None
    assert parse("a fish", 0).answer is None


TAGGED = "<think>\n{chain}\n</think>\n<answer>{letter}</answer>"


@pytest.mark.parametrize(
    ("text", "status", "choice"),
    [
        (TAGGED, "ok", 2),
        ("<think>{chain}</think><answer>{letter}</answer>", "ok", 2),
        ("  " + TAGGED + "\n", "ok", 2),
        ("Well. " + TAGGED, "malformed", 2),
        (TAGGED + " Sure.", "malformed", 2),
        ("{chain}\n<answer>{letter}</answer>", "malformed", 2),
        ("<answer>{letter}</answer>", "malformed", 2),
        ("<think>{chain}<answer>{letter}</answer></think>", "no_answer", None),
        ("<think>{chain}<answer>{letter}</answer>", "no_answer", None),
        ("<answer>{letter}</answer><think>{chain}</think>", "no_answer", None),
        ("<think>{chain}</think><answer>{letter}", "no_answer", None),
        ("<think>{chain}</think><answer><answer>{letter}</answer>", "several_answers", None),
        (TAGGED + "<answer>A</answer>", "several_answers", None),
        ("<think>{chain}</think><answer>{letter} or A</answer>", "not_a_choice", None),
        ("<think>{chain}\n### Answer: A\n</think><answer>{letter}</answer>", "malformed", 2),
        ("{chain}\n### Answer: {letter}", "no_answer", None),
        ("", "no_answer", None),
    ],
)  # fmt: skip
def test_an_answer_in_tags(chain, text, status, choice):
    body = chain.rpartition("\n")[0]
    found = parse(text.format(chain=body, letter="C"), 8, answer_form="tags")
    assert (found.status, found.choice_index) == (status, choice)


def test_what_stands_in_tags_claims_what_it_claims_without(chain):
    plain, tagged = parse(chain, 8), parse(in_tags(chain), 8, answer_form="tags")
    assert (tagged.status, tagged.answer) == ("ok", "C")
    assert tagged.sections == plain.sections
    for a, b in zip(plain.panel_claims, tagged.panel_claims, strict=True):
        assert chain[a.span.start : a.span.end] == in_tags(chain)[b.span.start : b.span.end]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("<answer>C</answer>", "ok"),
        (" <answer> C </answer>\n", "ok"),
        ("C", "no_answer"),
        ("### Answer: C", "no_answer"),
        ("so <answer>C</answer>", "malformed"),
        ("<answer>C</answer> so", "malformed"),
        ("<answer>Z</answer>", "not_a_choice"),
        ("<answer>C</answer><answer>C</answer>", "several_answers"),
    ],
)
def test_a_direct_answer_in_tags(text, status):
    assert parse_direct(text, 8, answer_form="tags").status == status


def test_sections_have_their_place_in_the_text(chain):
    parsed = parse(chain, 8)
    lines = [chain[span.start : span.end] for span in parsed.spans]
    assert lines == chain.split("\n")


@pytest.mark.parametrize("schema", list(all_schemas()), ids=lambda s: "-".join(s.line_of_label))
def test_no_garbage_raises_in_any_schema(schema):
    rng = random.Random(1)
    line = schema.lines[-1]
    pieces = [f"{line.label}: ", *list(line.words.values())[:5], *line.phrases.values()]
    pieces += [" | ", " -> ", "no rule", " ", ".", "any", "mixed", "\n", "A: ", " yes", " no, "]
    for _ in range(300):
        parsed = parse("".join(rng.choices(pieces, k=rng.randrange(40))), 4, schema=schema)
        assert parsed.status != "ok"
        assert {c.attribute for c in parsed.panel_claims} <= {one.attribute for one in schema.lines}


def test_a_chain_reads_the_same_again_and_elsewhere(puzzle):
    """The claims of each text are its own."""
    chain = gold_chain(puzzle)
    first, again = parse(chain, 8), parse(chain, 8)
    assert first == again
    moved = parse(f"\n\n{chain}", 8)
    for here, there in zip(first.panel_claims, moved.panel_claims, strict=True):
        assert there == here._replace(start=here.start + 2, end=here.end + 2)


OTHER_LINES = (
    *GRID_LINES,
    *GRID_LINES,
    GRID_LINES[0].replace("no rule", "constant -> 3"),
    GRID_LINES[1].replace("14 14 14", "23 14 14"),
    GRID_LINES[1].replace("14 14 14", "124 14 14"),
    GRID_LINES[1].replace("constant -> 123", "constant -> 12"),
    GRID_LINES[2].replace("no rule", "constant -> 1.2"),
    "Missing panel: any 123 hexagon 4 any",
    "Missing panel: any 123 hexagon 4 1.2",
    "Missing panel: 3 123 hexagon 4 4",
    "A: 14 yes, circle no",
    "A: 3 yes, 14 no",
    "A: 14 yes, 1.2 no",
    "B: mixed no",
    "### Answer: A",
    "Size: 1",
    "",
)
"""Lines that are read by what stands before them, and some that are not."""


def test_a_line_that_was_read_before_says_what_it_would_say_anew():
    rng, schema, known, num_shared = random.Random(3), regular_schema("distribute_four"), {}, 0
    for _ in range(2000):
        text = "\n".join(rng.choices(OTHER_LINES, k=rng.randrange(1, 9)))
        parsed = parse(text, 4, schema=schema, known=known)
        assert parsed == parse(text, 4, schema=schema), text
        num_shared += sum(passage.is_shared for _, passage in parsed.passages)
    assert num_shared > 2000
    assert set(known) <= set(OTHER_LINES) - {"### Answer: A", "Size: 1", ""}


def test_a_line_is_found_again_where_the_same_stands_before_it():
    known, schema = {}, regular_schema("distribute_four")
    first, again = (
        [passage for _, passage in parse(text, 8, schema=schema, known=known).passages]
        for text in ("\n".join(GRID_LINES), "\n".join(["x", *GRID_LINES]))
    )
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert [passage.is_even for passage in first] == [True, True, False]
    moved = GRID_LINES[1].replace("14 14 14", "23 14 14")
    parsed = parse(f"{moved}\n{GRID_LINES[2]}", 8, schema=schema, known=known)
    assert parsed.passages[1][1] is not first[2]


def test_not_every_line_is_kept():
    long = f"Missing panel: hexagon {' ' * 256}3 7"
    lines = [long, *(f"Missing panel: hexagon {k // 10} {k % 10}" for k in range(100))]
    lines += [line.replace("hexagon", word) for word in ("circle", "square") for line in lines]
    known: dict = {}
    parsed = parse("\n".join(lines), 8, known=known)
    assert len(parsed.panel_claims) == 3 * len(lines)
    assert len(known) == 256
    assert long not in known


@pytest.mark.parametrize("schema", list(all_schemas()), ids=lambda s: "-".join(s.line_of_label))
def test_no_two_sections_are_about_one_attribute(schema):
    assert len({line.section for line in schema.lines}) == len(schema.lines)
    assert len({(line.component, line.attribute) for line in schema.lines}) == len(schema.lines)
    assert not {"missing", *(f"choice:{k}" for k in range(8))} & {s.section for s in schema.lines}
