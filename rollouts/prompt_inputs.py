"""A prompt as the policy's own processor makes it: ids with every image's placeholders, pixels."""

from typing import Any

import torch
from PIL import Image

from rl_avr.chat import decode_image
from rl_avr.contracts import Prompt
from rl_avr.errors import RolloutError

_FILLS = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 0}
"""Tensor as long as the ids -> what it holds for a token of text."""


def prompt_images(prompt: Prompt) -> list[Image.Image]:
    """Returns a prompt's images.

    Raises:
        DataError: with the prompt's id and the image's place.
    """
    return [
        decode_image(image, f"{prompt.prompt_id}, image {i}")
        for i, image in enumerate(prompt.images)
    ]


def processed_prompt(processor: Any, prompt: Prompt) -> Any:
    """Returns the processor's tensors, a batch of one; `input_ids` (1, P) are the trainer's.

    Behind those of the chat template stand the ids of the prompt's prefill.

    Raises:
        DataError: an image cannot be read.
        RolloutError: as `prefill_ids`.
    """
    content = [
        *({"type": "image", "image": image} for image in prompt_images(prompt)),
        {"type": "text", "text": prompt.text},
    ]
    inputs = processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    if more := prefill_ids(processor, prompt):
        ids = torch.tensor([more])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        for name in _FILLS.keys() & inputs.keys():
            fill = torch.full_like(ids, _FILLS[name], dtype=inputs[name].dtype)
            inputs[name] = torch.cat([inputs[name], fill], dim=1)
    return inputs


def prefill_ids(processor: Any, prompt: Prompt) -> list[int]:
    """Returns the ids with which the policy's turn begins, without an end; none where it is free.

    Raises:
        RolloutError: a token among them ends a turn or stands for an image.
    """
    if not prompt.prefill:
        return []
    tokenizer = processor.tokenizer
    ids = tokenizer(prompt.prefill, add_special_tokens=False).input_ids
    if special := set(ids) & set(tokenizer.all_special_ids):
        names = ", ".join(tokenizer.convert_ids_to_tokens(sorted(special)))
        raise RolloutError(
            f"prompt {prompt.prompt_id}: expected words as its prefill, got the token {names}"
        )
    return ids
