"""Small policies of every family, and others that are made of LLaVA-NeXT's parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.small_policy import build_small_policy


def _siglip(clip: Any, processor: Any) -> tuple[Any, Any]:
    """LLaVA-NeXT with its other tower, which has no class token to leave out."""
    from transformers import SiglipVisionConfig

    config, tower = clip.config, clip.config.vision_config
    config.vision_config = SiglipVisionConfig(
        hidden_size=tower.hidden_size,
        intermediate_size=tower.intermediate_size,
        num_hidden_layers=tower.num_hidden_layers,
        num_attention_heads=tower.num_attention_heads,
        image_size=tower.image_size,
        patch_size=tower.patch_size,
    )
    config.vision_feature_select_strategy = "full"
    processor.vision_feature_select_strategy = "full"
    processor.num_additional_image_tokens = 0
    return type(clip)(config), processor


def _plain_llava(clip: Any, processor: Any) -> tuple[Any, Any]:
    """LLaVA as it was before NeXT: one tile an image."""
    from transformers import (
        CLIPImageProcessor,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    config, side = clip.config, clip.config.vision_config.image_size
    model_config = LlavaConfig(
        text_config=config.text_config,
        vision_config=config.vision_config,
        image_token_index=config.image_token_index,
        image_seq_length=config.image_seq_length,
    )
    plain_processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        tokenizer=processor.tokenizer,
        patch_size=processor.patch_size,
        vision_feature_select_strategy=processor.vision_feature_select_strategy,
        num_additional_image_tokens=processor.num_additional_image_tokens,
        chat_template=processor.chat_template,
    )
    return LlavaForConditionalGeneration(model_config), plain_processor


SIGLIP, PLAIN_LLAVA = "llava_next with a SigLIP tower", "llava"
_MADE_OF_LLAVA_NEXT: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    SIGLIP: _siglip,
    PLAIN_LLAVA: _plain_llava,
}
POLICIES = (*FAMILIES, SIGLIP)
"""What both vLLM and transformers load; vLLM does not load PLAIN_LLAVA of this transformers."""


def save_policy(name: str, folder: Path) -> None:
    """Writes the policy and its processor, as any other checkpoint is written."""
    change = _MADE_OF_LLAVA_NEXT.get(name)
    config = SmallPolicyConfig(family="llava_next" if change else name)
    model, processor = build_small_policy(config)
    if change:
        generation_config = model.generation_config
        model, processor = change(model, processor)
        model.generation_config = generation_config
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
