"""Splits that cannot overlap: a hash of what a matrix shows decides."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from rl_avr.contracts import Panel

Split = Literal["train", "held_out"]

_HELD_OUT_SHARE = 0.1


def split_of(context: Sequence[Panel]) -> Split:
    """Returns the split of a matrix: a hash of the shown panels' levels decides.

    Two puzzles with the same shown levels are always in the same split, whatever
    their choices, angles or seeds.
    """
    digest = hashlib.blake2b(visible_levels(context), digest_size=8).digest()
    return "held_out" if int.from_bytes(digest, "big") < _HELD_OUT_SHARE * 2**64 else "train"


def visible_levels(panels: Sequence[Panel]) -> bytes:
    """Returns slot, type, size and color of every entity; equal for panels that look alike.

    Angles are left out: they carry no rule.
    """
    levels = bytearray()
    for panel in panels:
        for part in panel.components:
            levels.append(len(part.entities))
            for entity in part.entities:
                levels += bytes((entity.slot, entity.type, entity.size, entity.color))
    return bytes(levels)
