"""How far a puzzle lies from training."""

from dataclasses import replace

from rl_avr.contracts import Prompt
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.shifts import as_retention, shift_of, trained_on, with_shift


def test_the_widest_difference_counts(puzzle, grid, annotated, zoo):
    trained = trained_on([replace(puzzle, difficulty=2.0), replace(puzzle, difficulty=1.0)])
    assert shift_of(replace(puzzle, difficulty=2.0), trained) == "in_distribution"
    assert shift_of(replace(puzzle, difficulty=2.5), trained) == "harder"
    assert shift_of(replace(grid, difficulty=9.0), trained) == "other_configuration"
    assert shift_of(annotated(), trained) == "other_family"
    assert shift_of(zoo[-1], trained) == "other_family"


def test_training_on_a_puzzle_makes_it_in_distribution(zoo):
    trained = trained_on(zoo)
    assert {shift_of(puzzle, trained) for puzzle in zoo} == {"in_distribution"}
    assert {shift_of(puzzle, trained_on([])) for puzzle in zoo} == {"other_family"}


def test_tags(puzzle):
    problem = Problem(Prompt("p", puzzle, "cot", "", ()), (("benchmark", "ours"),))
    shifted = with_shift(problem, trained_on([puzzle]))
    assert shifted.tags == (("benchmark", "ours"), ("shift", "in_distribution"))
    assert shifted.prompt == problem.prompt
    assert as_retention(problem).values("probe") == ("retention",)
