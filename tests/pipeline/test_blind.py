"""Nobody guesses the answer from the choices alone, except of RAVEN's own answer sets."""

from dataclasses import replace

import pytest

from rl_avr.pipeline.data_bias import answer_set, bias_report
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.sampler import sample_puzzles

CHANCE = 1 / 8
CONFIG = PuzzleConfig(
    mix=dict.fromkeys(CONFIGURATIONS, 1.0),
    min_ruled=0,
    has_angle_noise=True,
    has_uniformity_noise=True,
)


def report(kind, num_puzzles):
    puzzles = sample_puzzles("train", num_puzzles, 7, replace(CONFIG, answer_set=kind))
    sets = [answer_set(puzzle, puzzle.configuration) for puzzle in puzzles]
    return {name: found["8 choices"] for name, found in bias_report(sets).items()}


@pytest.mark.parametrize("kind", ["iraven", "fair"])
def test_the_choices_alone_give_chance_on_ten_thousand_puzzles(kind):
    found = report(kind, 10_000)
    assert found["mode"]["n"] == 10_000
    assert found["trained"]["n"] > 4_900
    for guesser in ("mode", "trained"):
        assert found[guesser]["low"] <= CHANCE <= found[guesser]["high"], found


def test_raven_sets_show_their_known_bias():
    found = report("raven", 2_000)
    # RAVEN's own files: 80 to 83% by context-blind guessers
    assert found["mode"]["value"] > 0.7, found
    assert found["trained"]["value"] > 0.7, found
