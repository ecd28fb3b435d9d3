"""GRPO on trl's trainer, with rollouts, grading and parity of our own.

What is wrapped, and why (a contract test names each seam and its signature):

    __init__                            built without vLLM, because trl would build an engine
                                        of its own that corrupts image prompts; `use_vllm` is
                                        set afterwards, as trl's importance correction and old
                                        logprobs depend on it
    _generate_and_score_completions     collects the batch's graded groups first, fresh puzzles in
                                        the place of useless ones, under the schedule's weight of
                                        the KL penalty; afterwards checks parity, weights the
                                        advantages by difficulty, transforms them and adds the
                                        credit of claims to them
    _tokenize_prompts                   processes each prompt and its images once for its group;
                                        trl keeps no image, and so repeats none
    _generate_single_turn               returns the collected ids and logprobs
    _calculate_rewards                  returns the collected scores: the total and the parts, which
                                        are logged, and the streams, which become advantages
    _prepare_inputs                     draws the prompts when a batch is generated, and shuffles
                                        and splits whole groups where trl does so with rows
    _compute_loss                       says whose completions the logprobs are asked of, and how
                                        much the KL penalty weighs; refuses a loss that is not
                                        finite
    training_step                       refuses gradients that are not finite
    _get_per_token_logps_and_entropies  each prompt and image once where the policy can
    _save_checkpoint, _load_optimizer_and_scheduler
                                        keep what sampling has learned about the puzzles, and all
                                        that a run needs to go on bit for bit
    _load_from_checkpoint               reads weights that are saved under older names, too
    _get_output_dir                     is another folder until a checkpoint is whole
    _run_epoch                          does nothing in a run that is resumed at its end
"""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer

from rewards.composition import part_names, stream_weights
from rewards.config import RewardConfig, part_name
from rl_avr.collector import Collector
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.errors import RolloutError
from rl_avr.metric_names import KL_WEIGHT, PARITY_GAP, REWARD, REWARD_STD, none_share
from rl_avr.modeling.config import Part
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.training.config import MethodsConfig, UpdateConfig
from rl_avr.training.credit import group_token_credit
from rl_avr.training.finite import Now, check_gradients, check_loss, watch_gradients
from rl_avr.training.group_outcomes import outcome_shares
from rl_avr.training.methods import make_order, make_schedule, make_transform, outcomes_of
from rl_avr.training.phase_clock import OptimizerTime, PhaseClock
from rl_avr.training.policy_pass import (
    GroupPrompt,
    PolicyPass,
    group_prompt,
    plain_rows,
    split_by_group,
)
from rl_avr.training.refilling import Refiller
from rl_avr.training.resumable import Resumable
from rl_avr.training.rollout_checks import check_gap, check_not_empty, check_prompt_ids
from rl_avr.training.run_state import BatchShape, DropUndone, RunState, written_aside
from rl_avr.training.usage import VisionCount, peak_memory
from rollouts.config import DynamicConfig
from rollouts.recorder import append_groups

_PLAIN, _SHARED, _NEUTRAL = DynamicConfig(), UpdateConfig(), MethodsConfig()


class AvrGrpoTrainer(Resumable, GRPOTrainer):
    """trl's GRPO whose groups come from a `Collector`.

    Args:
        prompts: prompt id -> prompt, for the ids in the data set's `prompt_id` column.
        make_collector: builds the collector; called once the process group is up.
        banned_token_ids: never sampled, and never given probability by the policy.
        parity_max_mean_gap: largest mean |engine logprob - policy logprob|.
        claim_weight: weight of the token-level credit of claims; 0 leaves trl's advantages.
        rewards: names and weights of what the collector's scores hold.
        rollouts_path: where graded groups are recorded; those thrown away, and the difficulty of
            the puzzles, are recorded beside it.
        dynamic: whether and how useless groups are replaced.
        update: how logprobs are computed.
        methods: what plugs into GRPO.
        adapters_apart: parts whose adapters the engine takes as such; all others come merged.
        kwargs: of `trl.GRPOTrainer`, less the reward functions.
    """

    def __init__(
        self,
        *,
        prompts: dict[str, Prompt],
        make_collector: Callable[[], Collector],
        banned_token_ids: Sequence[int],
        parity_max_mean_gap: float,
        claim_weight: float,
        rewards: RewardConfig,
        rollouts_path: Path,
        dynamic: DynamicConfig = _PLAIN,
        update: UpdateConfig = _SHARED,
        methods: MethodsConfig = _NEUTRAL,
        adapters_apart: Collection[Part] = (),
        **kwargs: Any,
    ) -> None:
        self._rewards = rewards
        self._parts = (*part_names(rewards), *map(part_name, rewards.own))
        streams = stream_weights(rewards)
        logged = ["total", *self._parts]
        columns = [*logged, *(f"stream_{name}" for name in streams)]
        super().__init__(reward_funcs=[_column(name) for name in columns], **kwargs)
        self.use_vllm = True
        self.reward_weights = torch.tensor([0.0] * len(logged) + list(streams.values()))
        self._prompts = prompts
        self._parity_max_mean_gap = parity_max_mean_gap
        self._claim_weight = claim_weight
        self._adapters_apart = adapters_apart
        self._rollouts_path = rollouts_path
        self._groups: list[GradedGroup] = []
        self._rewards_BR = torch.empty(0)
        self._group_prompts: list[GroupPrompt] = []
        self._last_synced_step = -1
        self._now = Now()
        self._clock = PhaseClock()
        self._aside: str | None = None
        num_prompts = self.args.generation_batch_size // self.num_generations
        self._pass = PolicyPass(
            update, self.num_generations, self.temperature, num_prompts, self.accelerator
        )
        if self.ref_model is not None:
            # trl leaves it trainable; of a frozen tower the features are computed once for both
            self.ref_model.requires_grad_(False)
        for model in (self.model, self.ref_model):
            if model is not None:
                unwrapped = self.accelerator.unwrap_model(model)
                mask_logits(unwrapped, banned_token_ids)
                self._pass.enable(unwrapped)
        self._kl_schedule = make_schedule(methods.kl, self.args.beta)
        self._transform = make_transform(methods.advantages)
        puzzles = {name: prompts[name].puzzle for name in self.train_dataset["prompt_id"]}
        self._order = make_order(methods.sampler, puzzles, self.args, self.accelerator)
        # Threads and process group are set by now; an engine built earlier fixes both.
        self.collector = make_collector()
        self.collector.phase = self._clock.phase
        self._refiller = Refiller(
            self.collector, prompts, dynamic, self.args.seed, self.accelerator, rollouts_path
        )
        self.add_callback(DropUndone(self._refiller.paths))
        self.add_callback(OptimizerTime(self._clock))
        self._vision = VisionCount(filter(None, (self.model, self.ref_model)))
        if self.is_deepspeed_enabled:
            watch_gradients(self.model.named_parameters(), self._now)

    @property
    def groups(self) -> Sequence[GradedGroup]:
        """The graded groups of the newest batch."""
        return self._groups

    @property
    def why_plain(self) -> str | None:
        """Why prompts are computed once for every completion; None where once a group."""
        return self._pass.why_plain

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.model.training:
            self.beta = self._kl_schedule(self.state.global_step / max(1, self.state.max_steps))
        num_generations = self.num_generations
        prompt_ids = [row["prompt_id"] for row in inputs]
        whole = [prompt_ids[i] for i in range(0, len(prompt_ids), num_generations)]
        if prompt_ids != [name for name in whole for _ in range(num_generations)]:
            raise RolloutError(
                f"a rank got {len(prompt_ids)} rows that are not whole groups of {num_generations}"
            )
        self._sync_weights()
        self._groups = self.collector.collect(
            [self._prompts[name] for name in whole],
            num_generations,
            self.state.global_step,
            self.accelerator.process_index,
        )
        if self.model.training:
            inputs = self._refilled(inputs)
        append_groups(self._rollouts_path, self._groups, step=self.state.global_step)
        output = super()._generate_and_score_completions(inputs)
        output["group_prompts"] = self._group_prompts
        output["group_prompt_ids"] = [group.group.prompt.prompt_id for group in self._groups]
        self._check_parity(output)
        self._log_groups()
        if self.model.training:
            self._order.learn(self._groups, output["advantages"])
        output["beta"] = self.beta
        output["advantages"] = output["advantages"] * self._difficulty_weights(output)
        output["advantages"] = self._transform(output["advantages"], outcomes_of(self._groups))
        if self._claim_weight > 0:
            output["advantages"] = self._with_claim_credit(output)
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs what trl logs, and where time, images and memory went since the last log."""
        if self.model.training and (usage := {**self._clock.take(), **self._vision.take()}):
            logs.update(usage | peak_memory())
        super().log(logs, start_time)

    def _refilled(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replaces useless groups, and returns the rows of the prompts that are trained now."""
        filled = self._refiller.fill(self._groups, self.num_generations, self.state.global_step)
        self._clock.count(sampled=filled.num_tokens)
        for name, value in filled.metrics.items():
            self._metrics["train"][name].append(value)
        rows = list(inputs)
        for place, group in enumerate(filled.groups):
            if group is not self._groups[place]:
                start = place * self.num_generations
                row = self.train_dataset[self._row_index[group.group.prompt.prompt_id]]
                rows[start : start + self.num_generations] = [row] * self.num_generations
        self._groups = list(filled.groups)
        return rows

    @cached_property
    def _row_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.train_dataset["prompt_id"])}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoints = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        limit = self.args.save_total_limit
        with written_aside(checkpoints, name, limit, self.accelerator) as self._aside:
            try:
                super()._save_checkpoint(model, trial)
                checkpoint = Path(self._aside) / name
                self._run_state().save(checkpoint, self.accelerator.process_index)
                if self.args.should_save:
                    self._refiller.save(checkpoint)
                    self._order.save(checkpoint)
            finally:
                self._aside = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._aside or super()._get_output_dir(trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        self._refiller.load(Path(checkpoint))
        self._order.load(Path(checkpoint))
        ranks = self.accelerator
        shape = self._batch_shape
        state = RunState.load(Path(checkpoint), ranks.process_index, shape, ranks.device)
        if state is not None:
            self._step, self._buffered_inputs = state.num_micro_steps, state.buffered
            self._metrics["train"].update(state.metrics)
            self.collector.engine.weights_version = state.weights_version

    def _run_state(self) -> RunState:
        is_within_block = self._step % (self.args.steps_per_generation * self.num_iterations) != 0
        return RunState(
            num_micro_steps=self._step,
            shape=self._batch_shape,
            buffered=self._buffered_inputs if is_within_block else None,
            metrics=dict(self._metrics["train"]),
            weights_version=self.collector.engine.weights_version,
        )

    @property
    def _batch_shape(self) -> BatchShape:
        return BatchShape(
            self.accelerator.num_processes,
            self.num_generations,
            self.args.per_device_train_batch_size,
            self.args.steps_per_generation,
            self.num_iterations,
        )

    def _with_claim_credit(self, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B, T): each completion's advantage plus the credit of its tokens' claims."""
        credit = group_token_credit(
            self._groups, self._tokenizer, output["completion_ids"].shape[1]
        ).to(output["advantages"].device)
        return output["advantages"].unsqueeze(1) + self._claim_weight * credit

    def _sync_weights(self) -> None:
        if self.state.global_step != self._last_synced_step:
            has_synced = self._last_synced_step >= 0
            step = self.state.global_step
            with self._clock.phase("sync"):
                weights = named_weights(self.model, has_synced, self._adapters_apart)
                self.collector.engine.sync_weights(weights, step=step)
            self._last_synced_step = step

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Returns every row's ids, and no images: `_group_prompts` holds each once."""
        self._group_prompts = [
            group_prompt(self.processing_class, group.group.prompt, self.accelerator.device)
            for group in self._groups
        ]
        ids = [prompt.inputs.ids_P.tolist() for prompt in self._group_prompts]
        return [row for row in ids for _ in range(self.num_generations)], None, {}

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        num_parts = self.args.steps_per_generation
        if self._step % (num_parts * self.num_iterations) == 0 or self._buffered_inputs is None:
            rows = [self.train_dataset[place] for place in self._order.draw()]
            batch = self._generate_and_score_completions(
                [row for row in rows for _ in range(self.num_generations)]
            )
            self._buffered_inputs = split_by_group(
                batch, self.num_generations, num_parts, lambda n: torch.randperm(n).tolist()
            )
        return self._buffered_inputs[self._step % num_parts]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._group_prompts = inputs["group_prompts"]
        # the one it was generated under: there is no reference logprob where that was 0
        self.beta = inputs["beta"]
        loss = super()._compute_loss(model, inputs)
        if self.model.training:
            prompt_ids = inputs["group_prompt_ids"]
            self._now.enter(self.state.global_step, prompt_ids)
            self._vision.trained(len(prompt_ids))
            self._clock.count(trained=int(inputs["completion_mask"].sum()))
            check_loss(loss, self.state.global_step, prompt_ids)
        return loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """Returns the loss of one batch after its backward pass.

        Raises:
            UpdateError: the loss, or at the end of a step a gradient, is not finite.
        """
        with self._clock.phase("update"):
            loss = super().training_step(model, inputs, num_items_in_batch)
        # with a scaler single steps that overflow are usual, and skipped
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            check_gradients(self.model, self.state.global_step, self._now.prompt_ids)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Returns (B, C) logprobs and entropies of the completions of `_group_prompts`."""
        prompts, length = self._group_prompts, input_ids.shape[1] - logits_to_keep
        if not compute_aux_loss:
            ids_BC, mask_BC = input_ids[:, length:], attention_mask[:, length:]
            shared = self._pass(model, prompts, ids_BC, mask_BC, compute_entropy)
            if shared is not None:
                return *shared, None
        return super()._get_per_token_logps_and_entropies(
            model,
            input_ids,
            attention_mask,
            logits_to_keep,
            batch_size,
            compute_entropy,
            compute_aux_loss,
            **plain_rows(prompts, self.num_generations, length, logits_to_keep),
        )

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Returns the collected ids and logprobs after comparing every prompt's ids."""
        rows = [(group, c) for group in self._groups for c in group.group.completions]
        for trainer_ids, (group, _) in zip(prompt_ids, rows, strict=True):
            check_prompt_ids(list(trainer_ids), group)
        check_not_empty(self._groups)
        return (
            [list(completion.token_ids) for _, completion in rows],
            [list(completion.sampling_logprobs) for _, completion in rows],
        )

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """Returns (B over all ranks, columns): the total, the parts, the streams."""
        rows = [
            [
                score.total,
                *(score.part(name) for name in self._parts),
                *(value for _, value in score.streams),
            ]
            for group in self._groups
            for score in group.scores
        ]
        values = [[float("nan") if v is None else v for v in row] for row in rows]
        rewards = gather(torch.tensor(values, dtype=torch.float32, device=self.accelerator.device))
        self._rewards_BR = rewards
        return rewards

    def _log_groups(self) -> None:
        """Logs shares of groups, and the totals where trl logs its weighted sum.

        That sum is of streams, in which a group that is not admitted counts as 0.
        """
        metrics = self._metrics["train" if self.model.training else "eval"]
        totals = self._rewards_BR[:, 0]
        metrics[REWARD][-1] = totals.mean().item()
        metrics[REWARD_STD][-1] = totals.std().item()
        missing = self._rewards_BR.isnan().float().mean(dim=0).tolist()
        for name, share in zip(("total", *self._parts), missing, strict=False):
            metrics[none_share(name)].append(share)
        for name, share in outcome_shares(self._groups, self.accelerator).items():
            metrics[name].append(share)
        if self.args.beta:
            metrics[KL_WEIGHT].append(self.beta)

    def _difficulty_weights(self, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B,): 1 + slope * difficulty of each completion's puzzle."""
        weights = [
            1.0 + self._rewards.difficulty_slope * group.group.prompt.puzzle.difficulty
            for group in self._groups
            for _ in group.scores
        ]
        return torch.tensor(weights, device=output["advantages"].device)

    def _check_parity(self, output: dict[str, Any]) -> None:
        """Logs the mean gap between engine and policy; stops all ranks above the limit."""
        mask = output["completion_mask"].bool()
        gap = (
            (output["old_per_token_logps"] - output["sampling_per_token_logps"]).abs()[mask].mean()
        )
        mean_gap = self.accelerator.gather(gap).mean().item()
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][PARITY_GAP].append(mean_gap)
        check_gap(mean_gap, self._parity_max_mean_gap, self.state.global_step)


def _column(name: str) -> Callable[..., list[float]]:
    """Returns a reward function that gives trl a column's name and must not be called."""

    def column(**_: Any) -> list[float]:
        raise AssertionError(f"reward {name!r} comes from the collector")

    column.__name__ = name
    return column
