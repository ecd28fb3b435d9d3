"""One shard of a set, from its numbers to its file; runs in the worker processes.

A shard is first drafted, every puzzle from the split's stream by its row number. When all
drafts are there the duplicates between them are known, and a shard becomes final: its draft
as it is, or with the puzzles that came too late replaced. The final bytes are a function of
the settings and the replacements alone.

Nothing here imports torch, so a worker starts in under a second.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rl_avr.contracts import Puzzle
from rl_avr.errors import DataError
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.puzzle_files import Row, open_file, puzzle_row, shard_path, write_rows

MadeSplit = Literal["train", "held_out"]
MADE_SPLITS: tuple[MadeSplit, ...] = ("train", "held_out")
WORK_FOLDER = ".work"


@dataclass(frozen=True)
class Replacement:
    """A puzzle that another row of the split shows already.

    Args:
        row: its row in the split.
        index: number in the split's stream of the puzzle that takes its place.
        kind: the kind that both are of.
        state_hash: hash of what it shows.
    """

    row: int
    index: int
    kind: str
    state_hash: int


@dataclass(frozen=True)
class Shard:
    """Rows [start, stop) of a split.

    Args:
        folder: folder of the set.
        split: which split.
        index: number of the shard.
        num_shards: how many the split has.
        start: first row.
        stop: row after the last.
        config: which puzzles.
    """

    folder: Path
    split: MadeSplit
    index: int
    num_shards: int
    start: int
    stop: int
    config: PuzzleConfig

    @property
    def final(self) -> Path:
        """The file that a reader sees."""
        return shard_path(self.folder, self.split, self.index, self.num_shards)

    @property
    def draft(self) -> Path:
        """The file before duplicates are replaced."""
        return self.folder / WORK_FOLDER / self.final.name

    @property
    def num_rows(self) -> int:
        """How many puzzles it holds."""
        return self.stop - self.start


def shards_of(folder: Path, config: PuzzleConfig, shard_size: int) -> list[Shard]:
    """Returns the shards of both splits, in order."""
    shards = []
    for split, num in zip(MADE_SPLITS, (config.num_train, config.num_held_out), strict=True):
        starts = range(0, num, shard_size)
        shards += [
            Shard(folder, split, i, len(starts), start, min(start + shard_size, num), config)
            for i, start in enumerate(starts)
        ]
    return shards


def of_kind(config: PuzzleConfig, kind: str) -> PuzzleConfig:
    """Returns the settings with one kind alone in the mix."""
    return replace(config, mix={kind: 1.0})


def draw(split: MadeSplit, index: int, config: PuzzleConfig) -> Puzzle:
    """Returns puzzle `index` of a split's stream."""
    return sample_puzzle(split, index, config.seed, config)


def make_row(puzzle: Puzzle, config: PuzzleConfig) -> Row:
    """Returns a puzzle with its image as a row of the file."""
    return puzzle_row(puzzle, render_png(puzzle, config.render))


def write_draft(shard: Shard, tick: Callable[[], object]) -> None:
    """Writes a shard's draft; calls `tick` after each puzzle."""
    write_rows(_drawn(shard, tick), shard.draft)


@dataclass(frozen=True)
class FinalShard:
    """A shard with what is known once every draft was compared with the others.

    Args:
        shard: which one.
        replacements: those of its rows.
        checksum: of its hashes, the replacements' put in.
    """

    shard: Shard
    replacements: tuple[Replacement, ...]
    checksum: int


def write_final(job: FinalShard, tick: Callable[[], object]) -> None:
    """Writes a shard's file, from its draft where that is still there.

    Raises:
        DataError: there was no draft, and today's code makes other puzzles.
    """
    shard = job.shard
    has_draft = shard.draft.is_file()
    if has_draft and not job.replacements:
        shard.draft.replace(shard.final)
        return
    rows = _rows(shard.draft) if has_draft else _drawn(shard, tick)
    hashes = []

    def final_rows() -> Iterator[Row]:
        new = {r.row: r for r in job.replacements}
        for number, row in enumerate(rows, start=shard.start):
            if number in new:
                alone = of_kind(shard.config, new[number].kind)
                row = make_row(draw(shard.split, new[number].index, alone), shard.config)
            hashes.append(row["state_hash"])
            yield row
        if checksum(hashes) != job.checksum:
            raise DataError(
                f"{shard.final}: made again it holds other puzzles than the set was made with: "
                "another version of the code, or a damaged draft. Remove the folder and make the "
                "set anew"
            )

    # raised inside, so that the file does not appear
    write_rows(final_rows(), shard.final)
    shard.draft.unlink(missing_ok=True)


def checksum(hashes: Iterable[int]) -> int:
    """Returns 63 bits for the hashes of a shard's rows, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for value in hashes:
        digest.update(int(value).to_bytes(8, "big"))
    # JSON readers of other languages keep no more than a signed 64-bit number
    return int.from_bytes(digest.digest(), "big") >> 1


def _drawn(shard: Shard, tick: Callable[[], object]) -> Iterator[Row]:
    for index in range(shard.start, shard.stop):
        yield make_row(draw(shard.split, index, shard.config), shard.config)
        tick()


def _rows(path: Path) -> Iterator[Row]:
    with open_file(path) as file:
        for batch in file.iter_batches(128):
            yield from batch.to_pylist()
