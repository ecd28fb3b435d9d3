"""The vLLM engine's guarantees, on the shipped policy; one engine for the whole file."""

from pathlib import Path

import pytest
import torch

from rl_avr.chat import banned_token_ids, decode_image
from rl_avr.contracts import Prompt
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.vllm_engine import VllmEngine

pytestmark = pytest.mark.slow

POLICY = str(Path(__file__).parents[2] / "assets" / "warm_policy")
SAMPLING = SamplingConfig(max_new_tokens=112)


def prompt(index):
    puzzle = sample_puzzle("held_out", index, 7, PuzzleConfig())
    image = render_png(puzzle, RenderConfig(panel_size_px=36))
    return Prompt(f"{index}/cot", puzzle, "cot", COT_PROMPT, image)


@pytest.fixture(scope="module")
def processor():
    return load_processor(POLICY)


@pytest.fixture(scope="module")
def engine(processor):
    config = RolloutConfig(max_num_seqs=16)
    with VllmEngine(POLICY, "float32", config, processor, banned_token_ids(processor)) as engine:
        yield engine


@pytest.fixture
def policy(processor):
    model = load_policy(PolicyConfig(path=POLICY))
    mask_logits(model, banned_token_ids(processor))
    return model.eval()


def policy_logprobs(policy, processor, group, completion):
    """Logprobs of a completion's tokens by the transformers policy."""
    content = [
        {"type": "image", "image": decode_image(group.prompt.image_png)},
        {"type": "text", "text": group.prompt.text},
    ]
    inputs = processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert tuple(inputs["input_ids"][0].tolist()) == group.prompt_token_ids
    ids = torch.tensor([completion.token_ids])
    full = torch.cat([inputs["input_ids"], ids], dim=1)
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(ids)], dim=1)
    with torch.no_grad():
        logits = policy(
            input_ids=full,
            mm_token_type_ids=types,
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
        ).logits[0, -ids.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[0, :, None])[:, 0]


def largest_gap(policy, processor, groups):
    gaps = [
        (policy_logprobs(policy, processor, g, c) - torch.tensor(c.sampling_logprobs)).abs().max()
        for g in groups
        for c in g.completions
    ]
    return max(gaps).item()


def test_a_group_has_its_completions_and_the_trainers_prompt_ids(engine, policy, processor):
    groups = engine.generate([prompt(0), prompt(1)], 4, SAMPLING, seed=1)
    assert [group.prompt.prompt_id for group in groups] == ["0/cot", "1/cot"]
    assert all(len(group.completions) == 4 for group in groups)
    assert largest_gap(policy, processor, groups) < 1e-4


def test_a_seed_decides_the_samples(engine):
    first, second, other = (
        [c.token_ids for c in engine.generate([prompt(2)], 4, SAMPLING, seed=s)[0].completions]
        for s in (5, 5, 6)
    )
    assert first == second != other


def test_after_a_sync_the_engine_samples_from_the_new_weights(engine, policy, processor):
    """Every weight is moved, the tied output head and the vision tower among them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    before = engine.generate([prompt(0)], 4, SAMPLING, seed=1)
    assert largest_gap(policy, processor, before) > 0.05
    version = engine.weights_version
    engine.sync_weights(named_weights(policy))
    after = engine.generate([prompt(0)], 4, SAMPLING, seed=1)
    assert largest_gap(policy, processor, after) < 1e-4
    assert {c.weights_version for c in after[0].completions} == {version + 1}


def test_vision_tokens_are_never_sampled(engine, policy, processor):
    """Even by a policy that would sample nothing else."""
    banned = banned_token_ids(processor)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(0.0)
    engine.sync_weights(named_weights(policy))
    flat = engine.generate([prompt(0)], 8, SAMPLING, seed=3)
    sampled = {token for c in flat[0].completions for token in c.token_ids}
    assert len(sampled) > 100
    assert not sampled & set(banned)
