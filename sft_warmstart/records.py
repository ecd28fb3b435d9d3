"""The conversations of a run as rows of a `datasets.Dataset`, made when they are read.

A row has `messages`, alternating and the user's first; `images`, which stand before the
first turn; `kind`; and `name`, where it came from.
"""

import logging
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rl_avr.chat import decode_image
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_rows, row_image_bytes, row_puzzle, split_path
from sft_warmstart.config import Kind, SftConfig
from sft_warmstart.conversations import (
    OwnChains,
    Visit,
    can_give,
    num_parts,
    puzzle_messages,
)
from sft_warmstart.own_chains import read_own_chains
from sft_warmstart.plan import Units, epoch_length, puzzle_shares, run_plan
from sft_warmstart.replay import ReplaySet

logger = logging.getLogger(__name__)
Row = dict[str, Any]


def sft_rows(data: DataConfig, sft: SftConfig, seed: int, num_conversations: int) -> Any:
    """Returns a `datasets.Dataset` of exactly `num_conversations` rows of the run, in order.

    Raises:
        ConfigError, DataError: as `Conversations.rows`.
    """
    return Conversations(data, sft, seed).rows(num_conversations)


def conversations_per_epoch(data: DataConfig, sft: SftConfig, seed: int) -> int:
    """Returns how many conversations one pass over the puzzles has, replay included.

    Raises:
        DataError: as `Conversations.rows`.
    """
    return Conversations(data, sft, seed).per_epoch


class Conversations:
    """Everything a stage's conversations are made of, read when it is first needed.

    Args:
        data: the puzzles.
        sft: the stage.
        seed: decides the order of the run and what is drawn in each conversation.
    """

    def __init__(self, data: DataConfig, sft: SftConfig, seed: int) -> None:
        self._data = data
        self._sft = sft
        self._seed = seed

    def __getstate__(self) -> dict[str, Any]:
        """Returns the settings alone: a copy in another process reads the rows anew."""
        return {name: vars(self)[name] for name in ("_data", "_sft", "_seed")}

    @property
    def per_epoch(self) -> int:
        """How many conversations one pass over the puzzles has; see `plan.epoch_length`."""
        return epoch_length(self._sft, self._supply)

    def rows(self, num_conversations: int) -> Any:
        """Returns the rows of a run in order, as a `datasets.Dataset`.

        Without its format it has the columns of the plan: `kind`, `row`, `part`, `cycle`.

        Raises:
            ConfigError: format samples leave no place for the mixture.
            DataError: a data set or rollouts that cannot be used; a kind that no puzzle can
                give; when it is read, an image that cannot be.
        """
        from datasets import Dataset

        plan = run_plan(self._sft, self._supply, num_conversations, self._seed)
        return Dataset.from_dict(plan).with_transform(self._render)

    @cached_property
    def _puzzle_rows(self) -> Any:
        return read_rows(self._data)

    @cached_property
    def _path(self) -> Path:
        return split_path(self._data)

    @cached_property
    def _replay(self) -> ReplaySet:
        return ReplaySet(self._sft.replay)

    @cached_property
    def _own(self) -> OwnChains:
        if not self._sft.own_chains.path:
            return {}
        rows = self._puzzle_rows
        puzzles = dict(zip(rows["puzzle_id"], rows["puzzle"], strict=True))
        return read_own_chains(self._sft.own_chains, puzzles, self._seed)

    @cached_property
    def _supply(self) -> dict[Kind, Units]:
        kinds = list(puzzle_shares(self._sft))
        if self._sft.num_format_samples:
            kinds = list(dict.fromkeys([*kinds, "direct", "chain"]))
        found = self._scanned(kinds)
        if self._sft.replay.path:
            found["replay"] = _units([1] * len(self._replay))
        return found

    def _scanned(self, kinds: Iterable[Kind]) -> dict[Kind, Units]:
        """Returns what each puzzle can give; says which kinds some puzzles cannot."""
        parts: dict[Kind, list[int]] = {kind: [] for kind in kinds}
        own = self._own if "chain" in parts else {}
        for index, text in enumerate(self._puzzle_rows["puzzle"]):
            puzzle = row_puzzle({"puzzle": text}, index, self._path)
            for kind, counts in parts.items():
                can = can_give(puzzle, kind, own, self._sft)
                counts.append(num_parts(puzzle, kind, self._sft.elicitation) if can else 0)
        for kind, counts in parts.items():
            if num_without := counts.count(0):
                logger.warning(
                    "%s: %d of %d puzzles cannot give a conversation of the kind %s and are left "
                    "out of it",
                    self._path,
                    num_without,
                    len(counts),
                    kind,
                )
        return {kind: _units(counts) for kind, counts in parts.items()}

    def _render(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        keys = ("kind", "row", "part", "cycle")
        made = [self._row(*place) for place in zip(*(batch[key] for key in keys), strict=True)]
        return {key: [row[key] for row in made] for key in ("messages", "images", "kind", "name")}

    def _row(self, kind: Kind, index: int, part: int, cycle: int) -> Row:
        if kind == "replay":
            messages, images, name = self._replay.conversation(index)
            return {"messages": messages, "images": images, "kind": kind, "name": name}
        row = self._puzzle_rows[index]
        puzzle = row_puzzle(row, index, self._path)
        image = decode_image(row_image_bytes(row, index, self._path), f"{self._path}, row {index}")
        visit = Visit(kind, part, cycle, self._seed)
        messages = puzzle_messages(puzzle, visit, self._sft, self._own if kind == "chain" else {})
        name = f"{self._path}, row {index}, {kind}"
        return {"messages": messages, "images": [image], "kind": kind, "name": name}


def _units(num_parts_R: list[int]) -> Units:
    """Returns row and part of every conversation, from the number of parts of each row."""
    counts = np.array(num_parts_R, np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return np.column_stack([rows, np.arange(len(rows)) - starts])
