"""Logprobs of pairs' completions: questions and images once where the policy can, in rows else.

B: completions, C: longest completion, R: rows with a token, T: longest row.
"""

from typing import Any

import torch
from accelerate import Accelerator

from rl_avr.modeling.conversation_pass import Conversation
from rl_avr.modeling.plain_rows import plain_rows
from rl_avr.preference.pair_batch import PairBatch
from rl_avr.training.config import UpdateConfig
from rl_avr.training.policy_pass import PolicyPass

Scored = tuple[torch.Tensor, torch.Tensor]
"""(B, C) logprobs, and (B, C) entropies without gradient; 0 where there is no token."""


class PairPass:
    """Computes logprobs of completions under a policy with trl's fused output head.

    Args:
        config: whether and how prefixes are shared.
        pad_token_id: what fills plain rows.
        num_questions: of a rank's step; features of a frozen tower are kept for so many.
        accelerator: of the run.
    """

    def __init__(
        self, config: UpdateConfig, pad_token_id: int, num_questions: int, accelerator: Accelerator
    ) -> None:
        self._pad_token_id = pad_token_id
        # of how many completions a question has, only the batch decides
        self._shared = PolicyPass(config, 0, 1.0, num_questions, accelerator)

    @property
    def why_plain(self) -> str | None:
        """Why rows are plain; None where prefixes are shared."""
        return self._shared.why_plain

    def enable(self, model: Any) -> None:
        """Prepares a policy, or notes why it cannot share prefixes."""
        self._shared.enable(model)

    def __call__(self, model: Any, batch: PairBatch) -> Scored:
        """Returns logprobs and entropies; at the first call all ranks decide which way to go.

        Args:
            model: the policy, as it is wrapped.
            batch: on the policy's device.
        """
        found = self._shared(
            model, batch.prompts, batch.completion_ids_BC, batch.completion_mask_BC, True
        )
        if found is None:
            return _plain(model, batch, self._pad_token_id)
        logprobs_BC, entropies_BC = found
        assert entropies_BC is not None
        return logprobs_BC, entropies_BC.detach()


def _plain(model: Any, batch: PairBatch, pad_token_id: int) -> Scored:
    mask_BC = batch.completion_mask_BC.bool()
    is_row_B = mask_BC.any(dim=1)
    rows = plain_rows(_conversations(batch, is_row_B), pad_token_id)
    output = model(**rows, use_cache=False, fused_lm_head=True)
    is_scored_RT = rows["labels"][:, 1:] != -100
    return (
        _table(output.log_probs[is_scored_RT], mask_BC),
        _table(output.entropy[is_scored_RT].detach(), mask_BC),
    )


def _conversations(batch: PairBatch, is_row_B: torch.Tensor) -> list[Conversation]:
    found = []
    for row in is_row_B.nonzero()[:, 0].tolist():
        prompt = batch.prompts[row // batch.group_size].inputs
        ids_C = batch.completion_ids_BC[row][batch.completion_mask_BC[row].bool()]
        types_P = prompt.token_types_P
        found.append(
            Conversation(
                torch.cat([prompt.ids_P, ids_C]),
                torch.cat([torch.zeros_like(prompt.ids_P), torch.ones_like(ids_C)]).bool(),
                prompt.images,
                None if types_P is None else torch.cat([types_P, torch.zeros_like(ids_C)]),
                digest=b"not asked for",
            )
        )
    return found


def _table(values_S: torch.Tensor, mask_BC: torch.Tensor) -> torch.Tensor:
    """Returns (B, C) of the values of all tokens, row by row."""
    return values_S.new_zeros(mask_BC.shape).masked_scatter(mask_BC, values_S)
