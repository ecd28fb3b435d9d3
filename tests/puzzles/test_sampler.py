"""Sampled puzzles: one explanation, one right choice, splits without a common matrix."""

import math
from types import SimpleNamespace

import pytest

from rl_avr.errors import PuzzleError
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ATTRIBUTES, UPRIGHT, level
from rl_avr.puzzles.rules import explanations
from rl_avr.puzzles.sampler import sample_puzzle, sample_puzzles, split_of


def levels_of(puzzle):
    return tuple((e.type, e.size, e.color) for panel in puzzle.context for e in panel.entities)


def test_each_attribute_has_one_explanation_and_the_answer_follows_from_it(puzzles):
    for puzzle in puzzles:
        for rule, attribute in zip(puzzle.rules, ATTRIBUTES, strict=True):
            shown = [level(panel, attribute) for panel in puzzle.context]
            assert explanations(attribute, shown) == ((rule, level(puzzle.answer, attribute)),)


def test_exactly_one_choice_fits(puzzles):
    for puzzle in puzzles:
        predicted = {
            name: explanations(name, [level(p, name) for p in puzzle.context])[0][1]
            for name in ATTRIBUTES
        }
        fitting = [
            index
            for index, choice in enumerate(puzzle.choices)
            if all(level(choice, name) == predicted[name] for name in ATTRIBUTES)
        ]
        assert fitting == [puzzle.answer_index]


def test_difficulty_counts_the_rules_that_are_not_constant(puzzles):
    for puzzle in puzzles:
        assert puzzle.difficulty == sum(rule.kind != "constant" for rule in puzzle.rules)
    assert {puzzle.difficulty for puzzle in puzzles} == {0, 1, 2, 3}


@pytest.mark.parametrize("least", [1, 2, 3])
def test_min_difficulty_is_kept(least):
    found = {
        p.difficulty for p in sample_puzzles("train", 80, 0, PuzzleConfig(min_difficulty=least))
    }
    assert found == set(range(least, 4))


def test_splits_share_no_matrix_whatever_seed_and_angle_noise():
    contexts = {
        split: {
            levels_of(puzzle)
            for seed in (0, 1)
            for noise in (False, True)
            for puzzle in sample_puzzles(
                split, 100, seed, PuzzleConfig(min_difficulty=0, has_angle_noise=noise)
            )
        }
        for split in ("train", "held_out")
    }
    assert contexts["train"].isdisjoint(contexts["held_out"])
    # with and without noise the levels are often the same; seeds never are
    assert min(len(found) for found in contexts.values()) >= 200


def test_split_depends_on_the_shown_levels_alone():
    for puzzle in sample_puzzles("held_out", 20, 3, PuzzleConfig(has_angle_noise=True)):
        assert split_of(puzzle.context) == "held_out"
        upright = tuple(
            type(panel)(tuple(type(e)(e.type, e.size, e.color, UPRIGHT) for e in panel.entities))
            for panel in puzzle.context
        )
        assert split_of(upright) == "held_out"


def test_about_a_tenth_of_all_matrices_is_held_out():
    # Constant rows of type, size and color: 300 different panels a row, any three rows.
    from rl_avr.puzzles.grammar import single

    panels = [
        single({"type": t, "size": s, "color": c})
        for t in range(1, 6)
        for s in range(6)
        for c in range(10)
    ]
    total = 3000
    held_out = sum(
        split_of((panels[k % 300],) * 3 + (panels[k // 300],) * 3 + (panels[7],) * 2) == "held_out"
        for k in range(total)
    )
    assert abs(held_out - 0.1 * total) < 3.5 * math.sqrt(total * 0.1 * 0.9)


def test_a_puzzle_depends_on_seed_split_and_index_alone():
    config = PuzzleConfig()
    many = list(sample_puzzles("train", 12, 5, config))
    assert list(sample_puzzles("train", 4, 5, config)) == many[:4]
    assert sample_puzzle("train", 9, 5, config) == many[9]
    neighbours = {levels_of(p) for p in sample_puzzles("train", 12, 6, config)}
    # seed + index as a seed would give eleven of twelve again
    assert neighbours.isdisjoint(map(levels_of, many))
    assert len({p.puzzle_id for p in many}) == 12


def test_angles_are_upright_unless_asked_for():
    plain = next(sample_puzzles("train", 1, 0, PuzzleConfig()))
    assert {e.angle for p in (*plain.context, *plain.choices) for e in p.entities} == {UPRIGHT}
    noisy = list(sample_puzzles("train", 30, 0, PuzzleConfig(has_angle_noise=True)))
    assert {e.angle for q in noisy for p in q.context for e in p.entities} == set(range(8))
    # an angle that gave the answer away would be noise no more
    assert all(len({e.angle for p in q.choices for e in p.entities}) == 1 for q in noisy)


def test_an_impossible_difficulty_is_refused():
    impossible = SimpleNamespace(min_difficulty=4, has_angle_noise=False)
    with pytest.raises(PuzzleError, match=r"difficulty 4 or more.*'train', index 7"):
        sample_puzzle("train", 7, 0, impossible)
