"""A dry run: one group as the trainer sees it, with nothing trained and little written."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from rewards.config import RewardConfig
from rl_avr import grpo
from rl_avr.errors import ConfigError, RolloutError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.grpo_dry_run import dry_run
from rl_avr.settings import GrpoSettings, load_settings
from rl_avr.training.config import DataConfig, DryRunConfig, RunConfig, SourceConfig
from rollouts.config import RolloutConfig, SamplingConfig
from tests.conftest import TINY_POLICY

GROUP, LONGEST = 4, 6
BLOCK = {
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 2 * GROUP,
    "num_generations": GROUP,
    "gradient_checkpointing": False,
    "max_steps": 5,
}
OWN = """
def vowels(completion: str) -> float:
    return sum(letter in "aeiou" for letter in completion) / (1 + len(completion))
"""


@pytest.fixture
def settings(tmp_path, tiny_folder):
    """Two questions of one's own; a reward by which every chain is worth something else."""
    buffer = io.BytesIO()
    Image.new("RGB", (144, 180), (90, 0, 0)).save(buffer, format="PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    row = {"image": "a.png", "question": "How many fish are there?", "answer": 2}
    (tmp_path / "mine.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    own = tmp_path / "own.py"
    own.write_text(OWN)
    return GrpoSettings(
        run=RunConfig(dir=str(tmp_path / "run")),
        policy=PolicyConfig(path=str(tiny_folder)),
        data=DataConfig(source=SourceConfig(path=str(tmp_path / "mine.jsonl"))),
        rollouts=RolloutConfig(
            engine="transformers", sampling=SamplingConfig(max_new_tokens=LONGEST)
        ),
        rewards=RewardConfig(own={f"{own}:vowels": 2.0}, gate="none", admission="none"),
        dry_run=DryRunConfig(is_on=True, num_whole=2),
        trainer=BLOCK,
    )


def recorded(settings):
    path = Path(settings.run.dir) / "dry_run" / "rollouts" / "rank0.jsonl"
    return [json.loads(line) for line in path.open()]


def table(text, title):
    """Returns the cells of a table: a list for each line below the header."""
    body = text.split(f"\n{title}\n")[1].split("\n\n")[0]
    return [re.split(r" {2,}", line.strip()) for line in body.splitlines()[1:]]


def memory(text):
    return {row[0]: float(row[1].replace(",", "")) * 2**20 for row in table(text, RANK)}


RANK = "Memory of this rank"


def test_a_dry_run_shows_the_group_and_what_trl_makes_of_it(settings, tiny_folder):
    before = (tiny_folder / "model.safetensors").read_bytes()
    text = dry_run(settings)
    (group,) = recorded(settings)
    totals = np.array([c["total"] for c in group["completions"]])
    assert totals.std() > 0
    expected = (totals - totals.mean()) / (totals.std(ddof=1) + 1e-4)
    rows = table(text, "Every chain")[:GROUP]
    assert [float(row[-1]) for row in rows] == pytest.approx(expected, abs=6e-4)
    assert [float(row[4]) for row in rows] == pytest.approx(totals, abs=6e-3)
    assert "vowels  advantage" in text and "not judged here, so in no total: perception" in text
    assert "weights: choice 1, format 0.1, vowels 2; all others 0" in text
    # 4 x 5 merged patches of 36 px
    assert "images: 144 x 180 px, in 20 tokens" in text and "<|image_pad|>×20" in text
    assert "How many fish are there?" in text and "right is 2" in text
    assert text.count("\n  chain ") == 2 + 1  # two in full, and the head of the table
    assert "groups in a step of this rank: 2" in text
    assert f"at most {2 * GROUP * LONGEST}" in text
    norm = float(re.search(r"norm of its gradient ([\d.e+-]+)", text)[1])
    assert norm > 0
    assert (tiny_folder / "model.safetensors").read_bytes() == before


def test_memory_is_what_the_weights_say(settings, tiny_folder):
    weights = load_file(tiny_folder / "model.safetensors")
    num = sum(weight.numel() for weight in weights.values())
    trained = sum(w.numel() for name, w in weights.items() if "visual" not in name)
    found = memory(dry_run(replace(settings, trainer={**BLOCK, "beta": 0.1})))
    rounding = 0.06 * 2**20
    assert found["weights of the policy"] == pytest.approx(4 * num, abs=rounding)
    assert found["gradients"] == pytest.approx(4 * trained, abs=rounding)
    assert found["optimizer's states"] == pytest.approx(8 * trained, abs=rounding)
    assert found["reference policy"] == pytest.approx(4 * num, abs=rounding)
    one, both = found["kept for backward, one group"], found["kept for backward, a micro-batch"]
    assert both == pytest.approx(2 * one, abs=2 * rounding) and one > 0


def test_nothing_is_written_but_its_own_folder_and_a_second_one_replaces_it(settings, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    first = dry_run(settings)
    assert {path.name for path in tmp_path.iterdir()} == before | {"run"}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dry_run"]
    folder = tmp_path / "run" / "dry_run"
    assert not any((folder / "checkpoints").glob("*"))
    assert first.startswith((folder / "dry_run.txt").read_text())
    saved = load_settings(GrpoSettings, [folder / "config.yaml"])
    assert saved == replace(settings, dry_run=DryRunConfig())
    again = dry_run(settings)
    assert len(recorded(settings)) == 1
    assert table(first, "Every chain") == table(again, "Every chain")


def test_a_policy_that_is_yet_to_be_made_is_made_in_the_dry_runs_folder(settings, tmp_path):
    made = PolicyConfig(path=str(tmp_path / "small"), make_small=True, small=TINY_POLICY)
    text = dry_run(replace(settings, policy=made))
    assert "Every chain" in text
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("is_on", [True, False], ids=["dry run", "run"])
def test_a_bad_row_is_said_before_a_model_is_loaded(settings, tmp_path, is_on):
    (tmp_path / "mine.jsonl").write_text('{"image": "b.png", "question": "Q?", "answer": 1}\n')
    broken = replace(
        settings,
        policy=PolicyConfig(path=str(tmp_path / "no policy")),
        dry_run=DryRunConfig(is_on=is_on),
    )
    with pytest.raises(ValueError, match="row 0: column 'image'.*b.png"):
        grpo.run(broken)


@pytest.mark.parametrize("is_on", [True, False], ids=["dry run", "run"])
def test_too_many_images_are_refused_before_a_model_is_loaded(settings, tmp_path, is_on):
    row = {"image": ["a.png", "a.png"], "question": "Q?", "answer": 1}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    broken = replace(
        settings,
        policy=PolicyConfig(path=str(tmp_path / "no policy")),
        dry_run=DryRunConfig(is_on=is_on),
    )
    with pytest.raises(RolloutError, match="row-0/cot has 2 images.*max_images_per_prompt 1"):
        grpo.run(broken)


def test_several_processes_are_refused(settings, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected one process.*got 2"):
        dry_run(settings)
