"""Prompts as ids, tokens that no policy may sample, and images that cannot be read."""

import copy

import numpy as np
import pytest
from PIL import Image
from tokenizers.processors import TemplateProcessing

from rl_avr.chat import (
    VISION_TOKENS,
    adds_special_tokens,
    banned_token_ids,
    decode_image,
    unexpanded_prompt_ids,
    user_messages,
)
from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png, render_puzzle
from rollouts.prompt_inputs import processed_prompt


def test_a_prompt_is_one_image_the_words_and_the_assistant_s_turn(processor):
    ids = unexpanded_prompt_ids(processor, COT_PROMPT)
    user, assistant = processor.tokenizer.decode(ids).split("<|im_end|>")
    assert user == f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{COT_PROMPT}"
    assert assistant.lstrip("\n") == "<|im_start|>assistant\n"
    assert ids.count(processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")) == 1


@pytest.mark.parametrize("template_start", ["", "<|endoftext|>"])
def test_a_first_token_that_a_tokenizer_adds_is_there_once_as_the_trainer_has_it(
    processor, puzzle, template_start
):
    """LLaVA's tokenizers add one; some chat templates write it."""
    processor = copy.deepcopy(processor)
    tokenizer = processor.tokenizer
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.bos_token_id)]
    )
    processor.chat_template = template_start + processor.chat_template
    assert adds_special_tokens(processor) is not bool(template_start)
    prompt = Prompt("p", puzzle, "cot", COT_PROMPT, (render_png(puzzle, RenderConfig(18)),))
    expanded = processed_prompt(processor, prompt)["input_ids"][0].tolist()
    image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    once = [i for n, i in enumerate(expanded) if i != image_id or expanded[n - 1] != image_id]
    assert unexpanded_prompt_ids(processor, COT_PROMPT) == once
    assert once.count(tokenizer.bos_token_id) == 1


def test_user_messages_hold_the_words_alone():
    assert user_messages("Which?") == [{"role": "user", "content": "Which?"}]


def test_the_banned_tokens_are_the_vision_tokens_of_the_vocabulary(processor):
    tokens = processor.tokenizer.convert_ids_to_tokens(list(banned_token_ids(processor)))
    assert set(tokens) == {
        *("<|image_pad|>", "<|video_pad|>"),
        *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    }
    assert set(tokens) < set(VISION_TOKENS)
    assert processor.tokenizer.eos_token_id not in banned_token_ids(processor)


def test_a_grey_png_becomes_rgb_without_loss(puzzle):
    config = RenderConfig(18)
    image = decode_image(render_png(puzzle, config))
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    assert all(np.array_equal(pixels[..., c], render_puzzle(puzzle, config)) for c in range(3))


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>", b"\xff\xd8"]
)
def test_bytes_that_are_no_image_are_refused_with_their_place(raw):
    with pytest.raises(DataError, match=rf"^a\.parquet, row 7: .*got {len(raw)} bytes"):
        decode_image(raw, "a.parquet, row 7")


def test_a_damaged_png_is_read_or_refused_and_nothing_else(puzzle):
    png = render_png(puzzle, RenderConfig(8))
    num_refused = 0
    for place in range(len(png)):
        flipped = png[:place] + bytes([png[place] ^ 0xFF]) + png[place + 1 :]
        for damaged in (png[:place], flipped):
            try:
                assert isinstance(decode_image(damaged), Image.Image)
            except DataError:
                num_refused += 1
    # every cut before the last chunks loses pixels
    assert num_refused > 0.9 * len(png)
