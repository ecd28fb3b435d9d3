"""Both ways of the pass against trl's collator, in every family."""

import pytest
import torch
from accelerate import Accelerator
from trl.trainer.utils import add_fused_lm_head

from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.small_policy import build_small_policy
from sft_warmstart.config import LossConfig
from sft_warmstart.policy_pass import SftPass, plain_rows
from tests.modeling.conversation_cases import (
    assert_same_gradients,
    batch_of,
    conversations,
    gradients,
    mixed_rows,
    pictures,
    plain,
    row,
    trl_inputs,
    weighted,
)
from tests.modeling.shared_prefix_cases import SHAPE


@pytest.fixture(scope="module")
def shown():
    return pictures()


def made(family):
    """Returns a policy as trl's SFT trainer prepares it, and its processor."""
    model, processor = build_small_policy(SmallPolicyConfig(**{**vars(SHAPE), "family": family}))
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model, processor


def sft_pass(model, processor, **settings):
    found = SftPass(LossConfig(**settings), processor.tokenizer.pad_token_id, 4, Accelerator())
    found.enable(model)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("packing", [True, False])
def test_both_ways_are_trls(family, packing, shown):
    model, processor = made(family)
    rows = mixed_rows(shown)
    expected, entropies, is_top1 = plain(model, processor, rows)
    expected_gradients = gradients(model, weighted(expected))
    run = sft_pass(model, processor, packing=packing)
    batch = batch_of(processor, rows)
    run.decide(model, batch)
    assert (run.why_plain is None) is packing
    output = run(model, batch)
    assert (output.logprobs - expected).abs().max() < 1e-5
    assert (output.entropies - entropies).abs().max() < 1e-5
    assert torch.equal(output.is_top1, is_top1)
    assert_same_gradients(gradients(model, weighted(output.logprobs)), expected_gradients)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_rows_are_those_of_trl(family, shown):
    _, processor = made(family)
    rows = [*mixed_rows(shown)[:2], row([("text", "alone")])]
    inputs, labels = trl_inputs(processor, rows)
    found = plain_rows(conversations(processor, rows), processor.tokenizer.pad_token_id)
    assert torch.equal(found.pop("labels"), labels)
    assert found.keys() == inputs.keys()
    for name, value in found.items():
        # a row without an image has a place for one in some families, all zeros
        theirs = inputs[name][:2] if name.startswith("pixel_") and len(value) == 2 else inputs[name]
        assert torch.equal(value, theirs), name


@pytest.mark.parametrize("family", ["llava_next", "idefics3"])
@pytest.mark.parametrize("packing", [True, False])
def test_images_of_few_crops_beside_those_of_many(family, packing, shown):
    model, processor = made(family)
    if family == "llava_next":
        (grid,) = processor.image_processor.image_grid_pinpoints
        low = [[processor.image_processor.crop_size["height"], grid[1]], grid]
        processor.image_processor.image_grid_pinpoints = model.config.image_grid_pinpoints = low
    width, height = shown[0].size
    strip = shown[0].crop((0, 0, width, height // 4))
    rows = [row([("Which?", "this one")], [image]) for image in (strip, shown[1])]
    crops = {tuple(c.images["pixel_values"].shape) for c in conversations(processor, rows)}
    assert len(crops) == 2
    expected, *_ = plain(model, processor, rows)
    run = sft_pass(model, processor, packing=packing)
    batch = batch_of(processor, rows)
    run.decide(model, batch)
    assert (run(model, batch).logprobs - expected).abs().max() < 1e-5


@pytest.mark.parametrize("packing", [True, False])
def test_a_batch_of_text_trains_the_text_and_gives_the_tower_a_zero_gradient(packing):
    model, processor = made("qwen2_5_vl")
    rows = [row([("Say yes.", "yes")]), row([("And no.", "no no")])]
    expected, *_ = plain(model, processor, rows)
    run = sft_pass(model, processor, packing=packing)
    batch = batch_of(processor, rows)
    run.decide(model, batch)
    output = run(model, batch)
    assert (output.logprobs - expected).abs().max() < 1e-5
    found = gradients(model, output.logprobs.sum())
    assert found.keys() == {name for name, _ in model.named_parameters()}
    assert all(bool(found[name].any()) is ("visual" not in name) for name in found)
