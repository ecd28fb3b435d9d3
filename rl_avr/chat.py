"""The one way in which a prompt becomes messages, ids and an image; needs no torch."""

import io
import re
from collections.abc import Sequence
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
    "<fake_token_around_image>",
    "<global-img>",
)
"""Of all families; Idefics3 has one more for each tile, `<row_1_col_1>` and so on."""
_TILE_TOKEN = re.compile(r"<row_\d+_col_\d+>")


def user_messages(text: str) -> list[dict[str, Any]]:
    """Returns the messages of a prompt, without its images; trl puts them in front."""
    return [{"role": "user", "content": text}]


def with_images(messages: Sequence[dict[str, Any]], images: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns messages in the form that chat templates of all families take.

    Args:
        messages: with plain text as content.
        images: they stand before the first message's text.
    """
    content = [[{"type": "text", "text": message["content"]}] for message in messages]
    content[0] = [*({"type": "image", "image": image} for image in images), *content[0]]
    return [
        {"role": message["role"], "content": parts}
        for message, parts in zip(messages, content, strict=True)
    ]


def unexpanded_prompt_ids(processor: Any, text: str, num_images: int = 1) -> list[int]:
    """Returns the prompt's ids with one placeholder for each image, before the text."""
    rendered = _rendered(processor, text, num_images)
    return processor.tokenizer(
        rendered, add_special_tokens=_adds_special_tokens(processor, rendered)
    ).input_ids


def adds_special_tokens(processor: Any) -> bool:
    """Returns whether special tokens are added to what the chat template writes.

    A processor of transformers lets its tokenizer add a first token, as those of LLaVA do,
    unless the template writes it.
    """
    return _adds_special_tokens(processor, _rendered(processor, "", 1))


def _rendered(processor: Any, text: str, num_images: int) -> str:
    content = [*({"type": "image"} for _ in range(num_images)), {"type": "text", "text": text}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def _adds_special_tokens(processor: Any, rendered: str) -> bool:
    first = processor.tokenizer.bos_token
    return first is None or not rendered.startswith(first)


def banned_token_ids(processor: Any) -> tuple[int, ...]:
    """Returns the ids that a policy may never sample: image, video, vision and tile marks."""
    vocabulary = processor.tokenizer.get_vocab()
    found = {
        token_id
        for token, token_id in vocabulary.items()
        if token in VISION_TOKENS or _TILE_TOKEN.fullmatch(token)
    }
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
