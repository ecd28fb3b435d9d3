"""The order of a run: exact shares, schedules, epochs, and nothing but the seed in it."""

from collections import Counter

import numpy as np
import pytest

from rl_avr.errors import ConfigError, DataError
from sft_warmstart.config import ReplayConfig, SftConfig
from sft_warmstart.plan import epoch_length, run_plan, streams_of

REPLAY = ReplayConfig(path="replay.json", share=0.1)


def units(count, parts=1):
    rows = np.repeat(np.arange(count), parts)
    return np.column_stack([rows, np.tile(np.arange(parts), count)])


SUPPLY = {kind: units(40) for kind in ("perception", "chain", "direct", "yes_no", "open")}
SUPPLY |= {"replay": units(7), "critique": units(0)}


def reasoning(mixture, **changes):
    return SftConfig(stage="reasoning", mixture=mixture, **changes)


def kinds_of(sft, num, seed=0):
    return run_plan(sft, SUPPLY, num, seed)["kind"]


def windows(kinds, size):
    return [Counter(kinds[i : i + size].tolist()) for i in range(0, len(kinds), size)]


def test_every_stretch_in_which_shares_are_whole_numbers_has_just_these():
    kinds = kinds_of(reasoning({"perception": 0.2, "chain": 0.8}), 1000)
    assert windows(kinds, 5) == [{"perception": 1, "chain": 4}] * 200
    with_replay = kinds_of(reasoning({"perception": 1, "chain": 4}, replay=REPLAY), 1000)
    # 0.9 of 1/5 and of 4/5, and 0.1
    assert windows(with_replay, 50) == [{"perception": 9, "chain": 36, "replay": 5}] * 20


def test_within_such_a_stretch_the_order_is_random():
    kinds = kinds_of(reasoning({"perception": 0.2, "chain": 0.8}), 5000)
    counts = Counter((np.nonzero(kinds == "perception")[0] % 5).tolist())
    # it stands anywhere in [0, 5), the four chains in quarters of it: before the first chain
    # with 1/8, between two with 1/4, after the last with 1/8
    for place, share in enumerate((1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8)):
        assert abs(counts[place] - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("num", [1, 7, 101, 997])
def test_shares_that_are_no_whole_numbers_are_rounded_by_largest_remainder(num):
    weights = {"perception": 0.5, "chain": 0.3, "direct": 0.137, "open": 0.063}
    found = Counter(kinds_of(reasoning(weights), num).tolist())
    assert found.total() == num
    quotas = {kind: weight * num for kind, weight in weights.items()}
    spare = num - sum(int(quota) for quota in quotas.values())
    by_remainder = sorted(quotas, key=lambda kind: -(quotas[kind] % 1))
    for kind, quota in quotas.items():
        assert found[kind] == int(quota) + (kind in by_remainder[:spare])


def test_no_stretch_from_the_start_is_far_off_its_shares():
    weights = {"perception": 0.413, "chain": 0.391, "direct": 0.196}
    kinds = kinds_of(reasoning(weights), 2000)
    for kind, weight in weights.items():
        had = np.cumsum(kinds == kind)
        assert np.abs(had - weight * np.arange(1, 2001)).max() < 3


def test_the_perception_stage_has_perception_and_replay_alone():
    sft = SftConfig(stage="perception", mixture={"chain": 1}, replay=REPLAY)
    assert windows(kinds_of(sft, 100), 10) == [{"perception": 9, "replay": 1}] * 10
    assert set(kinds_of(SftConfig(stage="perception"), 10)) == {"perception"}


def test_a_replay_share_without_a_data_set_is_none():
    sft = reasoning({"chain": 1}, replay=ReplayConfig(share=0.5))
    assert set(kinds_of(sft, 20)) == {"chain"}


def test_a_mixture_goes_to_its_end_in_a_straight_line():
    sft = reasoning({"perception": 1.0}, mixture_end={"chain": 2, "perception": 2})
    is_chain = kinds_of(sft, 10_000) == "chain"
    assert not is_chain[:50].any()
    # the share goes from 0 to 0.5, so from place a to b there are (b^2 - a^2) / 40,000
    for first, last in ((0, 1000), (4500, 5500), (9000, 10_000), (0, 10_000)):
        expected = (last**2 - first**2) / 40_000
        assert abs(is_chain[first:last].sum() - expected) <= 3


def test_a_curriculum_takes_equal_portions():
    sft = reasoning({"yes_no": 1, "direct": 1, "open": 1}, curriculum=("yes_no", "direct", "open"))
    assert kinds_of(sft, 90).tolist() == ["yes_no"] * 30 + ["direct"] * 30 + ["open"] * 30


def test_what_a_curriculum_does_not_name_stays_mixed_in():
    sft = reasoning(
        {"perception": 2, "open": 1, "yes_no": 1}, curriculum=("yes_no", "open"), replay=REPLAY
    )
    first, second = windows(kinds_of(sft, 200), 100)
    assert first == {"perception": 45, "yes_no": 45, "replay": 10}
    assert second == {"perception": 45, "open": 45, "replay": 10}


def test_format_samples_are_half_and_half_and_spread_over_the_run():
    sft = reasoning({"perception": 1}, num_format_samples=20, replay=REPLAY)
    kinds = kinds_of(sft, 200)
    assert Counter(kinds.tolist()) == {"perception": 160, "direct": 10, "chain": 10, "replay": 20}
    assert windows(kinds, 20) == [{"perception": 16, "direct": 1, "chain": 1, "replay": 2}] * 10


def test_format_samples_come_on_top_of_the_same_kind():
    sft = reasoning({"chain": 1, "direct": 1}, num_format_samples=10)
    assert Counter(kinds_of(sft, 100).tolist()) == {"chain": 50, "direct": 50}
    names = [stream.name for stream in streams_of(sft, 100)]
    assert names == ["chain", "direct", "format/direct", "format/chain"]


def test_more_format_samples_than_places_are_refused():
    sft = reasoning({"chain": 1}, num_format_samples=90, replay=REPLAY)
    with pytest.raises(ConfigError, match=r"num_format_samples 90: .* beside its replay share, 90"):
        run_plan(sft, SUPPLY, 100, 0)


def test_every_unit_comes_once_before_any_comes_twice():
    plan = run_plan(reasoning({"perception": 0.5, "chain": 0.5}, replay=REPLAY), SUPPLY, 400, 3)
    for kind, size in (("perception", 40), ("chain", 40), ("replay", 7)):
        is_kind = plan["kind"] == kind
        rows, cycles = plan["row"][is_kind], plan["cycle"][is_kind]
        assert cycles.tolist() == [i // size for i in range(len(rows))]
        rounds = [rows[i : i + size].tolist() for i in range(0, len(rows) - size + 1, size)]
        assert len(rounds) >= 4
        assert all(sorted(one) == list(range(size)) for one in rounds)
        assert len({tuple(one) for one in rounds}) == len(rounds), "another order each time"


def test_parts_are_units_of_their_own():
    supply = {"perception": np.array([[0, 0], [0, 1], [2, 0]])}
    plan = run_plan(SftConfig(stage="perception"), supply, 3, 0)
    found = sorted(zip(plan["row"].tolist(), plan["part"].tolist(), strict=True))
    assert found == [(0, 0), (0, 1), (2, 0)]


def test_the_seed_decides_the_order_alone():
    sft = reasoning({"perception": 0.5, "chain": 0.5})
    one, again, other = (run_plan(sft, SUPPLY, 200, seed) for seed in (1, 1, 2))
    for column in ("kind", "row", "part", "cycle"):
        assert one[column].tolist() == again[column].tolist()
    assert one["kind"].tolist() != other["kind"].tolist()
    assert one["row"].tolist() != other["row"].tolist()


def test_a_kind_that_nothing_can_be_made_of_is_refused():
    with pytest.raises(DataError, match="no puzzle can give a conversation of the kind 'critique'"):
        run_plan(reasoning({"chain": 1, "critique": 1}), SUPPLY, 10, 0)
    with pytest.raises(DataError, match="kind 'critique'"):
        epoch_length(reasoning({"critique": 1}), SUPPLY)


def test_an_epoch_is_as_many_conversations_as_there_are_puzzles():
    mixture = {"perception": 0.3, "chain": 0.7}
    assert epoch_length(reasoning(mixture), SUPPLY) == 40
    assert epoch_length(SftConfig(stage="perception"), SUPPLY) == 40
    assert epoch_length(reasoning(mixture, replay=ReplayConfig("x", share=0.2)), SUPPLY) == 50
    extra = reasoning(mixture, num_format_samples=8, replay=ReplayConfig("x", share=0.2))
    assert epoch_length(extra, SUPPLY) == 60


def test_an_epoch_of_separate_questions_asks_every_one():
    supply = SUPPLY | {"perception": units(40, parts=11)}
    assert epoch_length(SftConfig(stage="perception"), supply) == 440
    # n conversations, half of them of 440 questions and half of 40 chains: n (1/880 + 1/80) = 1
    assert epoch_length(reasoning({"perception": 1, "chain": 1}), supply) == 73


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curriculum": ("open",)}, "curriculum: open has no weight"),
        ({"curriculum": ("chain", "chain")}, "every kind once"),
        ({"curriculum": ("chain",), "mixture_end": {"chain": 1}}, "no sft.mixture_end"),
        ({"stage": "perception", "num_format_samples": 2}, "num_format_samples: expected 0"),
        ({"mixture": {"chains": 1}}, "the nearest is chain"),
        ({"mixture": {"chain": 0}}, "expected a weight above 0"),
        ({"mixture_end": {"replay": 1}}, "expected kinds of perception, chain"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SftConfig(**({"stage": "reasoning"} | changes))
