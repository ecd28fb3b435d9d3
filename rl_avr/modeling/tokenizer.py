"""A tokenizer of its own for small policies: byte-level BPE over the project's templates.

Phrases that never vary are one token each; any other text falls back to bytes, so
nothing is ever unknown and decoding gives back exactly what was encoded.
"""

import re
from collections.abc import Sequence
from typing import Any

from rl_avr.prompts import single_token_phrases

IMAGE_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
"""What stands for one image in a prompt of the Qwen families."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>{% endgeneration %}"
    "{% else %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    f"{{% if part['type'] == 'image' %}}{IMAGE_MARK}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's chat form without the line feed between turns, which saves a token a turn; the
assistant's words and end token are marked for the loss."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def build_tokenizer(
    special_tokens: Sequence[str] = SPECIAL_TOKENS, image_mark: str = IMAGE_MARK
) -> Any:
    """Returns a `Qwen2TokenizerFast`-compatible tokenizer whose vocabulary is these templates.

    Every phrase of `prompts.single_token_phrases` is one token.

    Args:
        special_tokens: first in the vocabulary; a chat's three marks are among them.
        image_mark: what the chat template writes for one image.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    phrases = single_token_phrases()
    alternatives = "|".join(re.escape(phrase) for phrase in phrases)
    pattern = Regex(f"{alternatives}|user\\n|assistant\\n| ?[A-Za-z]+|[0-9]|\\s|[^\\sA-Za-z0-9]+")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1 << 20,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*phrases, "user\n", "assistant\n"] * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(special_tokens),
        chat_template=CHAT_TEMPLATE.replace(IMAGE_MARK, image_mark),
    )
