"""Answers with other names of choices, and rewards that fail, on a scripted engine."""

from dataclasses import replace

import pytest

from rewards.config import RewardConfig
from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import RewardError, RolloutError
from rl_avr.evaluation.asking import Asker, Phases
from rl_avr.evaluation.problems import Problem
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

PUZZLE = next(iter(sample_puzzles("held_out", 1, 5, PuzzleConfig())))
ROLLOUTS = RolloutConfig(sampling=SamplingConfig(max_new_tokens=10_000))


def asker(script):
    return Asker(ScriptedEngine(script), ROLLOUTS, RewardConfig(), 2, 0, Phases())


def problem(labels="letters", name="p"):
    return Problem(Prompt(name, PUZZLE, "cot", "", ()), (("split", "test"),), labels)


def test_an_answer_is_read_by_the_names_that_its_prompt_gave():
    letter = f"### Answer: {PUZZLE.answer_letter}"
    by_digit = gold_chain(PUZZLE).replace(letter, f"### Answer: {PUZZLE.answer_index + 1}")

    # the first chain answers by digit, the second by letter
    def script(prompt, index):
        return gold_chain(PUZZLE) if index else by_digit

    with asker(script) as ask:
        digits, letters = ask.ask([problem("digits", "d"), problem("letters", "l")])
    assert [one.is_right for one in digits.row.samples] == [True, False]
    assert [one.choice for one in digits.row.samples] == [PUZZLE.answer_index, None]
    assert [one.is_right for one in letters.row.samples] == [False, True]
    assert digits.row.tags == (("split", "test"),)
    assert digits.row.num_choices == 8


def test_what_a_turn_began_with_is_read_and_graded_and_costs_nothing():
    gold = gold_chain(PUZZLE)
    begun = replace(problem(), prompt=replace(problem().prompt, prefill=gold[:-2]))
    with asker(lambda prompt, index: gold[-2:] if prompt.prefill else "") as ask:
        (found,) = ask.ask([begun])
    assert [one.is_right for one in found.row.samples] == [True, True]
    assert found.row.greedy.status == "ok" and found.row.greedy.num_tokens == 2
    assert found.chains["greedy"].group.completions[0].text == gold


def test_only_the_problems_at_fault_of_a_batch_fail():
    def script(prompt, index):
        if prompt.prompt_id in ("1", "4"):
            raise RolloutError("refused")
        return gold_chain(PUZZLE)

    with asker(script) as ask:
        found = ask.ask([problem(name=str(i)) for i in range(7)])
    assert [one.row.prompt_id for one in found] == list("0123456")
    assert [one.row.error is None for one in found] == [i not in (1, 4) for i in range(7)]
    assert all(bool(one.chains) == (one.row.error is None) for one in found)


def test_a_reward_that_fails_is_no_fault_of_the_problem():
    def script(prompt, index):
        raise RewardError("yours")

    with asker(script) as ask, pytest.raises(RewardError, match="yours"):
        ask.ask([problem()])


def test_phases_add_up_and_are_shares_of_the_whole():
    phases = Phases()
    phases.seconds = {"loading": 1.0, "generation": 3.0}
    assert phases.line() == "4.0 s: loading 25%, generation 75%"
    with phases("reward"):
        pass
    assert set(phases.seconds) == {"loading", "generation", "grading"}
