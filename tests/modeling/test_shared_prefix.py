"""Shared prefixes against trl's plain rows: logprobs, entropies, gradients, and what ran."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AttentionInterface

from rl_avr.chat import banned_token_ids
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.image_features import FeatureCache, vision_parameters
from rl_avr.modeling.shared_prefix import (
    SharedPrefixBatch,
    SharedPrefixSettings,
    enable_shared_prefix,
)
from rl_avr.modeling.shared_prefix_check import check_shared_prefix, refusal
from rl_avr.modeling.shared_prefix_rows import batch_of_rows
from rl_avr.modeling.weights import mask_logits
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from tests.modeling.shared_prefix_cases import TEMPERATURE, make_policy, make_rows, plain

LENGTHS = (7, 0, 12, 12, 3, 9)
"""Of three completions for each of two prompts."""


@pytest.fixture(scope="module")
def puzzles():
    return list(sample_puzzles("train", 3, 0, PuzzleConfig()))


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def prompts(puzzles):
    """Prompts of different lengths; the second shows two images."""
    return [("circle", puzzles[:1]), ("square and hexagon", puzzles[1:])]


def enable(model, **settings):
    enable_shared_prefix(model, SharedPrefixSettings(temperature=TEMPERATURE, **settings))


def gradients(model, logprobs, entropies):
    """Of a loss in which every token and every entropy has its own weight."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(2, *logprobs.shape, generator=generator)
    model.zero_grad(set_to_none=True)
    ((weights[0] * logprobs).sum() + 0.3 * (weights[1] * entropies).sum()).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_equal_ways(model, rows, group_size):
    """Logprobs within 1e-5, gradients within 1e-4 of their size, parameter by parameter."""
    expected = plain(model, rows)
    expected_gradients = gradients(model, *expected)
    output = model(shared_prefix=batch_of_rows(**rows, group_size=group_size, compute_entropy=True))
    found_gradients = gradients(model, output.logprobs, output.entropies)
    for found, plain_one in zip((output.logprobs, output.entropies), expected, strict=True):
        assert (found - plain_one).abs().max() < 1e-5
    assert (expected[0] < 0).any()
    assert found_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        gap = (found_gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-9)
        # a bias before a softmax has no gradient but rounding: keys are shifted alike
        assert gap < 1e-4 or gradient.norm() < 1e-5, (name, gap, gradient.norm())


def freeze_vision(model):
    for parameter in vision_parameters(model):
        parameter.requires_grad_(False)


def with_lora(model, in_vision=False):
    # not the output head, whose adapter trl's fused head does not read
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    names += ["qkv", "proj", "out_proj", "fc1"] if in_vision else []
    present = [n for n in names if any(m.endswith(f".{n}") for m, _ in model.named_modules())]
    peft_model = get_peft_model(model, LoraConfig(r=4, target_modules=present))
    generator = torch.Generator().manual_seed(2)
    for name, parameter in peft_model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05, generator=generator)
    return peft_model


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("checkpointing", [None, False, True])
def test_both_ways_are_equal(family, prompts, is_frozen, checkpointing):
    """`checkpointing`: none, the kind that is not reentrant, the reentrant kind."""
    model, processor = make_policy(family)
    if is_frozen:
        freeze_vision(model)
    mask_logits(model, banned_token_ids(processor))
    if checkpointing is not None:
        model.train()
        kind = {"use_reentrant": checkpointing}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kind)
        model.enable_input_require_grads()
    enable(model, cache=FeatureCache(2))
    rows, _ = make_rows(processor, prompts, LENGTHS)
    assert_equal_ways(model, rows, group_size=3)


@pytest.mark.parametrize("in_vision", [False, True])
def test_both_ways_are_equal_with_adapters_and_without_them(family, prompts, in_vision):
    model, processor = make_policy(family)
    policy = with_lora(model, in_vision)
    enable(policy, cache=FeatureCache(2))
    rows, _ = make_rows(processor, prompts, LENGTHS)
    assert_equal_ways(policy, rows, group_size=3)
    batch = batch_of_rows(**rows, group_size=3)
    with torch.no_grad():
        adapted = policy(shared_prefix=batch).logprobs
        with policy.disable_adapter():
            reference = policy(shared_prefix=batch).logprobs
            assert (reference - plain(policy, rows)[0]).abs().max() < 1e-5
    assert (reference - adapted).abs().max() > 1e-3


@pytest.mark.parametrize("token_budget", [1, 60, 110, 170])
def test_packs_of_every_size_are_equal(prompts, token_budget):
    model, processor = make_policy("qwen3_vl")
    enable(model, token_budget=token_budget, logits_at_once=5 * model.lm_head.out_features)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    assert_equal_ways(model, rows, group_size=3)


@pytest.mark.parametrize("group_size", [1, 2])
def test_small_groups(family, prompts, group_size):
    model, processor = make_policy(family)
    enable(model)
    rows, _ = make_rows(processor, prompts, [5, 8, 8, 2][: 2 * group_size])
    assert_equal_ways(model, rows, group_size)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_query_heads_may_share_keys(family, prompts):
    model, processor = make_policy(family, num_kv_heads=1)
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    assert_equal_ways(model, rows, group_size=3)


def test_prompts_without_an_image(family):
    model, processor = make_policy(family)
    freeze_vision(model)
    enable(model)
    rows, _ = make_rows(processor, [("circle", []), ("square and hexagon", [])], LENGTHS)
    assert_equal_ways(model, rows, group_size=3)


def test_the_pictures_decide(family, prompts, puzzles):
    model, processor = make_policy(family)
    enable(model)
    outputs = []
    for shown in (puzzles[:1], puzzles[1:2]):
        rows, _ = make_rows(processor, [("circle", shown)], [4, 4])
        outputs.append(model(shared_prefix=batch_of_rows(**rows, group_size=2)).logprobs)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4


class Counter:
    """Counts calls of a module and the rows that it got."""

    def __init__(self, module):
        self.calls, self.rows = 0, 0
        module.register_forward_hook(self._count)

    def _count(self, module, args, output):
        self.calls += 1
        if args and isinstance(args[0], torch.Tensor):
            self.rows += args[0].shape[:-1].numel()


def tower_of(model):
    base = model.base_model
    names = dict(base.named_children())
    return next(names[n] for n in ("visual", "vision_tower", "vision_model") if n in names)


def test_the_head_sees_the_tokens_of_completions_alone_and_the_tower_each_prompt_once(
    family, prompts
):
    model, processor = make_policy(family)
    enable(model, token_budget=60)  # each group in several packs
    rows, mask = make_rows(processor, prompts, LENGTHS)
    head, tower = Counter(model.lm_head), Counter(tower_of(model))
    batch = batch_of_rows(**rows, group_size=3)
    with torch.no_grad():
        model(shared_prefix=batch)
    assert head.rows == mask.sum() == sum(LENGTHS)
    assert tower.calls == len(prompts)
    model(shared_prefix=batch).logprobs.sum().backward()
    assert tower.calls == 2 * len(prompts)


def test_a_frozen_tower_runs_once_for_all_passes_and_for_the_reference(family, prompts):
    model, processor = make_policy(family)
    freeze_vision(model)
    reference = copy.deepcopy(model)
    cache = FeatureCache(2)
    enable(model, cache=cache)
    enable(reference, cache=cache)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    batch = batch_of_rows(**rows, group_size=3)
    towers = [Counter(tower_of(m)) for m in (model, reference)]
    with torch.no_grad():
        old, ref = (m(shared_prefix=batch).logprobs for m in (model, reference))
    model(shared_prefix=batch).logprobs.sum().backward()
    assert [t.calls for t in towers] == [len(prompts), 0]
    assert torch.equal(old, ref)


def test_a_trained_tower_is_never_cached(prompts):
    model, processor = make_policy("qwen2_5_vl")
    cache = FeatureCache(2)
    enable(model, cache=cache)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    with torch.no_grad():
        model(shared_prefix=batch_of_rows(**rows, group_size=3))
    assert len(cache) == 0


def test_logits_are_in_chunks_that_are_computed_again(prompts):
    model, processor = make_policy("qwen2_5_vl")
    enable(model, logits_at_once=10 * model.lm_head.out_features)
    rows, mask = make_rows(processor, prompts, LENGTHS)
    head = Counter(model.lm_head)
    output = model(shared_prefix=batch_of_rows(**rows, group_size=3))
    assert (head.calls, head.rows) == (-(-int(mask.sum()) // 10), mask.sum())
    output.logprobs.sum().backward()
    assert head.rows == 2 * mask.sum()


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava_next"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_other_calls_are_untouched(family, prompts, tmp_path, checkpointing):
    model, processor = make_policy(family)
    rows, _ = make_rows(processor, prompts[:1], [4, 6])
    inputs = {k: v for k, v in rows.items() if k not in ("logits_to_keep", "num_images")}
    inputs = {k: v for k, v in inputs.items() if v is not None}
    if checkpointing:
        model.train()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    before = [plain(model, rows)[0], model(**inputs).logits]
    chosen = {name: c._attn_implementation for name, c in configs(model)}
    enable(model)
    output = model(shared_prefix=batch_of_rows(**rows, group_size=2))
    assert {name: c._attn_implementation for name, c in configs(model)} == chosen
    output.logprobs.sum().backward()
    # layers that were computed again in backward have put it back, too
    assert {name: c._attn_implementation for name, c in configs(model)} == chosen
    after = [plain(model, rows)[0], model(**inputs).logits]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    model.save_pretrained(tmp_path)
    assert "shared_prefix" not in (tmp_path / "config.json").read_text()
    prompt = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
    prompt["input_ids"] = inputs["input_ids"][:, :-6]
    if "mm_token_type_ids" in prompt:
        prompt["mm_token_type_ids"] = prompt["mm_token_type_ids"][:, :-6]
    model.eval()
    generated = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    fresh, _ = make_policy(family)
    assert torch.equal(
        generated, fresh.eval().generate(**prompt, max_new_tokens=3, do_sample=False)
    )


def configs(model):
    config = model.config
    return [("model", config), ("text", config.text_config), ("vision", config.vision_config)]


def test_the_attention_function_is_put_back_after_an_error(prompts):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    layer = model.get_decoder().layers[1].mlp
    handle = layer.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        model(shared_prefix=batch_of_rows(**rows, group_size=3))
    handle.remove()
    assert model.config.text_config._attn_implementation == "sdpa"
    assert_equal_ways(model, rows, group_size=3)


def fail(*_):
    raise RuntimeError("on purpose")


def test_a_batch_without_a_token_has_zeros_and_a_zero_gradient(prompts):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    rows["attention_mask"][:, -rows["logits_to_keep"] :] = 0
    output = model(shared_prefix=batch_of_rows(**rows, group_size=3, compute_entropy=True))
    assert (output.logprobs == 0).all()
    assert (output.entropies == 0).all()
    output.logprobs.sum().backward()
    assert all((p.grad == 0).all() for p in model.parameters())


def test_placeholders_without_an_image_are_refused(family, prompts):
    model, processor = make_policy(family)
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    batch = batch_of_rows(**rows, group_size=3)
    image_id = model.config.image_token_id
    ids = batch.completion_ids_BC.clone()
    ids[0, 2] = image_id
    with pytest.raises(DataError, match=f"completion has the image placeholder {image_id}"):
        model(shared_prefix=SharedPrefixBatch(batch.prompts, ids, batch.completion_mask_BC))


def test_the_check_passes_for_every_family(family, prompts):
    model, processor = make_policy(family)
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    batch = batch_of_rows(**rows, group_size=3)
    assert check_shared_prefix(model, batch, TEMPERATURE) < 1e-5
    assert refusal(model, batch, TEMPERATURE) is None


def test_the_check_leaves_each_part_in_its_mode(prompts):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    model.train()
    model.model.visual.eval()
    before = [module.training for module in model.modules()]
    rows, _ = make_rows(processor, prompts, LENGTHS)
    check_shared_prefix(model, batch_of_rows(**rows, group_size=3), TEMPERATURE)
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("are_empty", [False, True])
def test_the_check_names_an_architecture_whose_attention_goes_another_way(
    prompts, monkeypatch, are_empty
):
    """As one would whose layers do not read the attention interface, or positions."""
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    if are_empty:
        rows["attention_mask"][:, -rows["logits_to_keep"] :] = 0
    batch = batch_of_rows(**rows, group_size=3)
    sdpa = AttentionInterface()["sdpa"]
    monkeypatch.setitem(AttentionInterface._global_mapping, "rl_avr_shared_prefix", sdpa)
    assert "Qwen2_5_VLForConditionalGeneration has no shared-prefix form: its logprobs differ" in (
        refusal(model, batch, TEMPERATURE)
    )


def test_the_check_names_an_architecture_that_refuses(prompts):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    rows, _ = make_rows(processor, prompts, LENGTHS)
    for layer in model.get_decoder().layers:
        layer.self_attn.sliding_window = 4
    reason = refusal(model, batch_of_rows(**rows, group_size=3), TEMPERATURE)
    assert "Qwen2_5_VLForConditionalGeneration has no shared-prefix form: ConfigError" in reason
    assert "sliding window" in reason


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer_types", ["full_attention", "sliding_attention"], "layers of the kind sliding"),
        ("final_logit_softcapping", 30.0, "changes its logits by final_logit_softcapping"),
    ],
)
def test_a_policy_of_another_kind_is_refused_by_its_config(name, value, message):
    model, _ = make_policy("qwen2_5_vl")
    setattr(model.config.text_config, name, value)
    with pytest.raises(ConfigError, match=f"Qwen2_5_VLForConditionalGeneration .*{message}"):
        enable(model)
