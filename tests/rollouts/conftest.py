"""What the tests of all engines share: prompts, the policy's own logprobs, the protocol."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.contracts import Prompt, RolloutGroup
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.weights import mask_logits
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rollouts.config import SamplingConfig
from rollouts.engine import Engine, Sampling
from rollouts.prompt_inputs import processed_prompt

WARM_POLICY = str(Path(__file__).parents[2] / "assets" / "warm_policy")


class PolicyLogprobs:
    """The transformers policy, asked in one plain forward pass a completion."""

    precision = torch.float32

    def __init__(self, model, processor):
        self.model, self.processor = model, processor

    def of(self, group, completion):
        inputs = processed_prompt(self.processor, group.prompt)
        assert tuple(inputs["input_ids"][0].tolist()) == group.prompt_token_ids
        ids = torch.tensor([completion.token_ids])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        if "mm_token_type_ids" in inputs:
            zeros = torch.zeros_like(ids)
            inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], zeros], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            logits = self.model(**inputs.to(self.model.dtype)).logits
        rows = logits[0, -ids.shape[1] - 1 : -1].to(self.precision).log_softmax(-1)
        return rows.gather(1, ids[0, :, None])[:, 0]

    def gaps(self, groups):
        """Returns |engine - policy| of every sampled token."""
        return torch.cat(
            [
                (self.of(group, c) - torch.tensor(c.sampling_logprobs)).abs()
                for group in groups
                for c in group.completions
            ]
        )


@pytest.fixture(scope="session")
def make_prompt() -> Callable[..., Prompt]:
    """Returns (index, number of images) -> a chain-of-thought prompt on held-out puzzles."""

    def make(index: int, num_images: int = 1) -> Prompt:
        puzzles = [
            sample_puzzle("held_out", index + k, 7, PuzzleConfig()) for k in range(num_images)
        ]
        images = tuple(render_png(p, RenderConfig(panel_size_px=36)) for p in puzzles)
        return Prompt(f"{index}/cot", puzzles[0], "cot", COT_PROMPT, images)

    return make


@pytest.fixture(scope="session")
def make_prompt_of_length(make_prompt, warm_processor) -> Callable[..., Prompt]:
    """Returns (index, tokens with the image's own) -> a prompt of just that length."""

    def length(prompt: Prompt) -> int:
        return processed_prompt(warm_processor, prompt)["input_ids"].shape[1]

    def make(index: int, num_tokens: int) -> Prompt:
        prompt = dataclasses.replace(make_prompt(index), text="|")  # a token of its own
        missing = num_tokens - length(prompt)
        prompt = dataclasses.replace(prompt, text="|" * (1 + missing))
        assert length(prompt) == num_tokens
        return prompt

    return make


@pytest.fixture(scope="session")
def warm_path() -> str:
    return WARM_POLICY


@pytest.fixture(scope="session")
def warm_processor():
    return load_processor(WARM_POLICY)


@pytest.fixture(scope="session")
def policy_logprobs() -> type[PolicyLogprobs]:
    """Returns (policy, processor) -> the policy's own logprobs."""
    return PolicyLogprobs


@pytest.fixture
def policy(warm_processor):
    """The shipped policy as training has it, with its logits masked."""
    model = load_policy(PolicyConfig(path=WARM_POLICY)).eval()
    mask_logits(model, banned_token_ids(warm_processor))
    return PolicyLogprobs(model, warm_processor)


class ExactLogprobs(PolicyLogprobs):
    precision = torch.float64


@pytest.fixture
def exact_policy(warm_processor):
    """The shipped policy in float64, but for its rotary angles; its norms would go by float32."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

    model = load_policy(PolicyConfig(path=WARM_POLICY)).eval()
    mask_logits(model, banned_token_ids(warm_processor))
    model.double()
    for module in model.modules():
        if isinstance(module, Qwen2_5_VLRMSNorm):
            weight = module.weight
            module.forward = partial(
                torch.nn.functional.rms_norm,
                normalized_shape=weight.shape,
                weight=weight,
                eps=module.variance_epsilon,
            )
    return ExactLogprobs(model, warm_processor)


def _check_engine(engine: Engine, prompts: list[Prompt], weights: Callable[[], object]) -> None:
    sampling = Sampling(SamplingConfig(max_new_tokens=24), 3, 5)
    version = engine.weights_version
    groups = engine.generate(prompts, sampling)
    assert [group.prompt for group in groups] == list(prompts)
    for group in groups:
        _check_group(group, 24, version)
    assert engine.generate(prompts, sampling) == groups
    short = engine.generate(prompts[:1], Sampling(SamplingConfig(max_new_tokens=2), 2, 5))
    assert [c.finish_reason for c in short[0].completions] == ["length"] * 2
    assert [len(c.token_ids) for c in short[0].completions] == [2, 2]
    engine.sync_weights(weights())
    assert engine.weights_version == version + 1
    after = engine.generate(prompts[:1], sampling)
    assert {c.weights_version for c in after[0].completions} == {version + 1}


def _check_group(group: RolloutGroup, limit: int, version: int) -> None:
    assert len(group.completions) == 3
    for completion in group.completions:
        length = len(completion.token_ids)
        assert 1 <= length <= limit and len(completion.sampling_logprobs) == length
        assert all(logprob <= 0 for logprob in completion.sampling_logprobs)
        assert completion.finish_reason == ("length" if length == limit else "stop")
        assert completion.weights_version == version


@pytest.fixture(scope="session")
def check_engine() -> Callable[[Engine, list[Prompt], Callable[[], object]], None]:
    """Returns the test of what the protocol promises: (engine, prompts, fresh weights)."""
    return _check_engine
