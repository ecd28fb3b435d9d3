"""Fills a trainer's batches by dynamic sampling, and keeps what sampling taught about puzzles.

Around the rounds, in which no rank waits for another, there are two exchanges between ranks:
before them the prompts of all batches, so that none is drawn that stands in another rank's
batch; after them the outcomes, so that the record of difficulty and the moving average are
the same on every rank.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from accelerate.utils import gather_object

from rl_avr.collector import Collector, count_truncated
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.difficulty_record import DifficultyRecord, write_json
from rl_avr.dynamic_sampling import FilledBatch, fill_batch, fresh_order, moving_average
from rl_avr.errors import DataError
from rl_avr.metric_names import (
    REFILL_ROUNDS,
    SAMPLED_PER_TRAINED,
    TRUNCATED_SHARE,
    USEFUL_SHARE,
)
from rl_avr.training.puzzle_files import kind_of
from rollouts.config import DynamicConfig
from rollouts.recorder import append_groups

_STATE = "sampling_state.json"
DIFFICULTY_FILE = "difficulty.json"


class Filled(NamedTuple):
    """What a batch became, what is logged about it, and the tokens sampled on this rank for it."""

    groups: tuple[GradedGroup, ...]
    metrics: dict[str, float]
    num_tokens: int


class _Counts(NamedTuple):
    """What one rank did in one step."""

    trained: int
    sampled: int
    useful: int
    rounds: int
    truncated: int
    completions: int


class Refiller:
    """Replaces useless groups, and owns the moving average and the record of difficulty.

    Args:
        collector: samples and grades fresh puzzles.
        prompts: prompt id -> prompt, every prompt of the run.
        config: the bounds, and whether anything is replaced at all.
        seed: the run's.
        accelerator: knows the ranks.
        rollouts_path: file of the trained groups; those thrown away go beside it.
    """

    def __init__(
        self,
        collector: Collector,
        prompts: Mapping[str, Prompt],
        config: DynamicConfig,
        seed: int,
        accelerator: Any,
        rollouts_path: Path,
    ) -> None:
        self._collector = collector
        self._prompts = prompts
        self._prompt_ids = list(prompts)
        self._config = config
        self._seed = seed
        self._accelerator = accelerator
        self._dropped_path = rollouts_path.with_name(f"dropped_{rollouts_path.name}")
        self.paths = (rollouts_path, self._dropped_path)
        self.difficulty = DifficultyRecord(config.difficulty_decay)
        self.useful_share: float | None = None

    def fill(self, groups: Sequence[GradedGroup], num_generations: int, step: int) -> Filled:
        """Returns the groups to train, in the places of the batch, and the metrics.

        Raises:
            RolloutError or RewardError: sampling or grading failed.
        """
        filled = self._fill(groups, num_generations, step)
        for reason, number, same in filled.dropped_by():
            append_groups(self._dropped_path, same, step=step, reason=reason, round=number)
        completions = (c for graded in filled.sampled for c in graded.group.completions)
        num_tokens = sum(len(completion.token_ids) for completion in completions)
        return Filled(filled.groups, self._learn(filled), num_tokens)

    def _fill(self, groups: Sequence[GradedGroup], num_generations: int, step: int) -> FilledBatch:
        if not self._config.is_on:
            return FilledBatch(tuple(groups))
        rank, num_ranks = self._accelerator.process_index, self._accelerator.num_processes
        in_batches = gather_object([group.group.prompt.prompt_id for group in groups])
        fresh = fresh_order(self._prompt_ids, in_batches, (self._seed, step), rank, num_ranks)

        def collect(ids: Sequence[str], number: int) -> list[GradedGroup]:
            asked = [self._prompts[prompt_id] for prompt_id in ids]
            return self._collector.collect(asked, num_generations, step, rank, "refill", number)

        return fill_batch(groups, fresh, collect, self._config, self.useful_share)

    def _learn(self, filled: FilledBatch) -> dict[str, float]:
        """Takes the outcomes of all ranks into record and average; returns the metrics."""
        outcomes = [
            (g.group.prompt.puzzle.puzzle_id, kind_of(g.group.prompt.puzzle), _outcomes(g))
            for g in filled.sampled
        ]
        for one in gather_object(outcomes):
            self.difficulty.add(*one)
        mine = _Counts(
            len(filled.groups),
            len(filled.sampled),
            filled.num_useful,
            filled.num_rounds,
            *count_truncated(filled.sampled),
        )
        ranks = gather_object([mine])
        whole = _Counts(*(sum(column) for column in zip(*ranks, strict=True)))
        share = whole.useful / whole.sampled
        self.useful_share = moving_average(self.useful_share, share, self._config.ema_decay)
        metrics = {TRUNCATED_SHARE: whole.truncated / whole.completions}
        if self._config.is_on:
            metrics[USEFUL_SHARE] = share
            metrics[REFILL_ROUNDS] = whole.rounds / len(ranks)
            metrics[SAMPLED_PER_TRAINED] = whole.sampled / whole.trained
        return metrics

    def save(self, checkpoint: Path) -> None:
        """Writes the state into a checkpoint, and the record of difficulty beside the rollouts."""
        state = {"useful_share": self.useful_share, "difficulty": self.difficulty.to_dict()}
        write_json(checkpoint / _STATE, state)
        self.difficulty.save(self._dropped_path.with_name(DIFFICULTY_FILE))

    def load(self, checkpoint: Path) -> None:
        """Reads the state of a checkpoint; one without a state leaves everything as it is.

        Raises:
            DataError: the state cannot be read.
        """
        path = checkpoint / _STATE
        if not path.is_file():
            return
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            share = state["useful_share"]
            self.useful_share = None if share is None else float(share)
            self.difficulty = DifficultyRecord.from_dict(
                state["difficulty"], self._config.difficulty_decay
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected the state of sampling; got: {error!r}") from error


def _outcomes(graded: GradedGroup) -> list[float | None]:
    return [score.outcome for score in graded.scores]
