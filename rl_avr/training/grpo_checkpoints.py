"""What a checkpoint of GRPO holds beyond trl's, and how a run goes on from it bit for bit.

_save_checkpoint                adds what sampling has learned about the puzzles, all that a run
                                needs to go on bit for bit, and policies beside it that move
_load_optimizer_and_scheduler   reads it back
_get_output_dir                 is another folder until a checkpoint is whole
"""

from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from rl_avr.errors import ConfigError
from rl_avr.training.resumable import Resumable, load_weights
from rl_avr.training.run_state import BatchShape, RunState, written_aside

_REFERENCE = "reference"
"""Folder in a checkpoint for the weights of a reference policy that moves."""


class GrpoCheckpoints(Resumable):
    """Stands before trl's `GRPOTrainer` among a class's bases.

    The class has a `collector`, an `_order` of prompts, a `_refiller` and `_implicit`, None or the
    credit of tokens, as `AvrGrpoTrainer` has; all of them are saved and restored.
    """

    _aside: str | None = None
    """Folder that a checkpoint is written in until it is whole."""

    def _check_reference(self: Any) -> None:
        """Refuses a reference policy that moves where its weights cannot be saved.

        Raises:
            ConfigError: with what to set.
        """
        plugin = self.accelerator.state.deepspeed_plugin
        is_partitioned = self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)
        if self.args.sync_ref_model and is_partitioned:
            raise ConfigError(
                "trainer.sync_ref_model true: a reference policy that moves is part of each "
                "checkpoint, and is not saved where ZeRO-3 or FSDP partition it; expected false, "
                "or ZeRO-2"
            )

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        checkpoints = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit = self.args.save_total_limit
        with written_aside(checkpoints, name, limit, self.accelerator) as self._aside:
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
                checkpoint = Path(self._aside) / name
                self._run_state().save(checkpoint, self.accelerator.process_index)
                if self.args.should_save:
                    self._refiller.save(checkpoint)
                    self._order.save(checkpoint)
                    if self._implicit is not None:
                        self._implicit.save(checkpoint)
                    if self.args.sync_ref_model:
                        self._reference().save_pretrained(checkpoint / _REFERENCE)
            finally:
                self._aside = None

    def _get_output_dir(self: Any, trial: Any) -> str:
        return self._aside or super()._get_output_dir(trial)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is None:
            return
        self._refiller.load(Path(checkpoint))
        self._order.load(Path(checkpoint))
        if self._implicit is not None:
            self._implicit.load(Path(checkpoint))
        if self.args.sync_ref_model:
            load_weights(self._reference(), Path(checkpoint) / _REFERENCE)
        ranks = self.accelerator
        shape = self._batch_shape
        state = RunState.load(Path(checkpoint), ranks.process_index, shape, ranks.device)
        if state is not None:
            self._step, self._buffered_inputs = state.num_micro_steps, state.buffered
            self._metrics["train"].update(state.metrics)
            self.collector.engine.weights_version = state.weights_version

    def _reference(self: Any) -> Any:
        return self.accelerator.unwrap_model(self.ref_model)

    def _run_state(self: Any) -> RunState:
        is_within_block = self._step % (self.args.steps_per_generation * self.num_iterations) != 0
        return RunState(
            num_micro_steps=self._step,
            shape=self._batch_shape,
            buffered=self._buffered_inputs if is_within_block else None,
            metrics=dict(self._metrics["train"]),
            weights_version=self.collector.engine.weights_version,
        )

    @property
    def _batch_shape(self: Any) -> BatchShape:
        return BatchShape(
            self.accelerator.num_processes,
            self.num_generations,
            self.args.per_device_train_batch_size,
            self.args.steps_per_generation,
            self.num_iterations,
        )
