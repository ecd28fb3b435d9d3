"""Every family of policies in the transformers engine: its prompt ids, logprobs and syncs.

One that vLLM does not load is among them.
"""

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.weights import mask_logits, named_weights
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.transformers_engine import TransformersEngine
from tests.rollouts.small_policies import PLAIN_LLAVA, POLICIES, save_policy

SAMPLING = Sampling(SamplingConfig(max_new_tokens=24), num_generations=4, seed=1)
CONFIG = RolloutConfig(engine="transformers", max_model_len=320, max_images_per_prompt=2)


@pytest.fixture(scope="module", params=(*POLICIES, PLAIN_LLAVA))
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    save_policy(request.param, folder)
    return str(folder)


def test_engine_and_policy_agree_before_and_after_a_sync(folder, make_prompt, policy_logprobs):
    """One image, and two in a prompt; what may not be sampled is not."""
    processor = load_processor(folder)
    banned = banned_token_ids(processor)
    model = load_policy(PolicyConfig(path=folder)).eval()
    mask_logits(model, banned)
    policy = policy_logprobs(model, processor)
    prompts = [make_prompt(0), make_prompt(1, 2)]
    with TransformersEngine(folder, "float32", CONFIG, processor, banned) as engine:
        assert policy.gaps(engine.generate(prompts, SAMPLING)).max() < 1e-5
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.03 * torch.randn_like(parameter))
        assert policy.gaps(engine.generate(prompts, SAMPLING)).max() > 1e-3
        engine.sync_weights(named_weights(model))
        groups = engine.generate(prompts, SAMPLING)
    assert policy.gaps(groups).max() < 1e-5
    assert {c.weights_version for group in groups for c in group.completions} == {1}
    assert not {t for g in groups for c in g.completions for t in c.token_ids} & set(banned)
