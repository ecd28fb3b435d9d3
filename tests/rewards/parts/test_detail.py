"""Detail: half what is seen, half the rules; no text is worth more than the gold chain."""

import dataclasses
import random

import pytest

from rewards.parts.detail import detail
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.parsing import parse

SIZE_LINE = "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4"


@pytest.mark.parametrize(
    ("text", "seen", "named"),
    [
        (SIZE_LINE, 8 / 24, 1 / 3),
        ("Size: 5 5 2 | 1 2 3 | 2 3 -> constant -> 0", 6 / 24, 0),
        ("Size: 5 5 5 | 5 5 5 | 5 5 -> progression +1 -> 0", 0, 1 / 3),
        # a repeated line sees the same and names its rule twice
        (f"{SIZE_LINE}\n{SIZE_LINE}", 8 / 24, 0),
        ("Missing panel: hexagon 4 7\n### Answer: C", 0, 0),
        ("", 0, 0),
    ],
)
def test_by_hand(puzzle, text, seen, named):
    assert detail(parse(text, 8), puzzle) == pytest.approx((seen + named) / 2)


def test_the_answer_does_not_matter(puzzle, chain):
    for answer in ("### Answer: A", "### Answer: C\n### Answer: C", ""):
        assert detail(parse(chain.replace("### Answer: C", answer), 8), puzzle) == 1.0


def test_without_rules_what_is_seen_alone_counts(puzzle, chain):
    bare = dataclasses.replace(puzzle, rules=())
    assert detail(parse(chain, 8), bare) == 1.0
    assert detail(parse(SIZE_LINE, 8), bare) == pytest.approx(8 / 24)


def test_without_a_state_it_cannot_be_judged(annotated):
    assert detail(read("### Answer: C", annotated()), annotated()) is None


def _edited(text, rng):
    """Returns a text with a line dropped, doubled or moved, or a word put for another."""
    lines = text.split("\n")
    for _ in range(rng.randrange(1, 4)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0:
            lines.insert(i, lines[j])
        elif kind == 1 and len(lines) > 1:
            lines.pop(i)
        elif kind == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif words := lines[i].split(" "):
            words[rng.randrange(len(words))] = rng.choice(lines[j].split(" "))
            lines[i] = " ".join(words)
    return "\n".join(lines)


@pytest.mark.parametrize("write", [gold_chain, lambda p: fluent_chain(p, random.Random(0))])
def test_no_edit_of_the_gold_chain_is_worth_more_and_a_lost_claim_costs(zoo, write, found_claims):
    rng = random.Random(2)
    changed = 0
    for puzzle in zoo:
        text = write(puzzle)
        gold = read(text, puzzle)
        assert detail(gold, puzzle) == 1.0
        for _ in range(5):
            parsed = read(_edited(text, rng), puzzle)
            value = detail(parsed, puzzle)
            assert 0.0 <= value <= 1.0
            told, wanted = found_claims(parsed), found_claims(gold)
            shown = {key for key in wanted[0] if key[0].startswith("context:")}
            if not shown <= set(told[0]) or not wanted[1] <= told[1]:
                assert value < 1.0
                changed += 1
    assert changed > 100
