"""Dynamic sampling: useless groups are replaced, in order, within bounds, reproducibly."""

import math

import pytest

from rewards.config import RewardConfig
from rl_avr.collector import Collector
from rl_avr.contracts import Prompt
from rl_avr.dynamic_sampling import (
    fill_batch,
    fresh_order,
    moving_average,
    num_to_draw,
)
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError
from rl_avr.prompts import COT_PROMPT
from rollouts.config import DynamicConfig, RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

GROUP = 2
NAMES = [f"p{i}" for i in range(30)]


class World:
    """Thirty prompts; `useful` names those whose two chains have different outcomes."""

    def __init__(self, puzzles, useful):
        self.prompts = {
            name: Prompt(name, puzzle, "cot", COT_PROMPT, ())
            for name, puzzle in zip(NAMES, puzzles, strict=False)
        }
        self.calls = []
        engine = ScriptedEngine(
            lambda p, i: gold_chain(p.puzzle) if i == 0 and p.prompt_id in useful else ""
        )
        self._collector = Collector(
            engine, SamplingConfig(max_new_tokens=3000), RewardConfig(), seed=0
        )

    def collect(self, names, number):
        if number:
            self.calls.append(list(names))
        return self._collector.collect([self.prompts[name] for name in names], GROUP, number)

    def fill(self, batch, fresh, share=None, **config):
        config = DynamicConfig(is_on=True, **config)
        return fill_batch(self.collect(batch, 0), fresh, self.collect, config, share)


def ids(groups):
    return [group.group.prompt.prompt_id for group in groups]


def dropped(filled):
    return [(one.group.group.prompt.prompt_id, one.reason, one.round) for one in filled.dropped]


@pytest.fixture
def world(puzzles):
    return lambda *useful: World(puzzles, set(useful))


def test_a_batch_of_useful_groups_stays_as_it_is(world):
    here = world("p0", "p1")
    filled = here.fill(["p0", "p1"], NAMES[2:])
    assert ids(filled.groups) == ["p0", "p1"]
    assert (filled.dropped, filled.num_rounds, here.calls) == ((), 0, [])


def test_places_are_filled_in_order_and_the_rest_is_dropped_with_its_reason(world):
    """By hand: p0 and p2 are useless; share 1/3 of the batch asks for 2 / (1/3) = 6."""
    here = world("p1", "p11", "p13", "p15")
    filled = here.fill(["p0", "p1", "p2"], NAMES[10:], max_oversampling=4.0)
    assert here.calls == [["p10", "p11", "p12", "p13", "p14", "p15"]]
    assert ids(filled.groups) == ["p11", "p1", "p13"]
    assert dropped(filled) == [
        ("p0", "no_variance", 0),
        ("p2", "no_variance", 0),
        ("p10", "no_variance", 1),
        ("p12", "no_variance", 1),
        ("p14", "no_variance", 1),
        ("p15", "surplus", 1),
    ]
    assert (filled.num_rounds, len(filled.sampled), filled.num_useful) == (1, 9, 4)


def test_every_group_sampled_is_trained_or_dropped_once(world):
    here = world("p1", "p12", "p17", "p22")
    filled = here.fill(["p0", "p1", "p2", "p3"], NAMES[10:], share=0.5)
    asked = ["p0", "p1", "p2", "p3", *(name for call in here.calls for name in call)]
    assert sorted(ids(filled.sampled)) == sorted(asked)
    assert len(set(asked)) == len(asked)


def test_the_rounds_are_bounded_and_what_is_left_useless_stays(world):
    here = world("p1")
    filled = here.fill(["p0", "p1"], NAMES[2:], share=0.5, max_rounds=3)
    assert [len(call) for call in here.calls] == [2, 2, 2]
    assert ids(filled.groups) == ["p0", "p1"]
    assert filled.num_rounds == 3 and len(filled.dropped) == 6


def test_without_a_useful_group_the_draw_is_capped(world):
    here = world()
    here.fill(["p0", "p1"], NAMES[2:], max_rounds=1, max_oversampling=4.0)
    assert [len(call) for call in here.calls] == [8]


def test_the_share_of_the_batch_itself_is_brought_up_to_date_between_rounds(world):
    """2 of 4 are useful: 2 / 0.5 = 4 drawn, none useful; then 2 of 8: 2 / 0.25 = 8."""
    here = world("p0", "p1")
    here.fill(["p0", "p1", "p2", "p3"], NAMES[4:], max_rounds=2, max_oversampling=9.0)
    assert [len(call) for call in here.calls] == [4, 8]


def test_puzzles_that_run_out_end_the_rounds(world):
    here = world("p1")
    filled = here.fill(["p0", "p1"], ["p5", "p6", "p7"], share=0.5, max_rounds=9)
    assert here.calls == [["p5", "p6"], ["p7"]]
    assert filled.num_rounds == 2
    assert here.fill(["p0"], [], share=0.5).num_rounds == 0


def test_the_same_seed_fills_alike(world):
    def run(step):
        here = world(*NAMES[::3])
        fresh = fresh_order(NAMES, ["p1", "p2"], (7, step))
        filled = here.fill(["p1", "p2"], fresh, share=0.3)
        return ids(filled.groups), dropped(filled), here.calls

    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize(
    ("missing", "share", "most", "expected"),
    [
        (1, 1.0, 4.0, 1),
        (3, 0.5, 4.0, 6),
        (3, 0.8, 4.0, 4),  # 3.75
        (3, 0.2, 5.0, 15),  # GLM-4.1V: a share of 0.8 useless is five times as many
        (3, 0.1, 5.0, 15),
        (2, 0.0, 1.0, 2),
        (7, 0.7, 4.0, 10),  # 7 / 0.7 is a hair above 10 in binary
    ],
)
def test_how_many_are_drawn(missing, share, most, expected):
    assert num_to_draw(missing, share, most) == expected


def test_the_moving_average_by_hand():
    first = moving_average(None, 0.5, 0.9)
    second = moving_average(first, 1.0, 0.9)
    third = moving_average(second, 0.0, 0.9)
    assert [first, second, third] == pytest.approx([0.5, 0.55, 0.495])
    assert moving_average(0.3, 0.7, 0.0) == 0.7


def test_fresh_puzzles_are_all_others_once():
    order = list(fresh_order(NAMES, ["p3", "p4"], (1, 2)))
    assert sorted(order) == sorted(set(NAMES) - {"p3", "p4"})
    assert order != sorted(order, key=NAMES.index)
    assert order == list(fresh_order(NAMES, ["p3", "p4"], (1, 2)))
    assert order != list(fresh_order(NAMES, ["p3", "p4"], (1, 3)))
    assert order != list(fresh_order(NAMES, ["p3", "p5"], (1, 2)))


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_the_fresh_puzzles_without_overlap(num_ranks):
    shares = [
        list(fresh_order(NAMES, ["p0", "p1"], (1, 2), rank, num_ranks)) for rank in range(num_ranks)
    ]
    together = [name for share in shares for name in share]
    assert sorted(together) == sorted(NAMES[2:])
    assert {len(share) for share in shares} <= {
        math.floor(28 / num_ranks),
        math.ceil(28 / num_ranks),
    }


def test_every_puzzle_comes_first_about_as_often():
    """600 draws of 1 in 6; four standard deviations are 36.5."""
    names = list("abcdef")
    firsts = [next(fresh_order(names, [], (0, step))) for step in range(600)]
    assert all(abs(firsts.count(name) - 100) < 37 for name in names)


def test_ranks_that_share_an_engine_cannot_refill():
    RolloutConfig(tensor_parallel_size=2)
    with pytest.raises(ConfigError, match="tensor_parallel_size: expected 1 with dynamic.is_on"):
        RolloutConfig(tensor_parallel_size=2, dynamic=DynamicConfig(is_on=True))
