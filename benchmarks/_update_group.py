"""Policies and groups of the update benchmark, and the operations that each layout needs."""

from dataclasses import dataclass
from typing import Any

from _rollout_sides import SHAPES  # first: it puts the packages on the import path

# isort: split
import torch

from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.small_policy import build_small_policy

TINY = SmallPolicyConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=64)
QWEN_3B: dict[str, Any] = {
    "text_config": {
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "intermediate_size": 11008,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "num_heads": 16,
        "intermediate_size": 3420,
        "out_hidden_size": 2048,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    "tie_word_embeddings": True,
}
"""The shapes of Qwen2.5-VL-3B."""
TEXT_TOKENS = 40
"""Of a prompt: what stands before and behind the image."""
MERGE = 2


@dataclass(frozen=True)
class Sizes:
    """Tokens of the prompt and of each completion, and the number of completions."""

    prompt: int
    completion: int
    group: int

    @property
    def rows(self) -> int:
        """Tokens of plain rows."""
        return self.group * (self.prompt + self.completion)

    @property
    def pack(self) -> int:
        """Tokens of a pack."""
        return self.prompt - 1 + self.group * self.completion


def make_policy(policy: str, device: str) -> Any:
    if policy == "3B":
        from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

        with torch.device(device):
            model = AutoModelForImageTextToText.from_config(
                Qwen2_5_VLConfig(**QWEN_3B), dtype=torch.bfloat16
            )
    else:
        model = build_small_policy(SHAPES.get(policy, TINY))[0].to(device)
    model.config.use_cache = False
    return model.train()


def make_rows(model: Any, sizes: Sizes) -> dict[str, Any]:
    """Returns a group's ids, with what one of its rows has of images."""
    config, vision = model.config, model.config.vision_config
    num_cells = sizes.prompt - TEXT_TOKENS
    height = next(h for h in range(int(num_cells**0.5), 0, -1) if num_cells % h == 0)
    grid = torch.tensor([[1, height * MERGE, num_cells // height * MERGE]])
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(int(grid.prod()), patch, generator=generator)
    text = torch.randint(50, 300, (TEXT_TOKENS,), generator=generator)
    text[4], text[5] = config.vision_start_token_id, config.vision_end_token_id
    prompt = torch.cat([text[:5], torch.full((num_cells,), config.image_token_id), text[5:]])
    completions = torch.randint(50, 300, (sizes.group, sizes.completion), generator=generator)
    ids = torch.cat([prompt.expand(sizes.group, -1), completions], dim=1).to(model.device)
    return {
        "input_ids": ids,
        "logits_to_keep": sizes.completion,
        "image_grid_thw": grid.to(model.device),
        "pixel_values": pixels.to(model.device, model.dtype),
    }


def some_rows(model: Any, rows: dict[str, Any], chosen: slice) -> dict[str, Any]:
    """Returns some rows as trl's trainer gives them to its logprob method, less the pixels."""
    ids = rows["input_ids"][chosen]
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "logits_to_keep": rows["logits_to_keep"],
        "num_images": [1] * len(ids),
        "image_grid_thw": rows["image_grid_thw"].repeat(len(ids), 1),
        "mm_token_type_ids": (ids == model.config.image_token_id).long(),
    }


def flops_of_rows(model: Any, sizes: Sizes) -> float:
    pairs = sizes.group * (sizes.prompt + sizes.completion) ** 2 / 2
    return _flops(model, sizes.rows, pairs, sizes)


def flops_of_pack(model: Any, sizes: Sizes) -> float:
    tokens = sizes.group * sizes.completion
    pairs = sizes.prompt**2 / 2 + tokens * sizes.prompt + tokens * sizes.completion / 2
    return _flops(model, sizes.pack, pairs, sizes)


def _flops(model: Any, num_tokens: int, num_pairs: float, sizes: Sizes) -> float:
    text = model.config.text_config
    weights = sum(p.numel() for p in model.get_decoder().layers.parameters() if p.dim() == 2)
    head = model.lm_head.weight.numel() * sizes.group * sizes.completion
    attention = 14 * text.num_hidden_layers * text.hidden_size * num_pairs
    return 6 * (weights * num_tokens + head) + attention
