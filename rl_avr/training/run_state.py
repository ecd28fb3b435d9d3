"""What a checkpoint needs beside trl's own files, so that a resumed run goes on bit for bit.

trl keeps weights, optimizer, scheduler and random states. It leaves out its phase within a
block of generation, the rollouts that the block has still to train, and the metrics that are
not logged yet; and an engine counts its syncs, of which every prompt's seed is made. Each rank
writes a file of its own into the checkpoint.

A checkpoint is written aside and renamed when every rank has finished it: whatever kills a run,
a folder named checkpoint-N is whole. One that lies beyond the step where a run begins is of a run
that was given up, and is put away; so none is ever replaced.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.shared_prefix import PromptInputs
from rl_avr.training.policy_pass import GroupPrompt
from rollouts.recorder import drop_groups_from

logger = logging.getLogger(__name__)

ASIDE, GIVEN_UP = "unfinished", "given_up"
"""Folders beside the checkpoints; their names do not begin as theirs do."""
_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")


@dataclass(frozen=True)
class BatchShape:
    """What decides how a generated batch is cut; buffered rollouts fit no other."""

    num_ranks: int
    num_generations: int
    per_device_train_batch_size: int
    steps_per_generation: int
    num_iterations: int


@dataclass(frozen=True)
class RunState:
    """One rank's state between two optimizer steps.

    Args:
        num_micro_steps: batches that went through forward and backward since the run's start.
        shape: of the batches.
        buffered: parts of the generated batch, where some are still to be trained; else None.
        metrics: name -> values since the last log.
        weights_version: syncs of the engine.
    """

    num_micro_steps: int
    shape: BatchShape
    buffered: list[dict[str, Any]] | None
    metrics: dict[str, list[float]]
    weights_version: int

    def save(self, checkpoint: Path, rank: int) -> None:
        """Writes this rank's file."""
        checkpoint.mkdir(parents=True, exist_ok=True)
        torch.save({**vars(self), "shape": asdict(self.shape)}, _file(checkpoint, rank))

    @classmethod
    def load(
        cls, checkpoint: Path, rank: int, shape: BatchShape, device: torch.device
    ) -> "RunState | None":
        """Reads this rank's file; returns None where the checkpoint holds none of any rank.

        Args:
            checkpoint: folder of the checkpoint.
            rank: whose file.
            shape: of this run's batches.
            device: where buffered tensors go.

        Raises:
            ConfigError: rollouts are buffered, and this run would cut them otherwise.
            DataError: the file cannot be read.
        """
        path = _file(checkpoint, rank)
        if not _file(checkpoint, 0).is_file():
            logger.warning(
                "%s has no run state: a block of generation that it stands in starts anew, and "
                "the run goes on with other samples than one that was never stopped",
                checkpoint,
            )
            return None
        try:
            with torch.serialization.safe_globals([GroupPrompt, PromptInputs]):
                # of a rank that did not exist, what the first one says of all of them
                raw = torch.load(
                    path if path.is_file() else _file(checkpoint, 0),
                    map_location=device,
                    weights_only=True,
                )
            state = cls(**{**raw, "shape": BatchShape(**raw["shape"])})
        except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError, EOFError) as error:
            raise DataError(
                f"{path}: expected a rank's run state; got: {error!r}; go on from another "
                "checkpoint, or set run.resume false"
            ) from error
        if state.buffered is not None and state.shape != shape:
            raise ConfigError(_other_shape(checkpoint, state.shape, shape))
        return state


def _file(checkpoint: Path, rank: int) -> Path:
    return checkpoint / f"run_state_{rank}.pt"


def _other_shape(checkpoint: Path, saved: BatchShape, now: BatchShape) -> str:
    then, here = asdict(saved), asdict(now)
    changed = [
        f"{name} {here[name]}, was {then[name]}" for name in then if then[name] != here[name]
    ]
    return (
        f"{checkpoint}: stands within a block of generation, whose rollouts were cut for other "
        f"batches ({'; '.join(changed)}); expected the same trainer block and number of "
        "processes, or a checkpoint at the end of a block"
    )


@contextmanager
def written_aside(
    checkpoints: Path, name: str, save_limit: int | None, ranks: Any
) -> Iterator[str]:
    """Yields a folder for `name` to be written in; moves it beside its like when it is whole.

    All ranks enter together. Where the block raises, or the process is killed in it, the
    folder of checkpoints holds what it held before.

    Args:
        checkpoints: folder of a run's checkpoints.
        name: of the new one.
        save_limit: how many are kept; None keeps all.
        ranks: the accelerator, which lets ranks wait for each other.
    """
    aside = checkpoints / ASIDE
    if ranks.is_main_process:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    ranks.wait_for_everyone()
    yield str(aside)
    ranks.wait_for_everyone()
    if ranks.is_main_process:
        if not (checkpoints / name).exists():
            # one that is there is of this very run and step, as those of others are put away
            os.replace(aside / name, checkpoints / name)
        shutil.rmtree(aside, ignore_errors=True)
        rotate_checkpoints(str(checkpoints), save_limit, use_mtime=True)
    ranks.wait_for_everyone()


def put_away(checkpoints: Path, step: int) -> None:
    """Moves checkpoints beyond a step into a folder beside them, which a resume never looks at.

    Where a run starts anew they are of one that was given up, and a kill of the new one must not
    lead back to them. The newest goes last: a kill in between leaves the old run as it was.
    """
    found = ((_NAME.fullmatch(path.name), path) for path in checkpoints.glob("*/"))
    steps = {int(match[1]): path for match, path in found if match}
    beyond = [path for number, path in sorted(steps.items()) if number > step]
    if not beyond:
        return
    folder = checkpoints / GIVEN_UP
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in beyond:
        os.replace(path, folder / path.name)
    names = ", ".join(path.name for path in beyond)
    logger.warning("the run that left %s is given up: they are in %s now", names, folder)


class DropUndone(TrainerCallback):
    """Takes out, when training starts, what lies beyond the checkpoint: groups and checkpoints.

    The steps that a killed run did after it are done again, and recorded again. A run that
    starts anew starts its files anew.

    Args:
        paths: files that groups are appended to, each line with its `step`.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Cuts every file before its first group of the step that comes next."""
        for path in self._paths:
            drop_groups_from(path, state.global_step)
        if state.is_world_process_zero:
            put_away(Path(args.output_dir), state.global_step)
