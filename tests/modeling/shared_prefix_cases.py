"""Policies, prompts with images and completions, and trl's own plain path over them."""

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace

import torch
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from rl_avr.chat import banned_token_ids, decode_image
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.small_policy import build_small_policy
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png

TEMPERATURE = 0.8
SHAPE = SmallPolicyConfig(
    hidden_size=64,
    num_layers=2,
    num_heads=2,
    intermediate_size=64,
    vision_hidden_size=32,
    vision_depth=2,
    vision_num_heads=2,
    vision_intermediate_size=32,
)


def make_policy(family, num_kv_heads=2, **changes):
    """Returns a policy with trl's fused head, and its processor."""
    model, processor = build_small_policy(dataclasses.replace(SHAPE, family=family, **changes))
    if num_kv_heads != 2:
        model.config.text_config.num_key_value_heads = num_kv_heads
        model = type(model)(model.config)
    processor.tokenizer.padding_side = "left"
    add_fused_lm_head(model, temperature=TEMPERATURE, outputs=("log_probs", "entropy"))
    return model, processor


def make_rows(processor, prompts, lengths, seed=0):
    """Returns what trl gives its logprob method, and the mask of the completions.

    Args:
        prompts: (text, puzzles to show) of each prompt.
        lengths: tokens of each completion, as many for each prompt.
    """
    group_size = len(lengths) // len(prompts)
    rows = [prompt for prompt in prompts for _ in range(group_size)]
    images = [[decode_image(render_png(p, RenderConfig(36))) for p in shown] for _, shown in rows]
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image"} for _ in shown),
                        {"type": "text", "text": text},
                    ],
                }
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        for text, shown in rows
    ]
    inputs = processor(
        images=images if any(images) else None, text=texts, padding=True, return_tensors="pt"
    )
    longest = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    allowed = sorted(set(range(len(processor.tokenizer))) - set(banned_token_ids(processor)))
    draws = torch.randint(len(allowed), (len(rows), longest), generator=generator)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    completions = torch.tensor(allowed)[draws].where(mask.bool(), processor.tokenizer.pad_token_id)
    ids, attention = inputs.pop("input_ids"), inputs.pop("attention_mask")
    types = inputs.pop("mm_token_type_ids", None)
    if types is not None:
        types = torch.cat([types, torch.zeros_like(completions)], dim=1)
    return {
        "input_ids": torch.cat([ids, completions], dim=1),
        "attention_mask": torch.cat([attention, mask], dim=1),
        "logits_to_keep": longest,
        "mm_token_type_ids": types,
        "num_images": [len(shown) for _, shown in rows],
        **inputs,
    }, mask


def plain(model, rows):
    """Returns (B, C) logprobs and entropies of trl's own method."""
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    method = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__
    logprobs, entropies, _ = method(trainer, model, compute_entropy=True, **rows)
    return logprobs, entropies
