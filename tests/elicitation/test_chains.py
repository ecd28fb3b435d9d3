"""Gold chains: two written by hand, and what every one of them says."""

import dataclasses

import numpy as np
import pytest

from rewards.truth import is_right_verdict, is_true
from rl_avr.contracts import Component, Entity, Panel, Rule
from rl_avr.elicitation.chains import direct_answer, gold_chain, has_chain
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.errors import PuzzleError
from rl_avr.parsing import parse


def test_the_chain_of_the_puzzle_made_by_hand(puzzle, chain):
    assert gold_chain(puzzle) == chain
    assert gold_chain(puzzle, prefix=False) == chain.removeprefix("This is a regular puzzle.\n")


def test_the_chain_of_the_grid_made_by_hand(grid, grid_chain):
    assert gold_chain(grid) == grid_chain


def test_the_angle_and_the_order_of_a_file_leave_the_chain_alone(grid, grid_chain):
    def turned(panel):
        entities = panel.components[0].entities
        moved = tuple(dataclasses.replace(e, angle=7 - k) for k, e in enumerate(entities))
        return Panel((Component(moved[::-1], 2),))

    other = dataclasses.replace(
        grid,
        context=tuple(map(turned, grid.context)),
        choices=tuple(map(turned, grid.choices)),
    )
    assert gold_chain(other) == grid_chain


def test_choices_are_tried_up_to_the_first_attribute_that_differs(puzzle):
    at_end = dataclasses.replace(
        puzzle, choices=(*puzzle.choices[3:], *puzzle.choices[:3]), answer_index=7
    )
    tried = gold_chain(at_end).split("\n")[5:-1]
    assert tried == [
        "A: hexagon yes, 4 yes, 2 no",
        "B: circle no",
        "C: circle no",
        "D: hexagon yes, 3 no",
        "E: circle no",
        "F: circle no",
        "G: hexagon yes, 3 no",
        "H: hexagon yes, 4 yes, 7 yes",
    ]


def test_permuting_the_choices_moves_the_answer_and_nothing_else(zoo):
    rng = np.random.default_rng(1)
    for puzzle in zoo:
        order = rng.permutation(puzzle.num_choices).tolist()
        moved = dataclasses.replace(
            puzzle,
            choices=tuple(puzzle.choices[i] for i in order),
            answer_index=order.index(puzzle.answer_index),
        )
        start = 2 + len(schema_of(puzzle).lines)
        before, after = gold_chain(puzzle).split("\n"), gold_chain(moved).split("\n")
        assert after[:start] == before[:start]
        assert after[-1] == f"### Answer: {'ABCDEFGH'[moved.answer_index]}"
        # the line of a choice moves with it, under its new letter
        for new, old in enumerate(order):
            if new <= moved.answer_index and old <= puzzle.answer_index:
                assert after[start + new][1:] == before[start + old][1:]


def test_a_chain_parses_back_to_exactly_the_state(zoo, puzzles, state_of, found_claims):
    for puzzle in [*zoo, *puzzles]:
        for prefix in (True, False):
            parsed = read(gold_chain(puzzle, prefix), puzzle)
            assert parsed.status == "ok", puzzle.puzzle_id
            assert found_claims(parsed) == state_of(puzzle), puzzle.puzzle_id


def test_the_zoo_has_what_is_hard_to_say(zoo):
    chains = "\n".join(gold_chain(puzzle) for puzzle in zoo)
    for words in (".circle", "no rule", " any", "In Position:", "arithmetic -", "distribute three"):
        assert words in chains


def test_every_claim_of_a_gold_chain_is_true_and_cut_out_of_it(zoo):
    for puzzle in zoo:
        text = gold_chain(puzzle)
        parsed = read(text, puzzle)
        lines = {(line.component, line.attribute): line for line in schema_of(puzzle).lines}
        assert all(is_true(claim, puzzle) for claim in parsed.panel_claims)
        assert all(is_right_verdict(verdict, puzzle) for verdict in parsed.verdict_claims)
        for claim in parsed.panel_claims:
            word = text[claim.span.start : claim.span.end]
            assert lines[claim.component, claim.attribute].values[word] == claim.value
        for claim in parsed.rule_claims:
            phrase = text[claim.span.start : claim.span.end]
            assert lines[claim.rule.component, claim.rule.attribute].rules[phrase] == claim.rule


def test_one_wrong_word_changes_one_claim(zoo, state_of, found_claims):
    for puzzle in zoo:
        text = gold_chain(puzzle)
        line = schema_of(puzzle).lines[-1]
        panel, *_ = (c for c in read(text, puzzle).panel_claims if c.attribute == line.attribute)
        other = next(word for value, word in line.words.items() if value != panel.value)
        wrong = text[: panel.span.start] + other + text[panel.span.end :]
        claims, state = found_claims(read(wrong, puzzle))[0], state_of(puzzle)[0]
        assert (claims - state).total() == (state - claims).total() == 1


def test_a_choice_whose_entities_differ_is_mixed_where_no_slots_are_told(grid):
    noisy = Panel((Component((Entity(4, 4, 1, 3, 0), Entity(1, 4, 1, 3, 2)), 0),))
    counted = dataclasses.replace(
        grid,
        choices=(noisy, *grid.choices[1:]),
        rules=(Rule("type", "constant"), Rule("size", "progression", 1)),
    )
    assert "\nA: mixed no\n" in gold_chain(counted)
    assert read(gold_chain(counted), counted).status == "ok"
    # behind its own position the entities can be named
    three = Panel((Component(tuple(Entity(t, 4, 1, 3, k) for k, t in enumerate((4, 1, 1))), 0),))
    placed = dataclasses.replace(grid, choices=(three, *grid.choices[1:]))
    assert "\nA: 123 yes, hexagon.triangle.triangle no\n" in gold_chain(placed)
    claims = [c for c in read(gold_chain(placed), placed).panel_claims if c.panel == "choice:0"]
    assert [(c.attribute, c.slot, c.value) for c in claims[1:]] == [
        *(("type", 0, 4), ("type", 1, 1), ("type", 2, 1))
    ]
    assert all(is_true(claim, placed) for claim in claims)


def test_a_rule_of_noise_is_refused(grid):
    wrong = dataclasses.replace(grid, rules=(*grid.rules, Rule("color", "constant")))
    with pytest.raises(PuzzleError, match="one value of it, got .1, 2, 2."):
        gold_chain(wrong)


def test_where_noise_decides_there_is_no_chain_that_leads_to_the_answer(grid, zoo):
    assert all(map(has_chain, zoo))
    other = grid.choices[1].components[0].entities
    same = Panel((Component(tuple(dataclasses.replace(e, color=9) for e in other), 0),))
    assert not has_chain(dataclasses.replace(grid, choices=(same, *grid.choices[1:])))
    assert not has_chain(dataclasses.replace(grid, answer_index=None))


def test_direct_answers(puzzle, annotated):
    assert direct_answer(puzzle) == "C"
    assert direct_answer(annotated()) == "C"
    assert direct_answer(annotated(choices=(), answer="a fish")) == "a fish"


def test_the_chain_of_an_annotated_puzzle_is_people_s_own(annotated):
    assert gold_chain(annotated()) == (
        "This is a photographed puzzle.\n"
        "Each tile is turned by a quarter.\n"
        "So the next one points up.\n"
        "### Answer: C"
    )
    assert gold_chain(annotated(), prefix=False).startswith("Each tile")
    assert read(gold_chain(annotated()), annotated()).status == "ok"
    told = annotated(chain="This is a photographed puzzle.\nUp.\n### Answer: C\n")
    assert gold_chain(told) == "This is a photographed puzzle.\nUp.\n### Answer: C"
    free = annotated(choices=(), answer="a fish")
    assert gold_chain(free).endswith("\n### Answer: a fish")
    assert read(gold_chain(free), free).status == "ok"


def test_without_state_and_chain_there_is_nothing_to_write(annotated, puzzle):
    silent = annotated(chain=None)
    assert not has_chain(silent)
    with pytest.raises(PuzzleError, match="ask for a direct answer"):
        gold_chain(silent)
    assert not has_chain(dataclasses.replace(puzzle, context=(), choices=()))


def test_the_old_way_to_parse_reads_center(puzzles):
    for puzzle in puzzles[:20]:
        parsed = parse(gold_chain(puzzle), 8)
        assert tuple(claim.rule for claim in parsed.rule_claims) == puzzle.rules
