"""The architectures of small policies, each from transformers' own classes.

Every family has text heads of 32, the least that vLLM's CPU attention takes. What one
image costs, for the shipped picture of five by four cells of 36 px:

    qwen2_5_vl   20 tokens, one a cell
    qwen3_vl     20 tokens, one a cell; its first vision layer also feeds the first text layer
    llava_next   106 tokens: a CLIP tower sees tiles of two by two cells without the padding
                 around them, and the whole picture once more, reduced to one tile
    idefics3     70 tokens, one an image mark or a cell: each cell is a tile of its own
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import Family, SmallPolicyConfig
from rl_avr.modeling.tokenizer import IMAGE_MARK, SPECIAL_TOKENS

HEAD_SIZE = 32
MERGE = 2
"""Patches that become one token, or cells that become one tile, along each axis."""
MAX_TILES = 6
"""Rows and columns of tiles that Idefics3 has tokens for."""
_MAX_POSITIONS = 2048
_INIT_STD = 0.05  # near 1 / sqrt(hidden size); 0.02 is meant for wide models
_CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_IDEFICS3_TOKENS = (
    *("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *(f"<row_{i}_col_{j}>" for i in range(1, MAX_TILES + 1) for j in range(1, MAX_TILES + 1)),
)


@dataclass(frozen=True)
class FamilySpec:
    """One architecture.

    Args:
        special_tokens: of its tokenizer, in the order of their ids.
        image_mark: what stands in a prompt for one image.
        build: config and tokenizer -> model class, model config, processor.
    """

    special_tokens: tuple[str, ...]
    image_mark: str
    build: Callable[[SmallPolicyConfig, Any], tuple[Any, Any, Any]]


def _qwen2_5_vl(config: SmallPolicyConfig, tokenizer: Any) -> tuple[Any, Any, Any]:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLVideoProcessor,
    )

    vision = _qwen_vision(config) | {
        "window_size": 2 * MERGE * config.patch_size_px,
        "fullatt_block_indexes": list(range(config.vision_depth)),
    }
    model_config = Qwen2_5_VLConfig(
        text_config=_text(config, tokenizer)
        | {"rope_parameters": _mrope([4, 6, 6]), "tie_word_embeddings": True},
        vision_config=vision,
        **_qwen_ids(tokenizer),
        tie_word_embeddings=True,
    )
    processor = _qwen_processor(config, tokenizer, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor)
    return Qwen2_5_VLForConditionalGeneration, model_config, processor


def _qwen3_vl(config: SmallPolicyConfig, tokenizer: Any) -> tuple[Any, Any, Any]:
    from transformers import (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    side = max(config.image_height_px, config.image_width_px) // config.patch_size_px
    # the axes take turns along the frequencies, so none may be longer than a third of them
    rope = _mrope([6, 5, 5]) | {"mrope_interleaved": True}
    model_config = Qwen3VLConfig(
        text_config=_text(config, tokenizer)
        | {"head_dim": HEAD_SIZE, "rope_parameters": rope, "tie_word_embeddings": True},
        vision_config=_qwen_vision(config)
        | {"num_position_embeddings": side**2, "deepstack_visual_indexes": [0]},
        **_qwen_ids(tokenizer),
        tie_word_embeddings=True,
    )
    processor = _qwen_processor(config, tokenizer, Qwen3VLProcessor, Qwen3VLVideoProcessor)
    return Qwen3VLForConditionalGeneration, model_config, processor


def _llava_next(config: SmallPolicyConfig, tokenizer: Any) -> tuple[Any, Any, Any]:
    """Returns the parts of LLaVA-NeXT: its output head is not tied, as in the large ones."""
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tile_px = 2 * MERGE * config.patch_size_px
    grid = [[_padded(s, tile_px) for s in (config.image_height_px, config.image_width_px)]]
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": config.vision_hidden_size,
        "intermediate_size": config.vision_intermediate_size,
        # features are taken before the last layer, which has no effect
        "num_hidden_layers": config.vision_depth + 1,
        "num_attention_heads": config.vision_num_heads,
        "image_size": tile_px,
        "patch_size": config.patch_size_px,
    }
    model_config = LlavaNextConfig(
        text_config=_text(config, tokenizer) | {"model_type": "llama"},
        vision_config=vision,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
        image_seq_length=(tile_px // config.patch_size_px) ** 2,
    )
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": tile_px},
            crop_size={"height": tile_px, "width": tile_px},
            image_grid_pinpoints=grid,
        ),
        tokenizer=tokenizer,
        patch_size=config.patch_size_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return LlavaNextForConditionalGeneration, model_config, processor


def _idefics3(config: SmallPolicyConfig, tokenizer: Any) -> tuple[Any, Any, Any]:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    tile_px = MERGE * config.patch_size_px
    longest_px = max(config.image_height_px, config.image_width_px)
    if longest_px > MAX_TILES * tile_px:
        raise ConfigError(
            f"family idefics3: an image of {config.image_height_px} x {config.image_width_px} px "
            f"has more than {MAX_TILES} tiles of {tile_px} px along an axis; expected "
            f"patch_size_px {-(-longest_px // (MAX_TILES * MERGE))} or more"
        )
    vision = {
        "hidden_size": config.vision_hidden_size,
        "intermediate_size": config.vision_intermediate_size,
        "num_hidden_layers": config.vision_depth,
        "num_attention_heads": config.vision_num_heads,
        "image_size": tile_px,
        "patch_size": config.patch_size_px,
        "initializer_range": _INIT_STD,
    }
    model_config = Idefics3Config(
        text_config=_text(config, tokenizer) | {"model_type": "llama", "tie_word_embeddings": True},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=MERGE,
        tie_word_embeddings=True,
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(
            size={"longest_edge": longest_px}, max_image_size={"longest_edge": tile_px}
        ),
        tokenizer=tokenizer,
        image_seq_len=1,
        chat_template=tokenizer.chat_template,
    )
    return Idefics3ForConditionalGeneration, model_config, processor


FAMILIES: dict[Family, FamilySpec] = {
    "qwen2_5_vl": FamilySpec(SPECIAL_TOKENS, IMAGE_MARK, _qwen2_5_vl),
    "qwen3_vl": FamilySpec(SPECIAL_TOKENS, IMAGE_MARK, _qwen3_vl),
    "llava_next": FamilySpec((*_CHAT_TOKENS, "<image>"), "<image>", _llava_next),
    "idefics3": FamilySpec((*_CHAT_TOKENS, *_IDEFICS3_TOKENS), "<image>", _idefics3),
}


def _text(config: SmallPolicyConfig, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": _padded(len(tokenizer), 64),
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "max_position_embeddings": _MAX_POSITIONS,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": _INIT_STD,
    }


def _mrope(section: list[int]) -> dict[str, Any]:
    """Returns rotary settings whose axes (time, height, width) share 16 frequencies."""
    return {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": section}


def _qwen_vision(config: SmallPolicyConfig) -> dict[str, Any]:
    return {
        "depth": config.vision_depth,
        "hidden_size": config.vision_hidden_size,
        "intermediate_size": config.vision_intermediate_size,
        "num_heads": config.vision_num_heads,
        "patch_size": config.patch_size_px,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": config.hidden_size,
        "initializer_range": _INIT_STD,
    }


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    ids = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _qwen_processor(
    config: SmallPolicyConfig, tokenizer: Any, processor_class: Any, video_class: Any
) -> Any:
    from transformers import Qwen2VLImageProcessor

    pixels = config.image_height_px * config.image_width_px
    shape = {"patch_size": config.patch_size_px, "merge_size": MERGE, "temporal_patch_size": 2}
    size = {"shortest_edge": pixels, "longest_edge": pixels}
    return processor_class(
        image_processor=Qwen2VLImageProcessor(size=size, **shape),
        tokenizer=tokenizer,
        video_processor=video_class(size=size, **shape),
        chat_template=tokenizer.chat_template,
    )


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
