"""What every training run leaves in its folder, and how it goes on after a stop.

config.yaml     the resolved config        versions.json   libraries and commit
metrics.jsonl   one line a log             checkpoints/    trl's, with ours in them
policy/         the final policy           wandb/          offline run
rollouts/       graded groups, by rank     samples/        a puzzle a checkpoint, to look at
"""

import fcntl
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from rl_avr.errors import ConfigError
from rl_avr.reporting.sinks import MetricsFile
from rl_avr.training.config import RunConfig
from rl_avr.training.versions import versions

logger = logging.getLogger(__name__)


class MetricsCallback(TrainerCallback):
    """Appends what the trainer logs to metrics.jsonl, whatever happens to wandb."""

    def __init__(self, path: Path) -> None:
        """Opens the file for appending."""
        self._file = MetricsFile(path)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Takes out what a killed run logged after the checkpoint that this one goes on from."""
        if state.is_world_process_zero:
            self._file.drop_after(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Writes one line on the main process."""
        if state.is_world_process_zero and logs:
            self._file.write(state.global_step, logs)


class MetricsBar(ProgressCallback):
    """transformers' progress bar with a few metrics at its end instead of printed logs."""

    def __init__(self, title: str, metrics: Mapping[str, str], num_steps: int) -> None:
        """Takes the bar's title, metric -> short name, and the last step (0: the schedule's)."""
        super().__init__()
        self._title = title
        self._metrics = metrics
        self._num_steps = num_steps
        self._shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Opens the bar."""
        super().on_train_begin(args, state, control, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description(self._title)
            self.training_bar.total = self._num_steps or self.training_bar.total

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Shows the newest values, of metrics that are logged less often the last one."""
        self._shown |= {
            short: f"{logs[name]:.3g}"
            for name, short in self._metrics.items()
            if logs and isinstance(logs.get(name), int | float)
        }
        if self.training_bar is not None and self._shown:
            self.training_bar.set_postfix(self._shown)


def show_bar(trainer: Any, title: str, metrics: Mapping[str, str], num_steps: int = 0) -> None:
    """Gives a trainer one bar with `metrics` in place of the logs that it would print.

    Args:
        trainer: a transformers trainer.
        title: stands before the bar.
        metrics: metric -> short name of what stands behind it.
        num_steps: the step at which the run stops; 0 where it follows its schedule to the end.
    """
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(MetricsBar(title, metrics, num_steps))


def is_main_process() -> bool:
    """Returns whether this process writes the run's files, before torch is set up."""
    return os.environ.get("RANK", "0") == "0"


def prepare_run(run: RunConfig) -> Path:
    """Makes the run's folder, takes its lock and writes versions.json.

    Raises:
        ConfigError: the folder cannot be written, or another process is at work in it.
    """
    folder = Path(run.dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            _lock(folder)
            (folder / "versions.json").write_text(json.dumps(versions(), indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"run.dir {folder}: cannot be written: {error}") from error
    return folder


_held: dict[Path, TextIO] = {}


def _lock(folder: Path) -> None:
    """Keeps a second process out of the folder until this one ends, however it ends.

    Two that write the same checkpoints would leave one that is neither's.
    """
    path = (folder / ".lock").resolve()
    if path in _held:
        return
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise ConfigError(
            f"run.dir {folder}: process {file.read().strip()} is at work in it; wait for its end "
            "or stop it, or name another run.dir"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held[path] = file


def last_checkpoint(run: RunConfig) -> str | None:
    """Returns the newest checkpoint of a run that may go on, or None."""
    folder = Path(run.dir) / "checkpoints"
    return get_last_checkpoint(str(folder)) if run.resume and folder.is_dir() else None


def report_to(run: RunConfig) -> list[str]:
    """Sets wandb up through its environment; returns the trainer's `report_to`.

    Where wandb is missing or cannot start, the run goes on with metrics.jsonl alone.
    """
    if run.wandb == "disabled":
        return []
    if importlib.util.find_spec("wandb") is None:
        logger.warning("wandb is not installed; metrics go to metrics.jsonl alone")
        return []
    os.environ["WANDB_MODE"] = run.wandb
    os.environ["WANDB_DIR"] = run.dir
    os.environ["WANDB_PROJECT"] = run.wandb_project
    os.environ.setdefault("WANDB_SILENT", "true")
    return ["wandb"] if not is_main_process() or _wandb_starts(run) else []


def _wandb_starts(run: RunConfig) -> bool:
    import wandb

    try:
        wandb.init(project=run.wandb_project, dir=run.dir, mode=run.wandb, name=Path(run.dir).name)
    except (wandb.errors.Error, OSError, ValueError) as error:
        logger.warning("wandb cannot start (%s); metrics go to metrics.jsonl alone", error)
        return False
    return True
