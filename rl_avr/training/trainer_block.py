"""Checks the free `trainer:` block against trl's own config class."""

import dataclasses
import types
import typing
from typing import Any

from rl_avr.errors import ConfigError, nearest

_SIMPLE = (bool, int, float, str)


def check_trainer_block(block: dict[str, Any], config_class: type) -> None:
    """Refuses keys and simple types that `config_class` does not have.

    Args:
        block: the `trainer:` part of a run's config.
        config_class: trl's `GRPOConfig`, `SFTConfig` and so on.

    Raises:
        ConfigError: with the key, what came, what is allowed, and the nearest keys.
    """
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
