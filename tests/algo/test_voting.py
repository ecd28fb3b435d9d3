"""Votes by hand, their invariances, and that stopping early never changes an exact answer."""

import doctest
import math
import random

import pytest

from rl_avr.algo import voting
from rl_avr.algo.voting import METHODS, cannot_lose, doubt, mixture
from rl_avr.errors import DataError

CHOICES = ["A", "B", None, "B", "A", "C"]
SCORES = [2.0, -1.0, 50.0, 0.5, -3.0, 1.0]


def test_the_examples_hold():
    assert doctest.testmod(voting).failed == 0


@pytest.mark.parametrize(
    ("method", "answer", "distribution", "winner"),
    [
        ("best_of_n", "A", {"A": 1.0, "B": 0.0, "C": 0.0}, 0),
        # A and B have two each; the scores of B sum to -0.5, those of A to -1
        ("self_consistency", "B", {"A": 0.4, "B": 0.4, "C": 0.2}, 3),
        # ranks of A: 5 and 1, of B: 2 and 3, of C: 4, of 15
        ("weighted_rank", "A", {"A": 6 / 15, "B": 5 / 15, "C": 4 / 15}, 0),
        # sums: A -1, B -0.5, C 1
        ("weighted_raw", "C", {"A": 0.0, "B": 0.0, "C": 1.0}, 5),
    ],
)
def test_a_vote_by_hand(method, answer, distribution, winner):
    found = METHODS[method](CHOICES, SCORES)
    assert (found.answer, found.winner_index) == (answer, winner)
    assert found.distribution == pytest.approx(distribution)


def test_soft_weights_by_hand():
    powers = {"A": math.e**2 + math.e**-3, "B": math.e**-1 + math.e**0.5, "C": math.e}
    softmax = METHODS["weighted_softmax"](CHOICES, SCORES)
    assert softmax.distribution == pytest.approx(
        {a: p / sum(powers.values()) for a, p in powers.items()}
    )
    halved = METHODS["weighted_softmax"](CHOICES, [2 * s for s in SCORES], temperature=2.0)
    assert halved == softmax
    sigma = [1 / (1 + math.exp(-s / 4)) for s in SCORES]
    sums = {"A": sigma[0] + sigma[4], "B": sigma[1] + sigma[3], "C": sigma[5]}
    found = METHODS["weighted_sigmoid"](CHOICES, SCORES, temperature=4.0)
    assert found.distribution == pytest.approx({a: s / sum(sums.values()) for a, s in sums.items()})


@pytest.mark.parametrize("method", METHODS)
def test_every_method_abstains_without_an_answer_and_takes_a_single_chain(method):
    vote = METHODS[method]
    for nobody in ([], [None], [None, None]):
        found = vote(nobody, [math.nan] * len(nobody))
        assert (found.answer, dict(found.distribution), found.winner_index) == (None, {}, None)
    for score in (-700.0, 0.0, 700.0):
        alone = vote(["D"], [score])
        assert (alone.answer, dict(alone.distribution), alone.winner_index) == ("D", {"D": 1.0}, 0)


@pytest.mark.parametrize("method", METHODS)
def test_chains_without_an_answer_never_vote(method):
    voting_only = [(c, s) for c, s in zip(CHOICES, SCORES, strict=True) if c is not None]
    found = METHODS[method](
        CHOICES, [math.inf if c is None else s for c, s in zip(CHOICES, SCORES, strict=True)]
    )
    same = METHODS[method](*zip(*voting_only, strict=True))
    assert (found.answer, found.distribution) == (same.answer, same.distribution)
    assert sum(found.distribution.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("method", METHODS)
def test_ties_go_to_the_summed_score_and_then_to_the_first_seen(method):
    vote = METHODS[method]
    equal = vote(["B", "A", "A", "B"], [0.3, 0.3, 0.3, 0.3])
    assert (equal.answer, equal.winner_index) == ("B", 0)
    # the same scores in another order: equal sums, whatever the order of addition
    found = vote(["B", "A", "B", "A", "B", "A"], [0.3, 0.1, 0.2, 0.2, 0.1, 0.3])
    assert found.answer == "B"
    if method == "self_consistency":
        assert vote(["A", "B", "B", "A"], [0.0, 0.1, 0.2, 0.0]).answer == "B"


@pytest.mark.parametrize("method", METHODS)
def test_names_and_order_of_the_chains_do_not_matter_where_nothing_is_tied(method):
    rng = random.Random(3)
    for _ in range(20):
        choices = [rng.choice("ABC") for _ in range(9)]
        scores = [rng.gauss(0, 2) for _ in choices]
        order = rng.sample(range(9), 9)
        found = METHODS[method](choices, scores)
        moved = METHODS[method](
            [choices[i].translate(str.maketrans("ABC", "CAB")) for i in order],
            [scores[i] for i in order],
        )
        assert moved.answer == found.answer.translate(str.maketrans("ABC", "CAB"))
        assert order[moved.winner_index] == found.winner_index


@pytest.mark.parametrize(
    "method", ["best_of_n", "self_consistency", "weighted_softmax", "weighted_rank"]
)
def test_a_shift_of_all_scores_changes_nothing(method):
    rng = random.Random(5)
    for _ in range(20):
        choices = [rng.choice("ABCD") for _ in range(8)]
        scores = [rng.gauss(0, 1) for _ in choices]
        assert (
            METHODS[method](choices, [s - 7.0 for s in scores]).answer
            == METHODS[method](choices, scores).answer
        )


def test_a_raw_sum_lets_more_votes_lower_an_answer_and_a_shift_choose():
    raw = METHODS["weighted_raw"]
    assert raw(["A", "B"], [-1.0, -1.5]).answer == "A"
    assert raw(["A", "B", "A"], [-1.0, -1.5, -1.0]).answer == "B"
    assert raw(["A", "B", "A"], [9.0, 8.5, 9.0]).answer == "A"


def test_the_temperature_goes_from_the_best_chain_to_the_majority():
    choices, scores = ["A", "A", "B"], [0.0, 0.1, 1.0]
    for temperature, answer in ((0.01, "B"), (1.0, "B"), (100.0, "A")):
        assert (
            METHODS["weighted_softmax"](choices, scores, temperature=temperature).answer == answer
        )


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="score of chain 1"):
        METHODS["weighted_softmax"](["A", "B"], [0.0, math.nan])
    with pytest.raises(DataError, match="one score a chain, got 1 for 2"):
        METHODS["self_consistency"](["A", "B"], [0.0])


def test_a_mixture_weighs_scores_of_any_scale_alike():
    choices = ["A", "B", "A", None]
    columns = {"x": [1.0, 2.0, 3.0, math.nan], "y": [300.0, 200.0, 100.0, math.inf], "z": [4.0] * 4}
    assert mixture(choices, columns, {"x": 1.0, "y": 1.0}) == pytest.approx([0.0] * 4)
    step = 1 / math.sqrt(2 / 3)
    mixed = mixture(choices, columns, {"x": 2.0, "y": 1.0, "z": 5.0})
    assert mixed == pytest.approx([-step, 0.0, step, 0.0])


def test_the_exact_stop_never_changes_the_majority():
    rng = random.Random(0)
    num_stopped = 0
    for _ in range(300):
        bias = rng.random()
        chains = [
            rng.choice(["A", "B", "C", None]) if rng.random() > bias else "A" for _ in range(12)
        ]
        scores = [rng.gauss(0, 1) for _ in chains]
        whole = METHODS["self_consistency"](chains, scores).answer
        for n in range(1, 12):
            if cannot_lose(chains[:n], 12 - n):
                num_stopped += 1
                assert METHODS["self_consistency"](chains[:n], scores[:n]).answer == whole
    assert num_stopped > 100
    # a lead of as many as are left can still be tied
    assert not cannot_lose(["A", "A", "B"], 1)


def test_the_doubt_is_the_share_of_truths_in_which_the_second_is_ahead():
    """Draws p uniformly, then 7 votes; of the worlds that show 5:2, how many have p < 1/2?"""
    rng = random.Random(1)
    behind = total = 0
    for _ in range(60_000):
        p = rng.random()
        if sum(rng.random() < p for _ in range(7)) == 5:
            total += 1
            behind += p < 0.5
    found = doubt(METHODS["self_consistency"](["A"] * 5 + ["B"] * 2 + [None], [0.0] * 8))
    assert found == pytest.approx(37 / 256)
    assert behind / total == pytest.approx(found, abs=0.012)


def test_unequal_weights_count_as_fewer_votes():
    vote = METHODS["weighted_softmax"]
    equal, one = vote(["A"] * 8, [0.0] * 8), vote(["A"] * 8, [50.0] + [0.0] * 7)
    assert (equal.num_votes, one.num_votes) == (pytest.approx(8.0), pytest.approx(1.0))
    assert doubt(equal) < 0.01 < doubt(one) == pytest.approx(0.25)
    assert doubt(vote([None], [0.0])) == 0.5
