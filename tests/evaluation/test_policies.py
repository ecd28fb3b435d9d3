"""Adapters and endpoints as the policy of an evaluation, and what tells policies apart."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rewards.config import RewardConfig
from rl_avr.errors import ConfigError
from rl_avr.evaluation.config import EndpointConfig, EvalConfig
from rl_avr.evaluation.endpoint import EndpointEngine
from rl_avr.evaluation.runner import evaluate, load_engine, policy_key
from rl_avr.modeling.adapters import add_adapters
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.loading import load_policy
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import write_puzzles
from rollouts.config import RolloutConfig, SamplingConfig

ROLLOUTS = RolloutConfig(
    engine="transformers", sampling=SamplingConfig(max_new_tokens=4), max_model_len=512
)


@pytest.fixture(scope="module")
def adapter(tiny_folder, tmp_path_factory):
    """A folder of adapters that change something: B is zero when they are new."""
    torch.manual_seed(0)
    base = load_policy(PolicyConfig(path=str(tiny_folder)))
    model = add_adapters(base, LoraConfig(rank=2, targets=("q_proj",)), ("language_model",))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.2)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(folder))
    return folder


def test_adapters_are_merged_and_measured(tiny_folder, adapter, tmp_path):
    write_puzzles(
        sample_puzzles("held_out", 2, 5, PuzzleConfig()),
        tmp_path / "held_out.parquet",
        RenderConfig(),
    )
    found = evaluate(
        run=RunConfig(dir=str(tmp_path / "eval")),
        policy=PolicyConfig(path=str(tiny_folder)),
        data=DataConfig(path=str(tmp_path), split="held_out"),
        rollouts=ROLLOUTS,
        rewards=RewardConfig(),
        config=EvalConfig(num_samples=2, num_bootstrap=20, adapter=str(adapter)),
    )
    assert found["policy"] == str(adapter)
    assert found["failed"] == {} and len(found["per_puzzle"]["pass@1"]) == 2
    base, merged = (
        load_file(folder / "model.safetensors")
        for folder in (tiny_folder, tmp_path / "eval" / "merged")
    )
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed and all(name.endswith("q_proj.weight") for name in changed)
    asked = json.loads((tmp_path / "eval" / "asked.json").read_text())["asked"]
    assert len(asked["policy"]["policy"]) == 2


def test_policies_are_told_apart(tiny_folder, adapter, tmp_path):
    def key(policy=str(tiny_folder), rollouts=ROLLOUTS, **config):
        return json.dumps(policy_key(PolicyConfig(path=policy), rollouts, EvalConfig(**config)))

    url = EndpointConfig(url="http://a/v1", model="m")
    keys = [
        key(),
        key(adapter=str(adapter)),
        key(policy="org/name"),
        key(policy="", endpoint=url),
        key(policy="", endpoint=EndpointConfig(url="http://a/v1", model="n")),
        key(rollouts=RolloutConfig(engine="vllm", max_model_len=512)),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key()


def test_an_endpoint_needs_no_policy_and_takes_no_adapters(tmp_path):
    config = EvalConfig(endpoint=EndpointConfig(url="http://a/v1", model="m"))
    with load_engine(RunConfig(), PolicyConfig(), ROLLOUTS, config) as engine:
        assert isinstance(engine, EndpointEngine)
    with pytest.raises(ConfigError, match="adapter"):
        EvalConfig(adapter="x", endpoint=config.endpoint)
