"""Answer sets without a shortcut.

I-RAVEN: every modifiable attribute gets one alternative value, and the choices are
all combinations of right and alternative values. Each value occurs equally often,
so a solver that sees the choices alone stays at chance.

Source: Stratified Rule-Aware Network (Hu et al. 2021), attribute bisection tree.
"""

import random
from itertools import product

from rl_avr.contracts import Panel
from rl_avr.puzzles.grammar import ATTRIBUTES, LEVELS, level, single


def iraven_choices(answer: Panel, rng: random.Random) -> tuple[tuple[Panel, ...], int]:
    """Returns eight choices in random order and the index of `answer` among them."""
    values = {name: level(answer, name) for name in ATTRIBUTES}
    options = [
        (values[name], rng.choice([v for v in LEVELS[name] if v != values[name]]))
        for name in ATTRIBUTES
    ]
    angle = answer.entities[0].angle
    panels = [
        single(dict(zip(ATTRIBUTES, levels, strict=True)), angle) for levels in product(*options)
    ]
    rng.shuffle(panels)
    return tuple(panels), panels.index(answer)
