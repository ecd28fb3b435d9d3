"""Center puzzles with ruled type, size and color, and splits that cannot overlap.

A matrix is drawn again until its eight shown panels admit exactly one rule per
attribute, so the answer and every rule claim can be graded without doubt.
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Literal

from rl_avr.contracts import Panel, Puzzle, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.choices import iraven_choices
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ANGLES_DEG, ATTRIBUTES, UPRIGHT, single
from rl_avr.puzzles.rules import (
    RULE_KINDS,
    RULE_PARAMETERS,
    Row,
    explanations,
    matrix_obeys,
    rows_of,
)
from rl_avr.seeding import rng_for

Split = Literal["train", "held_out"]

_MAX_DRAWS = 10_000
_HELD_OUT_SHARE = 0.1


def split_of(context: tuple[Panel, ...]) -> Split:
    """Returns the split of a matrix: a hash of the shown panels' levels decides.

    Two puzzles with the same shown levels are always in the same split, whatever
    their choices, angles or seeds.
    """
    levels = [(e.type, e.size, e.color) for panel in context for e in panel.entities]
    digest = hashlib.blake2b(repr(levels).encode(), digest_size=8).digest()
    return "held_out" if int.from_bytes(digest, "big") < _HELD_OUT_SHARE * 2**64 else "train"


def sample_puzzles(
    split: Split, num_puzzles: int, seed: int, config: PuzzleConfig
) -> Iterator[Puzzle]:
    """Yields puzzles of one split; puzzle k depends on the seed, the split and k alone."""
    for index in range(num_puzzles):
        yield sample_puzzle(split, index, seed, config)


def sample_puzzle(split: Split, index: int, seed: int, config: PuzzleConfig) -> Puzzle:
    """Returns puzzle number `index` of a split.

    Raises:
        PuzzleError: no matrix with the wanted difficulty was found.
    """
    rng = rng_for("center", seed, split, index)
    for _ in range(_MAX_DRAWS):
        rules = tuple(_draw_rule(name, rng) for name in ATTRIBUTES)
        difficulty = sum(rule.kind != "constant" for rule in rules)
        if difficulty < config.min_difficulty:
            continue
        levels = {rule.attribute: _draw_levels(rule, rng) for rule in rules}
        if any(len(explanations(name, levels[name][:8])) != 1 for name in ATTRIBUTES):
            continue
        panels = tuple(
            single({name: levels[name][i] for name in ATTRIBUTES}, _angle(config, rng))
            for i in range(9)
        )
        if split_of(panels[:8]) != split:
            continue
        choices, answer_index = iraven_choices(panels[8], rng)
        return Puzzle(
            puzzle_id=f"center-{seed}-{split}-{index}",
            family="rpm",
            configuration="center_single",
            context=panels[:8],
            choices=choices,
            answer_index=answer_index,
            rules=rules,
            difficulty=difficulty,
            seed=seed,
        )
    raise PuzzleError(
        f"no puzzle of difficulty {config.min_difficulty} or more for the split {split!r}, index "
        f"{index}, in {_MAX_DRAWS} draws; expected a min_difficulty from 0 to {len(ATTRIBUTES)}"
    )


def _draw_rule(attribute: str, rng: random.Random) -> Rule:
    kind = rng.choice(RULE_KINDS[attribute])
    return Rule(attribute, kind, rng.choice(RULE_PARAMETERS[kind]))


def _draw_levels(rule: Rule, rng: random.Random) -> tuple[int, ...]:
    """Returns nine levels, row-major, that obey `rule`."""
    while True:
        rows: list[Row] = [rng.choice(rows_of(rule)) for _ in range(3)]
        if rule.kind == "distribute_three":
            a, b, c = rows[0]
            turns: list[Row] = [(b, c, a), (c, a, b)]
            rng.shuffle(turns)
            rows[1:] = turns
        if matrix_obeys(rule, rows):
            return tuple(level for row in rows for level in row)


def _angle(config: PuzzleConfig, rng: random.Random) -> int:
    return rng.randrange(len(ANGLES_DEG)) if config.has_angle_noise else UPRIGHT
