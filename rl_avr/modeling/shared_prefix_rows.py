"""From rows as trl pads and repeats them, or a processor makes them, to prompts that stand once.

B: completions, P: padded prompt, C: padded completion.
"""

from itertools import accumulate
from typing import Any

import torch

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.shared_prefix import PromptInputs, SharedPrefixBatch

_PER_IMAGE = ("image_grid_thw", "image_sizes")
_PER_ROW = ("pixel_attention_mask",)
_NOT_IMAGES = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


def processed_inputs(made: Any) -> PromptInputs:
    """Returns a prompt as a processor made it, in a batch of one.

    Args:
        made: the processor's tensors; `input_ids` is (1, P), without padding.
    """
    images = {name: value for name, value in made.items() if name not in _NOT_IMAGES}
    types = made.get("mm_token_type_ids")
    return PromptInputs(made["input_ids"][0], images, None if types is None else types[0])


def batch_of_rows(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    logits_to_keep: int,
    *,
    group_size: int,
    compute_entropy: bool = False,
    num_images: list[int] | None = None,
    mm_token_type_ids: torch.Tensor | None = None,
    **images: Any,
) -> SharedPrefixBatch:
    """Returns the batch of what trl's `_get_per_token_logps_and_entropies` is given.

    Of every group the first row's prompt and images stand for all.

    Args:
        input_ids: (B, P + C) prompts padded on the left, completions on the right; the rows of
            a group side by side.
        attention_mask: (B, P + C).
        logits_to_keep: C.
        group_size: rows of a group.
        compute_entropy: also compute entropies.
        num_images: of each row.
        mm_token_type_ids: (B, P + C), of models that ask for it.
        images: `pixel_values` and what belongs to it; None counts as not given.

    Raises:
        DataError: rows that are not whole groups, or groups whose prompts differ.
        ConfigError: images in a form that is not known here.
    """
    images = {name: value for name, value in images.items() if value is not None}
    unknown = sorted(set(images) - {"pixel_values", *_PER_IMAGE, *_PER_ROW})
    if unknown:
        raise ConfigError(f"no shared-prefix form for models that take {', '.join(unknown)}")
    num_rows = len(input_ids)
    if num_rows % group_size:
        raise DataError(f"{num_rows} rows: expected whole groups of {group_size}")
    prompt_mask = attention_mask[:, :-logits_to_keep].bool()
    prompt_ids = input_ids[:, :-logits_to_keep].masked_fill(~prompt_mask, -1)
    if not torch.equal(prompt_ids, prompt_ids[::group_size].repeat_interleave(group_size, dim=0)):
        raise DataError(f"the rows of a group of {group_size} have different prompts")
    counts = num_images or [0] * num_rows
    prompts = []
    for row in range(0, num_rows, group_size):
        mask = prompt_mask[row]
        types = None if mm_token_type_ids is None else mm_token_type_ids[row, : len(mask)][mask]
        of_row = _images_of_row(images, counts, row) if counts[row] else {}
        prompts.append(PromptInputs(prompt_ids[row][mask], of_row, types))
    return SharedPrefixBatch(
        tuple(prompts),
        input_ids[:, -logits_to_keep:],
        attention_mask[:, -logits_to_keep:],
        compute_entropy,
    )


def _images_of_row(
    images: dict[str, torch.Tensor], counts: list[int], row: int
) -> dict[str, torch.Tensor]:
    """Returns one row's images: patches by their grid, images by their number, or its own row."""
    starts = [0, *accumulate(counts)]
    of_images = slice(starts[row], starts[row + 1])
    found = {name: images[name][of_images] for name in _PER_IMAGE if name in images}
    found |= {name: images[name][row : row + 1] for name in _PER_ROW if name in images}
    pixels = images["pixel_values"]
    if "image_grid_thw" in images:
        ends = [0, *accumulate(images["image_grid_thw"].prod(dim=-1).tolist())]
        pixels = pixels[ends[starts[row]] : ends[starts[row + 1]]]
    elif len(pixels) == starts[-1]:
        # an image each, as trl counts them; where a row has one image, its own row
        pixels = pixels[of_images]
    else:
        pixels = pixels[row : row + 1]
    return {**found, "pixel_values": pixels}
