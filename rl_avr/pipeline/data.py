"""Makes the puzzles of a run: a training and a held-out split that cannot overlap."""

import logging
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import Split, sample_puzzles
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import write_puzzles

logger = logging.getLogger(__name__)


def make_data(data: DataConfig, puzzles: PuzzleConfig) -> dict[str, int]:
    """Writes `train.parquet` and `held_out.parquet`; returns the number of puzzles in each."""
    counts = {"train": puzzles.num_train, "held_out": puzzles.num_held_out}
    split: Split
    for split in get_args(Split):
        stream = sample_puzzles(split, counts[split], puzzles.seed, puzzles)
        path = Path(data.path) / f"{split}.parquet"
        bar = tqdm(stream, total=counts[split], desc=f"puzzles, {split}", unit="puzzle")
        write_puzzles(bar, path, puzzles.render)
    return counts
