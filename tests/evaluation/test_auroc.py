"""The area under the ROC curve: against its definition, and its resamples of puzzles."""

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.auroc import auroc, auroc_difference, auroc_interval


def by_pairs(scores, truths):
    """The definition: over all pairs of a true and a false claim."""
    true, false = scores[truths], scores[~truths]
    wins = (true[:, None] > false).mean()
    return wins + 0.5 * (true[:, None] == false).mean()


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 80).astype(float)
    truths = rng.random(80) < 0.7
    assert auroc(scores, truths) == pytest.approx(by_pairs(scores, truths), abs=1e-12)
    assert auroc(-scores, truths) == pytest.approx(1 - auroc(scores, truths))


def test_numbers_by_hand():
    truths = np.array([True, True, False, False])
    assert auroc(np.array([4.0, 3.0, 2.0, 1.0]), truths) == 1.0
    assert auroc(np.array([1.0, 2.0, 3.0, 4.0]), truths) == 0.0
    assert auroc(np.zeros(4), truths) == 0.5
    assert np.isnan(auroc(np.zeros(4), np.ones(4, dtype=bool)))
    assert np.isnan(auroc(np.array([]), np.array([], dtype=bool)))


def test_resamples_draw_puzzles_and_not_claims():
    # in every puzzle the same 50 claims again: as sure as 20 claims, not as 1,000
    rng = np.random.default_rng(0)
    scores, truths = rng.normal(size=20), rng.random(20) < 0.5
    puzzles = np.repeat(np.arange(20), 50)
    many = auroc_interval(np.repeat(scores, 50), np.repeat(truths, 50), puzzles, 500, 0.95, 1)
    few = auroc_interval(scores, truths, np.arange(20), 500, 0.95, 1)
    assert many == few
    assert many.n == 20 and many.low < many.value < many.high
    alone = auroc_interval(
        np.repeat(scores, 50), np.repeat(truths, 50), np.arange(1000), 500, 0.95, 1
    )
    assert alone.high - alone.low < (many.high - many.low) / 2


def test_a_difference_is_paired():
    rng = np.random.default_rng(0)
    truths = rng.random(400) < 0.6
    puzzles = np.repeat(np.arange(40), 10)
    scores = truths + rng.normal(size=400)
    found = auroc_difference(scores, scores, truths, puzzles, 100, 0.95, 0)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    better = auroc_difference(scores, rng.normal(size=400), truths, puzzles, 300, 0.95, 0)
    assert better.low > 0.1


def test_one_kind_of_claim_alone_has_no_area():
    found = auroc_interval(np.arange(3.0), np.ones(3, dtype=bool), np.arange(3), 10, 0.95, 0)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_number_that_is_none_is_refused():
    with pytest.raises(DataError, match="expected a number for each claim"):
        auroc(np.array([np.nan, 1.0]), np.array([True, False]))
