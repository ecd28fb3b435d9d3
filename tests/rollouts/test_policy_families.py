"""Every family of policies in vLLM: its prompt ids, its logprobs, and its syncs.

A small folder of each is loaded as any checkpoint is, one engine after another in this
process.
"""

from importlib.metadata import version

import pytest
import torch

from rl_avr.chat import banned_token_ids, decode_image
from rl_avr.contracts import Prompt
from rl_avr.errors import RolloutError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import part_of
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.vllm_engine import VllmEngine
from rollouts.vllm_names import cannot_load, map_saved_names
from tests.rollouts.small_policies import PLAIN_LLAVA, POLICIES, save_policy

pytestmark = pytest.mark.slow

SAMPLING = Sampling(SamplingConfig(max_new_tokens=24), num_generations=4, seed=1)
CONFIG = RolloutConfig(max_model_len=320, max_num_seqs=8, max_images_per_prompt=2)


def prompt(*indices):
    """One prompt with an image for each index."""
    puzzles = [sample_puzzle("held_out", index, 7, PuzzleConfig()) for index in indices]
    images = tuple(render_png(puzzle, RenderConfig(panel_size_px=36)) for puzzle in puzzles)
    return Prompt(f"{indices}/cot", puzzles[0], "cot", COT_PROMPT, images)


PROMPTS = (prompt(0), prompt(1, 2))


@pytest.fixture(scope="module", params=POLICIES)
def loaded(request, tmp_path_factory):
    """Engine, policy and processor of one family, with equal weights."""
    folder = tmp_path_factory.mktemp("policy")
    save_policy(request.param, folder)
    processor = load_processor(str(folder))
    banned = banned_token_ids(processor)
    policy = load_policy(PolicyConfig(path=str(folder))).eval()
    mask_logits(policy, banned)
    with VllmEngine(str(folder), "float32", CONFIG, processor, banned) as engine:
        yield engine, policy, processor


def prompt_inputs(processor, images):
    """What the trainer's side makes of a prompt: the processor's own outputs."""
    content = [{"type": "image", "image": decode_image(image)} for image in images]
    return processor.apply_chat_template(
        [[{"role": "user", "content": [*content, {"type": "text", "text": COT_PROMPT}]}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def with_completion(inputs, ids):
    """The inputs of prompt and completion: what is one value a token grows with the ids."""
    grown = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    grown["mm_token_type_ids"] = torch.zeros_like(ids)
    return {
        name: torch.cat([value, grown[name]], dim=1) if name in grown else value
        for name, value in inputs.items()
    }


def policy_logprobs(policy, inputs, completion):
    ids = torch.tensor([completion.token_ids])
    with torch.no_grad():
        logits = policy(**with_completion(inputs, ids)).logits[0, -ids.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[0, :, None])[:, 0]


def largest_gap(policy, processor, groups):
    """Largest |engine logprob - policy logprob| after comparing the prompts' ids."""
    gaps = []
    for group in groups:
        inputs = prompt_inputs(processor, group.prompt.images)
        assert group.prompt_token_ids == tuple(inputs["input_ids"][0].tolist())
        for c in group.completions:
            difference = policy_logprobs(policy, inputs, c) - torch.tensor(c.sampling_logprobs)
            gaps.append(difference.abs().max().item())
    return max(gaps)


def move(policy, part):
    """Moves every weight of a part, and returns what a sync of that part alone sends."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if part_of(name) == part:
                parameter.add_(0.03 * torch.randn_like(parameter))
    return [(name, weight) for name, weight in named_weights(policy) if part_of(name) == part]


def test_engine_and_policy_agree_before_and_after_each_part_moved(loaded):
    """One image, and two in a prompt; the other part of a sync stays as it was."""
    engine, policy, processor = loaded
    banned = set(banned_token_ids(processor))
    groups = engine.generate(PROMPTS, SAMPLING)
    assert largest_gap(policy, processor, groups) < 1e-5
    for part in ("vision_tower", "connector", "language_model"):
        weights = move(policy, part)
        assert largest_gap(policy, processor, groups) > 1e-3
        engine.sync_weights(weights)
        groups = engine.generate(PROMPTS, SAMPLING)
        assert largest_gap(policy, processor, groups) < 1e-5
        assert not {t for g in groups for c in g.completions for t in c.token_ids} & banned
    assert {c.weights_version for g in groups for c in g.completions} == {3}


def test_a_whole_sync_brings_every_weight(loaded):
    engine, policy, processor = loaded
    groups = engine.generate(PROMPTS, SAMPLING)
    move(policy, "vision_tower")
    move(policy, "connector")
    move(policy, "language_model")
    engine.sync_weights(named_weights(policy))
    assert largest_gap(policy, processor, groups) > 1e-2
    assert largest_gap(policy, processor, engine.generate(PROMPTS, SAMPLING)) < 1e-5


@pytest.mark.parametrize(
    "name",
    [
        "model.vision_tower.embeddings.class_embedding",
        "vision_tower.embeddings.class_embedding",
        "vision_tower.vision_model.embeddings.class_embedding",
        "model.vision_tower.vision_model.embeddings.class_embedding",
    ],
)
def test_names_of_a_llava_tower_from_every_release_mean_one_weight(name):
    from vllm.model_executor.models.llava_next import LlavaNextForConditionalGeneration as Llava

    map_saved_names()
    map_saved_names()
    mapped = Llava.hf_to_vllm_mapper.map_name(name)
    assert mapped == "vision_tower.vision_model.embeddings.class_embedding"


def test_a_policy_that_vllm_cannot_load_is_named_with_what_would_work(tmp_path):
    """A real one: transformers 5 saves names of its tower that vLLM 0.32 does not know."""
    save_policy(PLAIN_LLAVA, tmp_path)
    with pytest.raises(RolloutError) as refused:
        VllmEngine(str(tmp_path), "float32", CONFIG, load_processor(str(tmp_path)), ())
    message = str(refused.value)
    versions = f" with transformers {version('transformers')}"
    assert message.startswith("vLLM 0.")
    assert f"{versions} cannot load the policy {tmp_path} in float32" in message
    assert "vision_tower.embeddings" in message
    assert "with rollouts.engine transformers" in message


def test_a_pair_that_cannot_load_is_named_with_one_that_can():
    error = cannot_load("runs/x/policy", "float32", ValueError("no module 'a.b'. " + "c " * 900))
    assert isinstance(error, RolloutError)
    message = str(error)
    assert message.startswith("vLLM 0.")
    assert " with transformers 5." in message
    assert "cannot load the policy runs/x/policy in float32: no module 'a.b'." in message
    assert "load with vLLM 0.32.0 with transformers 5.19.0" in message
    assert "rollouts.engine transformers" in message
    assert len(message) < 900
