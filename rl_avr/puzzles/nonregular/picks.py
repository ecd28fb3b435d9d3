"""Pickers: which values stand side by side as choices.

A picker must not favor any of the values it returns: one of them becomes the answer by
lot, and only so do the choices alone give nothing away.
"""

import random
from collections.abc import Callable, Sequence

Picker = Callable[[random.Random, int], Sequence[int]]
"""(rng, k) -> k different values."""


def any_of(values: Sequence[int]) -> Picker:
    """Returns a picker of values that are all equally unlike one another."""
    return lambda rng, k: rng.sample(values, k)


def near(values: Sequence[int], width: int) -> Picker:
    """Returns a picker of values out of a window of `width` neighbours."""

    def pick(rng: random.Random, k: int) -> list[int]:
        start = rng.randrange(len(values) - width + 1)
        return rng.sample(values[start : start + width], k)

    return pick


def near_masks(num_bits: int, sizes: Sequence[int]) -> Picker:
    """Returns a picker of sets of places: equally many filled, most of them in common.

    Args:
        num_bits: how many places there are.
        sizes: how many of them are filled.
    """

    def pick(rng: random.Random, k: int) -> list[int]:
        filled = rng.sample(range(num_bits), rng.choice(sizes))
        mask = sum(1 << place for place in filled)
        moved = [
            mask ^ (1 << place) ^ (1 << empty)
            for place in filled
            for empty in range(num_bits)
            if not mask >> empty & 1
        ]
        return rng.sample([mask, *moved], k)

    return pick
