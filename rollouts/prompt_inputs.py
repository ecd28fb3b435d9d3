"""A prompt as the policy's own processor makes it: ids with every image's placeholders, pixels."""

from typing import Any

from PIL import Image

from rl_avr.chat import decode_image
from rl_avr.contracts import Prompt


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
    """Returns the processor's tensors, a batch of one; `input_ids` (1, P) are the trainer's."""
    content = [
        *({"type": "image", "image": image} for image in prompt_images(prompt)),
        {"type": "text", "text": prompt.text},
    ]
    return processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
