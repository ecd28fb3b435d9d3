"""Policies with adapters in vLLM: merged into the weights, as adapters, and from an export."""

import dataclasses

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import add_adapters, export_merged
from rl_avr.modeling.config import LoraConfig, PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.freezing import PARTS, part_of
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import save_small_policy
from rl_avr.modeling.weights import mask_logits, named_weights
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.engines import make_engine
from rollouts.vllm_adapters import AdapterShape, lora_arguments

LORA = LoraConfig(rank=12, alpha=24.0)
CONFIG = RolloutConfig(max_model_len=320, max_num_seqs=16, lora_sync="adapter")
SAMPLING = Sampling(SamplingConfig(max_new_tokens=48), num_generations=4, seed=1)
APART = ("language_model",)
# as for whole weights: two float32 computations differ by up to 3e-5 at a single token
MEAN_GAP, LARGEST_GAP = 1e-5, 1e-4


def moved(model, part="", std=0.01):
    """Moves every adapter, or those of modules with `part` in their names."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name and part in name:
                parameter.add_(std * torch.randn_like(parameter))


def adapted_policy(path, policy_logprobs):
    """The policy with adapters on every part, and its logprobs."""
    processor = load_processor(str(path))
    torch.manual_seed(0)
    model = add_adapters(load_policy(PolicyConfig(path=str(path))), LORA, PARTS).eval()
    mask_logits(model, banned_token_ids(processor))
    return policy_logprobs(model, processor)


def assert_agree(engine, policy, prompts):
    groups = engine.generate(prompts, SAMPLING)
    gaps = policy.gaps(groups)
    assert gaps.mean() < MEAN_GAP
    assert gaps.max() < LARGEST_GAP
    return groups


def assert_apart(policy, groups):
    """The policy has moved away from what the engine sampled: a sync has something to bring."""
    assert policy.gaps(groups).max() > 1e-2


@pytest.mark.slow
def test_an_exported_policy_is_served_and_merged_syncs_follow_its_adapters(
    warm_path, policy_logprobs, make_prompt, tmp_path
):
    """The engine is loaded from the export; then every part's adapters move, twice.

    Not far: a policy that is moved much loses what it learned, and its own two float32
    computations, merged and with adapters, then differ by 1e-4 at single tokens.
    """
    policy = adapted_policy(warm_path, policy_logprobs)
    moved(policy.model)
    policy.model.save_pretrained(tmp_path / "adapter")
    export_merged(warm_path, tmp_path / "adapter", tmp_path / "merged", "float32")
    prompts = [make_prompt(0), make_prompt(1)]
    config = dataclasses.replace(CONFIG, lora_sync="merged")
    merged = str(tmp_path / "merged")
    with make_engine(config, merged, "float32", load_processor(merged), 0) as engine:
        groups = assert_agree(engine, policy, prompts)
        for is_first in (True, False):
            moved(policy.model)
            assert_apart(policy, groups)
            engine.sync_weights(named_weights(policy.model, skip_frozen=not is_first))
            groups = assert_agree(engine, policy, prompts)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_synced_in_place_and_those_of_vision_layers_merged(
    family, policy_logprobs, make_prompt, tmp_path
):
    """First all, then single parts, then the language model's alone: the same prompt each time."""
    save_small_policy(SmallPolicyConfig(family=family), tmp_path)
    policy = adapted_policy(tmp_path, policy_logprobs)
    prompts, shape = [make_prompt(0)], AdapterShape(LORA.rank, LORA.alpha)
    processor = policy.processor
    with make_engine(CONFIG, str(tmp_path), "float32", processor, 0, shape) as engine:
        groups = assert_agree(engine, policy, prompts)
        for skip_frozen, part in ((False, ""), (True, "vis"), (True, "self_attn"), (True, "")):
            moved(policy.model, part)
            assert_apart(policy, groups)
            engine.sync_weights(named_weights(policy.model, skip_frozen, APART))
            groups = assert_agree(engine, policy, prompts)
        for name, parameter in policy.model.named_parameters():
            parameter.requires_grad_(".lora_" in name and part_of(name) in APART)
        moved(policy.model, "self_attn.o_proj")  # the language models' alone have this name
        alone = dict(named_weights(policy.model, True, APART))
        assert alone and all(".lora_" in name for name in alone)
        assert_apart(policy, groups)
        engine.sync_weights(alone.items())
        groups = assert_agree(engine, policy, prompts)
        moved(policy.model)
        assert_apart(policy, groups)
        engine.sync_weights(named_weights(policy.model))  # all merged: the adapter is gone
        assert_agree(engine, policy, prompts)
        assert engine.weights_version == 6


@pytest.mark.parametrize(("rank", "size"), [(1, 1), (2, 8), (8, 8), (9, 16), (512, 512)])
def test_vllm_makes_room_for_the_next_rank_that_it_has(rank, size):
    assert lora_arguments(rank)["max_lora_rank"] == size


def test_without_adapters_nothing_is_asked_of_vllm():
    assert lora_arguments(0) == {}


def test_a_rank_that_vllm_does_not_take_names_the_other_way():
    with pytest.raises(ConfigError, match="rank 513: .*at most rank 512.*lora_sync to merged"):
        lora_arguments(513)


@pytest.mark.parametrize("engine", ["transformers", "vllm_server"])
def test_an_engine_that_takes_no_adapters_is_named(engine):
    with pytest.raises(ConfigError, match=f"^lora_sync: expected merged with engine {engine}"):
        RolloutConfig(engine=engine, lora_sync="adapter")
