"""Which parameters of a vision-language model belong to which part, and which are trained.

part             Qwen2.5-VL, Qwen3-VL             LLaVA-NeXT              Idefics3
vision_tower     visual, less the connector       vision_tower            vision_model
connector        visual.merger,                   multi_modal_projector,  connector
                 visual.deepstack_merger_list     image_newline
language_model   everything else, the output head among it
"""

from collections.abc import Iterable
from typing import Any, get_args

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import Part

PARTS: tuple[Part, ...] = get_args(Part)

_CONNECTOR_NAMES = frozenset({"multi_modal_projector", "image_newline", "connector"})
_QWEN_TOWER = "visual"
_QWEN_CONNECTOR_NAMES = frozenset({"merger", "deepstack_merger_list"})
TOWER_NAMES = frozenset({_QWEN_TOWER, "vision_tower", "vision_model"})
"""Last names of the modules that encode images."""


def part_of(parameter_name: str) -> Part:
    """Returns the part a parameter or module belongs to, by its dotted name.

    >>> part_of("model.visual.blocks.0.attn.qkv.weight")
    'vision_tower'
    >>> part_of("model.visual.merger.mlp.0.weight")
    'connector'
    >>> part_of("model.language_model.layers.0.mlp.up_proj.weight")
    'language_model'
    """
    names = set(parameter_name.split("."))
    if names & _CONNECTOR_NAMES or (_QWEN_TOWER in names and names & _QWEN_CONNECTOR_NAMES):
        return "connector"
    return "vision_tower" if names & TOWER_NAMES else "language_model"


def trained_by(freeze: Iterable[Part]) -> tuple[Part, ...]:
    """Returns the parts that are not frozen.

    >>> trained_by(["vision_tower"])
    ('connector', 'language_model')
    """
    frozen = set(freeze)
    return tuple(part for part in PARTS if part not in frozen)


def train_only(model: Any, parts: Iterable[Part]) -> int:
    """Freezes every parameter outside `parts`; returns how many numbers stay trained.

    Raises:
        ConfigError: nothing would be left to train.
    """
    trained, count = tuple(parts), 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in trained)
        count += parameter.numel() if parameter.requires_grad else 0
    if count == 0:
        found = sorted({part_of(name) for name, _ in model.named_parameters()})
        raise ConfigError(
            f"no parameter of {type(model).__name__} belongs to {' or '.join(trained) or 'no part'}"
            f", so nothing would be trained; it has {', '.join(found)}: see policy.freeze"
        )
    return count


def trained_parts(model: Any) -> set[Part]:
    """Returns the parts of which at least one parameter is trained."""
    return {part_of(name) for name, p in model.named_parameters() if p.requires_grad}
