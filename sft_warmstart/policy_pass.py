"""Logprobs of a batch's trained tokens: conversations packed where the policy can, in rows else.

B: rows, T: longest conversation, S: trained tokens of a batch.
"""

import logging
from typing import Any

import torch
from accelerate import Accelerator

from rl_avr.errors import ConfigError
from rl_avr.modeling.conversation_check import refusal
from rl_avr.modeling.conversation_pass import (
    ConversationBatch,
    ConversationOutput,
    ConversationSettings,
    enable_conversation_pass,
)
from rl_avr.modeling.image_features import FeatureCache
from rl_avr.modeling.plain_rows import plain_rows
from sft_warmstart.config import LossConfig

_LOG = logging.getLogger(__name__)


class SftPass:
    """Computes logprobs of trained tokens under a policy with trl's fused output head.

    Which way is decided at the first batch, on all ranks alike: `why_plain` then says why
    rows are plain, and is None where conversations are packed.

    Args:
        config: whether and how conversations are packed.
        pad_token_id: what fills plain rows.
        num_conversations: of a rank's batch; features of a frozen tower are kept for so many.
        accelerator: of the run.
    """

    def __init__(
        self,
        config: LossConfig,
        pad_token_id: int,
        num_conversations: int,
        accelerator: Accelerator,
    ) -> None:
        self._pad_token_id = pad_token_id
        self._accelerator = accelerator
        self._settings = ConversationSettings(config.pack_tokens, FeatureCache(num_conversations))
        self._is_decided = not config.packing
        self.why_plain = None if config.packing else "sft.loss.packing is false"

    def enable(self, model: Any) -> None:
        """Prepares a policy, or notes why it cannot read packs."""
        if self._is_decided:
            return
        try:
            enable_conversation_pass(model, self._settings)
        except ConfigError as error:
            self._decide(str(error))

    def decide(self, model: Any, batch: ConversationBatch) -> None:
        """Decides which way to go, where it is not decided yet; all ranks together."""
        if not self._is_decided:
            self._decide(refusal(self._accelerator.unwrap_model(model), batch))

    def __call__(self, model: Any, batch: ConversationBatch) -> ConversationOutput:
        """Returns logprobs, entropies and what is likeliest, of all trained tokens."""
        assert self._is_decided, "decide() comes first"
        if self.why_plain is None:
            return model(conversations=batch)
        return self._plain(model, batch)

    def _plain(self, model: Any, batch: ConversationBatch) -> ConversationOutput:
        rows = plain_rows(batch.passengers, self._pad_token_id)
        rows = {name: value.to(self._accelerator.device) for name, value in rows.items()}
        output = model(**rows, use_cache=False, fused_lm_head=True)
        is_trained = rows["labels"][:, 1:] != -100
        counted = slice(batch.num_trained)
        return ConversationOutput(
            output.log_probs[is_trained][counted],
            output.entropy[is_trained].detach()[counted],
            output.is_top1[is_trained].bool()[counted],
        )

    def _decide(self, reason: str | None) -> None:
        """Takes the plain way on all ranks where one of them must."""
        refused = torch.tensor(float(reason is not None), device=self._accelerator.device)
        is_plain = bool(self._accelerator.gather(refused).max())
        self._is_decided = True
        self.why_plain = (reason or "another rank cannot read packs") if is_plain else None
        if self.why_plain and self._accelerator.is_main_process:
            _LOG.warning(
                "conversations go through the policy as padded rows, each with its own copy of "
                "its images, which takes longer: %s",
                self.why_plain,
            )
