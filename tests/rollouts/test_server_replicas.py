"""Two real replicas, started by the command, on the shipped policy; one start for the file."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import torch

from rl_avr.modeling.weights import named_weights
from rollouts.config import RolloutConfig, SamplingConfig, ServerConfig
from rollouts.engine import Sampling
from rollouts.engines import make_engine
from rollouts.server_address import find_servers
from tests.rollouts.engine_checks import assert_goes_on_from_a_prefill
from tests.rollouts.fake_server import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SAMPLING = SamplingConfig(max_new_tokens=112)


@pytest.fixture(scope="module")
def server(tmp_path_factory, warm_path):
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "rl_avr.cli", "serve-rollouts"]
    for key, value in {
        "config": "configs/demo/grpo.yaml",
        "policy.path": warm_path,
        "rollouts.max_num_seqs": "32",
        "rollouts.max_images_per_prompt": "2",
        "rollouts.server.dir": folder,
        "rollouts.server.num_replicas": "2",
    }.items():
        command += [f"--{key}", str(value)]
    said = folder / "said"
    with said.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
    wait_until(lambda: "ready: http" in said.read_text() or process.poll() is not None, 600)
    assert process.poll() is None, said.read_text()
    yield ServerConfig(dir=str(folder), health_interval_s=0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, said.read_text()
    assert not replica_processes(folder)


def replica_processes(folder):
    """Process ids of the servers whose log is in the folder, oldest replica first."""
    found = []
    for status in Path("/proc").glob("[0-9]*"):
        try:
            log = os.readlink(status / "fd" / "1")
            words = (status / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if Path(log).parent == folder / "logs":
            found.append((Path(log).name, "rollouts.server_replica" in words, int(status.name)))
    return sorted(found)


def kill_in_its_first_request(replica, folder):
    """Ends the first replica's server while it samples; it is started again behind the test."""
    victim = next(pid for _, is_server, pid in replica_processes(folder) if is_server)
    sample = replica.client.sample

    def sample_and_die(body):
        replica.client.sample = sample
        threading.Timer(0.2, os.kill, (victim, signal.SIGKILL)).start()
        return sample(body)

    replica.client.sample = sample_and_die


def test_replicas_agree_with_the_policy_take_its_weights_and_may_die(
    server, policy, warm_path, warm_processor, make_prompt
):
    servers = find_servers(server)
    for path in ("/v1/models", "/weight_info", "/collective_rpc"):
        assert httpx.get(servers.urls[0] + path, trust_env=False).status_code == 401
    config = RolloutConfig(
        engine="vllm_server", max_num_seqs=32, max_images_per_prompt=2, server=server
    )
    prompts = [make_prompt(0, 2), *(make_prompt(i) for i in range(1, 8))]
    with make_engine(config, warm_path, "float32", warm_processor, 0) as engine:
        replicas = engine._pool.replicas
        wait_until(lambda: all(r.state == "up" for r in replicas), 60)
        kill_in_its_first_request(replicas[0], Path(server.dir))
        groups = engine.generate(prompts, Sampling(SAMPLING, 16, 2))
        assert [group.prompt for group in groups] == prompts
        assert [len(group.completions) for group in groups] == [16] * 8
        assert policy.gaps(groups[:2]).max() < 1e-4
        assert_goes_on_from_a_prefill(engine, prompts[1], warm_processor)

        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        assert policy.gaps(groups[:1]).max() > 0.05
        engine.sync_weights(named_weights(policy.model))
        groups = engine.generate(prompts[:2], Sampling(SAMPLING, 4, 1))
        assert policy.gaps(groups).max() < 1e-4
        assert {c.weights_version for group in groups for c in group.completions} == {1}

        wait_until(lambda: all(r.state == "up" for r in replicas), 600)
        served = replicas[0].served
        groups = engine.generate(prompts[:4], Sampling(SAMPLING, 4, 3))
        assert replicas[0].served > served
        assert policy.gaps(groups).max() < 1e-4
