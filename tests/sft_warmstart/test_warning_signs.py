"""Warnings on sequences of measurements: what sets them off, and what does not."""

import pytest

from rl_avr.metric_names import PERCEPTION_ACCURACY, PERCEPTION_FALLING, SHORTCUT
from sft_warmstart.warning_signs import Measured, falling, measurements, shortcut, warnings_of

NUM = 256
"""Questions of a measurement; two standard errors of a difference near 0.5 are 0.088."""


def measured(perceptions, losses=None):
    losses = losses or [None] * len(perceptions)
    return [
        Measured(10 * i, p, loss)
        for i, (p, loss) in enumerate(zip(perceptions, losses, strict=True))
    ]


@pytest.mark.parametrize(
    ("perceptions", "patience", "is_falling"),
    [
        ([0.5, 0.6, 0.7, 0.8], 2, False),
        ([0.5, 0.8, 0.6, 0.6], 2, True),
        # the best one was long ago
        ([0.8, 0.5, 0.5, 0.5], 2, True),
        # one low measurement is not two
        ([0.5, 0.8, 0.6], 2, False),
        ([0.5, 0.8, 0.6], 1, True),
        # down, up again, down
        ([0.8, 0.6, 0.8, 0.6], 2, False),
        # 0.80 and 0.73 of 256 differ by 0.070; two standard errors are 0.0746
        ([0.5, 0.8, 0.73, 0.73], 2, False),
        ([0.5, 0.8, 0.72, 0.72], 2, True),
        # all right, then all but three: two standard errors are 0.0134
        ([1.0, 1.0 - 3 / NUM, 1.0 - 3 / NUM], 2, False),
        ([1.0, 1.0 - 6 / NUM, 1.0 - 6 / NUM], 2, True),
        # nothing to compare with
        ([0.2, 0.1], 2, False),
        ([], 2, False),
    ],
)
def test_perception_falls_where_it_stays_below_its_best(perceptions, patience, is_falling):
    assert (falling(measured(perceptions), NUM, patience) is not None) is is_falling


def test_a_fall_is_told_with_its_numbers_and_what_to_do():
    words = falling(measured([0.5, 0.8, 0.6, 0.55]), NUM, 2)
    assert "80.0% of the questions were right at step 10, now 55.0%" in words
    assert "trainer.learning_rate" in words and "sft.replay" in words
    assert words.endswith("the checkpoint of step 10")


@pytest.mark.parametrize(
    ("perceptions", "losses", "is_shortcut"),
    [
        ([0.2, 0.2, 0.2], [None, 0.5, 0.4], True),
        # it rises: 0.2 and 0.29 differ by more than 0.0757
        ([0.2, 0.2, 0.29], [None, 0.5, 0.4], False),
        ([0.2, 0.29, 0.2], [None, 0.5, 0.4], False),
        # more than half of the first loss is left
        ([0.2, 0.2, 0.2], [None, 0.51, 0.4], False),
        # perception falls
        ([0.5, 0.3, 0.2], [None, 0.5, 0.4], True),
        # no loss was logged in between, or too few measurements
        ([0.2, 0.2, 0.2], [None, 0.4, None], False),
        ([0.2, 0.2], [None, 0.4], False),
    ],
)
def test_a_shortcut_is_a_loss_that_falls_while_perception_does_not_rise(
    perceptions, losses, is_shortcut
):
    assert (shortcut(measured(perceptions, losses), 1.0, NUM, 2) is not None) is is_shortcut


def test_without_a_loss_there_is_no_shortcut():
    assert shortcut(measured([0.2, 0.2, 0.2], [None, 0.5, 0.4]), None, NUM, 2) is None


HISTORY = [
    {"step": 0, PERCEPTION_ACCURACY: 0.2},
    {"step": 5, "loss": 2.0},
    {"step": 10, "loss": 1.0},
    {"step": 10, PERCEPTION_ACCURACY: 0.2},
    {"step": 20, "loss": 0.8},
    {"step": 20, PERCEPTION_ACCURACY: 0.2},
    {"step": 20, "train_runtime": 3.0},
]


def test_measurements_are_read_from_the_log():
    found, first = measurements(HISTORY)
    assert first == 2.0
    assert found == [Measured(0, 0.2, None), Measured(10, 0.2, 1.5), Measured(20, 0.2, 0.8)]


def test_the_shortcut_is_looked_for_in_grid_order_alone():
    rows = [*HISTORY, {"step": 30, "loss": 0.5}, {"step": 30, PERCEPTION_ACCURACY: 0.2}]
    in_order = warnings_of(rows, NUM, 2, is_sequential=True)
    assert "fell from 2 to 0.5" in in_order[SHORTCUT] and in_order[PERCEPTION_FALLING] is None
    assert "20.0% at step 0 and 20.0% now" in in_order[SHORTCUT]
    assert warnings_of(rows, NUM, 2, is_sequential=False)[SHORTCUT] is None
    # two measurements with a loss above half
    assert warnings_of(HISTORY, NUM, 2, is_sequential=True)[SHORTCUT] is None
