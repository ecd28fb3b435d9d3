"""Runs preference training: pairs, policy, reference and trainer from one config."""

import math
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import DPOConfig

from rl_avr.errors import ConfigError, DataError
from rl_avr.metric_names import REWARD_ACCURACY, REWARD_MARGIN
from rl_avr.modeling.config import Part, PolicyConfig
from rl_avr.modeling.context_length import max_tokens
from rl_avr.modeling.digest import policy_digest
from rl_avr.modeling.freezing import trained_by
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import ensure_small_policy
from rl_avr.preference.lengths import check_lengths
from rl_avr.preference.order import pair_order
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.pair_record import PreferencePair, pairs_digest, read_pairs
from rl_avr.preference.reference_cache import ReferenceCache, digest_of, template_digest
from rl_avr.preference.train_config import PreferenceConfig
from rl_avr.preference.trainer import AvrDpoTrainer
from rl_avr.training.config import RunConfig, UpdateConfig
from rl_avr.training.policy_parts import choose_trained, save_policy, set_learning_rates
from rl_avr.training.run_folder import (
    MetricsCallback,
    last_checkpoint,
    prepare_run,
    report_to,
    show_bar,
)
from rl_avr.training.trainer_block import check_trainer_block

_BATCH = 32
_DEFAULTS = {
    "learning_rate": 5e-7,
    "num_train_epochs": 1,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "per_device_train_batch_size": 4,
    "max_length": None,
}
"""LLaVA-Reasoner's values, where the `trainer` block says nothing; of the batch, 32 in all."""
_OURS = {
    "precompute_ref_log_probs": "the reference is always computed before training, and kept",
    "sync_ref_model": "the reference does not change",
    "truncation_mode": "nothing is cut; what counts is set by preference.counted",
    "padding_free": "set by update.shared_prefix",
    "ld_alpha": "how much late tokens count is set by preference.counted",
    "use_weighting": "how much tokens count is set by preference.counted",
    "group_by_length": "the order of the pairs is set by run.seed and preference.keep_together",
    "use_liger_kernel": "logprobs are computed in chunks without it",
}
"""Fields of trl's that say what these runs decide elsewhere."""
_BAR = {"loss": "loss", REWARD_ACCURACY: "accuracy", REWARD_MARGIN: "margin"}


def train_dpo(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    preference: PreferenceConfig,
    update: UpdateConfig,
    trainer: dict[str, Any],
) -> Path:
    """Trains on pairs and writes the policy; returns the policy's folder.

    Raises:
        ConfigError: a key, a folder or a model that cannot be used.
        DataError: pairs that cannot be read, or that the policy cannot.
        UpdateError: a loss or a gradient that is not finite.
    """
    folder = prepare_run(run)
    dpo_trainer = make_trainer(
        run=run, policy=policy, preference=preference, update=update, trainer=trainer
    )
    dpo_trainer.train(resume_from_checkpoint=last_checkpoint(run))
    return save_policy(dpo_trainer, policy, folder)


def make_trainer(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    preference: PreferenceConfig,
    update: UpdateConfig,
    trainer: dict[str, Any],
    pairs: Sequence[PreferencePair] = (),
) -> AvrDpoTrainer:
    """Returns the trainer, with the reference's logprobs, once its pairs were looked at.

    Args:
        run: where files go.
        policy: the policy, which is the reference as it stands.
        preference: which pairs, and how they are trained on.
        update: how they go through the policy.
        trainer: trl's fields.
        pairs: those alone, of the folder that `preference` names; none for what it asks for.

    Raises:
        ConfigError, DataError: as `train_dpo`.
    """
    args = dpo_arguments(run, preference, trainer)
    pairs = pairs or chosen_pairs(preference)
    check_images(pairs, args.world_size, trained_by(policy.freeze))
    set_seed(run.seed)
    ensure_small_policy(policy)
    processor = load_processor(policy.path)
    model = load_policy(policy)
    args.report_to = report_to(run)
    set_num_steps(args, len(pairs))
    collator = PairCollator(processor, pairs, Path(preference.pairs), preference.counted)
    check_lengths(collator, *max_tokens(trainer.get("max_length"), model))
    dpo_trainer = AvrDpoTrainer(
        loss=preference.loss,
        update=update,
        cache=_cache(run, policy, preference, model, collator),
        stop_after_steps=preference.stop_after_steps,
        model=model,
        peft_config=choose_trained(model, policy, trained_by(policy.freeze)),
        args=args,
        data_collator=collator,
        train_dataset=pair_rows(pairs, args, run.seed, preference.keep_together),
        processing_class=processor,
        callbacks=[MetricsCallback(Path(run.dir) / "metrics.jsonl")],
    )
    set_learning_rates(dpo_trainer, policy.learning_rates)
    show_bar(dpo_trainer, preference.loss.name.upper(), _BAR, preference.stop_after_steps)
    return dpo_trainer


def chosen_pairs(preference: PreferenceConfig) -> list[PreferencePair]:
    """Returns the pairs of a run.

    Raises:
        DataError: they cannot be read, or there are none.
    """
    folder = Path(preference.pairs)
    pairs = list(islice(read_pairs(folder), preference.num_pairs or None))
    if not pairs:
        raise DataError(f"{folder}: expected at least one pair, got none; see `rl-avr pairs`")
    return pairs


def dpo_arguments(
    run: RunConfig, preference: PreferenceConfig, trainer: dict[str, Any]
) -> DPOConfig:
    """Returns trl's arguments from the `trainer` block, our defaults and what other blocks decide.

    Raises:
        ConfigError: an unknown field, a wrong type, or a field that is not set here.
    """
    loss = preference.loss.name
    for key in ("loss_type", "loss_weights"):
        if key in trainer and not preference.loss.has_reference:
            raise ConfigError(
                f"trainer.{key}: not set with preference.loss.name {loss}; expected name dpo"
            )
    check_trainer_block(trainer, DPOConfig, _OURS)
    try:
        args = DPOConfig(
            output_dir=str(Path(run.dir) / "checkpoints"),
            seed=run.seed,
            report_to=[],
            remove_unused_columns=False,
            precompute_ref_log_probs=True,
            **{**_DEFAULTS, **trainer},
        )
    except ValueError as error:
        raise ConfigError(f"trainer: {error}") from error
    check_zero_stage(args)
    if "gradient_accumulation_steps" not in trainer:
        at_once = args.train_batch_size * args.world_size
        args.gradient_accumulation_steps = max(1, _BATCH // at_once)
    return args


def check_zero_stage(args: DPOConfig) -> None:
    """Raises ConfigError where the policy is spread over ranks."""
    plugin = args.deepspeed_plugin
    if plugin is not None and plugin.zero_stage == 3:
        raise ConfigError(
            "zero_stage 3: the reference's logprobs are computed by a whole policy on every rank; "
            "expected ZeRO-2 or less, with policy.lora where the policy is large"
        )


def check_images(pairs: Sequence[PreferencePair], num_ranks: int, parts: Collection[Part]) -> None:
    """Refuses ranks of which some may make gradients of the vision tower, and others none.

    ZeRO-2 reduces gradients in the order in which they are made; where ranks differ in it, it
    adds up gradients of different weights, and says nothing.

    Raises:
        ConfigError: with the numbers of pairs, and what to do.
    """
    num_blind = sum(not pair.images for pair in pairs)
    sees = not {"vision_tower", "connector"}.isdisjoint(parts)
    if num_ranks > 1 and sees and 0 < num_blind < len(pairs):
        raise ConfigError(
            f"policy.freeze: {num_blind} of {len(pairs)} pairs have no image, so some of "
            f"{num_ranks} ranks may train the vision tower or the connector in a step and others "
            "not; expected [vision_tower, connector], one process, or pairs with images alone"
        )


def set_num_steps(args: DPOConfig, num_pairs: int) -> None:
    """Sets the number of steps, where it is not given, from `num_train_epochs`.

    The last step has as many pairs as the others: they are those with which the next epoch would
    begin.
    """
    if args.max_steps <= 0:
        args.max_steps = math.ceil(args.num_train_epochs * num_pairs / batch_size(args))


def batch_size(args: DPOConfig) -> int:
    """Returns how many pairs a step has, on all ranks together."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size


def pair_rows(
    pairs: Sequence[PreferencePair], args: DPOConfig, seed: int, keep_together: bool
) -> Dataset:
    """Returns the rows of a run in its order; each names the place of a pair."""
    places = pair_order(
        [pair.prompt_id for pair in pairs],
        args.max_steps * batch_size(args),
        args.train_batch_size,
        seed,
        keep_together,
    )
    return Dataset.from_dict({"place": places})


def _cache(
    run: RunConfig,
    policy: PolicyConfig,
    preference: PreferenceConfig,
    model: Any,
    collator: PairCollator,
) -> ReferenceCache | None:
    if not preference.loss.has_reference:
        return None
    # a policy by its hub name has no folder, and its commit in its config
    digest = policy_digest(Path(policy.path)) or f"{policy.path}@{model.config._commit_hash}"
    key = {
        "policy": digest,
        "pairs": digest_of(
            pairs_digest(Path(preference.pairs)), *(pair.pair_id for pair in collator.pairs)
        ),
        "template": template_digest(collator.processor),
        "precision": policy.dtype,
    }
    lengths = [(len(chosen), len(rejected)) for chosen, rejected in collator.tokens]
    folder = Path(preference.reference_cache or Path(run.dir) / "reference")
    return ReferenceCache(folder, key, lengths)
