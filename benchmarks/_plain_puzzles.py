"""The plain way to make matrix puzzles, for a benchmark to compare with.

Values are drawn at random until the rule holds, whatever the chance; that a rule and a
choice are the only ones is found by trying every rule with every value; every panel is
drawn on its own, four times enlarged, and scaled down. Angles and noise are left out.
"""

import io
import math
import random
from itertools import product

import numpy as np
from PIL import Image, ImageDraw

from rl_avr.contracts import Component, Entity, Panel, Puzzle, Rule
from rl_avr.puzzles.grammar import (
    CONFIGURATIONS,
    GREY_VALUES,
    SIZE_FRACTIONS,
    ComponentGrammar,
    bits,
)
from rl_avr.puzzles.rules import RULE_ENTRIES, RULE_PARAMETERS

_ENLARGE = 4
_GROUPS = ("layout", "type", "size", "color")


def holds(rule: Rule, row: tuple[int, int, int], num_slots: int) -> bool:
    """Whether one row of values (counts, masks or levels) obeys a rule."""
    a, b, c = row
    if rule.kind == "constant":
        return a == b == c
    if rule.kind == "distribute_three":
        return len({a, b, c}) == 3
    if rule.kind == "progression":
        if rule.attribute != "position":
            return b - a == c - b == rule.parameter
        moved = [{(k + rule.parameter) % num_slots for k in bits(mask)} for mask in (a, b)]
        return [set(bits(b)), set(bits(c))] == moved
    if rule.attribute == "position":
        if rule.parameter > 0:
            return c == a | b and b & ~a != 0
        return c == a & ~b and c != 0
    one = 1 if rule.attribute == "size" else 0
    return c == a + rule.parameter * (b + one)


def obeys(rule: Rule, values: tuple[int, ...], num_slots: int) -> bool:
    """Whether nine values obey a rule in every row."""
    if rule.attribute == "number":
        values = tuple(value.bit_count() for value in values)
    rows = [values[start : start + 3] for start in (0, 3, 6)]
    if not all(holds(rule, row, num_slots) for row in rows):
        return False
    if (rule.attribute, rule.kind) == ("color", "arithmetic") and values[1] == values[4] == 0:
        return False
    if rule.kind != "distribute_three":
        return True
    columns = list(zip(*rows, strict=True))
    return len({frozenset(row) for row in rows}) == 1 and all(len(set(c)) == 3 for c in columns)


class Plain:
    """Makes puzzles of one configuration."""

    def __init__(self, configuration: str, seed: int) -> None:
        self.configuration = configuration
        self.grammars = CONFIGURATIONS[configuration].components
        self.rng = random.Random(seed)

    def puzzle(self) -> Puzzle:
        """Returns a puzzle with one explanation a group and one choice that fits."""
        while True:
            values = {}
            for index, grammar in enumerate(self.grammars):
                for group in _GROUPS:
                    values[index, group] = self._draw(grammar, group)
            explained = {key: self._explained(key, nine[:8]) for key, nine in values.items()}
            if any(len(found) != 1 for found in explained.values()):
                continue
            choices = self._choices(values)
            if choices is None:
                continue
            fits = [
                all(
                    obeys(rule, (*values[key][:8], choice[key]), len(self.grammars[key[0]].slots))
                    for key, found in explained.items()
                    for rule in found
                )
                for choice in choices
            ]
            if sum(fits) == 1:
                context = [{key: nine[i] for key, nine in values.items()} for i in range(8)]
                return self._puzzle(context, choices, fits.index(True))

    def _levels(self, grammar: ComponentGrammar, group: str) -> list[int]:
        if group == "layout":
            return list(range(1, 1 << len(grammar.slots)))
        return list(grammar.levels(group))

    def _rules(self, grammar: ComponentGrammar, group: str) -> list[Rule]:
        entries = RULE_ENTRIES[group]
        if group == "layout" and len(grammar.slots) == 1:
            entries = (("position", "constant"),)
        return [Rule(a, kind, p) for a, kind in entries for p in RULE_PARAMETERS[kind]]

    def _draw(self, grammar: ComponentGrammar, group: str) -> tuple[int, ...]:
        levels, rules = self._levels(grammar, group), self._rules(grammar, group)
        while True:
            rule = self.rng.choice(rules)
            for _ in range(100):
                rows = [self._draw_row(rule, levels, len(grammar.slots)) for _ in range(3)]
                if rule.kind == "distribute_three" and rows[0]:
                    a, b, c = rows[0]
                    rows = [(a, b, c), (b, c, a), (c, a, b)]
                nine = tuple(value for row in rows if row for value in row)
                if len(nine) == 9 and obeys(rule, nine, len(grammar.slots)):
                    return nine

    def _draw_row(self, rule: Rule, levels: list[int], num_slots: int):
        for _ in range(100):
            a, b = self.rng.choice(levels), self.rng.choice(levels)
            rows = [(a, b, c) for c in levels]
            if rule.attribute == "number":
                fit = [r for r in rows if holds(rule, tuple(v.bit_count() for v in r), num_slots)]
            else:
                fit = [row for row in rows if holds(rule, row, num_slots)]
            if fit:
                return self.rng.choice(fit)
        return None

    def _explained(self, key: tuple[int, str], eight: tuple[int, ...]) -> list[Rule]:
        grammar = self.grammars[key[0]]
        levels = self._levels(grammar, key[1])
        return [
            rule
            for rule in self._rules(grammar, key[1])
            if any(obeys(rule, (*eight, level), len(grammar.slots)) for level in levels)
        ]

    def _choices(self, values):
        """Three groups with one other value each, in all combinations."""
        free = [key for key in values if len(self._levels(self.grammars[key[0]], key[1])) > 1]
        changed = self.rng.sample(free, 3)
        others = {}
        for key in changed:
            levels = self._levels(self.grammars[key[0]], key[1])
            others[key] = self.rng.choice([v for v in levels if v != values[key][8]])
        choices = []
        for flags in product((False, True), repeat=3):
            choice = {key: nine[8] for key, nine in values.items()}
            choice |= {k: others[k] for k, flag in zip(changed, flags, strict=True) if flag}
            choices.append(choice)
        self.rng.shuffle(choices)
        return choices

    def _puzzle(self, context, choices, answer_index: int) -> Puzzle:
        return Puzzle(
            "plain",
            "rpm",
            self.configuration,
            tuple(map(self._panel, context)),
            tuple(map(self._panel, choices)),
            answer_index,
            (),
            0,
            0,
        )

    def _panel(self, values) -> Panel:
        return Panel(
            tuple(
                Component(
                    tuple(
                        Entity(*(values[index, name] for name in _GROUPS[1:]), slot=slot)
                        for slot in bits(values[index, "layout"])
                    )
                )
                for index in range(len(self.grammars))
            )
        )


def draw_panel(panel: Panel, configuration: str, side: int) -> np.ndarray:
    """Returns one panel, uint8 (side, side), drawn large and scaled down for smooth edges."""
    size = 160 * _ENLARGE
    image = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(image)
    components = CONFIGURATIONS[configuration].components
    for component, grammar in zip(panel.components, components, strict=True):
        for entity in component.entities:
            row, column, height, width = grammar.slots[entity.slot]
            _draw_entity(draw, entity, (column * size, row * size), min(height, width) * size / 2)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _draw_entity(draw, entity: Entity, centre: tuple[float, float], unit: float) -> None:
    x, y = centre
    radius = unit * SIZE_FRACTIONS[entity.size]
    fill = GREY_VALUES[entity.color] if entity.color else None
    if entity.type == 5:
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=fill, outline=0, width=2 * _ENLARGE)
        return
    corners = {1: 3, 2: 4, 3: 5, 4: 6}[entity.type]
    start = math.pi / 4 if corners == 4 else 0.0
    points = []
    for k in range(corners):
        angle = start + 2 * math.pi * k / corners
        points.append((x + radius * math.sin(angle), y - radius * math.cos(angle)))
    draw.polygon(points, fill=fill, outline=0, width=2 * _ENLARGE)


def draw_panels(puzzle: Puzzle) -> np.ndarray:
    """Returns the sixteen panels at 160 px."""
    panels = (*puzzle.context, *puzzle.choices)
    return np.stack([draw_panel(panel, puzzle.configuration, 160) for panel in panels])


def draw_puzzle(puzzle: Puzzle, side: int) -> np.ndarray:
    """Returns the whole puzzle as one image: the matrix, then the choices, four a row."""
    canvas = np.full((5 * side, 4 * side), 255, np.uint8)
    places = [divmod(i, 3) for i in range(8)] + [(3 + i // 4, i % 4) for i in range(8)]
    for (row, column), panel in zip(places, (*puzzle.context, *puzzle.choices), strict=True):
        tile = draw_panel(panel, puzzle.configuration, side)
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return canvas


def encode(image: np.ndarray) -> bytes:
    """Returns a PNG with the imaging library's defaults."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
