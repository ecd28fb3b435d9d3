"""Answer sets: the tree of attributes, its balance, and no shortcut past the context."""

import math
import random
from collections import Counter

from rl_avr.puzzles.choices import iraven_choices
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ATTRIBUTES, LEVELS, level, single
from rl_avr.puzzles.sampler import sample_puzzles


def test_each_value_occurs_four_times_and_all_combinations_once(puzzles):
    for puzzle in puzzles:
        assert len(set(puzzle.choices)) == 8
        for name in ATTRIBUTES:
            counts = Counter(level(choice, name) for choice in puzzle.choices)
            assert set(counts.values()) == {4}
            assert len(counts) == 2
            assert level(puzzle.answer, name) in counts


def test_alternatives_stay_within_the_levels_and_reach_all_of_them():
    answer = single({"type": 1, "size": 0, "color": 9}, angle=6)
    seen = {name: set() for name in ATTRIBUTES}
    places = Counter()
    rng = random.Random(0)
    for _ in range(400):
        choices, index = iraven_choices(answer, rng)
        assert choices[index] == answer
        places[index] += 1
        for name in ATTRIBUTES:
            seen[name] |= {level(choice, name) for choice in choices}
    assert seen == {name: set(levels) for name, levels in LEVELS.items()}
    # 400 answers over eight places: 50 each, standard deviation 6.6
    assert set(places) == set(range(8))
    assert max(abs(count - 50) for count in places.values()) < 3.5 * math.sqrt(400 / 8 * 7 / 8)


def test_the_mode_of_the_choices_is_at_chance():
    total = 2000
    right = 0
    for puzzle in sample_puzzles("train", total, 21, PuzzleConfig()):
        counts = [Counter(level(c, name) for c in puzzle.choices) for name in ATTRIBUTES]
        votes = [
            sum(count[level(choice, name)] for count, name in zip(counts, ATTRIBUTES, strict=True))
            for choice in puzzle.choices
        ]
        right += votes.index(max(votes)) == puzzle.answer_index
    # binomial with p = 1/8: 250 expected, standard deviation 14.8
    assert abs(right - total / 8) < 3.3 * math.sqrt(total / 8 * 7 / 8)
