"""A real replica with a policy of another family, by both ways of weights; one start.

NCCL itself needs a GPU; its place is taken by `store_nccl`, in the test and in the
replica, with vLLM's own classes around it.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.errors import RolloutError
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import save_small_policy
from rl_avr.modeling.weights import mask_logits, named_weights
from rollouts.config import RolloutConfig, SamplingConfig, ServerConfig
from rollouts.engine import Sampling
from rollouts.server_address import make_key, write_urls
from rollouts.server_engine import ServerEngine
from rollouts.server_launch import free_ports, replica_arguments, replica_environment
from rollouts.server_nccl import NcclWeights
from tests.rollouts.fake_server import wait_until
from tests.rollouts.store_nccl import stand_in_for_nccl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SAMPLING = Sampling(SamplingConfig(max_new_tokens=24), 4, 1)


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idefics3") / "policy"
    save_small_policy(SmallPolicyConfig(family="idefics3"), folder)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory, policy_folder):
    """The settings of a running replica."""
    folder = tmp_path_factory.mktemp("server")
    server = ServerConfig(dir=str(folder), health_interval_s=0.5, wait_timeout_s=900.0)
    config = RolloutConfig(engine="vllm_server", max_model_len=320, max_num_seqs=8, server=server)
    key, (port,) = make_key(server), free_ports(server)
    arguments = replica_arguments(str(policy_folder), "float32", config, port, on_gpu=False)
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.rollouts.store_nccl", *arguments),
                '--weight-transfer-config={"backend": "nccl"}',
            ],
            cwd=ROOT,
            env=replica_environment(config, key, ""),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    write_urls(server, [f"http://127.0.0.1:{port}"])
    yield config
    process.terminate()
    process.wait(60)


@pytest.fixture
def trainer(policy_folder, policy_logprobs):
    """The policy as training has it."""
    processor = load_processor(str(policy_folder))
    model = load_policy(PolicyConfig(path=str(policy_folder))).eval()
    mask_logits(model, banned_token_ids(processor))
    return policy_logprobs(model, processor)


def make_engine(trainer, policy_folder, config, **options):
    banned = banned_token_ids(trainer.processor)
    return ServerEngine(str(policy_folder), config, trainer.processor, banned, **options)


def move(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))


def check_syncs(engine, trainer, prompts):
    """Before a sync, after one of everything, and after one that leaves the vision tower out."""
    assert trainer.gaps(engine.generate(prompts, SAMPLING)).max() < 1e-5
    move(trainer.model, 0)
    assert trainer.gaps(engine.generate(prompts, SAMPLING)).max() > 1e-3
    engine.sync_weights(named_weights(trainer.model))
    assert trainer.gaps(engine.generate(prompts, SAMPLING)).max() < 1e-5
    for name, parameter in trainer.model.named_parameters():
        if "vision" not in name and "connector" not in name:
            parameter.data.mul_(1.05)
        else:
            parameter.requires_grad_(False)
    assert trainer.gaps(engine.generate(prompts, SAMPLING)).max() > 1e-3
    engine.sync_weights(named_weights(trainer.model, skip_frozen=True))
    groups = engine.generate(prompts, SAMPLING)
    assert trainer.gaps(groups).max() < 1e-5
    assert {c.weights_version for group in groups for c in group.completions} == {2}


def test_through_the_folder(config, trainer, policy_folder, make_prompt):
    with make_engine(trainer, policy_folder, config) as engine:
        check_syncs(engine, trainer, [make_prompt(0), make_prompt(1)])


def test_through_vllms_own_weight_transfer(config, trainer, policy_folder, make_prompt):
    """The second run at the replica: its first weights are the policy's again."""
    stand_in_for_nccl()
    options = {"make_transport": lambda *_: NcclWeights("cpu")}
    with make_engine(trainer, policy_folder, config, **options) as engine:
        check_syncs(engine, trainer, [make_prompt(0), make_prompt(1)])


def test_a_third_run_joins_anew_and_a_fourth_is_refused_meanwhile(
    config, trainer, policy_folder, make_prompt
):
    stand_in_for_nccl()
    options = {"make_transport": lambda *_: NcclWeights("cpu")}
    move(trainer.model, 1)
    with make_engine(trainer, policy_folder, config, **options) as engine:
        engine.sync_weights(named_weights(trainer.model))
        with pytest.raises(RolloutError, match="held by another run.*One run at a time"):
            make_engine(trainer, policy_folder, config)
        assert trainer.gaps(engine.generate([make_prompt(2)], SAMPLING)).max() < 1e-5
        wait_until(lambda: engine._pool.replicas[0].state == "up")
