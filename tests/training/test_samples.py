"""A sample is a text and an image that a person can open."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from rewards.config import RewardConfig
from rl_avr.chat import decode_image
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


@pytest.mark.slow
def test_an_offline_run_has_a_table_of_image_chains_and_rewards(groups, tmp_path):
    """Read from the files that `wandb sync` would send."""
    run = wandb.init(project="test", dir=str(tmp_path), mode="offline")
    save(tmp_path / "samples", groups, report_to=["wandb"])
    run.log({"loss": 1.0})
    media = Path(run.dir) / "media"
    run.finish()
    (path,) = media.glob("table/samples/chains_*.table.json")
    table = json.loads(path.read_text())
    parts = [name for name, _ in groups[0].scores[0].parts]
    assert parts[:2] == ["choice", "format"]
    assert table["columns"] == [
        *("image", "prompt", "completion", "total"),
        *parts,
        *("status", "tokens", "finish_reason"),
    ]
    graded = groups[0]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["completion"] for row in rows] == ["### Answer: A", "\\ud800 no answer"]
    assert {row["prompt"] for row in rows} == {graded.group.prompt.text}
    assert [row["total"] for row in rows] == [score.total for score in graded.scores]
    for name in parts:
        assert [row[name] for row in rows] == [score.part(name) for score in graded.scores]
    assert [row["status"] for row in rows] == ["malformed", "no_answer"]
    shown = decode_image(graded.group.prompt.images[0]).convert("RGB")
    (path,) = media.glob("images/samples/images_*.png")
    assert Image.open(path).convert("RGB").tobytes() == shown.tobytes()


def test_several_images_stand_in_columns_of_their_own(groups, tmp_path, monkeypatch):
    logged = []
    run = SimpleNamespace(log=lambda row, commit: logged.append((row, commit)))
    monkeypatch.setattr(wandb, "run", run)
    prompt = groups[0].group.prompt
    two = replace(prompt, images=(*prompt.images, *groups[1].group.prompt.images))
    save(
        tmp_path,
        [replace(groups[0], group=replace(groups[0].group, prompt=two))],
        report_to=["wandb"],
    )
    save(tmp_path, groups)
    ((row, commit),) = logged
    table = row["samples/chains"]
    assert len(row["samples/images"]) == 2 and len(table.data) == len(CHAINS)
    assert table.columns[:3] == ["image", "image 2", "prompt"] and commit is False
    first, second = (Image.open(image._path) for image in table.data[0][:2])
    assert first.tobytes() != second.tobytes()


def test_nothing_is_written_without_groups_or_on_other_ranks(groups, tmp_path):
    save(tmp_path / "a", [])
    save(tmp_path / "b", groups, is_main=False)
    assert list(tmp_path.iterdir()) == []
