"""What is known of a puzzle, by hand, and that nothing of one is told of another."""

import dataclasses

from rewards.state import LastAnswer, choices_with, fits_of, values_of
from rewards.tally import truths_of
from rewards.truth import predicted_keys, stated_keys
from rl_avr.parsing import parse


def test_values_by_hand(puzzle, grid):
    values = values_of(puzzle)
    assert values["context:2", 0, "size", None] == 2
    assert values["choice:0", 0, "type", None] == 5
    assert values["missing", 0, "color", None] == 7
    assert values_of(grid)["context:0", 0, "color", None] is None
    assert values_of(grid)["context:0", 0, "color", 3] == 5


def test_what_is_not_there_has_no_value(puzzle, annotated):
    for key in (
        ("context:8", 0, "size", None),
        ("choice:8", 0, "size", None),
        ("context:0", 1, "size", None),
        ("context:0", 0, "weight", None),
        ("context:0", 0, "size", 4),
    ):
        assert values_of(puzzle)[key] is None
    assert values_of(annotated())["missing", 0, "size", None] is None
    unknown = dataclasses.replace(puzzle, answer_index=None)
    assert values_of(unknown)["missing", 0, "size", None] is None


def test_the_choices_that_agree_with_a_prediction_by_hand(puzzle, grid):
    assert choices_with(puzzle)[0, "type", None, 4] == {1, 2, 3, 6}
    assert choices_with(puzzle)[0, "type", None, 1] == set()
    # all choices have several colors; the third has nothing in slot 2
    assert choices_with(grid)[0, "color", None, 2] == set()
    assert choices_with(grid)[0, "color", 2, 2] == {0, 1, 3}


def test_what_fits_by_hand(puzzle, grid):
    fits = fits_of(puzzle)
    assert [fits[index, 0, "size"] for index in range(8)] == [
        *(True, False, True, True, False, True, False, False)
    ]
    assert fits[8, 0, "size"] is None
    # several values are no value, whatever the answer has
    assert fits_of(grid)[1, 0, "color"] is False
    assert fits_of(dataclasses.replace(puzzle, answer_index=None))[0, 0, "size"] is None


def test_nothing_of_one_puzzle_is_told_of_another(puzzle, chain):
    other = dataclasses.replace(
        puzzle,
        context=(*puzzle.context[1:], puzzle.context[0]),
        answer_index=0,
        rules=puzzle.rules[:1],
    )
    parsed = parse(chain, 8)
    for asked in (puzzle, other, puzzle):
        truths = truths_of(parsed, asked)
        num_wrong = truths.counts.num_shown - truths.counts.num_right
        assert bool(num_wrong) == (asked is other)
        # choice A, which is the other's answer, is no hexagon
        assert len(truths.foreseen) == (2 if asked is other else 3)
        assert len(predicted_keys(asked)) == len(asked.rules)
        assert (truths.counts.num_seen == len(stated_keys(asked))) == (asked is puzzle)


def test_the_last_answer_is_for_the_same_objects_alone(puzzle, chain):
    asked = []
    answer = LastAnswer(lambda parsed, puzzle: asked.append((parsed, puzzle)))
    one, two = parse(chain, 8), parse(chain, 8)
    copy = dataclasses.replace(puzzle)
    for question in ((one, puzzle), (one, puzzle), (two, puzzle), (two, copy), (one, puzzle)):
        answer(*question)
    assert [(p is one, q is puzzle) for p, q in asked] == [
        *((True, True), (False, True), (False, False), (True, True))
    ]
