"""Chains in sentences: every phrasing is written and read back to exactly the state."""

import random

import pytest

from rewards.truth import is_right_verdict, is_true
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain, trend
from rl_avr.elicitation.phrasings import DIFFERS, FITS, PHRASINGS
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import all_schemas, schema_of
from rl_avr.prompts import CENTER_SCHEMA, regular_line


class Nth(random.Random):
    """Always chooses the same place, so that every phrasing has its turn."""

    def __init__(self, place):
        super().__init__(0)
        self.place = place

    def choice(self, seq):
        return seq[self.place % len(seq)]


def test_there_are_five_phrasings_of_everything():
    for ways in (*PHRASINGS.values(), FITS, DIFFERS):
        assert len(set(ways)) == len(ways) >= 5


@pytest.mark.parametrize("place", range(6))
def test_every_phrasing_parses_back_to_exactly_the_state(zoo, state_of, found_claims, place):
    for puzzle in zoo:
        parsed = read(fluent_chain(puzzle, Nth(place)), puzzle)
        assert parsed.status == "ok", puzzle.puzzle_id
        assert found_claims(parsed) == state_of(puzzle), puzzle.puzzle_id


@pytest.mark.parametrize("seed", range(3))
def test_mixed_phrasings_parse_back_to_exactly_the_state(zoo, state_of, found_claims, seed):
    for puzzle in zoo:
        rng = random.Random(seed)
        parsed = read(fluent_chain(puzzle, rng, prefix=seed > 0), puzzle)
        assert parsed.status == "ok", puzzle.puzzle_id
        assert found_claims(parsed) == state_of(puzzle), puzzle.puzzle_id


def test_both_forms_claim_the_same(zoo, puzzles, found_claims):
    for puzzle in [*zoo, *puzzles[:40]]:
        compact = read(gold_chain(puzzle), puzzle)
        fluent = read(fluent_chain(puzzle, random.Random(9)), puzzle)
        assert found_claims(compact) == found_claims(fluent)


def test_spans_cut_values_rules_and_verdicts_out_of_the_text(zoo):
    for puzzle in zoo:
        text = fluent_chain(puzzle, random.Random(2))
        parsed = read(text, puzzle)
        lines = {(line.component, line.attribute): line for line in schema_of(puzzle).lines}
        assert all(is_true(claim, puzzle) for claim in parsed.panel_claims)
        assert all(is_right_verdict(verdict, puzzle) for verdict in parsed.verdict_claims)
        for claim in parsed.panel_claims:
            word = text[claim.span.start : claim.span.end]
            if claim.attribute == "position":
                word = word.replace("+", "")
            assert lines[claim.component, claim.attribute].values[word] == claim.value
        for verdict in parsed.verdict_claims:
            words = FITS if verdict.fits else DIFFERS
            assert text[verdict.span.start : verdict.span.end] in words
        starts = [claim.span.start for claim in parsed.panel_claims]
        assert starts == sorted(set(starts))


def test_a_chain_by_hand(puzzle):
    lines = fluent_chain(puzzle, Nth(0)).split("\n")
    assert lines[0] == "This is a regular puzzle."
    assert lines[1] == "Panel 1 shows a square of size 0 and color 3."
    assert lines[9] == (
        "The type stays the same along row 1 and stays the same along row 2. The size goes up "
        "along row 1 and goes up along row 2. The color goes up along row 1 and goes up along "
        "row 2."
    )
    assert lines[10:] == [
        "The rule for the type is this: it stays the same along each row; so the missing panel "
        "has hexagon.",
        "The rule for the size is this: it goes up by 1 from each panel to the next; so the "
        "missing panel has 4.",
        "The rule for the color is this: the third panel of a row adds up the first two; so the "
        "missing panel has 7.",
        "Together this means for the missing panel that the type is hexagon, the size is 4 and "
        "the color is 7.",
        "In choice A the type is circle, which does not fit.",
        "In choice B the type is hexagon, which fits, but the size is 3, which does not fit.",
        "In choice C the type is hexagon, which fits, and the size is 4, which fits, and the "
        "color is 7, which fits.",
        "### Answer: C",
    ]


def test_a_noisy_grid_by_hand(grid):
    lines = fluent_chain(grid, Nth(0)).split("\n")
    assert lines[1] == (
        "Panel 1 holds 2 shapes, in slots 1+4. All shapes in panel 1 have the type square. All "
        "shapes in panel 1 have the size 0. The color differs in panel 1: 3 in slot 1 and 5 in "
        "slot 4."
    )
    assert lines[4] == (
        "Panel 4 holds 1 shape, in slot 2. Panel 4 shows a circle of size 1 and color 4."
    )
    assert "The number follows no rule." in lines


def test_no_chain_speaks_of_the_angle(zoo):
    for puzzle in zoo:
        for text in (gold_chain(puzzle), fluent_chain(puzzle, random.Random(0))):
            assert "angle" not in text.replace("triangle", "")


def test_the_chain_of_an_annotated_puzzle_is_people_s_own(annotated):
    assert fluent_chain(annotated(), random.Random(0)) == gold_chain(annotated())


@pytest.mark.parametrize(
    ("attribute", "values", "words"),
    [
        ("size", (2, 2, 2), "stays the same"),
        ("size", (0, 0, 1), "goes up"),
        ("color", (4, 2, 1), "goes down"),
        ("color", (4, 5, 1), "goes up and down"),
        ("type", (1, 2, 5), "goes up"),
        ("position", (1, 2, 4), "changes"),
        ("position", (2, 2, 2), "stays the same"),
    ],
)
def test_trends(attribute, values, words):
    assert trend(regular_line(attribute, num_slots=4), values) == words


def test_values_without_an_order_only_change():
    lines = {line.noun: line for schema in all_schemas() for line in schema.lines}
    assert trend(lines["place of the dot"], (0, 1, 2)) == "changes"
    assert trend(lines["number of items"], (1, 2, 3)) == "goes up"
    assert trend(CENTER_SCHEMA.lines[0], (1, 1)) == "stays the same"
