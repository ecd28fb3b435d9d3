"""A run that SIGKILL ends twice, at moments drawn at random, ends with the bits of a whole one."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = 8
CONFIG = """
rewards:
  gate: none
  admission: none
  own: {{"{reward}:letters": 1.0}}
rollouts:
  engine: transformers
  max_model_len: 400
  sampling: {{max_new_tokens: 12}}
credit:
  source: none
  claim_weight: 0.0
trainer:
  max_steps: {steps}
  per_device_train_batch_size: 8
  gradient_accumulation_steps: 2
  steps_per_generation: 4
  num_iterations: 2
  num_generations: 4
  save_steps: 1
  learning_rate: 1.0e-2
  warmup_steps: 0
"""
REWARD = '''
def letters(completion):
    """An untrained policy never answers; this tells its completions apart."""
    return len(set(completion)) / 100
'''


@pytest.fixture
def command(tmp_path, tiny_folder, puzzle_folder):
    """Returns the words of the command for a folder."""
    reward, config = tmp_path / "reward.py", tmp_path / "small.yaml"
    reward.write_text(REWARD)
    config.write_text(CONFIG.format(reward=reward, steps=STEPS))

    def made(folder):
        settings = {
            "run.dir": folder,
            "run.wandb": "disabled",
            "data.path": puzzle_folder,
            "policy.path": tiny_folder,
            "policy.freeze": "[]",
        }
        words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        configs = ["--config", "configs/demo/grpo.yaml", "--config", str(config)]
        return [sys.executable, "rl_avr/grpo.py", *configs, *words]

    return made


def start(words, log):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=log)


def logged_steps(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def kill(words, folder, num_lines, delay_s, log):
    """Starts a run, and kills it `delay_s` after its metrics have so many lines."""
    process = start(words, log)
    while process.poll() is None and logged_steps(folder) < num_lines:
        time.sleep(0.02)
    time.sleep(delay_s)
    process.kill()
    assert process.wait() == -9, f"ended by itself: {log.name}"


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def prompts(folder):
    lines = (folder / "rollouts" / "rank0.jsonl").open()
    return [(row["step"], row["prompt_id"]) for row in map(json.loads, lines)]


def test_two_kills_leave_no_trace(command, tiny_folder, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    drawn = random.Random()
    moments = [(drawn.randint(1, 3), drawn.random()), (drawn.randint(3, 5), drawn.random())]
    with (tmp_path / "log").open("w") as log:
        assert start(command(whole), log).wait() == 0, (tmp_path / "log").read_text()[-4000:]
        for num_lines, share in moments:
            kill(command(killed), killed, num_lines, share * step_seconds(whole), log)
        assert start(command(killed), log).wait() == 0, (tmp_path / "log").read_text()[-4000:]
    found, expected = (load_file(f / "policy" / "model.safetensors") for f in (killed, whole))
    assert expected.keys() == found.keys()
    differing = [name for name in expected if not found[name].equal(expected[name])]
    assert differing == [], f"killed at {moments}"
    assert any(
        not weight.equal(expected[name])
        for name, weight in load_file(tiny_folder / "model.safetensors").items()
    )
    assert prompts(killed) == prompts(whole)
    assert [row["step"] for row in rows(killed)] == [row["step"] for row in rows(whole)]


def step_seconds(folder):
    times = [row["time"] for row in rows(folder)[:STEPS]]
    return (times[-1] - times[0]) / (STEPS - 1)
