"""The one way in which a prompt becomes messages, ids and an image; needs no torch."""

import io
from typing import Any

from PIL import Image, UnidentifiedImageError

from rl_avr.errors import DataError

VISION_TOKENS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<image>",
    "<video>",
)


def user_messages(text: str) -> list[dict[str, Any]]:
    """Returns the messages of a prompt, without the image; trl puts it in front."""
    return [{"role": "user", "content": text}]


def unexpanded_prompt_ids(processor: Any, text: str) -> list[int]:
    """Returns the prompt's ids with one placeholder for the image."""
    content = [{"type": "image"}, {"type": "text", "text": text}]
    rendered = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return processor.tokenizer(rendered, add_special_tokens=False).input_ids


def banned_token_ids(processor: Any) -> tuple[int, ...]:
    """Returns the ids that a policy may never sample: image, video and vision marks."""
    tokenizer = processor.tokenizer
    vocabulary = tokenizer.get_vocab()
    found = {vocabulary[token] for token in VISION_TOKENS if token in vocabulary}
    image_id = getattr(processor, "image_token_id", None)
    return tuple(sorted(found | ({image_id} if image_id is not None else set())))


def decode_image(raw: bytes, where: str = "image") -> Image.Image:
    """Returns an RGB image, or raises DataError that says where the bytes came from."""
    try:
        return Image.open(io.BytesIO(raw)).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{where}: expected an image that Pillow can read (PNG, JPEG, …); "
            f"got {len(raw)} bytes: {error}"
        ) from error
