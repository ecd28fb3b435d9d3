"""Runs one SFT stage: the parts that it trains, the order of its conversations, its policy."""

import math
from pathlib import Path
from typing import Any

from transformers import set_seed
from trl import SFTConfig as TrlSftConfig

from rl_avr.errors import ConfigError
from rl_avr.metric_names import ANSWER_ACCURACY, PERCEPTION_ACCURACY, TOKEN_ACCURACY
from rl_avr.modeling.config import Part, PolicyConfig
from rl_avr.modeling.context_length import max_tokens
from rl_avr.modeling.freezing import trained_by
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import ensure_small_policy
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.policy_parts import choose_trained, save_policy, set_learning_rates
from rl_avr.training.run_folder import (
    MetricsCallback,
    last_checkpoint,
    prepare_run,
    report_to,
    show_bar,
)
from rl_avr.training.trainer_block import check_trainer_block
from sft_warmstart.checks import check_conversations, check_processor, check_puzzles
from sft_warmstart.collator import ConversationCollator
from sft_warmstart.config import SftConfig
from sft_warmstart.records import Conversations
from sft_warmstart.trainer import AvrSftTrainer
from sft_warmstart.validation import Validation, validation_puzzles

_PERCEPTION: tuple[Part, ...] = ("vision_tower", "connector")
_BAR = {
    "loss": "loss",
    TOKEN_ACCURACY: "token accuracy",
    PERCEPTION_ACCURACY: "perception",
    ANSWER_ACCURACY: "answers",
}
_OURS = {
    "assistant_only_loss": "the assistant's turns alone are always trained",
    "completion_only_loss": "the assistant's turns alone are always trained",
    "packing": "set by sft.loss.packing",
    "padding_free": "set by sft.loss.packing",
    "loss_type": "set by sft.loss.name",
    "label_smoothing_factor": "not a part of sft.loss",
    "shuffle_dataset": "the order of the conversations is set by run.seed, data and sft",
    "group_by_length": "the order of the conversations is set by run.seed, data and sft",
    "use_liger_kernel": "the loss is computed in chunks without it",
}
"""Fields of trl's that say what these runs decide elsewhere."""


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
        UpdateError: a loss or a gradient that is not finite.
    """
    folder = prepare_run(run)
    asked = validation_puzzles(data, sft.validation) if sft.validation.every_steps else []
    sft_trainer = make_trainer(run=run, policy=policy, data=data, sft=sft, trainer=trainer)
    if asked:
        sft_trainer.add_callback(Validation(sft_trainer, asked, sft))
    sft_trainer.train(resume_from_checkpoint=last_checkpoint(run))
    return save_policy(sft_trainer, policy, folder)


def make_trainer(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    sft: SftConfig,
    trainer: dict[str, Any],
) -> AvrSftTrainer:
    """Returns the trainer of a stage, once its data and its policy were looked at.

    Raises:
        ConfigError, DataError: as `train_sft`.
    """
    if data.ask != "puzzle":
        raise ConfigError(
            f"data.ask {data.ask}: SFT mixes questions and chains by sft.stage and its shares; "
            "expected puzzle"
        )
    # before the policy, whose weights ZeRO-3 spreads as they are read
    args = sft_arguments(run, trainer)
    lengths = check_puzzles(data)
    set_seed(run.seed)
    ensure_small_policy(policy)
    processor = load_processor(policy.path)
    model = load_policy(policy)
    check_processor(model, processor, policy.path)
    parts = _PERCEPTION if sft.stage == "perception" else trained_by(policy.freeze)
    args.report_to = report_to(run)
    conversations = Conversations(data, sft, run.seed)
    set_num_steps(args, conversations)
    rows = conversations.rows(args.max_steps * batch_size(args))
    collator = ConversationCollator(processor, *max_tokens(args.max_length, model))
    check_conversations(rows, lengths, collator.conversation)
    sft_trainer = AvrSftTrainer(
        loss=sft.loss,
        stop_after_steps=sft.stop_after_steps,
        model=model,
        peft_config=choose_trained(model, policy, parts),
        args=args,
        data_collator=collator,
        train_dataset=rows,
        processing_class=processor,
        callbacks=[MetricsCallback(Path(run.dir) / "metrics.jsonl")],
    )
    set_learning_rates(sft_trainer, policy.learning_rates)
    show_bar(sft_trainer, f"SFT, {sft.stage}", _BAR, sft.stop_after_steps)
    return sft_trainer


def sft_arguments(run: RunConfig, trainer: dict[str, Any]) -> TrlSftConfig:
    """Returns trl's arguments from the `trainer` block and what other blocks decide.

    Raises:
        ConfigError: an unknown field, a wrong type, or a field that is not set here.
    """
    check_trainer_block(trainer, TrlSftConfig, _OURS)
    try:
        return TrlSftConfig(
            output_dir=str(Path(run.dir) / "checkpoints"),
            seed=run.seed,
            report_to=[],
            remove_unused_columns=False,
            **trainer,
        )
    except ValueError as error:
        raise ConfigError(f"trainer: {error}") from error


def set_num_steps(args: TrlSftConfig, conversations: Conversations) -> None:
    """Sets the number of steps, where it is not given, from `num_train_epochs`.

    The last step has as many conversations as the others: they are those with which the next
    epoch would begin.

    Args:
        args: of the run; its rows are one pass over a plan of all epochs.
        conversations: of the stage.
    """
    if args.max_steps <= 0:
        rows = args.num_train_epochs * conversations.per_epoch
        args.max_steps = math.ceil(rows / batch_size(args))


def batch_size(args: TrlSftConfig) -> int:
    """Returns how many conversations a step has, on all ranks together."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size
