"""One value for each living puzzle, told by identity, within a bound."""

import copy
import gc

from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.puzzle_cache import PuzzleCache
from rl_avr.puzzles.sampler import sample_puzzle


def puzzle(index=0):
    return sample_puzzle("train", index, 5, PuzzleConfig())


def counted():
    asked = []

    def make(puzzle):
        asked.append(puzzle.puzzle_id)
        return [len(asked)]

    return PuzzleCache(make), asked


def test_a_puzzle_is_asked_once():
    cache, asked = counted()
    one, two = puzzle(0), puzzle(1)
    first = cache(one)
    assert cache(one) is first
    assert cache(two) == [2]
    assert asked == [one.puzzle_id, two.puzzle_id]


def test_an_equal_puzzle_is_another():
    cache, asked = counted()
    one = puzzle()
    same = copy.copy(one)
    assert same == one
    assert cache(one) is not cache(same)
    assert len(asked) == 2


def test_what_is_kept_goes_with_its_puzzle():
    cache, _ = counted()
    one = puzzle()
    cache(one)
    assert len(cache) == 1
    del one
    gc.collect()
    assert len(cache) == 0


def test_a_new_puzzle_never_gets_the_value_of_a_dead_one():
    # the memory of a dead puzzle, and with it its id, is soon used again
    cache = PuzzleCache(lambda puzzle: puzzle.puzzle_id)
    for index in range(50):
        one = puzzle(index)
        assert cache(one) == one.puzzle_id
        del one


def test_the_first_in_are_the_first_out():
    made = []
    cache = PuzzleCache(lambda puzzle: made.append(puzzle.puzzle_id), most=2)
    one, two, three = puzzles = [puzzle(index) for index in range(3)]
    for asked in puzzles:
        cache(asked)
    assert len(cache) == 2
    cache(two)
    cache(three)
    assert len(made) == 3
    cache(one)
    assert len(made) == 4
    assert len(cache) == 2


def test_what_fails_is_asked_again():
    def refuse(puzzle):
        raise ValueError

    cache = PuzzleCache(refuse)
    one = puzzle()
    for _ in range(2):
        try:
            cache(one)
        except ValueError:
            continue
        raise AssertionError
    assert len(cache) == 0
