"""Checks the free `trainer:` block against trl's own config class."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from rl_avr.errors import ConfigError, nearest

_SIMPLE = (bool, int, float, str)
_OF_EVERY_RUN = {
    "output_dir": "checkpoints are in the folder of run.dir",
    "remove_unused_columns": "every column of a row is used",
    "report_to": "set by run.wandb",
    "seed": "set by run.seed",
}
"""Fields that say what every run decides elsewhere."""


def check_trainer_block(block: dict[str, Any], config_class: type, ours: Mapping[str, str]) -> None:
    """Refuses keys and simple types that `config_class` does not have, and those set elsewhere.

    Args:
        block: the `trainer:` part of a run's config.
        config_class: trl's `GRPOConfig`, `SFTConfig` and so on.
        ours: field that says what this kind of run decides elsewhere -> where.

    Raises:
        ConfigError: with the key, what came, what is allowed, and the nearest keys.
    """
    for key, where in {**_OF_EVERY_RUN, **ours}.items():
        if key in block:
            raise ConfigError(f"trainer.{key}: not set here; {where}")
    fields = {field.name for field in dataclasses.fields(config_class)}
    hints = typing.get_type_hints(config_class)
    for key, value in block.items():
        if key not in fields:
            raise ConfigError(
                f"trainer.{key}: {config_class.__name__} has no such field; nearest: "
                f"{nearest(key, fields)}"
            )
        allowed = _simple_types(hints[key])
        if allowed and not _fits(value, allowed):
            names = " or ".join(sorted(kind.__name__ for kind in allowed))
            raise ConfigError(f"trainer.{key}: expected {names}; got {value!r}")


def _simple_types(hint: Any) -> tuple[type, ...]:
    """Returns the simple types a hint allows, or () where it allows anything else too."""
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    return tuple(parts) if all(part in (*_SIMPLE, type(None)) for part in parts) else ()


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _fits(value: Any, allowed: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in allowed
    if isinstance(value, int) and float in allowed:
        return True
    return isinstance(value, allowed)
