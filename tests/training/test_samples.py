"""A sample is a text and an image that a person can open."""

from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from rewards.config import RewardConfig
from rl_avr.collector import Collector
from rl_avr.training.samples import SampleCallback
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine
from tests.training.tiny_run import prompts  # noqa: F401

CHAINS = ("### Answer: A", "\ud800 no answer")


@pytest.fixture
def groups(prompts):  # noqa: F811
    engine = ScriptedEngine(lambda prompt, index: CHAINS[index])
    with Collector(engine, SamplingConfig(), RewardConfig(), 0) as collector:
        return collector.collect(prompts[:2], 2)


def save(folder, groups, report_to=(), is_main=True):
    args = SimpleNamespace(report_to=list(report_to))
    state = SimpleNamespace(global_step=10, is_world_process_zero=is_main)
    SampleCallback(folder, lambda: groups).on_save(args, state, None)


def test_image_and_chains_of_the_first_puzzle_are_written(groups, tmp_path):
    save(tmp_path, groups)
    text = (tmp_path / "step-000010.txt").read_text()
    prompt = groups[0].group.prompt
    assert prompt.prompt_id in text and prompt.text in text
    assert "### Answer: A" in text and "\\ud800 no answer" in text
    assert f"total {groups[0].scores[0].total:.3g} (choice" in text
    assert "no_answer" in text
    assert Image.open(tmp_path / "step-000010-0.png").size[0] > 0


def test_wandb_gets_the_image_with_its_chains(groups, tmp_path, monkeypatch):
    logged = []
    run = SimpleNamespace(log=lambda row, commit: logged.append((row, commit)))
    monkeypatch.setattr(wandb, "run", run)
    monkeypatch.setattr(wandb, "Image", lambda path, caption: (path, caption))
    save(tmp_path, groups, report_to=["wandb"])
    (((path, caption),),) = [row["samples"] for row, _ in logged]
    assert path == str(tmp_path / "step-000010-0.png")
    assert "### Answer: A" in caption


def test_nothing_is_written_without_groups_or_on_other_ranks(groups, tmp_path):
    save(tmp_path / "a", [])
    save(tmp_path / "b", groups, is_main=False)
    assert list(tmp_path.iterdir()) == []
