"""What a setting names: one of ours, or the user's own as `package.module:name`."""

import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rl_avr.errors import ConfigError

T = TypeVar("T")


def named(key: str, name: str, ours: Mapping[str, T], wanted: str) -> T:
    """Returns what a name stands for.

    Args:
        key: of the setting, for messages.
        name: a key of `ours`, or importable from here or from the current folder.
        ours: name -> what it stands for.
        wanted: what one's own has to be, for messages.

    Raises:
        ConfigError: it cannot be imported, or not called.
    """
    if name in ours:
        return ours[name]
    folder = str(Path.cwd())
    if folder not in sys.path:
        # what an installed command starts with does not hold the current folder
        sys.path.append(folder)
    try:
        found: Any = pkgutil.resolve_name(name)
    # importing runs the user's own code, and whatever it raises is theirs to know
    except Exception as error:
        raise ConfigError(
            f"{key} {name!r}: expected one of {', '.join(ours)} or an importable "
            f"package.module:name; importing it failed: {error!r}"
        ) from error
    if not callable(found):
        raise ConfigError(f"{key} {name!r}: expected {wanted}, got {type(found).__name__}")
    return found
