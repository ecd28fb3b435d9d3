"""Counts of true claims: by hand, and the same whatever is kept of other texts."""

import dataclasses
import random

from rewards.composition import parts_of
from rewards.config import PARTS, RewardConfig
from rewards.tally import MOST_PASSAGES, known_of, truths_of
from rl_avr.contracts import PanelClaim, ParsedCompletion, Passage, Rule, RuleClaim
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.parsing import parse


def test_claims_judged_by_hand(puzzle):
    text = (
        "Size: 0 1 2 | 1 2 3 | 2 5 -> progression +1 -> 4\n"
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 3\n"
        "Missing panel: hexagon 4 1\n"
        "A: circle no"
    )
    truths = truths_of(parse(text, 8), puzzle)
    # one line says the size of the last panel rightly, the other wrongly
    assert truths.counts == (8 + 8 + 1, 8 + 1, 8, 7, 2, 1, 1, 1)
    assert truths.predictions == {
        (0, "size", None, 4): 2,
        (0, "size", None, 3): 1,
        (0, "type", None, 4): 1,
        (0, "color", None, 1): 1,
    }
    assert truths.foreseen == {("missing", 0, name, None) for name in ("size", "type")}


def mixed_up(puzzle, rng):
    """Returns some lines of gold chains of both kinds, with a few words changed."""
    written = gold_chain(puzzle), fluent_chain(puzzle, rng)
    lines = (rng.choice(written) if rng.random() < 0.2 else written[0]).split("\n")
    words = [word for line in schema_of(puzzle).lines for word in line.values]
    for _ in range(rng.randrange(4)):
        index = rng.randrange(len(lines))
        told = lines[index].split(" ")
        told[rng.randrange(len(told))] = rng.choice([*words, "no", "any", "mixed"])
        lines[index] = " ".join(told)
    if rng.random() < 0.3:
        lines = rng.choices(lines, k=len(lines))
    return "\n".join(lines)


def test_what_is_kept_of_other_texts_changes_nothing(zoo):
    config = RewardConfig(**dict.fromkeys(PARTS, 1.0), length_limit=300)
    rng, num_shared = random.Random(5), 0
    for puzzle in zoo:
        for _ in range(20):
            text, alone = mixed_up(puzzle, rng), dataclasses.replace(puzzle)
            parsed, anew = read(text, puzzle), read(text, alone)
            truths = truths_of(parsed, puzzle)
            assert truths == truths_of(anew, alone), text
            # all claims judged as one passage
            assert truths == truths_of(dataclasses.replace(parsed), puzzle), text
            assert parsed == anew, text
            assert parts_of(parsed, puzzle, config) == parts_of(anew, alone, config), text
            num_shared += sum(passage.is_shared for _, passage in parsed.passages)
    assert num_shared > 20 * len(zoo)


def test_claims_that_are_kept_are_judged_by_the_puzzle_asked_about(puzzle, chain):
    known: dict = {}
    parsed = [parse(chain, 8, known=known) for _ in range(2)][1]
    assert all(passage.is_shared for _, passage in parsed.passages)
    other = dataclasses.replace(puzzle, answer_index=0, context=puzzle.context[::-1])
    for asked in (puzzle, other, puzzle):
        counts = truths_of(parsed, asked).counts
        assert (counts.num_right == counts.num_shown == 30) == (asked is puzzle)
        assert (counts.num_right_verdicts == counts.num_verdicts == 6) == (asked is puzzle)


def test_not_every_judged_passage_is_kept(puzzle, chain):
    for _ in range(MOST_PASSAGES):
        known: dict = {}
        for _ in range(2):
            counts = truths_of(parse(chain, 8, known=known), puzzle).counts
            assert counts == (30, 30, 24, 24, 3, 3, 6, 6)
    assert 0 < len(known_of(puzzle).before) <= MOST_PASSAGES


def test_claims_about_what_the_puzzle_s_chain_does_not_state(puzzle, grid):
    # a line of a grid's chain, judged by a puzzle with one shape a panel
    text = "Number: 1 1 1 | 1 1 1 | 2 1 -> no rule"
    counts = truths_of(read(text, grid), puzzle).counts
    assert (counts.num_shown, counts.num_right, counts.num_seen) == (8, 7, 0)


def test_a_sentence_that_repeats_a_line_is_one_fact_with_it(puzzle):
    line = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"
    text = f"Panel 1 shows a square of size 0 and color 3.\n{line}"
    for _ in range(2):
        counts = truths_of(read(text, puzzle), puzzle).counts
        assert (counts.num_shown, counts.num_right, counts.num_seen) == (3 + 8, 10, 10)


def test_a_line_about_fewer_panels_than_the_puzzle_has(puzzle):
    # the size of the second panel is 1, too
    told = PanelClaim("context:0", "size", 0, 0, 1), PanelClaim("missing", "size", 1, 2, 3)
    rules = (RuleClaim(Rule("size", "progression", 1), 4, 5),)
    passage = Passage("size", told, rules, (), is_even=True)
    parsed = ParsedCompletion.of_passages("ok", ((0, passage),), 2, ("size",), (), "C", None)
    assert truths_of(parsed, puzzle).counts == (1, 1, 1, 1, 1, 1, 0, 0)
