"""The graded groups of a batch in the places where trl asks for completions and rewards.

_tokenize_prompts       processes each prompt and its images once for its group; trl keeps no
                        image, and so repeats none
_generate_single_turn   returns the collected ids and logprobs
_calculate_rewards      returns the collected scores: the total and the parts, which are logged,
                        and the streams, which become advantages
"""

from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import gather

from rl_avr.algo.token_credit import spread_weights
from rl_avr.errors import ConfigError
from rl_avr.metric_names import (
    CREDIT_SPREAD,
    KL_WEIGHT,
    PARITY_GAP,
    REWARD,
    REWARD_STD,
    none_share,
)
from rl_avr.training.credit import group_token_credit
from rl_avr.training.group_outcomes import outcome_shares
from rl_avr.training.policy_pass import group_prompt
from rl_avr.training.rollout_checks import check_gap, check_not_empty, check_prompt_ids


class CollectedGroups:
    """Stands before trl's `GRPOTrainer` among a class's bases.

    The class has the `_groups` of the newest batch, as `AvrGrpoTrainer` has.
    """

    def _tokenize_prompts(
        self: Any, prompts: list[Any]
    ) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Returns every row's ids, and no images: `_group_prompts` holds each once."""
        self._group_prompts = [
            group_prompt(self.processing_class, group.group.prompt, self.accelerator.device)
            for group in self._groups
        ]
        ids = [prompt.inputs.ids_P.tolist() for prompt in self._group_prompts]
        return [row for row in ids for _ in range(self.num_generations)], None, {}

    def _generate_single_turn(
        self: Any,
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
        self: Any, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
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

    def _log_groups(self: Any) -> None:
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

    def _difficulty_weights(self: Any, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B,): 1 + slope * difficulty of each completion's puzzle."""
        weights = [
            1.0 + self._rewards.difficulty_slope * group.group.prompt.puzzle.difficulty
            for group in self._groups
            for _ in group.scores
        ]
        return torch.tensor(weights, device=output["advantages"].device)

    def _old_logprobs(self: Any, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B, C): logprobs of the completions under the policy as it is."""
        ids, mask = (
            torch.cat([output[f"prompt_{kind}"], output[f"completion_{kind}"]], dim=1)
            for kind in ("ids", "mask")
        )
        with torch.no_grad():
            logprobs, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, mask, output["completion_ids"].shape[1]
            )
        return logprobs

    def _check_parity(self: Any, output: dict[str, Any]) -> None:
        """Logs the mean gap between engine and policy; stops all ranks above the limit."""
        if "old_per_token_logps" not in output:
            # trl leaves them out where nothing is corrected by them
            output["old_per_token_logps"] = self._old_logprobs(output)
        mask = output["completion_mask"].bool()
        gap = (
            (output["old_per_token_logps"] - output["sampling_per_token_logps"]).abs()[mask].mean()
        )
        mean_gap = self.accelerator.gather(gap).mean().item()
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][PARITY_GAP].append(mean_gap)
        check_gap(mean_gap, self._parity_max_mean_gap, self.state.global_step)

    def _with_credit(self: Any, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B, T): each completion's advantage as its tokens get it."""
        advantages, credit = output["advantages"], self._credit
        if advantages.dim() > 1:
            raise ConfigError(
                "methods.advantages.transform gives every token an advantage of its own; expected "
                f"one a completion with credit.source {credit.source}"
            )
        by_token = advantages.unsqueeze(1)
        if self._implicit is not None:
            by_token = by_token * self._implicit_weights(output)
        if credit.has_claims:
            claims = group_token_credit(
                self._groups, self._tokenizer, output["completion_ids"].shape[1]
            )
            by_token = by_token + credit.claim_weight * claims.to(advantages.device)
        return by_token

    def _implicit_weights(self: Any, output: dict[str, Any]) -> torch.Tensor:
        """Returns (B, T): the weights by which implicit credit spreads the advantages."""
        config, mask = self._credit, output["completion_mask"]
        if self.model.training:
            with self._clock.phase("sync"):
                self._implicit.refresh(self.model, self.state.global_step)
        with self._clock.phase("reward"), self.accelerator.autocast():
            found = self._implicit(self._group_prompts, output["completion_ids"], mask)
        weights = spread_weights(
            output["advantages"], found, mask, config.strength, config.low, config.high
        )
        mean = (weights - 1).abs()[mask.bool()].mean()
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][CREDIT_SPREAD].append(self.accelerator.gather(mean).mean().item())
        return weights


def column(name: str) -> Callable[..., list[float]]:
    """Returns a reward function that gives trl a column's name and must not be called."""

    def column(**_: Any) -> list[float]:
        raise AssertionError(f"reward {name!r} comes from the collector")

    column.__name__ = name
    return column
