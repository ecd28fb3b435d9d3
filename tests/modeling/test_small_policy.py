"""The small policy: a forward pass, one token a panel, and a save that loses nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from rl_avr.chat import decode_image
from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import build_small_policy, ensure_small_policy
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import single
from rl_avr.puzzles.render import render_png

RENDER = RenderConfig(36)


def inputs_of(processor, puzzle):
    content = [{"type": "image"}, {"type": "text", "text": COT_PROMPT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    image = decode_image(render_png(puzzle, RENDER))
    return processor(images=[image], text=[text], return_tensors="pt")


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def test_an_image_is_twenty_tokens_one_a_cell(processor, puzzle):
    inputs = inputs_of(processor, puzzle)
    assert int((inputs["input_ids"] == processor.image_token_id).sum()) == 20
    # 180 x 144 px in patches of 18 px, so the image was not resized
    assert inputs["image_grid_thw"].tolist() == [[1, 10, 8]]


@pytest.mark.parametrize(("panel", "token"), [(0, 0), (2, 2), (3, 4), (7, 9)])
def test_a_panel_changes_the_patches_of_its_own_token_alone(processor, puzzle, panel, token):
    black = single({"type": 5, "size": 5, "color": 9})
    context = (*puzzle.context[:panel], black, *puzzle.context[panel + 1 :])
    before = inputs_of(processor, puzzle)["pixel_values"]
    after = inputs_of(processor, dataclasses.replace(puzzle, context=context))["pixel_values"]
    changed = (before != after).any(1).nonzero().flatten().tolist()
    # four patches merge into one token
    assert changed == [4 * token + i for i in range(4)]


def test_pixel_values_are_the_pixels_up_to_scale(processor, puzzle):
    values = inputs_of(processor, puzzle)["pixel_values"]
    pixels = np.asarray(decode_image(render_png(puzzle, RENDER)))[..., 0]
    # first patch, first of the two equal frames, red channel
    patch = values[0].reshape(3, 2, 18, 18)[0, 0].numpy().astype(np.float64)
    slope, offset = np.polyfit(pixels[:18, :18].ravel(), patch.ravel(), 1)
    assert np.allclose(slope * pixels[:18, :18] + offset, patch, atol=1e-5)


def test_saved_and_loaded_weights_give_equal_logits(model, processor, puzzle, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = load_policy(PolicyConfig(path=str(tmp_path))).eval()
    inputs = inputs_of(processor, puzzle)
    inputs_again = inputs_of(load_processor(str(tmp_path)), puzzle)
    assert torch.equal(inputs["input_ids"], inputs_again["input_ids"])
    assert torch.equal(logits_of(model, inputs), logits_of(again, inputs_again))


def test_the_logits_depend_on_the_picture(model, processor, puzzle):
    plain = logits_of(model, inputs_of(processor, puzzle))
    assert torch.isfinite(plain).all()
    assert plain.shape[-1] >= len(processor.tokenizer)
    black = single({"type": 5, "size": 5, "color": 9})
    changed = dataclasses.replace(puzzle, context=(*puzzle.context[:7], black))
    other = logits_of(model, inputs_of(processor, changed))
    assert (plain[0, -1] - other[0, -1]).abs().max() > 1e-4
    assert torch.equal(plain[0, 0], other[0, 0]), "a token before the image saw it"


def test_the_same_seed_makes_the_same_weights(tiny_config):
    one, same, other = (
        build_small_policy(dataclasses.replace(tiny_config, seed=seed))[0].state_dict()
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "model.language_model.embed_tokens.weight"
    assert not torch.equal(one[name], other[name])


def test_a_small_policy_is_made_once_and_only_on_request(tiny_config, tmp_path):
    folder = tmp_path / "new" / "policy"
    ensure_small_policy(PolicyConfig(str(folder), small=tiny_config))
    assert not folder.exists()
    ensure_small_policy(PolicyConfig(str(folder), make_small=True, small=tiny_config))
    weights = (folder / "model.safetensors").read_bytes()
    other = dataclasses.replace(tiny_config, seed=9)
    ensure_small_policy(PolicyConfig(str(folder), make_small=True, small=other))
    assert (folder / "model.safetensors").read_bytes() == weights


def test_generation_ends_at_the_end_of_a_turn(model, processor):
    config = model.generation_config
    tokens = processor.tokenizer.convert_ids_to_tokens([config.eos_token_id, config.pad_token_id])
    assert tokens == ["<|im_end|>", "<|endoftext|>"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hidden_size": 96},
            r"hidden_size 96 with num_heads 4 .* expected 32, so hidden_size 128",
        ),
        ({"num_heads": 8}, r"head size of 16; expected 32, so hidden_size 256 or num_heads 4"),
        ({"image_height_px": 170}, r"image_height_px 170: expected a multiple of 36"),
        ({"image_width_px": 100}, r"image_width_px 100: expected a multiple of 36"),
        ({"patch_size_px": 7}, r"image_height_px 180: expected a multiple of 14"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build_small_policy(SmallPolicyConfig(**change))
