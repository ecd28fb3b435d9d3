"""Padded, repeated rows become prompts that stand once each."""

import pytest
import torch

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.shared_prefix_rows import batch_of_rows

IDS = torch.tensor([[0, 5, 6, 11, 12], [0, 5, 6, 13, 0], [7, 8, 9, 21, 0], [7, 8, 9, 22, 23]])
MASK = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])


def batch(**kwargs):
    return batch_of_rows(
        **{"input_ids": IDS, "attention_mask": MASK, "logits_to_keep": 2, "group_size": 2} | kwargs
    )


def test_prompts_lose_their_padding_and_completions_keep_their_rows():
    found = batch(mm_token_type_ids=torch.tensor([[0, 1, 0, 0, 0]] * 2 + [[0, 0, 1, 0, 0]] * 2))
    assert [p.ids_P.tolist() for p in found.prompts] == [[5, 6], [7, 8, 9]]
    assert [p.token_types_P.tolist() for p in found.prompts] == [[1, 0], [0, 0, 1]]
    assert [p.images for p in found.prompts] == [{}, {}]
    assert torch.equal(found.completion_ids_BC, IDS[:, -2:])
    assert torch.equal(found.completion_mask_BC, MASK[:, -2:])


def test_patches_are_found_by_their_grid():
    grid = torch.tensor([[1, 2, 2]] * 2 + [[1, 1, 2], [1, 1, 1]] * 2)
    pixels = torch.arange(4 + 4 + 3 + 3)[:, None]
    found = batch(num_images=[1, 1, 2, 2], image_grid_thw=grid, pixel_values=pixels)
    one, two = (p.images for p in found.prompts)
    assert one["pixel_values"][:, 0].tolist() == [0, 1, 2, 3]
    assert two["pixel_values"][:, 0].tolist() == [8, 9, 10]
    assert one["image_grid_thw"].tolist() == [[1, 2, 2]]
    assert two["image_grid_thw"].tolist() == [[1, 1, 2], [1, 1, 1]]


def test_tiles_are_found_by_the_number_of_images():
    sizes = torch.arange(6)[:, None].expand(6, 2)
    pixels = torch.arange(6)[:, None, None]
    found = batch(num_images=[1, 1, 2, 2], image_sizes=sizes, pixel_values=pixels)
    assert [p.images["pixel_values"].flatten().tolist() for p in found.prompts] == [[0], [2, 3]]
    assert [p.images["image_sizes"][:, 0].tolist() for p in found.prompts] == [[0], [2, 3]]


def test_rows_of_images_stay_rows_and_none_is_not_given():
    pixels = torch.arange(4)[:, None]
    found = batch(
        num_images=[1, 1, 2, 2], pixel_values=pixels, pixel_attention_mask=pixels, image_sizes=None
    )
    for prompt, row in zip(found.prompts, (0, 2), strict=True):
        assert prompt.images.keys() == {"pixel_values", "pixel_attention_mask"}
        assert all(value.tolist() == [[row]] for value in prompt.images.values())


def test_a_prompt_without_an_image_among_others_has_none():
    found = batch(num_images=[0, 0, 1, 1], pixel_values=torch.arange(2)[:, None])
    assert [p.images.keys() for p in found.prompts] == [set(), {"pixel_values"}]


def test_rows_that_are_no_groups_are_refused():
    with pytest.raises(DataError, match="4 rows: expected whole groups of 3"):
        batch(group_size=3)
    with pytest.raises(DataError, match="rows of a group of 4 have different prompts"):
        batch(group_size=4)
    with pytest.raises(DataError, match="different prompts"):
        # equal ids, another length
        batch(attention_mask=torch.cat([torch.ones(1, 5, dtype=torch.long), MASK[1:]]))


def test_images_of_another_form_are_refused():
    with pytest.raises(ConfigError, match="models that take spatial_shapes"):
        batch(spatial_shapes=torch.ones(1))
