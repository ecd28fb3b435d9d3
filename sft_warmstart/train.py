"""Runs one SFT stage on trl's SFTTrainer. The image is encoded once a conversation."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, set_seed
from trl import SFTConfig as TrlSftConfig
from trl import SFTTrainer

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import Part, PolicyConfig
from rl_avr.modeling.freezing import trained_by
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import ensure_small_policy
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.policy_parts import choose_trained, save_policy, set_learning_rates
from rl_avr.training.resumable import Resumable
from rl_avr.training.run_folder import (
    MetricsCallback,
    last_checkpoint,
    prepare_run,
    report_to,
    show_bar,
)
from rl_avr.training.trainer_block import check_trainer_block
from sft_warmstart.config import SftConfig
from sft_warmstart.records import sft_records

_PERCEPTION: tuple[Part, ...] = ("vision_tower", "connector")
_BAR = {"loss": "loss", "mean_token_accuracy": "token accuracy"}


class _SftTrainer(Resumable, SFTTrainer):
    """trl's trainer, which goes on from the weights of a checkpoint."""


class _StopAfter(TrainerCallback):
    """Ends training after a number of steps; 0 never does."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks the trainer to stop."""
        if self._steps and state.global_step >= self._steps:
            control.should_training_stop = True


def train_sft(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    sft: SftConfig,
    trainer: dict[str, Any],
) -> Path:
    """Trains one stage and writes the policy; returns the policy's folder.

    `perception` trains vision tower and connector; `reasoning` trains every part that
    `policy.freeze` does not name.

    Raises:
        ConfigError: a key, a folder or a model that cannot be used.
        DataError: a data set that cannot be read.
    """
    check_trainer_block(trainer, TrlSftConfig)
    if data.ask != "puzzle":
        raise ConfigError(
            f"data.ask {data.ask}: SFT mixes questions and chains by sft.stage and its shares; "
            "expected puzzle"
        )
    folder = prepare_run(run)
    set_seed(run.seed)
    ensure_small_policy(policy)
    processor = load_processor(policy.path)
    model = load_policy(policy)
    parts = _PERCEPTION if sft.stage == "perception" else trained_by(policy.freeze)
    args = TrlSftConfig(
        output_dir=str(folder / "checkpoints"),
        seed=run.seed,
        report_to=report_to(run),
        assistant_only_loss=True,
        remove_unused_columns=False,
        **trainer,
    )
    sft_trainer = _SftTrainer(
        model=model,
        peft_config=choose_trained(model, policy, parts),
        args=args,
        train_dataset=sft_records(data, sft, run.seed),
        processing_class=processor,
        callbacks=[MetricsCallback(folder / "metrics.jsonl"), _StopAfter(sft.stop_after_steps)],
    )
    set_learning_rates(sft_trainer, policy.learning_rates)
    show_bar(sft_trainer, f"SFT, {sft.stage}", _BAR, sft.stop_after_steps)
    sft_trainer.train(resume_from_checkpoint=last_checkpoint(run))
    return save_policy(sft_trainer, policy, folder)
