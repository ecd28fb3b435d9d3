"""Builds panels from drawn values and noise.

Where entities stay or only move (a constant, progressing or distributed position), a
row keeps their noise; where panels get new entities (a rule of number, arithmetic of
positions), their noise is drawn anew, as the released data has it.
"""

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from rl_avr.contracts import Component, Entity, Panel
from rl_avr.puzzles.choices import Values
from rl_avr.puzzles.draws import Drawn, below, pick
from rl_avr.puzzles.grammar import ANGLES_DEG, ATTRIBUTES, UNIFORM, UPRIGHT, bits

_entity = lru_cache(maxsize=32_768)(Entity)

Noise = tuple[int | None, int | None, int | None, int]
"""Noise of one entity: type, size and color where a rule leaves them free, then angle."""


class Part(NamedTuple):
    """The values of one component.

    Args:
        uniformity: RAVEN's level.
        num_slots: slots of its layout.
        layout: rule and nine positions, None with a single slot.
        values: nine values per attribute, None for a noisy one.
        levels: allowed levels per attribute.
    """

    uniformity: int
    num_slots: int
    layout: Drawn | None
    values: tuple[tuple[int, ...] | None, ...]
    levels: tuple[tuple[int, ...], ...]


class PanelBuilder:
    """Builds the panels of one matrix; draws the noise when made.

    Args:
        parts: the values, component by component.
        has_angle_noise: whether shapes are turned.
        rng: draws the noise.
    """

    def __init__(self, parts: Sequence[Part], has_angle_noise: bool, rng: random.Random) -> None:
        self._parts, self._has_angle_noise, self._rng = parts, has_angle_noise, rng
        self._noise = [_matrix_noise(part, has_angle_noise, rng) for part in parts]

    def context(self) -> tuple[Panel, ...]:
        """Returns the eight shown panels."""
        return tuple(
            Panel(
                tuple(
                    _component(part, k, noise[k])
                    for part, noise in zip(self._parts, self._noise, strict=True)
                )
            )
            for k in range(8)
        )

    def choices(self, choices: Sequence[Values]) -> list[Panel]:
        """Returns a panel for each set of changed values, in the order given."""
        columns = [self._choice_components(c, choices) for c in range(len(self._parts))]
        return [Panel(parts) for parts in zip(*columns, strict=True)]

    def _choice_components(self, index: int, choices: Sequence[Values]) -> list[Component]:
        """Returns one component per choice; choices with equal positions share their noise."""
        part, rng = self._parts[index], self._rng
        right = _position(part, 8)
        by_position = {right: self._noise[index][8]}
        found = []
        for values in choices:
            position = values.get((index, "layout"), right)
            if position not in by_position:
                count = position.bit_count()
                by_position[position] = _noise(part, count, self._has_angle_noise, rng)
            changed = {n: values[index, n] for n in ATTRIBUTES if (index, n) in values}
            found.append(_component(part, 8, by_position[position], position, changed))
        return found


def _position(part: Part, panel: int) -> int:
    return part.layout.values[panel] if part.layout else 1


def _is_kept(part: Part) -> bool:
    """Returns whether a row keeps its entities."""
    if part.layout is None:
        return True
    rule = part.layout.rule
    return rule.attribute == "position" and rule.kind != "arithmetic"


def _matrix_noise(part: Part, has_angle: bool, rng: random.Random) -> list[list[Noise]]:
    """Returns the noise of each of nine panels' entities, in slot order."""
    if not _is_kept(part):
        return [_noise(part, _position(part, k).bit_count(), has_angle, rng) for k in range(9)]
    noise: list[list[Noise]] = []
    for row in range(3):
        first = _noise(part, _position(part, 3 * row).bit_count(), has_angle, rng)
        noise += [first, _moved(part, 3 * row, 1, first), _moved(part, 3 * row, 2, first)]
    return noise


def _moved(part: Part, start: int, column: int, first: list[Noise]) -> list[Noise]:
    """Returns the noise of a row's first panel in the slot order of a later one."""
    if part.layout is None or part.layout.rule.kind != "progression" or len(first) == 1:
        return first
    step = column * part.layout.rule.parameter
    there = [(slot + step) % part.num_slots for slot in bits(_position(part, start))]
    return [noise for _, noise in sorted(zip(there, first, strict=True), key=lambda p: p[0])]


def _noise(part: Part, count: int, has_angle: bool, rng: random.Random) -> list[Noise]:
    """Returns the noise of `count` entities; on a uniform layout all turn alike."""
    if part.uniformity == UNIFORM or part.num_slots == 1:
        angle = below(rng, len(ANGLES_DEG)) if has_angle else UPRIGHT
        return [(None, None, None, angle)] * count
    noise = []
    for _ in range(count):
        shape, size, color = (
            pick(rng, levels) if values is None else None
            for values, levels in zip(part.values, part.levels, strict=True)
        )
        noise.append((shape, size, color, below(rng, len(ANGLES_DEG)) if has_angle else UPRIGHT))
    return noise


def _component(
    part: Part,
    panel: int,
    noise: Sequence[Noise],
    position: int | None = None,
    changed: Mapping[str, int] = MappingProxyType({}),
) -> Component:
    """Returns the component of one panel, its position and some values changed."""
    shape, size, color = (
        changed.get(name, values[panel] if values else None)
        for name, values in zip(ATTRIBUTES, part.values, strict=True)
    )
    slots = bits(_position(part, panel) if position is None else position)
    return Component(
        tuple(
            _entity(
                own[0] if shape is None else shape,
                own[1] if size is None else size,
                own[2] if color is None else color,
                own[3],
                slot,
            )
            for slot, own in zip(slots, noise, strict=True)
        ),
        part.uniformity,
    )
