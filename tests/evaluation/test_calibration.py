"""Calibration worked by hand."""

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.calibration import calibration, votes
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.rows import ProblemRow
from rl_avr.evaluation.statistics import wilson

CONFIG = EvalConfig(num_bootstrap=200)


def test_numbers_by_hand():
    confidence = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    right = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    found = calibration(confidence, right, CONFIG, 0, num_bins=2)
    low, high = found.bins
    # 0.5 is the upper edge of the first bin
    assert (low.low, low.high, low.confidence) == (0, 0.5, 0.25)
    assert low.accuracy == wilson(1, 3, 0.95)
    assert high.confidence == pytest.approx(2.75 / 3)
    assert high.accuracy == wilson(2, 3, 0.95)
    assert found.ece == pytest.approx((1 / 3 - 0.25) / 2 + (2.75 / 3 - 2 / 3) / 2)
    assert found.brier.value == pytest.approx((0 + 0.5625 + 0.25 + 0.0625 + 0 + 1) / 6)
    assert found.brier.low < found.brier.value < found.brier.high


def test_perfect_calibration_has_no_error_and_empty_bins_are_left_out():
    found = calibration(np.array([0.5] * 4 + [1.0]), np.array([1.0, 0, 1, 0, 1]), CONFIG, 0)
    assert found.ece == 0
    assert [b.accuracy.n for b in found.bins] == [4, 1]


def test_a_policy_sure_of_wrong_answers_has_the_greatest_error():
    found = calibration(np.ones(5), np.zeros(5), CONFIG, 0)
    assert found.ece == 1 and found.brier.value == 1


def test_votes_of_rows(row_of):
    rows = [
        row_of("a", 1, [1, 1, None, 2]),
        row_of("b", 1, [3, 3, 3, 3]),
        row_of("open", None, [None] * 4),
        ProblemRow("failed", (), 0, 8, error="too long"),
    ]
    confidence, right = votes(rows)
    assert confidence.tolist() == [0.5, 1, 0]
    assert right.tolist() == [1, 0, 0]
    assert votes([])[0].size == 0


@pytest.mark.parametrize(
    ("confidence", "right"), [([], []), ([0.5], [1, 0]), ([1.5], [1]), ([np.nan], [1])]
)
def test_what_cannot_be_calibrated_is_refused(confidence, right):
    with pytest.raises(DataError, match="expected"):
        calibration(np.array(confidence), np.array(right), CONFIG, 0)
