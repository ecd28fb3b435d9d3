"""One group as GRPO would train on it, shown before anything is trained.

The trainer itself samples, grades and normalises the group, computes the loss and goes
back through it; no optimizer step follows. All that is written lies in `dry_run` in the
run's folder: the page, the resolved config, and the rollouts, which `rl-avr rewards
explain` reads.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed
from trl import GRPOConfig

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.small_policy import ensure_small_policy
from rl_avr.pipeline.dry_run_text import Seen, dry_run_text
from rl_avr.pipeline.memory_use import (
    Measured,
    kept_for_backward,
    memory_rows,
)
from rl_avr.settings import GrpoSettings, save_resolved
from rl_avr.training.config import DryRunConfig
from rl_avr.training.grpo import check_batch_shape, grpo_arguments, make_trainer
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.methods import check_methods
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.run_folder import prepare_run
from rl_avr.training.usage import PeakWatch
from rollouts.config import DynamicConfig
from rollouts.faults import check_num_images

_FOLDER = "dry_run"
_BATCH_KEYS = (
    "per_device_train_batch_size",
    "generation_batch_size",
    "steps_per_generation",
    "gradient_accumulation_steps",
)
"""Fields of trl's config that say how many groups there are at once."""


def dry_run(settings: GrpoSettings) -> str:
    """Returns what one group of the set's first prompt looks like, and writes it.

    Raises:
        ConfigError, DataError, RolloutError, RewardError: as the run itself would.
    """
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes > 1:
        raise ConfigError(
            f"--dry-run: expected one process, which shows one group; got {num_processes}. Start "
            "it without accelerate's launcher: rl-avr grpo --config … --dry-run"
        )
    rollouts, rewards = settings.rollouts, settings.rewards
    folder = Path(settings.run.dir) / _FOLDER
    run = replace(settings.run, dir=str(folder), wandb="disabled", resume=False)
    whole = grpo_arguments(run, rollouts, rewards, settings.trainer)
    check_batch_shape(whole)
    check_methods(settings.methods, whole, rollouts.dynamic)
    prompts = read_prompts(settings.data, answer_form=rewards.answer_form)
    check_num_images(prompts, rollouts.max_images_per_prompt)
    prepare_run(run)
    for name in ("rollouts", "policy"):
        shutil.rmtree(folder / name, ignore_errors=True)
    save_resolved(replace(settings, dry_run=DryRunConfig()), folder)
    set_seed(run.seed)
    trainer = make_trainer(
        folder=folder,
        args=grpo_arguments(run, rollouts, rewards, _one_group(settings.trainer, whole)),
        run=run,
        policy=dry_policy(settings.policy, folder),
        prompts=prompts[:1],
        rollouts=replace(rollouts, dynamic=DynamicConfig()),
        rewards=rewards,
        credit=settings.credit,
        update=settings.update,
        methods=settings.methods,
    )
    with trainer.collector.engine, trainer.collector:
        seen = _seen(trainer, settings, whole, len(prompts))
    text = dry_run_text(seen, settings.dry_run.num_whole)
    page = folder / "dry_run.txt"
    page.write_text(text + "\n", encoding="utf-8")
    recorded, config = folder / "rollouts" / "rank0.jsonl", folder / "config.yaml"
    explain = f"rl-avr rewards explain {recorded} --config {config} --index 0"
    return f"{text}\n\nwritten: {page}\none chain, its claims marked: {explain}"


def _one_group(block: dict[str, Any], whole: GRPOConfig) -> dict[str, Any]:
    """Returns a trainer block whose one batch is one group."""
    rest = {name: value for name, value in block.items() if name not in _BATCH_KEYS}
    return {**rest, "per_device_train_batch_size": whole.num_generations, "save_strategy": "no"}


def dry_policy(policy: PolicyConfig, folder: Path) -> PolicyConfig:
    """Returns the policy; one that is yet to be made is made in the dry run's own folder."""
    if not policy.make_small or Path(policy.path).is_dir():
        return policy
    made = replace(policy, path=str(folder / "policy"))
    ensure_small_policy(made)
    return made


def _seen(
    trainer: AvrGrpoTrainer, settings: GrpoSettings, whole: GRPOConfig, num_prompts: int
) -> Seen:
    """Samples and grades the group, and goes forward and back through its loss."""
    model, args = trainer.model, trainer.args
    model.train()
    row = trainer.train_dataset[0]
    batch = trainer._generate_and_score_completions([row] * trainer.num_generations)
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs or None)
    # what trl divides a loss by; its training loop sets it
    trainer.current_gradient_accumulation_steps = 1
    peak = PeakWatch(args.device)
    with kept_for_backward(model) as kept, trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(model, batch)
    loss.backward()
    measured = Measured(kept.num_bytes, peak.num_bytes())
    mask, advantages = batch["completion_mask"], batch["advantages"]
    is_by_token = advantages.dim() == 2
    if is_by_token:
        advantages = (advantages * mask).sum(1) / mask.sum(1).clamp(min=1)
    (graded,) = trainer.groups
    image_id = trainer.processing_class.image_token_id
    return Seen(
        graded=graded,
        weights=settings.rewards.weights_with_own,
        rendered=_rendered(trainer, graded.group.prompt_token_ids, image_id),
        num_image_tokens=graded.group.prompt_token_ids.count(image_id),
        advantages=tuple(advantages.tolist()),
        is_by_token=is_by_token,
        parity_gap=float(_gap(batch)),
        loss=loss.item(),
        gradient_norm=_gradient_norm(model),
        max_new_tokens=settings.rollouts.sampling.max_new_tokens,
        num_prompts=num_prompts,
        groups_a_step=whole.per_device_train_batch_size
        * whole.gradient_accumulation_steps
        // whole.num_generations,
        why_plain=trainer.why_plain,
        memory=memory_rows(trainer, settings, whole, graded, measured),
    )


def _gap(batch: dict[str, Any]) -> torch.Tensor:
    """Returns the mean |engine logprob - policy logprob| of the sampled tokens."""
    gaps = (batch["old_per_token_logps"] - batch["sampling_per_token_logps"]).abs()
    return gaps[batch["completion_mask"].bool()].mean()


def _gradient_norm(model: Any) -> float:
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return torch.stack(norms).norm().item() if norms else 0.0


def _rendered(trainer: AvrGrpoTrainer, ids: tuple[int, ...], image_id: int) -> str:
    """Returns the prompt as the engine saw it, a run of image tokens written once."""
    decode = trainer.processing_class.tokenizer.decode
    mark, pieces, start = decode([image_id]), [], 0
    while start < len(ids):
        is_image = ids[start] == image_id
        end = start
        while end < len(ids) and (ids[end] == image_id) == is_image:
            end += 1
        pieces.append(f"{mark}×{end - start}" if is_image else decode(list(ids[start:end])))
        start = end
    return "".join(pieces)
