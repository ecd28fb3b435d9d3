"""Which prompts a batch holds: trl's order, and a bandit over categories."""

import json
import math

import numpy as np
import pytest
from trl.trainer.utils import RepeatSampler

from rl_avr.algo.prompt_sampler import SecSampler, UniformSampler, boltzmann

NAMES = ["easy"] * 4 + ["hard"] * 2 + ["mid"] * 3


def restored(sampler, fresh):
    """Returns `fresh` after it was given the other's state, by way of a file's text."""
    fresh.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    return fresh


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("size", "batch"), [(12, 2), (13, 4), (5, 5), (7, 1)])
def test_uniform_is_trls_order_over_several_passes(size, batch, shuffle):
    theirs = RepeatSampler(range(size), 1, batch, 1, shuffle, seed=42)
    ours = UniformSampler(size, 42, shuffle)
    for _ in range(3):
        order = list(theirs)
        assert [x for _ in range(size // batch) for x in ours.draw(batch)] == order


@pytest.mark.parametrize("num_draws", [0, 1, 3, 4, 9])
def test_uniform_goes_on_from_its_state(num_draws):
    whole = UniformSampler(13, 7)
    for _ in range(num_draws):
        whole.draw(4)
    again = restored(whole, UniformSampler(13, 7))
    assert [again.draw(4) for _ in range(8)] == [whole.draw(4) for _ in range(8)]


def test_uniform_refuses_another_data_set_and_a_batch_that_is_too_large():
    with pytest.raises(ValueError, match="12.*13"):
        restored(UniformSampler(13, 7), UniformSampler(12, 7))
    with pytest.raises(ValueError, match="a batch of 3 prompts from only 2"):
        UniformSampler(2, 0).draw(3)


def test_uniform_has_no_categories_to_log():
    assert UniformSampler(2, 0).probabilities() == {}


def test_boltzmann_by_hand_and_with_values_that_would_overflow():
    expected = np.array([1, math.e, math.e**2]) / (1 + math.e + math.e**2)
    assert boltzmann([0.0, 0.5, 1.0], 0.5) == pytest.approx(expected)
    assert boltzmann([1e6, 0.0], 1e-3).tolist() == [1.0, 0.0]


def test_updates_by_hand():
    """Two batches; alpha a half; the mean over a category's prompts, those with 0 included."""
    sampler = SecSampler(NAMES, 0, alpha=0.5)
    sampler.update([0, 1, 4], [1.0, 0.0, 0.8])
    assert sampler.values == pytest.approx({"easy": 0.25, "hard": 0.4, "mid": 0.0})
    sampler.update([2, 6, 7], [0.5, 0.6, 0.2])
    assert sampler.values == pytest.approx({"easy": 0.375, "hard": 0.2, "mid": 0.2})
    assert sampler.probabilities() == pytest.approx(
        dict(zip(["easy", "hard", "mid"], boltzmann([0.375, 0.2, 0.2], 1.0), strict=True))
    )


def test_alpha_is_the_share_of_the_newest_batch():
    sampler = SecSampler(NAMES, 0, alpha=0.25)
    sampler.update([4], [0.8])
    sampler.update([5], [0.4])
    assert sampler.values["hard"] == pytest.approx(0.75 * (0.25 * 0.8) + 0.25 * 0.4)


def test_a_category_that_is_not_in_the_batch_decays_or_keeps():
    for unsampled, expected in (("decay", 0.05), ("keep", 0.4)):
        sampler = SecSampler(NAMES, 0, alpha=0.5, unsampled=unsampled)
        sampler.update([4], [0.8])
        for _ in range(3):
            sampler.update([0], [0.0])
        assert sampler.values == pytest.approx({"easy": 0.0, "hard": expected, "mid": 0.0})


def test_a_batch_holds_no_prompt_twice_and_may_hold_all():
    sampler = SecSampler(NAMES, 3)
    assert sorted(sampler.draw(9)) == list(range(9))
    sampler.values["hard"] = 50.0
    batch = sampler.draw(4)
    assert len(set(batch)) == 4
    assert batch[:2] in ([4, 5], [5, 4])
    with pytest.raises(ValueError, match="a batch of 10 prompts from only 9"):
        sampler.draw(10)


def test_draws_follow_the_probabilities_and_prompts_of_a_category_are_alike():
    sampler = SecSampler(NAMES, 11, temperature=0.5)
    sampler.values = {"easy": 0.0, "hard": 0.5, "mid": 0.25}
    drawn = [sampler.draw(1)[0] for _ in range(6000)]
    share = {name: sum(NAMES[i] == name for i in drawn) / 6000 for name in sampler.values}
    # three standard deviations of a share of 6,000 are at most 0.02
    assert share == pytest.approx(sampler.probabilities(), abs=0.02)
    for index in range(9):
        expected = share[NAMES[index]] / NAMES.count(NAMES[index])
        assert drawn.count(index) / 6000 == pytest.approx(expected, abs=0.02)


def test_the_bandit_goes_where_half_of_the_answers_are_right():
    """Binary rewards of 8 completions a prompt, normalised by hand; easy and hard teach little."""
    rates = {"easy": 0.98, "half": 0.5, "hard": 0.02}
    names = [name for name in rates for _ in range(50)]
    rng = np.random.default_rng(0)
    sampler = SecSampler(names, 0, alpha=0.5, temperature=0.2)
    late = []
    for step in range(200):
        batch = sampler.draw(16)
        rewards = rng.random((16, 8)) < np.array([[rates[names[i]]] for i in batch])
        spread = rewards.std(1, keepdims=True)
        advantages = np.abs(rewards - rewards.mean(1, keepdims=True)) / (spread + 1e-4)
        sampler.update(batch, advantages.mean(1).tolist())
        if step >= 100:
            late += [names[i] for i in batch]
    assert late.count("half") / len(late) > 0.8
    assert sampler.values["half"] > 0.8 > 0.5 > max(sampler.values["easy"], sampler.values["hard"])


def test_equal_samplers_that_learn_equal_things_draw_equal_prompts():
    """As on two ranks, and on one that goes on from a state after every batch."""
    ranks = [SecSampler(NAMES, 5), SecSampler(NAMES, 5), SecSampler(NAMES, 5)]
    for step in range(10):
        drawn = [sampler.draw(3) for sampler in ranks]
        assert drawn[0] == drawn[1] == drawn[2]
        for sampler in ranks:
            sampler.update(drawn[0], [0.1 * step, 0.2, 0.9])
        ranks[2] = restored(ranks[2], SecSampler(NAMES, 5))
    assert SecSampler(NAMES, 5).draw(9) != SecSampler(NAMES, 6).draw(9)


def test_the_state_of_other_categories_or_of_another_seed_is_refused():
    with pytest.raises(ValueError, match="expected one over"):
        restored(SecSampler(["a", "b"], 0), SecSampler(["a", "c"], 0))
    with pytest.raises(ValueError, match="seed 0, expected one over .* with seed 1"):
        restored(SecSampler(NAMES, 0), SecSampler(NAMES, 1))
    with pytest.raises(KeyError):
        restored(UniformSampler(9, 0), SecSampler(NAMES, 0))
