"""GRPO on trl's trainer, with rollouts, grading and parity of our own.

What is wrapped, and why (a contract test names each seam and its signature):

    __init__                            built without vLLM, because trl would build an engine
                                        of its own that corrupts image prompts; `use_vllm` is
                                        set afterwards, as trl's importance correction and old
                                        logprobs depend on it
    _generate_and_score_completions     collects the batch's graded groups first, fresh puzzles in
                                        the place of useless ones, under the schedule's weight of
                                        the KL penalty; afterwards checks parity, weights the
                                        advantages by difficulty, transforms them and gives
                                        single tokens their credit
    _prepare_inputs                     draws the prompts when a batch is generated, and shuffles
                                        and splits whole groups where trl does so with rows
    _compute_loss                       says whose completions the logprobs are asked of, and how
                                        much the KL penalty weighs; refuses a loss that is not
                                        finite
    training_step                       refuses gradients that are not finite
    _get_per_token_logps_and_entropies  each prompt and image once where the policy can

Those that take in completions and rewards are wrapped in `grpo_groups`, those of checkpoints in
`grpo_checkpoints` and `resumable`.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from rewards.composition import part_names, stream_weights
from rewards.config import RewardConfig, part_name
from rl_avr.collector import Collector
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.errors import RolloutError
from rl_avr.metric_names import sampler_share
from rl_avr.modeling.config import Part
from rl_avr.modeling.policy_pair import PolicyPair
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.training.config import CreditConfig, MethodsConfig, UpdateConfig
from rl_avr.training.finite import Now, check_gradients, check_loss, watch_gradients
from rl_avr.training.grpo_checkpoints import GrpoCheckpoints
from rl_avr.training.grpo_groups import CollectedGroups, column
from rl_avr.training.implicit_credit import ImplicitCredit
from rl_avr.training.methods import make_order, make_schedule, make_transform, outcomes_of
from rl_avr.training.phase_clock import OptimizerTime, PhaseClock
from rl_avr.training.policy_pass import (
    GroupPrompt,
    PolicyPass,
    plain_rows,
    split_by_group,
)
from rl_avr.training.refilling import Refiller
from rl_avr.training.run_state import DropUndone
from rl_avr.training.usage import MemoryUse, VisionCount
from rollouts.config import DynamicConfig
from rollouts.recorder import append_groups

_PLAIN, _SHARED, _NEUTRAL = DynamicConfig(), UpdateConfig(), MethodsConfig()
_NO_CREDIT = CreditConfig()


class AvrGrpoTrainer(CollectedGroups, GrpoCheckpoints, GRPOTrainer):
    """trl's GRPO whose groups come from a `Collector`.

    Args:
        prompts: prompt id -> prompt, for the ids in the data set's `prompt_id` column.
        make_collector: builds the collector; called once the process group is up.
        banned_token_ids: never sampled, and never given probability by the policy.
        parity_max_mean_gap: largest mean |engine logprob - policy logprob|.
        credit: how advantages reach single tokens.
        credit_pair: the two policies of implicit credit, where that is asked for.
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
        rewards: RewardConfig,
        rollouts_path: Path,
        dynamic: DynamicConfig = _PLAIN,
        update: UpdateConfig = _SHARED,
        methods: MethodsConfig = _NEUTRAL,
        credit: CreditConfig = _NO_CREDIT,
        credit_pair: PolicyPair | None = None,
        adapters_apart: Collection[Part] = (),
        **kwargs: Any,
    ) -> None:
        self._rewards = rewards
        self._parts = (*part_names(rewards), *map(part_name, rewards.own))
        streams = stream_weights(rewards)
        logged = ["total", *self._parts]
        columns = [*logged, *(f"stream_{name}" for name in streams)]
        super().__init__(reward_funcs=[column(name) for name in columns], **kwargs)
        self._check_reference()
        self.use_vllm = True
        self.reward_weights = torch.tensor([0.0] * len(logged) + list(streams.values()))
        self._prompts = prompts
        self._parity_max_mean_gap = parity_max_mean_gap
        self._credit = credit
        self._adapters_apart = adapters_apart
        self._rollouts_path = rollouts_path
        self._groups: list[GradedGroup] = []
        self._rewards_BR = torch.empty(0)
        self._group_prompts: list[GroupPrompt] = []
        self._last_synced_step = -1
        self._now = Now()
        self._clock = PhaseClock()
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
        self._implicit = credit_pair and ImplicitCredit(
            credit_pair,
            credit.refresh_steps,
            update,
            self.temperature,
            banned_token_ids,
            self.accelerator.unwrap_model(self.model),
            self.accelerator.device,
        )
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
        self._memory = MemoryUse(self.accelerator.device)
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
        if self.args.sync_ref_model:
            # trl moves it through `.data`, which a cache of its features would not see
            torch.autograd.graph.increment_version(list(self.ref_model.parameters()))
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
        if self._credit.source != "none":
            output["advantages"] = self._with_credit(output)
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs what trl logs, and where time, images and memory went since the last log."""
        if self.model.training and (usage := {**self._clock.take(), **self._vision.take()}):
            logs.update(usage | self._memory.most())
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

    def _sync_weights(self) -> None:
        if self.state.global_step != self._last_synced_step:
            has_synced = self._last_synced_step >= 0
            step = self.state.global_step
            with self._clock.phase("sync"):
                weights = named_weights(self.model, has_synced, self._adapters_apart)
                self.collector.engine.sync_weights(weights, step=step)
            self._last_synced_step = step

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        num_parts = self.args.steps_per_generation
        if self._step % (num_parts * self.num_iterations) == 0 or self._buffered_inputs is None:
            for category, share in self._order.sampler.probabilities().items():
                self._metrics["train"][sampler_share(category)].append(share)
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
        if self.model.training:
            self._memory.begin(len(inputs["group_prompts"]))
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
        self._memory.end()
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
