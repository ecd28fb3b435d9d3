"""Runs GRPO: policy, engine, collector and trainer from one config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from transformers import set_seed
from trl import GRPOConfig

from rewards.composition import stream_aggregation
from rewards.config import RewardConfig
from rl_avr import metric_names
from rl_avr.chat import banned_token_ids, user_messages
from rl_avr.collector import Collector
from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError
from rl_avr.modeling.config import Part, PolicyConfig
from rl_avr.modeling.freezing import trained_by
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import ensure_small_policy
from rl_avr.training.config import (
    CreditConfig,
    DataConfig,
    MethodsConfig,
    RunConfig,
    UpdateConfig,
)
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.implicit_credit import load_credit_pair
from rl_avr.training.methods import check_methods
from rl_avr.training.policy_parts import choose_trained, save_policy, set_learning_rates
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.rollout_panels import RolloutPanels
from rl_avr.training.run_folder import (
    MetricsCallback,
    last_checkpoint,
    prepare_run,
    report_to,
    show_bar,
)
from rl_avr.training.samples import SampleCallback
from rl_avr.training.trainer_block import check_trainer_block
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.engines import make_engine
from rollouts.faults import check_num_images
from rollouts.vllm_adapters import AdapterShape

_OURS = {
    "use_vllm": "set by rollouts.engine",
    "temperature": "set by rollouts.sampling",
    "top_p": "set by rollouts.sampling",
    "top_k": "rollouts.sampling has temperature and top_p",
    "min_p": "rollouts.sampling has temperature and top_p",
    "max_completion_length": "set by rollouts.sampling.max_new_tokens",
    "use_liger_kernel": "logprobs are computed in chunks without it",
    "multi_objective_aggregation": "set by rewards.aggregation",
    "reward_weights": "set by rewards",
}
"""Fields of trl's that say what these runs decide elsewhere, or that the seams cannot serve."""

_NEUTRAL = MethodsConfig()

_BAR = {
    metric_names.REWARD: "reward",
    metric_names.reward_part("choice"): "choice",
    metric_names.reward_part("perception"): "perception",
    metric_names.PARITY_GAP: "gap",
}


def train_grpo(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    credit: CreditConfig,
    update: UpdateConfig,
    methods: MethodsConfig,
    trainer: dict[str, Any],
) -> Path:
    """Trains with GRPO and writes the policy; returns the policy's folder.

    Raises:
        ConfigError: a key, a folder, a model or a batch shape that cannot be used.
        DataError: a data set that cannot be read.
        RolloutError: the engine failed, or does not agree with the policy.
    """
    args = grpo_arguments(run, rollouts, rewards, trainer)
    check_batch_shape(args)
    check_methods(methods, args, rollouts.dynamic)
    folder = prepare_run(run)
    set_seed(run.seed)
    prompts = read_prompts(data, answer_form=rewards.answer_form)
    check_num_images(prompts, rollouts.max_images_per_prompt)
    ensure_small_policy(policy)
    args.report_to = report_to(run)
    grpo_trainer = make_trainer(
        folder=folder,
        args=args,
        run=run,
        policy=policy,
        prompts=prompts,
        rollouts=rollouts,
        rewards=rewards,
        credit=credit,
        update=update,
        methods=methods,
    )
    show_bar(grpo_trainer, "GRPO", _BAR)
    with grpo_trainer.collector.engine, grpo_trainer.collector:
        grpo_trainer.train(resume_from_checkpoint=last_checkpoint(run))
        return save_policy(grpo_trainer, policy, folder)


def make_trainer(
    *,
    folder: Path,
    args: GRPOConfig,
    run: RunConfig,
    policy: PolicyConfig,
    prompts: list[Prompt],
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    credit: CreditConfig,
    update: UpdateConfig,
    methods: MethodsConfig = _NEUTRAL,
) -> AvrGrpoTrainer:
    """Returns the trainer with its policy, engine and collector, ready to train.

    Raises:
        ConfigError: a model that cannot be used, or parts of it that cannot be trained so.
        RolloutError: the engine cannot be loaded.
    """
    check_lora(policy)
    processor = load_processor(policy.path)
    model = load_policy(policy)
    apart: tuple[Part, ...] = ("language_model",) if _adapter(policy, rollouts) else ()
    trainer = AvrGrpoTrainer(
        model=model,
        peft_config=choose_trained(model, policy, trained_by(policy.freeze)),
        adapters_apart=apart,
        args=args,
        train_dataset=grpo_dataset(prompts),
        processing_class=processor,
        callbacks=[MetricsCallback(folder / "metrics.jsonl")],
        prompts={prompt.prompt_id: prompt for prompt in prompts},
        make_collector=_collector_maker(run, policy, rollouts, rewards, processor),
        banned_token_ids=banned_token_ids(processor),
        parity_max_mean_gap=rollouts.parity_max_mean_gap,
        rewards=rewards,
        rollouts_path=folder / "rollouts" / f"rank{args.process_index}.jsonl",
        dynamic=rollouts.dynamic,
        update=update,
        methods=methods,
        credit=credit,
        credit_pair=load_credit_pair(credit, policy.dtype, processor),
    )
    trainer.add_callback(SampleCallback(folder / "samples", lambda: trainer.groups))
    trainer.add_callback(RolloutPanels(lambda: trainer.groups))
    set_learning_rates(trainer, policy.learning_rates)
    return trainer


def check_lora(policy: PolicyConfig) -> None:
    """Refuses adapters with dropout.

    Raises:
        ConfigError: with what to set.
    """
    if policy.lora.is_on and policy.lora.dropout > 0:
        raise ConfigError(
            f"policy.lora.dropout {policy.lora.dropout:g}: the engine samples without dropout, so "
            "the policy that samples would not be the policy that is trained; expected 0 with GRPO"
        )


def grpo_arguments(
    run: RunConfig, rollouts: RolloutConfig, rewards: RewardConfig, trainer: dict[str, Any]
) -> GRPOConfig:
    """Returns trl's arguments from the `trainer` block and what other blocks decide.

    Raises:
        ConfigError: an unknown field, a wrong type, or a field that is not set here.
    """
    if rollouts.sampling.temperature == 0:
        raise ConfigError(
            "rollouts.sampling.temperature 0: greedy chains of a group are all the same and teach "
            "nothing; expected a number > 0, 1.0 for the policy's own distribution"
        )
    if rollouts.dynamic.is_on and rewards.admission == "none":
        raise ConfigError(
            "rollouts.dynamic.is_on true: with rewards.admission none every group counts as useful "
            "and none would be replaced; expected rewards.admission outcome_variance"
        )
    check_trainer_block(trainer, GRPOConfig, _OURS)
    try:
        return GRPOConfig(
            output_dir=str(Path(run.dir) / "checkpoints"),
            seed=run.seed,
            report_to=[],
            temperature=rollouts.sampling.temperature,
            top_p=rollouts.sampling.top_p,
            max_completion_length=rollouts.sampling.max_new_tokens,
            remove_unused_columns=False,
            multi_objective_aggregation=stream_aggregation(rewards),
            **{"vllm_importance_sampling_mode": "token_truncate", **trainer},
        )
    except ValueError as error:
        raise ConfigError(f"trainer: {error}{_divisors(trainer)}") from error


def check_batch_shape(args: GRPOConfig) -> None:
    """Refuses a batch in which a group would not live on one rank, and names those that would.

    Raises:
        ConfigError: with the numbers of generations and batch sizes that fit.
    """
    rows, group = args.per_device_train_batch_size, args.num_generations
    if rows % group == 0:
        return
    raise ConfigError(
        f"trainer.num_generations {group} does not divide trainer.per_device_train_batch_size "
        f"{rows}, so a group would be split; expected num_generations one of {_fitting(rows)}, or "
        f"a batch size of {group * max(1, rows // group)} or {group * (rows // group + 1)}"
    )


def _divisors(trainer: dict[str, Any]) -> str:
    rows = trainer.get("per_device_train_batch_size")
    if not isinstance(rows, int) or "num_generations" not in trainer:
        return ""
    return f" (num_generations that fit a batch of {rows} on one rank: {_fitting(rows)})"


def _fitting(rows: int) -> list[int]:
    return [k for k in range(2, rows + 1) if rows % k == 0]


def grpo_dataset(prompts: list[Prompt]) -> Dataset:
    """Returns the rows that trl's trainer samples from: id and messages.

    Images stay with the prompts: trl would process and keep one for every completion.
    """
    message = {"role": Value("string"), "content": Value("string")}
    return Dataset.from_dict(
        {
            "prompt_id": [prompt.prompt_id for prompt in prompts],
            "prompt": [user_messages(prompt.text) for prompt in prompts],
        },
        features=Features(prompt_id=Value("string"), prompt=List(message)),
    )


def _collector_maker(
    run: RunConfig,
    policy: PolicyConfig,
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    processor: Any,
) -> Callable[[], Collector]:
    def make() -> Collector:
        adapter = _adapter(policy, rollouts)
        engine: Engine = make_engine(
            rollouts, policy.path, policy.dtype, processor, run.seed, adapter
        )
        return Collector(engine, rollouts.sampling, rewards, run.seed, rollouts.max_truncated_share)

    return make


def _adapter(policy: PolicyConfig, rollouts: RolloutConfig) -> AdapterShape | None:
    """Returns the shape of the adapters that are synced as such; None where none are."""
    is_apart = rollouts.lora_sync == "adapter" and "language_model" not in policy.freeze
    if not (policy.lora.is_on and is_apart):
        return None
    return AdapterShape(policy.lora.rank, policy.lora.alpha)
