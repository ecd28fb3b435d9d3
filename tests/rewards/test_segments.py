"""Segments: characters, tokens, claims and their truth, by hand and over the zoo."""

import dataclasses
import random

import pytest

from rewards.parts.perception import perception_scores
from rewards.segments import segments, tokens_of
from rewards.truth import judged_claims
from rl_avr.contracts import Span
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

TEXT = "Size: 0 1 2 | 1 2 3 | 2 5 -> constant -> 4\nI see.\nB: hexagon yes, 3 yes\n### Answer: C"


def test_by_hand(puzzle):
    found = segments(read(TEXT, puzzle), puzzle)
    size, other, choice, answer = found
    assert [s.name for s in found] == ["size", "other", "choice:1", "answer"]
    assert [TEXT[s.span.start : s.span.end] for s in found] == TEXT.split("\n")
    # eight sizes, one of them wrong, the wrong rule, the right prediction
    assert size.precision == pytest.approx(8 / 10)
    assert size.recall == pytest.approx(7 / 24)
    # two values and two verdicts, one wrong
    assert (choice.precision, choice.recall) == (3 / 4, 0)
    for empty in (other, answer):
        assert (empty.claims, empty.precision, empty.recall) == ((), None, 0)
    assert {s.tokens for s in found} == {None}


def test_claims_are_in_the_order_of_the_text(puzzle):
    size = segments(read(TEXT, puzzle), puzzle)[0]
    words = [TEXT[c.span.start : c.span.end] for c in size.claims]
    assert words == [*"01212325", "constant", "4"]


def test_tokens_by_hand(puzzle):
    # tokens of seven characters, the last shorter, then an end token without characters
    ends = [*range(7, len(TEXT), 7), len(TEXT), len(TEXT)]
    found = segments(read(TEXT, puzzle), puzzle, ends)
    # lines begin at 0, 43, 50 and 72; the text has 85 characters
    assert [s.span.start for s in found] == [0, 43, 50, 72]
    assert [s.tokens for s in found] == [(0, 6), (6, 7), (7, 11), (10, 13)]


def test_tokens_that_are_characters_are_the_span(puzzle, chain):
    ends = range(1, len(chain) + 1)
    for segment in segments(read(chain, puzzle), puzzle, ends):
        assert segment.tokens == (segment.span.start, segment.span.end)


@pytest.mark.parametrize(
    ("span", "ends", "tokens"),
    [
        (Span(0, 4), [4], (0, 1)),
        (Span(0, 4), [2, 4, 6], (0, 2)),
        (Span(1, 3), [2, 4, 6], (0, 2)),
        (Span(2, 4), [2, 4, 6], (1, 2)),
        # tokens without characters: at the front, within, behind
        (Span(0, 4), [0, 2, 2, 4, 4], (1, 4)),
        # tokens that end before the span
        (Span(9, 12), [2, 4], (2, 2)),
    ],
)
def test_tokens_of_a_span(span, ends, tokens):
    assert tokens_of(span, ends) == tokens


def test_tokens_hold_exactly_the_characters_of_the_span():
    rng = random.Random(3)
    for _ in range(500):
        ends = sorted(rng.choices(range(20), k=rng.randrange(1, 12)))
        start = rng.randrange(20)
        span = Span(start, rng.randrange(start + 1, 22))
        first, stop = tokens_of(span, ends)
        touching = [
            t
            for t, (a, b) in enumerate(zip([0, *ends], ends, strict=False))
            if a < b and a < span.end and b > span.start
        ]
        assert [t for t in range(first, stop) if ends[t] > ([0, *ends])[t]] == touching


def test_a_fact_counts_where_it_is_said_first(puzzle):
    line = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"
    twice = segments(parse(f"{line}\n{line}", 8), puzzle)
    assert [s.recall for s in twice] == [8 / 24, 0]
    assert [s.precision for s in twice] == [1, 1]


@pytest.mark.parametrize("form", ["compact", "fluent", "tags"])
def test_segments_have_every_claim_once_and_their_recalls_sum_up(zoo, form):
    for puzzle in zoo[::2]:
        text = fluent_chain(puzzle, random.Random(0)) if form == "fluent" else gold_chain(puzzle)
        # some values wrong
        text = text.replace(" 2", " 1", 2).replace("circle", "square", 1)
        if form == "tags":
            body, _, answer = text.rpartition("\n### Answer: ")
            text = f"<think>\n{body}\n</think>\n<answer>{answer}</answer>"
        parsed = read(text, puzzle, answer_form="tags" if form == "tags" else "mark")
        found = segments(parsed, puzzle)
        told = [claim for segment in found for claim in segment.claims]
        judged = judged_claims(parsed, puzzle)
        assert sorted(map(repr, told)) == sorted(map(repr, judged))
        assert told == sorted(told, key=lambda claim: claim.span.start)
        for segment in found:
            for claim in segment.claims:
                assert segment.span.start <= claim.span.start < claim.span.end <= segment.span.end
        recall = perception_scores(parsed, puzzle).recall
        assert sum(segment.recall for segment in found) == pytest.approx(recall)


def test_the_gold_chain_s_segments_are_all_true(zoo):
    for puzzle in zoo[::3]:
        for text in (gold_chain(puzzle), fluent_chain(puzzle, random.Random(1))):
            found = segments(read(text, puzzle), puzzle)
            assert {s.precision for s in found} <= {1.0, None}
            assert sum(s.recall for s in found) == pytest.approx(1.0)


def test_without_a_state_there_are_segments_without_claims(annotated):
    one = annotated()
    found = segments(read(gold_chain(one), one), one, [10, 500])
    assert [s.name for s in found] == ["prefix", "other", "other", "answer"]
    assert {(s.claims, s.precision, s.recall) for s in found} == {((), None, None)}
    assert all(s.tokens is not None for s in found)


def test_an_empty_text_and_unknown_places_have_no_segments(puzzle, chain):
    assert segments(read("", puzzle), puzzle) == ()
    assert segments(dataclasses.replace(read(chain, puzzle), spans=()), puzzle) == ()
