"""Which parameters of a vision-language model belong to which part."""

from typing import Any, Literal

from rl_avr.errors import ConfigError

Part = Literal["vision", "language"]

_VISION_NAMES = (
    *("visual", "vision_tower", "vision_model"),
    *("multi_modal_projector", "image_newline", "connector"),
)


def part_of(parameter_name: str) -> Part:
    """Returns the part a parameter belongs to; the connector counts as vision.

    >>> part_of("model.visual.blocks.0.attn.qkv.weight")
    'vision'
    >>> part_of("model.language_model.layers.0.mlp.up_proj.weight")
    'language'
    """
    return "vision" if set(parameter_name.split(".")) & set(_VISION_NAMES) else "language"


def train_only(model: Any, parts: tuple[Part, ...]) -> int:
    """Freezes every parameter outside `parts`; returns how many numbers stay trained.

    Raises:
        ConfigError: nothing would be left to train.
    """
    count = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)
        count += parameter.numel() if parameter.requires_grad else 0
    if count == 0:
        raise ConfigError(
            f"no parameter of {type(model).__name__} belongs to {' or '.join(parts)}; expected "
            f"names with one of: {', '.join(_VISION_NAMES)}"
        )
    return count
