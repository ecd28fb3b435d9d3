"""Values: JSON round trip, answers, and hashing."""

import dataclasses
import json

import numpy as np
import pytest

from rl_avr.contracts import Prompt, Puzzle, Score
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles


def test_json_round_trip_keeps_every_puzzle(puzzles):
    noisy = list(sample_puzzles("train", 20, 2, PuzzleConfig(has_angle_noise=True)))
    for puzzle in [*puzzles, *noisy]:
        text = puzzle.to_json()
        assert "\n" not in text
        back = Puzzle.from_json(text)
        assert back == puzzle
        assert hash(back) == hash(puzzle)


def test_json_by_hand(puzzle):
    raw = json.loads(puzzle.to_json())
    assert raw["answer_index"] == 2
    assert raw["context"][3] == {"entities": [{"type": 5, "size": 1, "color": 1, "angle": 3}]}
    assert raw["rules"][1] == {"attribute": "size", "kind": "progression", "parameter": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "{}", '{"context": 3}'])
def test_text_that_is_no_puzzle_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Puzzle.from_json(text)


def test_unknown_and_missing_keys_are_refused(puzzle):
    raw = json.loads(puzzle.to_json())
    with pytest.raises(TypeError, match="colour"):
        Puzzle.from_json(json.dumps({**raw, "colour": 1}))
    del raw["seed"]
    with pytest.raises(TypeError, match="seed"):
        Puzzle.from_json(json.dumps(raw))


def test_permuting_the_choices_permutes_the_answer(puzzle):
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = rng.permutation(8).tolist()
        moved = dataclasses.replace(
            puzzle,
            choices=tuple(puzzle.choices[i] for i in order),
            answer_index=order.index(puzzle.answer_index),
        )
        assert moved.answer == puzzle.answer
        assert moved.answer_letter == "ABCDEFGH"[order.index(2)]


def test_a_part_that_cannot_judge_is_none_and_an_unknown_one_an_error():
    score = Score(0.5, (("choice", 1.0), ("rule", None)))
    assert score.part("choice") == 1.0
    assert score.part("rule") is None
    with pytest.raises(KeyError):
        score.part("style")


def test_a_prompt_s_repr_leaves_the_image_out(puzzle):
    assert "PNG" not in repr(Prompt("p", puzzle, "cot", "text", b"\x89PNG" * 1000))
