"""The collector: whole groups, in order, from the engine's current weights only."""

import dataclasses

import pytest

from rewards.config import RewardConfig
from rl_avr.collector import Collector, count_truncated
from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import RolloutError
from rl_avr.prompts import COT_PROMPT
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine

SAMPLING = SamplingConfig(max_new_tokens=2000)


def asked(puzzles):
    return [Prompt(f"p{i}", puzzle, "cot", COT_PROMPT, ()) for i, puzzle in enumerate(puzzles)]


def collector(engine, seed=0):
    return Collector(engine, SAMPLING, RewardConfig(), seed)


class _Edited(ScriptedEngine):
    """Changes each group after sampling, and keeps the seeds that it was given."""

    def __init__(self, script, edit=lambda group: group):
        super().__init__(script)
        self._edit = edit
        self.seeds = []

    def generate(self, prompts, sampling):
        self.seeds.append(sampling.seed)
        groups = super().generate(prompts, sampling)
        return [self._edit(group) for group in groups]


def test_groups_come_in_order_with_their_own_puzzles_scores(puzzles):
    engine = ScriptedEngine(lambda p, i: gold_chain(p.puzzle) if i == 1 else "### Answer:")
    groups = collector(engine).collect(asked(puzzles[:5]), 3, "step", 0)
    assert [g.group.prompt.prompt_id for g in groups] == [f"p{i}" for i in range(5)]
    for graded in groups:
        assert [s.total for s in graded.scores] == pytest.approx([0.0, 1.0, 0.0])
        assert [p.status for p in graded.parsed] == ["not_a_choice", "ok", "not_a_choice"]


def _stale(group):
    first, *rest = group.completions
    old = dataclasses.replace(first, weights_version=first.weights_version - 1)
    return dataclasses.replace(group, completions=(old, *rest))


@pytest.mark.parametrize("syncs", [0, 1, 3])
def test_one_stale_completion_is_refused(puzzle, syncs):
    engine = _Edited(lambda p, i: "x", _stale)
    for _ in range(syncs):
        engine.sync_weights([])
    message = (
        rf"p0: expected 4 completions of weights version {syncs}; .*versions \{{{syncs - 1}\}}"
    )
    with pytest.raises(RolloutError, match=message):
        collector(engine).collect(asked([puzzle]), 4)


def test_groups_sampled_after_a_sync_carry_its_number(puzzle):
    engine = ScriptedEngine(lambda p, i: "x")
    collect = collector(engine).collect
    before = collect(asked([puzzle]), 2)
    engine.sync_weights([])
    after = collect(asked([puzzle]), 2)
    assert {c.weights_version for c in before[0].group.completions} == {0}
    assert {c.weights_version for c in after[0].group.completions} == {1}


@pytest.mark.parametrize(
    "edit", [lambda completions: completions[1:], lambda completions: completions * 2]
)
def test_a_group_that_is_not_whole_is_refused(puzzle, edit):
    engine = _Edited(
        lambda p, i: "x", lambda g: dataclasses.replace(g, completions=edit(g.completions))
    )
    with pytest.raises(RolloutError, match="p0: expected 3 completions"):
        collector(engine).collect(asked([puzzle]), 3)


def test_no_prompts_make_no_groups():
    assert collector(ScriptedEngine(lambda p, i: "x")).collect([], 4) == []


def test_equal_paths_sample_alike_and_others_do_not(puzzle):
    engine = _Edited(lambda p, i: "x")
    prompts = asked([puzzle])
    for seed, path in ((0, ("step", 1)), (0, ("step", 1)), (0, ("step", 2)), (1, ("step", 1))):
        collector(engine, seed).collect(prompts, 1, *path)
    assert engine.seeds[0] == engine.seeds[1]
    assert len(set(engine.seeds)) == 3


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_batches_give_the_same_groups_and_tell_how_many_are_done(puzzles, batch_size, sizes):
    engine = _Edited(lambda p, i: gold_chain(p.puzzle))
    prompts = asked(puzzles[:5])
    done = []
    groups = list(collector(engine).batches(prompts, 2, batch_size, "eval", on_batch=done.append))
    assert groups == collector(engine).collect(prompts, 2)
    assert done == sizes
    # a prompt's own seed is a hash of the call's and of its id: batches may share the call's
    assert len(set(engine.seeds[: len(sizes)])) == 1


def cut_at(limit, num_cut, num, share, caplog, puzzle):
    """Returns what is logged where `num_cut` of `num` completions are longer than the limit."""
    engine = ScriptedEngine(lambda p, i: "x" * (limit + 1 if i < num_cut else limit))
    sampling = SamplingConfig(max_new_tokens=limit)
    with Collector(engine, sampling, RewardConfig(), 0, share) as collector:
        groups = collector.collect(asked([puzzle]), num)
    assert count_truncated(groups) == (num_cut, num)
    return [record.message for record in caplog.records]


def test_many_cut_completions_are_loud_once_a_call(puzzle, caplog):
    (said,) = cut_at(5, 3, 8, 0.25, caplog, puzzle)
    assert said.startswith("3 of 8 completions (38%) were cut at 5 tokens")
    assert "rollouts.max_truncated_share 0.25" in said
    assert "Raise rollouts.sampling.max_new_tokens" in said


@pytest.mark.parametrize(("num_cut", "share"), [(0, 0.0), (2, 0.25), (8, 1.0)])
def test_few_cut_completions_are_not(puzzle, caplog, num_cut, share):
    assert cut_at(5, num_cut, 8, share, caplog, puzzle) == []
