"""Draws docs/puzzle.png: a puzzle beside its gold chain of thought."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rl_avr.elicitation.chains import gold_chain
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_puzzle
from rl_avr.puzzles.sampler import sample_puzzle


def main() -> None:
    """Writes the picture beside this file."""
    puzzle = sample_puzzle("held_out", 10, 0, PuzzleConfig(min_ruled=3))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.2), width_ratios=(3.3, 7.6), layout="constrained"
    )
    left.imshow(render_puzzle(puzzle, RenderConfig()), cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    right.text(0, 0.98, gold_chain(puzzle), family="monospace", fontsize=9, va="top")
    right.axis("off")
    figure.savefig(Path(__file__).with_name("puzzle.png"), dpi=110)


if __name__ == "__main__":
    main()
