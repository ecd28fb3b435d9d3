"""Makes a small Qwen2.5-VL from a config: the real architecture, its own tokenizer.

The text head size is 32, the least that vLLM's CPU attention takes, and the three
axes of the rotary embedding share its 16 frequencies as 4 + 6 + 6.
"""

from pathlib import Path
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.tokenizer import build_tokenizer

_HEAD_SIZE = 32
_MROPE_SECTION = [4, 6, 6]
_MERGE = 2
_MAX_POSITIONS = 2048
_INIT_STD = 0.05  # near 1 / sqrt(hidden size); 0.02 is meant for wide models


def build_small_policy(config: SmallPolicyConfig) -> tuple[Any, Any]:
    """Returns a randomly initialised policy and its processor.

    Raises:
        ConfigError: the head size is not 32, or the image is no whole number of
            merged patches.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, set_seed

    _check(config)
    tokenizer = build_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    model_config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": _padded(len(tokenizer)),
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_heads,
            "max_position_embeddings": _MAX_POSITIONS,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": _MROPE_SECTION,
            },
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            "initializer_range": _INIT_STD,
        },
        vision_config={
            "depth": config.vision_depth,
            "hidden_size": config.vision_hidden_size,
            "intermediate_size": config.vision_intermediate_size,
            "num_heads": config.vision_num_heads,
            "patch_size": config.patch_size_px,
            "spatial_merge_size": _MERGE,
            "temporal_patch_size": 2,
            "window_size": 2 * _MERGE * config.patch_size_px,
            "out_hidden_size": config.hidden_size,
            "fullatt_block_indexes": list(range(config.vision_depth)),
            "initializer_range": _INIT_STD,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    set_seed(config.seed)
    model = Qwen2_5_VLForConditionalGeneration(model_config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, _processor(config, tokenizer)


def ensure_small_policy(policy: PolicyConfig) -> None:
    """Makes the policy's folder where `make_small` asks for it and there is none yet."""
    folder = Path(policy.path)
    if policy.make_small and not (folder / "processor_config.json").is_file():
        save_small_policy(policy.small, folder)


def save_small_policy(config: SmallPolicyConfig, folder: Path) -> None:
    """Writes a new small policy with its processor, as any other checkpoint is written."""
    model, processor = build_small_policy(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(config: SmallPolicyConfig, tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    pixels = config.image_height_px * config.image_width_px
    shape = {"patch_size": config.patch_size_px, "merge_size": _MERGE, "temporal_patch_size": 2}
    size = {"shortest_edge": pixels, "longest_edge": pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **shape),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size, **shape),
        chat_template=tokenizer.chat_template,
    )


def _check(config: SmallPolicyConfig) -> None:
    if config.hidden_size != _HEAD_SIZE * config.num_heads:
        raise ConfigError(
            f"hidden_size {config.hidden_size} with num_heads {config.num_heads} gives a head size "
            f"of {config.hidden_size / config.num_heads:g}; expected {_HEAD_SIZE}, so hidden_size "
            f"{_HEAD_SIZE * config.num_heads} or num_heads {config.hidden_size // _HEAD_SIZE}"
        )
    unit = _MERGE * config.patch_size_px
    for name in ("image_height_px", "image_width_px"):
        if (value := getattr(config, name)) % unit:
            raise ConfigError(f"{name} {value}: expected a multiple of {unit}, two patches")


def _padded(size: int, multiple: int = 64) -> int:
    return -(-size // multiple) * multiple
