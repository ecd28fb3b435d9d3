"""GRPO on trl's trainer, with rollouts, grading and parity of our own.

What is wrapped, and why (a contract test names each seam and its signature):

    __init__                            built without vLLM, because trl would build an engine
                                        of its own that corrupts image prompts; `use_vllm` is
                                        set afterwards, as trl's importance correction and old
                                        logprobs depend on it
    _generate_and_score_completions     collects the batch's graded groups first, fresh puzzles in
                                        the place of useless ones; afterwards checks parity,
                                        weights the advantages by difficulty and adds the credit of
                                        claims to them
    _generate_single_turn               returns the collected ids and logprobs
    _calculate_rewards                  returns the collected scores: the total and the parts, which
                                        are logged, and the streams, which become advantages
    _save_checkpoint, _load_optimizer_and_scheduler
                                        keep what sampling has learned about the puzzles
"""

import math
from collections.abc import Callable, Sequence
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
from rl_avr.metric_names import ADMITTED_SHARE, PARITY_GAP, REWARD, REWARD_STD
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.training.credit import group_token_credit
from rl_avr.training.refilling import Refiller
from rollouts.config import DynamicConfig
from rollouts.recorder import append_groups

_PLAIN = DynamicConfig()


class AvrGrpoTrainer(GRPOTrainer):
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
        **kwargs: Any,
    ) -> None:
        self._rewards = rewards
        self._parts = (*part_names(rewards), *map(part_name, rewards.own))
        streams = stream_weights(rewards)
        logged = ["total", *self._parts]
        columns = [*logged, *(f"stream_{name}" for name in streams)]
        # trl pads ids to the left itself, but leaves the image positions to the processor, whose
        # own side is the right: with prompts of several lengths the two would not match
        kwargs["processing_class"].tokenizer.padding_side = "left"
        super().__init__(reward_funcs=[_column(name) for name in columns], **kwargs)
        self.use_vllm = True
        self.reward_weights = torch.tensor([0.0] * len(logged) + list(streams.values()))
        self._prompts = prompts
        self._parity_max_mean_gap = parity_max_mean_gap
        self._claim_weight = claim_weight
        self._rollouts_path = rollouts_path
        self._groups: list[GradedGroup] = []
        self._totals = torch.empty(0)
        self._last_synced_step = -1
        for model in (self.model, self.ref_model):
            if model is not None:
                mask_logits(self.accelerator.unwrap_model(model), banned_token_ids)
        # Threads and process group are set by now; an engine built earlier fixes both.
        self.collector = make_collector()
        self._refiller = Refiller(
            self.collector, prompts, dynamic, self.args.seed, self.accelerator, rollouts_path
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
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
        self._check_parity(output)
        self._log_groups()
        output["advantages"] = output["advantages"] * self._difficulty_weights(output)
        if self._claim_weight > 0:
            output["advantages"] = self._with_claim_credit(output)
        return output

    def _refilled(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replaces useless groups, and returns the rows of the prompts that are trained now."""
        filled = self._refiller.fill(self._groups, self.num_generations, self.state.global_step)
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
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            self._refiller.save(Path(self._get_output_dir(trial=trial)) / name)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._refiller.load(Path(checkpoint))

    def _with_claim_credit(self, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B, T): each completion's advantage plus the credit of its tokens' claims."""
        credit = group_token_credit(
            self._groups, self._tokenizer, output["completion_ids"].shape[1]
        ).to(output["advantages"].device)
        return output["advantages"].unsqueeze(1) + self._claim_weight * credit

    def _sync_weights(self) -> None:
        if self.state.global_step != self._last_synced_step:
            has_synced = self._last_synced_step >= 0
            self.collector.engine.sync_weights(named_weights(self.model, skip_frozen=has_synced))
            self._last_synced_step = self.state.global_step

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
        self._totals = rewards[:, 0]
        return rewards

    def _log_groups(self) -> None:
        """Logs the share of admitted groups, and the totals where trl logs its weighted sum.

        That sum is of streams, in which a group that is not admitted counts as 0.
        """
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics[REWARD][-1] = self._totals.mean().item()
        metrics[REWARD_STD][-1] = self._totals.std().item()
        admitted = torch.tensor(
            [float(group.is_admitted) for group in self._groups], device=self.accelerator.device
        )
        metrics[ADMITTED_SHARE].append(self.accelerator.gather(admitted).mean().item())

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


def check_gap(mean_gap: float, limit: float, step: int) -> None:
    """Raises RolloutError where engine and policy disagree, or one of them gives no number.

    Args:
        mean_gap: mean |engine logprob - policy logprob| of the sampled tokens, in nats.
        limit: the largest allowed.
        step: step of the run.
    """
    if not math.isfinite(mean_gap):
        raise RolloutError(
            f"step {step}: the logprobs of the sampled tokens are not finite: an update before "
            "this step has broken the weights. Lower trainer.learning_rate or "
            "trainer.max_grad_norm; the last checkpoint may be whole"
        )
    if mean_gap > limit:
        raise RolloutError(
            f"step {step}: the engine and the policy disagree: mean |logprob gap| of sampled "
            f"tokens is {mean_gap:.2e}, expected at most rollouts.parity_max_mean_gap "
            f"{limit:.2e}. The policy that samples would not be the policy that is trained. Check "
            "that dtype and sampling (top_p 1, no top_k) agree; in bfloat16 a gap below 1.5e-2 is "
            "usual"
        )


def check_prompt_ids(trainer_ids: Sequence[int], group: GradedGroup) -> None:
    """Raises RolloutError where the engine saw other prompt ids than the trainer's."""
    engine_ids = group.group.prompt_token_ids
    if tuple(trainer_ids) == engine_ids:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(trainer_ids, engine_ids, strict=False)) if a != b),
        min(len(trainer_ids), len(engine_ids)),
    )
    raise RolloutError(
        f"prompt {group.group.prompt.prompt_id}: the engine saw {len(engine_ids)} prompt ids, the "
        f"trainer has {len(trainer_ids)}, different from position {first} on; expected the same "
        "ids, one run of placeholders an image. Image processors of the two sides must agree"
    )


def _column(name: str) -> Callable[..., list[float]]:
    """Returns a reward function that gives trl a column's name and must not be called."""

    def column(**_: Any) -> list[float]:
        raise AssertionError(f"reward {name!r} comes from the collector")

    column.__name__ = name
    return column
