"""What wandb shows of training's own chains, from one checkpoint to the next."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from rewards.config import RewardConfig
from rl_avr.collector import Collector
from rl_avr.contracts import Rule
from rl_avr.training.rollout_panels import RolloutPanels, kept, reward_bars, rule_table
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine
from tests.training.tiny_run import prompts  # noqa: F401

ARGS = SimpleNamespace(report_to=["wandb"])


@pytest.fixture
def groups(prompts):  # noqa: F811
    def script(prompt, index):
        right = prompt.puzzle.answer_letter
        return f"### Answer: {right}" if index == 0 else "no answer"

    with Collector(ScriptedEngine(script), SamplingConfig(), RewardConfig(), 0) as collector:
        return collector.collect(prompts[:3], 4)


@pytest.fixture
def logged(monkeypatch):
    rows = []
    run = SimpleNamespace(log=lambda row, commit: rows.append((row, commit)))
    monkeypatch.setattr(wandb, "run", run)
    return rows


def state(step, is_main=True):
    return SimpleNamespace(global_step=step, is_world_process_zero=is_main)


def test_right_answers_by_configuration_and_rule_by_hand(puzzle, annotated):
    def one(configuration, kinds, share):
        rules = tuple(Rule("size", kind) for kind in kinds)
        return replace(puzzle, configuration=configuration, rules=rules), share

    shares = (
        one("grid", ("progression", "constant"), 1.0),
        one("grid", ("progression", "arithmetic"), 0.25),
        one("center", ("arithmetic", "arithmetic"), 0.75),
        (annotated(), 0.0),
    )
    columns, rows = rule_table(shares)
    assert columns == ["configuration", "puzzles", "all", "arithmetic", "progression"]
    assert rows == [
        ["all", 4, 0.5, 0.5, 0.625],
        ["center", 1, 0.75, 0.75, None],
        ["grid", 2, 0.625, 0.25, 0.625],
        ["photo", 1, 0.0, None, None],
    ]
    assert rule_table([]) == (["configuration", "puzzles", "all"], [["all", 0, None]])


def test_a_checkpoint_logs_the_groups_since_the_one_before(groups, logged):
    newest = groups[:1]
    panels = RolloutPanels(lambda: newest)
    panels.on_step_end(ARGS, state(1), None)
    panels.on_step_end(ARGS, state(2), None)  # the same groups, trained on twice
    newest = groups[1:]
    panels.on_step_end(ARGS, state(3), None)
    panels.on_save(ARGS, state(3), None)
    panels.on_save(ARGS, state(3), None)  # nothing new
    ((row, commit),) = logged
    assert commit is False
    assert row["rollouts/by_rule"].data[0][:3] == ["all", 3, 0.25]
    drawn = Image.open(io.BytesIO(reward_bars(map(kept, groups), "step 3"))).convert("RGB")
    assert Image.open(row["rollouts/rewards"]._path).convert("RGB").tobytes() == drawn.tobytes()
    newest = list(groups[:1])
    panels.on_step_end(ARGS, state(4), None)
    panels.on_save(ARGS, state(4), None)
    assert logged[1][0]["rollouts/by_rule"].data[0][1] == 1


@pytest.mark.parametrize(
    ("args", "is_main"), [(SimpleNamespace(report_to=[]), True), (ARGS, False)]
)
def test_another_rank_and_a_run_without_wandb_log_nothing(groups, logged, args, is_main):
    panels = RolloutPanels(lambda: groups)
    panels.on_step_end(args, state(1, is_main), None)
    panels.on_save(args, state(1, is_main), None)
    assert logged == []


def test_without_groups_there_are_no_bars(groups):
    assert reward_bars([], "nothing") is None
    assert Image.open(io.BytesIO(reward_bars([kept(groups[0])], "one puzzle"))).size[0] > 0
