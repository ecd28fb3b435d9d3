"""Packed conversations against trl's collator and the model's own forward."""

from dataclasses import replace

import pytest
import torch
from transformers import AttentionInterface

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.conversation_check import check_conversation_pass, refusal
from rl_avr.modeling.conversation_pass import (
    ConversationBatch,
    ConversationSettings,
    enable_conversation_pass,
)
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.image_features import FeatureCache, vision_parameters
from tests.modeling.conversation_cases import (
    assert_same_gradients,
    batch_of,
    conversations,
    gradients,
    mixed_rows,
    pictures,
    plain,
    row,
    weighted,
)
from tests.modeling.shared_prefix_cases import make_policy
from tests.modeling.test_shared_prefix import Counter, freeze_vision, tower_of, with_lora

SMALL_BUDGET = 150
"""Of a pack, so that the rows make several; one is longer than it in two families."""


@pytest.fixture(scope="module")
def shown():
    return pictures()


@pytest.fixture
def rows(shown):
    return mixed_rows(shown)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def enable(model, **settings):
    enable_conversation_pass(model, ConversationSettings(**settings))


def assert_equal_ways(model, processor, rows, batch=None):
    """Logprobs, entropies and the loss within 1e-5, gradients within 1e-4 of their size."""
    expected, entropies, is_top1 = plain(model, processor, rows)
    expected_gradients = gradients(model, weighted(expected))
    output = model(conversations=batch or batch_of(processor, rows))
    assert (output.logprobs - expected).abs().max() < 1e-5
    assert (output.logprobs.mean() - expected.mean()).abs() < 1e-5
    assert (output.entropies - entropies).abs().max() < 1e-5
    assert not output.entropies.requires_grad
    assert torch.equal(output.is_top1, is_top1)
    assert_same_gradients(gradients(model, weighted(output.logprobs)), expected_gradients)


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("checkpointing", [None, False, True])
def test_both_ways_are_equal(family, rows, is_frozen, checkpointing):
    """`checkpointing`: none, the kind that is not reentrant, the reentrant kind."""
    model, processor = make_policy(family)
    if is_frozen:
        freeze_vision(model)
    if checkpointing is not None:
        model.train()
        kind = {"use_reentrant": checkpointing}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kind)
        model.enable_input_require_grads()
    enable(model, cache=FeatureCache(2))
    assert_equal_ways(model, processor, rows)


@pytest.mark.parametrize("in_vision", [False, True])
def test_both_ways_are_equal_with_adapters(family, rows, in_vision):
    model, processor = make_policy(family)
    policy = with_lora(model, in_vision)
    enable(policy, cache=FeatureCache(2))
    assert_equal_ways(policy, processor, rows)


@pytest.mark.parametrize("budget", [1, SMALL_BUDGET, None])
def test_packs_of_every_size_are_equal(family, rows, budget):
    model, processor = make_policy(family)
    enable(model, token_budget=budget, logits_at_once=5 * model.lm_head.out_features)
    assert_equal_ways(model, processor, rows)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_query_heads_may_share_keys(family, rows):
    model, processor = make_policy(family, num_kv_heads=1)
    enable(model)
    assert_equal_ways(model, processor, rows)


def test_images_of_other_sizes_stand_beside_each_other(shown):
    """Qwen takes an image of any number of patches."""
    model, processor = make_policy("qwen2_5_vl")
    processor.image_processor.size = {"shortest_edge": 1, "longest_edge": 10**6}
    enable(model)
    small = pictures(1, panel_size_px=24)
    rows = [
        row([("a", "b")], [*small, shown[0]]),
        row([("c", "d")], small),
        row([("e", "f")], shown),
    ]
    sizes = {len(c.images["pixel_values"]) for c in conversations(processor, rows)}
    assert len(sizes) == 3
    assert_equal_ways(model, processor, rows)


def test_text_alone_goes_by_the_tower_with_an_image_that_does_not_count(family, shown):
    """So a rank without images adds up its gradients in the order of the others."""
    model, processor = make_policy(family)
    enable(model)
    rows = [row([("Say yes.", "yes yes")]), row([("And no.", "no")])]
    batch = batch_of(processor, rows)
    expected, *_ = plain(model, processor, rows)
    expected_gradients = gradients(model, weighted(expected))
    output = model(conversations=batch)
    assert (output.logprobs - expected).abs().max() < 1e-5
    assert len(output.logprobs) == len(output.entropies) == len(output.is_top1)
    found = gradients(model, weighted(output.logprobs))
    is_vision = {id(p) for p in vision_parameters(model)}
    # a policy may have weights that no image uses
    other = batch_of(processor, mixed_rows(shown))
    used = gradients(model, model(conversations=other).logprobs.sum())
    of_vision = {n for n, p in model.named_parameters() if id(p) in is_vision and n in used}
    assert of_vision and all(not found.pop(name).any() for name in of_vision)
    assert_same_gradients(found, expected_gradients)


def test_the_order_of_the_batch_stays(rows):
    """However conversations lie in packs, tokens come in the order of the batch."""
    model, processor = make_policy("qwen2_5_vl")
    enable(model, token_budget=SMALL_BUDGET)
    made = conversations(processor, rows)
    with torch.no_grad():
        together = model(conversations=ConversationBatch(made)).logprobs
        alone = [model(conversations=ConversationBatch((one,))).logprobs for one in made]
        turned = model(conversations=ConversationBatch(made[::-1])).logprobs
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.allclose(turned, torch.cat(alone[::-1]), atol=1e-5)
    assert [len(one) for one in alone] == [int(c.trained_L.sum()) for c in made]


def test_the_pictures_decide(family, shown):
    model, processor = make_policy(family)
    enable(model)
    one, other = (
        model(conversations=batch_of(processor, [row([("circle?", "yes")], [picture])])).logprobs
        for picture in shown[:2]
    )
    assert (one - other).abs().max() > 1e-4


def test_the_head_sees_trained_tokens_alone_and_the_tower_each_image_once(family, rows):
    model, processor = make_policy(family)
    enable(model, token_budget=SMALL_BUDGET)
    batch = batch_of(processor, rows)
    head, tower = Counter(model.lm_head), Counter(tower_of(model))
    with torch.no_grad():
        model(conversations=batch)
    assert head.rows == sum(int(c.trained_L.sum()) for c in batch.conversations)
    # one picture that two conversations show, and two of a third
    assert tower.calls == 2


def test_images_of_like_shape_are_encoded_together(family, shown):
    model, processor = make_policy(family)
    enable(model)
    tower = Counter(tower_of(model))
    rows = [row([("a", "b")], [picture]) for picture in shown]
    with torch.no_grad():
        model(conversations=batch_of(processor, rows))
    assert tower.calls == 1


def test_a_frozen_tower_sees_an_image_once_for_several_batches(family, rows):
    model, processor = make_policy(family)
    freeze_vision(model)
    enable(model, cache=FeatureCache(4))
    tower = Counter(tower_of(model))
    for _ in range(2):
        model(conversations=batch_of(processor, rows)).logprobs.sum().backward()
    assert tower.calls == 2


def test_nothing_is_trained_behind_the_last_trained_token(rows):
    """What no trained token sees is not computed: the end of every conversation."""
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    seen = Counter(model.model.language_model.layers[0])
    batch = batch_of(processor, rows)
    with torch.no_grad():
        model(conversations=batch)
    assert seen.rows == sum(int(c.trained_L.nonzero()[-1]) for c in batch.conversations)


def test_other_calls_are_untouched(family, rows, shown):
    model, processor = make_policy(family)
    before, *_ = plain(model, processor, rows)
    enable(model)
    model(conversations=batch_of(processor, rows)).logprobs.sum().backward()
    after, *_ = plain(model, processor, rows)
    assert torch.equal(before, after)


def test_a_conversation_without_a_trained_token_is_refused(rows):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    first, *rest = conversations(processor, rows)
    empty = replace(first, trained_L=torch.zeros_like(first.trained_L))
    with pytest.raises(DataError, match="conversation 0 of the batch: expected tokens to train"):
        model(conversations=ConversationBatch((empty, *rest)))


def test_the_check_agrees_and_leaves_the_mode_as_it_is(family, rows):
    model, processor = make_policy(family)
    enable(model)
    model.train()
    batch = batch_of(processor, rows)
    assert check_conversation_pass(model, batch) < 1e-5
    assert refusal(model, batch) is None
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("count", [1, 4])
def test_the_check_names_an_architecture_whose_attention_goes_another_way(rows, monkeypatch, count):
    model, processor = make_policy("qwen2_5_vl")
    enable(model)
    sdpa = AttentionInterface()["sdpa"]
    monkeypatch.setitem(AttentionInterface._global_mapping, "rl_avr_shared_prefix", sdpa)
    reason = refusal(model, batch_of(processor, rows[:count]))
    assert "Qwen2_5_VLForConditionalGeneration has no packed form: its logprobs differ" in reason


def test_a_policy_of_another_kind_is_refused_by_its_config():
    model, _ = make_policy("qwen2_5_vl")
    model.config.text_config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ConfigError, match="no packed form: Qwen2_5_VL.* layers of the kind slid"):
        enable(model)
