"""GRPO from the command line at a rollout server of one replica, weights through the folder."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rollouts.config import ServerConfig
from rollouts.server_address import find_servers
from rollouts.server_claim import own_claim
from rollouts.server_client import ReplicaClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WARM_POLICY = ROOT / "assets" / "warm_policy"


def start(command, folder, **settings):
    """Starts a command on the demo's file; returns it and the file of what it says."""
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    said = folder / f"{command}.said"
    with said.open("w") as stream:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "rl_avr.cli",
                    command,
                    "--config",
                    "configs/demo/grpo.yaml",
                ),
                *("--policy.path", WARM_POLICY, "--rollouts.max_num_seqs", "16", *words),
            ],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    return process, said


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    process, said = start("serve-rollouts", folder, **{"rollouts.server.dir": folder})
    try:
        while "ready: http" not in said.read_text():
            with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
                process.wait(1)
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def train(run_folder, puzzle_folder, server_folder):
    """Runs three steps of two groups of four; returns the exit code and what was said."""
    process, said = start(
        "grpo",
        run_folder,
        **{
            "run.dir": run_folder,
            "data.path": puzzle_folder,
            "rollouts.engine": "vllm_server",
            "rollouts.server.dir": server_folder,
            "rollouts.server.weight_transfer": "folder",
            "trainer.max_steps": 3,
            "trainer.per_device_train_batch_size": 8,
            "trainer.num_generations": 4,
            "trainer.warmup_steps": 0,
            "trainer.learning_rate": "1e-3",
        },
    )
    return process.wait(900), said.read_text()


def test_a_run_at_replicas_of_another_run_ends_with_the_holders_name(
    tmp_path, puzzle_folder, server_folder
):
    servers = find_servers(ServerConfig(dir=str(server_folder)))
    holder = ReplicaClient(servers.urls[0], servers.api_key, own_claim("holder"), 5, 60, 30)
    holder.weights_version()
    code, said = train(tmp_path, puzzle_folder, server_folder)
    holder.let_go()
    holder.close()
    assert code != 0
    assert "held by another run: `" in said and "One run at a time" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "rollouts").glob("*.jsonl"))


def test_every_step_samples_by_the_weights_that_the_step_before_has_made(
    tmp_path, puzzle_folder, server_folder
):
    code, said = train(tmp_path, puzzle_folder, server_folder)
    assert code == 0, said[-6000:]
    rows = [json.loads(line) for line in (tmp_path / "rollouts" / "rank0.jsonl").open()]
    assert [row["step"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert [{c["weights_version"] for c in row["completions"]} for row in rows] == [
        *({1}, {1}, {2}, {2}, {3}, {3})
    ]
    assert all(len(row["completions"]) == 4 for row in rows)
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    gaps = [row["sampling/parity_gap"] for row in metrics if "reward" in row]
    # at this learning rate the weights of the step before would be far off
    assert len(gaps) == 3 and max(gaps) < 1e-4
    assert not list((server_folder / "weights").iterdir())
