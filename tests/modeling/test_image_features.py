"""Features of images: found again by their pixels, thrown away with their tower."""

import copy

import pytest
import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.freezing import part_of
from rl_avr.modeling.image_features import (
    FeatureCache,
    divided,
    encoded,
    image_digest,
    image_features,
    joined,
    vision_parameters,
)
from rl_avr.modeling.shared_prefix_rows import batch_of_rows
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from tests.modeling.shared_prefix_cases import make_policy, make_rows


@pytest.fixture(scope="module")
def puzzles():
    return list(sample_puzzles("train", 3, 0, PuzzleConfig()))


def images_of(processor, puzzles):
    rows, _ = make_rows(processor, [("circle", [p]) for p in puzzles], [1] * len(puzzles))
    return [prompt.images for prompt in batch_of_rows(**rows, group_size=1).prompts]


@pytest.mark.parametrize("family", FAMILIES)
def test_joined_features_are_those_of_the_images_together(family, puzzles):
    model, processor = make_policy(family)
    rows, _ = make_rows(processor, [("circle", puzzles[:2])], [1])
    (prompt,) = batch_of_rows(**rows, group_size=1).prompts
    with torch.no_grad():
        together = image_features(model.base_model, prompt.images)
        one_by_one = joined(
            [image_features(model.base_model, i) for i in images_of(processor, puzzles[:2])]
        )
    assert together.keys() == one_by_one.keys()
    for name in together:
        flat = [torch.cat(list(_leaves(f[name]))) for f in (together, one_by_one)]
        assert torch.allclose(*flat, atol=1e-5)


def _leaves(value):
    if isinstance(value, torch.Tensor):
        yield value.reshape(-1, value.shape[-1])
    else:
        for item in value:
            yield from _leaves(item)


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_encoded_together_have_the_features_that_each_has_alone(family, puzzles):
    """Two prompts with one image, and one with two between them."""
    model, processor = make_policy(family)
    first, last = images_of(processor, puzzles[:2])
    rows, _ = make_rows(processor, [("circle", puzzles[1:])], [1])
    (prompt,) = batch_of_rows(**rows, group_size=1).prompts
    images = [first, prompt.images, last]
    with torch.no_grad():
        together = encoded(model.base_model, images)
        for one, features in zip(images, together, strict=True):
            alone = image_features(model.base_model, one)
            assert features.keys() == alone.keys()
            for name in alone:
                flat = [torch.cat(list(_leaves(f[name]))) for f in (features, alone)]
                assert torch.allclose(*flat, atol=1e-5)


def test_what_was_joined_is_divided_again(puzzles):
    model, processor = make_policy("qwen3_vl")
    images = images_of(processor, puzzles)
    with torch.no_grad():
        features = [image_features(model.base_model, one) for one in images]
    for found, expected in zip(divided(joined(features), 3), features, strict=True):
        for name in expected:
            pairs = zip(_leaves(found[name]), _leaves(expected[name]), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)


def test_a_cache_gives_several_prompts_and_looks_at_the_new_ones_alone(puzzles):
    """More of them than it keeps, too."""
    model, processor = make_policy("qwen2_5_vl")
    images = images_of(processor, puzzles)
    digests = [image_digest(one) for one in images]
    rows = []
    model.model.visual.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    cache = FeatureCache(2)
    (first,) = cache.all_features(model, images[:1], digests[:1])
    found = cache.all_features(model, images, digests)
    assert found[0] is first
    assert rows == [len(images[0]["pixel_values"]), 2 * len(images[0]["pixel_values"])]
    assert len(cache) == 2
    assert len({id(features) for features in found}) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_vision_parameters_are_those_of_tower_and_connector(family):
    model, _ = make_policy(family)
    found = {id(p) for p in vision_parameters(model)}
    named = {id(p) for n, p in model.named_parameters() if part_of(n) != "language_model"}
    assert found == named
    assert 0 < len(found) < len(list(model.parameters()))


def test_equal_pixels_are_looked_at_once_and_the_oldest_prompt_goes_first(puzzles):
    model, processor = make_policy("qwen2_5_vl")
    first, second, third = images_of(processor, puzzles)
    calls = []
    model.model.visual.register_forward_hook(lambda *_: calls.append(1))
    cache = FeatureCache(2)
    one = cache.features(model, first)
    again = cache.features(model, {name: tensor.clone() for name, tensor in first.items()})
    assert one is again
    assert len(calls) == 1
    for images in (second, third, first):
        cache.features(model, images)
    assert (len(cache), len(calls)) == (2, 4)
    assert not one.pooler_output[0].requires_grad


def test_one_pixel_makes_another_image(puzzles):
    model, processor = make_policy("qwen2_5_vl")
    (images,) = images_of(processor, puzzles[:1])
    cache = FeatureCache(4)
    one = cache.features(model, images)
    changed = {**images, "pixel_values": images["pixel_values"].clone()}
    changed["pixel_values"][-1, -1] += 1.0
    two = cache.features(model, changed)
    assert not torch.equal(one.pooler_output[0], two.pooler_output[0])


def test_a_changed_tower_empties_the_cache_and_an_equal_policy_does_not(puzzles):
    model, processor = make_policy("qwen2_5_vl")
    (images,) = images_of(processor, puzzles[:1])
    cache = FeatureCache(4)
    before = cache.features(model, images)
    assert cache.features(copy.deepcopy(model), images) is before
    with torch.no_grad():
        vision_parameters(model)[0].mul_(2)
    after = cache.features(model, images)
    assert not torch.equal(before.pooler_output[0], after.pooler_output[0])


def test_a_cache_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="num_prompts: expected a number >= 1, got 0"):
        FeatureCache(0)
