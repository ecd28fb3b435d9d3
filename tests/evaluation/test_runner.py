"""The runner on an engine that says what it is told; numbers worked by hand."""

import json

import numpy as np
import pytest

from rewards.config import RewardConfig
from rl_avr.contracts import Prompt
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.elicitation.chains import gold_chain
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.runner import measure, summarize_values
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

PUZZLES = list(sample_puzzles("held_out", 3, 5, PuzzleConfig()))
PROMPTS = [Prompt(p.puzzle_id, p, "cot", "", ()) for p in PUZZLES]
ROLLOUTS = RolloutConfig(sampling=SamplingConfig(max_new_tokens=10_000))


def wrong_letter(puzzle, shift=1):
    letter = "ABCDEFGH"[(puzzle.answer_index + shift) % 8]
    return gold_chain(puzzle).replace(
        f"### Answer: {puzzle.answer_letter}", f"### Answer: {letter}"
    )


def script(prompt, index):
    """Puzzle 0 is always solved, 1 by samples 0 to 2 of 4, 2 says nothing."""
    number = PUZZLES.index(prompt.puzzle)
    if number == 2:
        return ""
    is_right = number == 0 or index < 3
    return gold_chain(prompt.puzzle) if is_right else wrong_letter(prompt.puzzle)


def test_numbers_by_hand(tmp_path):
    config = EvalConfig(num_samples=4)
    engine = ScriptedEngine(script)
    values = measure(engine, PROMPTS, ROLLOUTS, RewardConfig(), config, 0, tmp_path)
    assert values["greedy"].tolist() == [1, 1, 0]
    assert values["pass@1"].tolist() == [1, 0.75, 0]
    assert values["majority@4"].tolist() == [1, 1, 0]
    assert values["perception"].tolist() == [1, 1, 0]
    lines = (tmp_path / "sampled.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["completions"]) for line in lines] == [4, 4, 4]


def test_open_questions_have_no_vote(tmp_path):
    asked = [one for puzzle in PUZZLES for one in ask_puzzle(puzzle, "open")]
    prompts = [Prompt(one.puzzle_id, one, "perception", "", ()) for one in asked]
    engine = ScriptedEngine(lambda p, i: p.puzzle.annotation.answer if i == 0 else "a fish")
    values = measure(
        engine, prompts, ROLLOUTS, RewardConfig(), EvalConfig(num_samples=2), 0, tmp_path
    )
    assert {name: column.tolist() for name, column in values.items()} == {
        "greedy": [1, 1, 1],
        "pass@1": [0.5, 0.5, 0.5],
    }


def test_a_second_evaluation_replaces_the_chains_of_the_first(tmp_path):
    config = EvalConfig(num_samples=2)
    for _ in range(2):
        measure(ScriptedEngine(script), PROMPTS, ROLLOUTS, RewardConfig(), config, 0, tmp_path)
    assert len((tmp_path / "greedy.jsonl").read_text().splitlines()) == 3


def test_the_summary_is_the_mean_over_puzzles():
    found = summarize_values({"pass@1": np.array([1, 0.75, 0.0])}, EvalConfig(), seed=0)
    cell = found["pass@1"]
    assert cell["value"] == pytest.approx(1.75 / 3)
    assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1
    assert cell["n"] == 3
