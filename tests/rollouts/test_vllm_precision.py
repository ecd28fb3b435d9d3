"""How near the vLLM engine is to the policy in bfloat16, on the shipped policy."""

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy
from rl_avr.modeling.weights import mask_logits, named_weights
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.vllm_engine import VllmEngine

pytestmark = pytest.mark.slow

MAX_MEAN_KL = 0.015
SAMPLING = Sampling(SamplingConfig(max_new_tokens=112), 8, 1)


def mean_kl(policy, groups):
    """Mean of r - 1 - log r, r = policy / engine: the KL divergence of the policy from what was
    sampled, never negative token by token (Schulman 2020, k3)."""
    terms = []
    for group in groups:
        for c in group.completions:
            log_ratio = policy.of(group, c) - torch.tensor(c.sampling_logprobs)
            terms.append(log_ratio.exp() - 1 - log_ratio)
    return torch.cat(terms).mean().item()


def test_mean_kl_after_a_sync_in_bfloat16(
    warm_path, warm_processor, policy_logprobs, make_prompt, record_property
):
    banned = banned_token_ids(warm_processor)
    model = load_policy(PolicyConfig(path=warm_path, dtype="bfloat16")).eval()
    mask_logits(model, banned)
    policy = policy_logprobs(model, warm_processor)
    prompts = [make_prompt(i) for i in range(4)]
    config = RolloutConfig(max_num_seqs=64)
    with VllmEngine(warm_path, "bfloat16", config, warm_processor, banned) as engine:
        assert mean_kl(policy, engine.generate(prompts, SAMPLING)) < MAX_MEAN_KL
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.03 * torch.randn_like(parameter))
        before = mean_kl(policy, engine.generate(prompts, SAMPLING))
        assert before > MAX_MEAN_KL
        engine.sync_weights(named_weights(model))
        after = mean_kl(policy, engine.generate(prompts, SAMPLING))
    record_property("mean KL", after)
    print(f"mean KL {before:.2e} before the sync, {after:.2e} after it")
    assert after < MAX_MEAN_KL
