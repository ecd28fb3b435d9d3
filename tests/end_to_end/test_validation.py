"""Validation over two processes measures what one process measures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMES = ("perception_accuracy", "answer_accuracy", "chain_perception", "parsed")


def first_measurement(folder, puzzle_folder, accelerate_config, batch_size):
    """Starts SFT on the warm policy; returns what it measures before its one step."""
    settings = {
        "run.dir": folder,
        "run.wandb": "disabled",
        "data.path": puzzle_folder,
        "policy.path": ROOT / "assets" / "warm_policy",
        "sft.validation.every_steps": 1,
        "sft.validation.num_puzzles": 5,
        "sft.validation.num_questions": 3,
        "sft.validation.max_new_tokens": 120,
        "trainer.max_steps": 1,
        "trainer.warmup_steps": 0,
        "trainer.per_device_train_batch_size": batch_size,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    # any free port: another test may be at the default one
    launch = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
    launch += ["--config_file", accelerate_config]
    script = ["rl_avr/sft.py", "--config", "configs/demo/sft_reasoning.yaml", *words]
    done = subprocess.run(
        [sys.executable, *launch, *script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    measured = [row for row in rows if "eval/parsed" in row]
    assert [row["step"] for row in measured] == [0, 1]
    return {name: measured[0][f"eval/{name}"] for name in NAMES}


def test_two_processes_share_the_puzzles_and_sum_up(tmp_path, puzzle_folder):
    """Five puzzles: the ranks have three and two of them."""
    one, two = (
        first_measurement(tmp_path / name, puzzle_folder, f"configs/accelerate/{name}.yaml", size)
        for name, size in (("single_cpu", 4), ("zero2_cpu", 2))
    )
    assert two == pytest.approx(one)
    # the warm policy reads panels well, and chooses rightly more often than not
    assert one["chain_perception"] > 0.8 and one["parsed"] > 0.5
