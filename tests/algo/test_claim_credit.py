from itertools import pairwise

import pytest

from rl_avr.algo.claim_credit import JudgedClaim, claim_advantages, token_credit


def claim(key, is_true, start=0, end=1):
    return JudgedClaim(key, start, end, is_true)


def test_advantage_is_the_truth_against_the_group():
    """Three right, one wrong: mean 0.75, standard deviation 0.433."""
    group = [[claim("k", True)], [claim("k", True)], [claim("k", True)], [claim("k", False)]]
    found = [row["k"] for row in claim_advantages(group)]
    assert found == pytest.approx([0.577, 0.577, 0.577, -1.732], abs=1e-3)
    assert sum(found) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("truth", [True, False])
def test_a_claim_without_spread_gives_nothing(truth):
    assert claim_advantages([[claim("k", truth)]] * 5) == [{"k": 0.0}] * 5
    assert claim_advantages([[claim("k", truth)], []]) == [{"k": 0.0}, {}]


def test_claims_do_not_touch_each_other():
    group = [[claim("a", True), claim("b", True)], [claim("a", False), claim("b", True)]]
    first, second = claim_advantages(group)
    assert first["a"] == -second["a"] > 0.99
    assert first["b"] == second["b"] == 0.0


def test_the_order_of_a_group_does_not_matter():
    group = [[claim("a", g % 3 == 0)] for g in range(8)]
    forward = claim_advantages(group)
    assert claim_advantages(group[::-1]) == forward[::-1]


def test_credit_lands_on_the_tokens_of_the_span():
    claims = [claim("a", True, 2, 5), claim("b", False, 4, 6)]
    credit = token_credit(claims, {"a": 1.0, "b": -0.5}, [2, 4, 5, 6, 9])
    assert credit == [0.0, 1.0, 0.5, -0.5, 0.0]


def test_tokens_without_text_get_nothing():
    """The end token spells no character."""
    assert token_credit([claim("a", True, 0, 2)], {"a": 1.0}, [2, 2]) == [1.0, 0.0]
    assert token_credit([], {}, []) == []


def test_credit_of_a_group_sums_to_zero_where_all_make_the_claim():
    group = [[claim("k", g < 3, 1, 2)] for g in range(8)]
    rows = [
        token_credit(claims, advantages, [1, 2, 3])
        for claims, advantages in zip(group, claim_advantages(group), strict=True)
    ]
    assert sum(row[1] for row in rows) == pytest.approx(0, abs=1e-9)
    assert all(a[1] >= b[1] for a, b in pairwise(rows))
