"""Sampled puzzles: one right choice, no shortcut, splits and seeds that share nothing."""

import math
import random
from collections import Counter
from functools import cache

import pytest

from rl_avr.contracts import Puzzle, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.nonregular.kinds import KINDS, kind_of
from rl_avr.puzzles.nonregular.layouts import LAYOUTS
from rl_avr.puzzles.nonregular.sampler import (
    difficulty_of,
    sample_counted,
    sample_nonregular,
    split_of,
)
from rl_avr.puzzles.nonregular.solver import predict, solve

PAIRS = [(name, layout) for name, kind in KINDS.items() for layout in kind.layouts]


@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_exactly_one_choice_is_consistent(name, layout):
    kind = KINDS[name]
    for index in range(25):
        puzzle = sample_nonregular("train", index, 1, name, layout)
        assert len(puzzle.context) == sum(LAYOUTS[layout])
        assert len(set(puzzle.choices)) == len(puzzle.choices) == 4
        assert solve(kind, puzzle.context, puzzle.choices, layout) == (puzzle.answer_index,)
        ((rules, values),) = predict(kind, puzzle.context, layout)
        assert rules == puzzle.rules
        assert all(puzzle.answer.value(key) == value for key, value in values.items())
        assert any(rule.kind != "constant" for rule in rules)
        assert puzzle.difficulty == difficulty_of(puzzle.rules) >= 1
        assert kind_of(puzzle) is kind
        for scene in (*puzzle.context, *puzzle.choices):
            for attribute in kind.attributes:
                assert scene.value(attribute.name) in attribute.words
        assert all((r.attribute, r.kind, r.parameter) in kind.rule_phrases for r in rules)


@pytest.mark.parametrize("name", KINDS)
def test_json_round_trip(name):
    puzzle = sample_nonregular("train", 0, 2, name)
    assert Puzzle.from_json(puzzle.to_json()) == puzzle
    assert hash(Puzzle.from_json(puzzle.to_json())) == hash(puzzle)


@cache
def many(name):
    return [sample_nonregular("train", index, 4, name) for index in range(500)]


def similarity(puzzle, choice):
    """Returns how often the values of a choice occur among the choices."""
    return sum(
        other.value(key) == value
        for other in puzzle.choices
        for key, value in choice.values
        if not key.startswith("_")
    )


def middle(puzzle, choice):
    """Returns minus the distance of a choice's values from those of the others."""
    return -sum(
        abs(other.value(key) - value)
        for other in puzzle.choices
        for key, value in choice.values
        if not key.startswith("_")
    )


def blind_hits(puzzles, score, sign, seed):
    """Returns how often the best choice by a score is right, the context unseen."""
    rng = random.Random(seed)
    hits = 0
    for puzzle in puzzles:
        scores = [(sign * score(puzzle, choice), rng.random()) for choice in puzzle.choices]
        hits += scores.index(max(scores)) == puzzle.answer_index
    return hits


@pytest.mark.parametrize(("score", "sign"), [(similarity, 1), (similarity, -1), (middle, 1)])
def test_the_choices_alone_give_nothing_away(score, sign):
    total = 0
    for name in KINDS:
        hits = blind_hits(many(name), score, sign, seed=9)
        # Four standard deviations of a fair four-sided die.
        assert abs(hits - 125) < 4 * math.sqrt(500 * 0.25 * 0.75), name
        total += hits
    expected, spread = 125 * len(KINDS), math.sqrt(500 * len(KINDS) * 0.25 * 0.75)
    assert abs(total - expected) < 3 * spread


def test_no_value_is_right_more_often_than_another():
    """A table of how often each value was right, learned on one half, fails on the other."""
    hits = num_tested = 0
    for name in KINDS:
        right, shown = Counter(), Counter()
        puzzles = many(name)
        for puzzle in puzzles[:250]:
            for index, choice in enumerate(puzzle.choices):
                shown.update(choice.values)
                right.update(choice.values if index == puzzle.answer_index else ())
        for puzzle in puzzles[250:]:
            scores = [
                sum((right[v] + 5) / (shown[v] + 20) for v in choice.values)
                for choice in puzzle.choices
            ]
            hits += scores.index(max(scores)) == puzzle.answer_index
            num_tested += 1
    assert abs(hits / num_tested - 0.25) < 3 * math.sqrt(0.25 * 0.75 / num_tested)


def test_letters_are_right_equally_often():
    found = Counter(puzzle.answer_index for name in KINDS for puzzle in many(name))
    num = sum(found.values())
    for index in range(4):
        assert abs(found[index] / num - 0.25) < 4 * math.sqrt(0.25 * 0.75 / num)


@pytest.mark.parametrize("name", KINDS)
def test_a_puzzle_depends_on_its_arguments_alone(name):
    puzzle = sample_nonregular("train", 5, 6, name)
    sample_nonregular("train", 6, 6, name)
    assert sample_nonregular("train", 5, 6, name) == puzzle
    assert puzzle.puzzle_id == f"{name}-{puzzle.configuration}-6-train-5"


@pytest.mark.parametrize("name", KINDS)
def test_neighbouring_seeds_share_nothing(name):
    one = [sample_nonregular("train", index, 10, name) for index in range(20)]
    other = [sample_nonregular("train", index, 11, name) for index in range(21)]
    for shift in (0, 1):
        same = sum(a.context == b.context for a, b in zip(one, other[shift:], strict=False))
        assert same == 0
    assert len({p.context for p in one}) == 20


@pytest.mark.parametrize("name", KINDS)
def test_splits_do_not_overlap(name):
    for index in range(8):
        for split in ("train", "held_out"):
            puzzle = sample_nonregular(split, index, 3, name)
            assert split_of(puzzle.context) == split


def test_the_split_ignores_what_only_the_renderer_reads():
    puzzle = sample_nonregular("held_out", 0, 3, "counting")
    moved = [
        type(scene)(tuple((k, v + 1 if k == "_item_scatter" else v) for k, v in scene.values))
        for scene in puzzle.context
    ]
    assert split_of(moved) == "held_out"


def test_rejections_are_counted():
    found = [sample_counted("train", index, 0, "contact", "two_row") for index in range(60)]
    assert all(puzzle.configuration == "two_row" for puzzle, _ in found)
    # About half of these contexts have a second explanation, a tenth is held out.
    assert 15 < sum(rejected.ambiguous for _, rejected in found) < 200
    assert 0 < sum(rejected.other_split for _, rejected in found) < 30
    held = [sample_counted("held_out", index, 0, "contact", "two_row")[1] for index in range(60)]
    assert 300 < sum(rejected.other_split for rejected in held) < 900


@pytest.mark.parametrize(
    ("rules", "difficulty"),
    [
        ((Rule("heading", "progression", 1),), 1.0),
        ((Rule("heading", "growing", 1), Rule("pointer", "constant")), 1.0),
        ((Rule("long_hand", "progression", 1), Rule("short_hand", "growing", 1)), 2.0),
        ((Rule("lines", "xor"),), 1.5),
        ((Rule("filled_dots", "arithmetic", 1), Rule("hollow_dots", "arithmetic", -1)), 3.0),
        ((Rule("item_count", "shared"),), 1.0),
    ],
)
def test_difficulty(rules, difficulty):
    assert difficulty_of(rules) == difficulty


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(PuzzleError, match="got 'rotations'; nearest: rotation"):
        sample_nonregular("train", 0, 0, "rotations")
    with pytest.raises(PuzzleError, match="overlay: expected a layout of two_row, matrix, got"):
        sample_nonregular("train", 0, 0, "overlay", "group")
    with pytest.raises(PuzzleError, match="no context in .* refused"):
        KINDS["overlay"].sample(random.Random(0), "two_row", lambda context: False)
