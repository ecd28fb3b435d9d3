"""Makes a small policy from a config: a real architecture with its own tokenizer."""

from pathlib import Path
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES, HEAD_SIZE, MERGE
from rl_avr.modeling.tokenizer import build_tokenizer


def build_small_policy(config: SmallPolicyConfig) -> tuple[Any, Any]:
    """Returns a randomly initialised policy of the family asked for, and its processor.

    Raises:
        ConfigError: the head size is not 32, or the image is no whole number of
            merged patches, or has more tiles than the family has tokens for.
    """
    from transformers import set_seed

    _check(config)
    family = FAMILIES[config.family]
    tokenizer = build_tokenizer(family.special_tokens, family.image_mark)
    model_class, model_config, processor = family.build(config, tokenizer)
    set_seed(config.seed)
    model = model_class(model_config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


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


def _check(config: SmallPolicyConfig) -> None:
    if config.hidden_size != HEAD_SIZE * config.num_heads:
        raise ConfigError(
            f"hidden_size {config.hidden_size} with num_heads {config.num_heads} gives a head size "
            f"of {config.hidden_size / config.num_heads:g}; expected {HEAD_SIZE}, so hidden_size "
            f"{HEAD_SIZE * config.num_heads} or num_heads {config.hidden_size // HEAD_SIZE}"
        )
    unit = MERGE * config.patch_size_px
    for name in ("image_height_px", "image_width_px"):
        if (value := getattr(config, name)) % unit:
            raise ConfigError(f"{name} {value}: expected a multiple of {unit}, two patches")
