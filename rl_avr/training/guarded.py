"""What supervised and preference training add to a transformers trainer alike.

What is wrapped, and why (a contract test of each trainer names the seams and their signatures):

    training_step               refuses gradients that are not finite
    _save_checkpoint, _get_output_dir
                                write a checkpoint aside until it is whole
    _load_from_checkpoint       reads weights that are saved under older names, too
    _run_epoch                  does nothing in a run that is resumed at its end
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from rl_avr.training.finite import Now, check_gradients, watch_gradients
from rl_avr.training.phase_clock import OptimizerTime, PhaseClock
from rl_avr.training.resumable import Resumable
from rl_avr.training.run_state import DropUndone, written_aside


class Guarded(Resumable):
    """Stands before a transformers trainer among a class's bases."""

    def _guard(self: Any, stop_after_steps: int) -> None:
        """Ends the constructor; a run then stops after so many steps, 0 for its schedule's end."""
        self._stop_after_steps = stop_after_steps
        self._aside: str | None = None
        self._now = Now()
        self._clock = PhaseClock()
        self.add_callback(_StopAfter(stop_after_steps))
        self.add_callback(DropUndone([]))
        self.add_callback(OptimizerTime(self._clock))
        if self.is_deepspeed_enabled:
            watch_gradients(self.model.named_parameters(), self._now)

    def training_step(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns the loss of one batch after its backward pass.

        Raises:
            UpdateError: the loss, or at the end of a step a gradient, is not finite.
        """
        with self._clock.phase("update"):
            loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        # with a scaler single steps that overflow are usual, and skipped
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            check_gradients(self.model, self.state.global_step, self._now.prompt_ids)
        return loss

    def _run_epoch(self: Any, **kwargs: Any) -> None:
        if not 0 < self._stop_after_steps <= self.state.global_step:
            super()._run_epoch(**kwargs)

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        checkpoints = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit = self.args.save_total_limit
        with written_aside(checkpoints, name, limit, self.accelerator) as self._aside:
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
            finally:
                self._aside = None

    def _get_output_dir(self: Any, trial: Any) -> str:
        return self._aside or super()._get_output_dir(trial)  # type: ignore[misc]


class _StopAfter(TrainerCallback):
    """Ends training after a number of steps; 0 never does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks the trainer to stop."""
        if self._steps and state.global_step >= self._steps:
            control.should_training_stop = True
