"""Critiques: one known mistake a chain, and a critique that names just what is wrong with it."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from rewards.truth import judged_claims
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.prompts import panel_name
from rl_avr.puzzles.solver import explain
from sft_warmstart.critiques import PHRASINGS, candidate_chain, critique, critique_turn

WHERE = "(?:slot [1-9] of )?(?:panel [1-9]|choice [A-H]|the missing panel)"


def patterns():
    """Yields what a phrasing says and its pattern, from the words alone."""
    for kind, phrasings in PHRASINGS.items():
        for text in phrasings:
            pattern = re.escape(text)
            for name in ("line", "where", "noun", "right", "said"):
                words = WHERE if name == "where" else ".+?"
                if kind == "fits":
                    words = {"right": "fits|does not fit", "said": "yes|no"}.get(name, words)
                pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{words})")
            yield kind, re.compile(pattern)


PATTERNS = list(patterns())


def statements(text):
    """Returns what a critique's lines say, the answer line left out."""
    *lines, answer = text.split("\n")
    assert re.fullmatch("### Answer: [A-H]", answer)
    found = []
    for line in lines:
        matches = [(kind, m.groupdict()) for kind, p in PATTERNS if (m := p.fullmatch(line))]
        assert len(matches) == 1, (line, matches)
        found += matches
    return found


def wrong_claims(chain, puzzle):
    parsed = read(chain, puzzle)
    return [claim for claim in judged_claims(parsed, puzzle) if not claim.is_true]


def expected(chain, puzzle):
    """Returns line, noun, place and right words of every wrong claim, by the state alone."""
    lines = {(line.component, line.attribute): line for line in schema_of(puzzle).lines}
    panels = {f"context:{i}": p for i, p in enumerate(puzzle.context)}
    panels |= {f"choice:{i}": p for i, p in enumerate(puzzle.choices)}
    panels["missing"] = puzzle.choices[puzzle.answer_index]
    found = []
    for claim in wrong_claims(chain, puzzle):
        said = chain[claim.span.start : claim.span.end]
        number = str(chain[: claim.span.start].count("\n") + 1)
        kind, *key = claim.key
        if kind == "panel":
            panel, component, attribute, slot = key
            line = lines[component, attribute]
            values = dict(stated_values(panels[panel], line))
            value = values[slot] if slot in values else values[None]
            place = panel_name(panel) if slot is None else f"slot {slot + 1} of {panel_name(panel)}"
            found.append((kind, number, place, line.noun, line.words[value], said))
        elif kind == "rule":
            line = lines[tuple(key)]
            (rule,) = (r for r in puzzle.rules if [r.component, r.attribute] == key)
            phrase = line.phrases[rule.kind, rule.parameter]
            found.append((kind, number, None, line.noun, phrase, said))
        else:
            index, component, attribute = key
            line = lines[component, attribute]
            fits = stated_values(puzzle.choices[index], line) == stated_values(
                panels["missing"], line
            )
            right = "fits" if fits else "does not fit"
            place = panel_name(f"choice:{index}")
            found.append((kind, number, place, line.noun, right, said))
    return Counter(found)


def test_every_critique_names_exactly_the_wrong_claims(zoo):
    for number, puzzle in enumerate(zoo):
        rng = random.Random(number)
        for _ in range(6):
            chain = candidate_chain(puzzle, rng)
            said = statements(critique(puzzle, chain, rng))
            told = [(kind, words) for kind, words in said if kind in ("panel", "rule", "fits")]
            keys = ("line", "where", "noun", "right", "said")
            named = Counter((kind, *(words.get(key) for key in keys)) for kind, words in told)
            assert named == expected(chain, puzzle)
            rest = [kind for kind, _ in said if kind not in ("panel", "rule", "fits")]
            chosen = chain[-1]
            if chosen != puzzle.answer_letter:
                assert rest == ["wrong_answer"]
                assert said[-1][1] == {"right": puzzle.answer_letter, "said": chosen}
            else:
                assert rest == (["right_answer"] if told else ["all_right"])


def test_every_critique_ends_with_the_right_answer(zoo):
    for puzzle in zoo:
        _, text = critique_turn(puzzle, random.Random(5))
        assert read(text, puzzle).choice_index == puzzle.answer_index


def mistake(chain, puzzle):
    """Returns which mistake a chain has; None where it is none of those that there are."""
    parsed = read(chain, puzzle)
    assert parsed.status == "ok"
    wrong = Counter(claim.key[0] for claim in wrong_claims(chain, puzzle))
    has_right_answer = parsed.choice_index == puzzle.answer_index
    if has_right_answer:
        return {(): "none", (("panel", 1),): "panel", (("rule", 1),): "rule"}.get(
            tuple(wrong.items())
        )
    if not wrong:
        return "letter"
    return "choice" if wrong["panel"] >= 2 and wrong["rule"] == 0 else None


def test_the_kinds_of_mistakes_are_about_as_many(puzzles):
    rng = random.Random(0)
    found = Counter(mistake(candidate_chain(puzzle, rng), puzzle) for puzzle in puzzles)
    assert set(found) == {"none", "panel", "rule", "letter", "choice"}
    # a fifth of 300 each: standard deviation 6.9
    assert all(abs(count - 60) < 4 * 6.9 for count in found.values())


def test_every_puzzle_can_have_mistakes(zoo):
    for number, puzzle in enumerate(zoo[::3]):
        rng = random.Random(number)
        found = {mistake(candidate_chain(puzzle, rng), puzzle) for _ in range(60)}
        assert {"none", "panel", "letter"} <= found <= {"none", "panel", "rule", "letter", "choice"}


def test_a_wrong_rule_does_not_hold_by_chance(zoo, puzzles):
    regular = [puzzle for puzzle in (*zoo, *puzzles) if puzzle.family == "rpm"]
    num_wrong = 0
    for number, puzzle in enumerate(regular):
        rng = random.Random(number)
        found = explain(puzzle.context, puzzle.configuration).values()
        holding = {explanation.rule for group in found for explanation in group}
        for _ in range(6):
            parsed = read(candidate_chain(puzzle, rng), puzzle)
            wrong = [c.rule for c in parsed.rule_claims if c.rule not in puzzle.rules]
            num_wrong += len(wrong)
            assert not holding & set(wrong)
    assert num_wrong > 100


def test_a_rule_that_holds_beside_the_puzzle_s_own_is_no_mistake(puzzle):
    # 1 2 3, 1 2 3 and 1 2 are a progression, and with 1 + 2 = 3 the sum, too
    colors = (1, 2, 3, 1, 2, 3, 1, 2)
    context = tuple(
        replace(p, components=(replace(c, entities=(replace(e, color=color),)),))
        for p, color in zip(puzzle.context, colors, strict=True)
        for c in p.components
        for e in c.entities
    )
    both = replace(puzzle, context=context)
    told = set()
    for seed in range(300):
        parsed = read(candidate_chain(both, random.Random(seed)), both)
        told |= {c.rule for c in parsed.rule_claims if c.rule.attribute == "color"}
    kinds = {(rule.kind, rule.parameter) for rule in told}
    assert ("arithmetic", 1) in kinds, "the puzzle's own"
    assert ("arithmetic", -1) in kinds, "a mistake"
    assert ("progression", 1) not in kinds, "it holds"


def test_a_mistake_by_hand(puzzle, chain):
    wrong = chain.replace("Size: 0 1 2", "Size: 0 3 2")
    said = statements(critique(puzzle, wrong, random.Random(0)))
    words = {"line": "3", "where": "panel 2", "noun": "size", "right": "1", "said": "3"}
    assert said[0] == ("panel", words)
    assert [kind for kind, _ in said] == ["panel", "right_answer"]


def test_a_mistake_in_a_single_slot_by_hand(grid, grid_chain):
    wrong = grid_chain.replace("Color: 3.5", "Color: 3.6")
    (first, _) = statements(critique(grid, wrong, random.Random(1)))
    assert first[1] == {
        "line": "6",
        "where": "slot 4 of panel 1",
        "noun": "color",
        "right": "5",
        "said": "6",
    }


def test_the_chain_to_check_stands_whole_in_the_question(puzzle):
    for prefix in (True, False):
        question, _ = critique_turn(puzzle, random.Random(3), prefix)
        request, _, chain = question.partition("\n")
        assert request.startswith("Which choice completes the matrix? ")
        assert read(chain, puzzle).status == "ok"
        assert chain.startswith("This is a regular puzzle.") == prefix


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_decides_everything(puzzle, seed):
    one, again = (critique_turn(puzzle, random.Random(seed)) for _ in range(2))
    assert one == again
    assert len({critique_turn(puzzle, random.Random(s)) for s in range(30)}) > 20


def test_a_right_chain_is_told_to_be_right(puzzle):
    text = critique(puzzle, gold_chain(puzzle), random.Random(0))
    assert [kind for kind, _ in statements(text)] == ["all_right"]
    assert text.endswith("\n### Answer: C")
