"""Logprobs of a prompt's completions under a policy and its reference, neither of them trained.

Prompt and image go through each of the two once for all completions where its architecture
allows it, and in plain rows else.

G: completions of a prompt, T: longest completion.
"""

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.policy_pair import AskedPolicy
from rl_avr.modeling.shared_prefix import (
    PromptInputs,
    SharedPrefixBatch,
    SharedPrefixSettings,
    enable_shared_prefix,
)
from rl_avr.modeling.shared_prefix_check import plain_logprobs, refusal


class RewardPass:
    """Asks two policies for logprobs; which way is decided at the first prompt, for both alike.

    Args:
        policy: asked first.
        reference: asked second; its model may be the policy's own.
        temperature: logits of both are divided by it; above 0.
        pack_tokens: most tokens that go through a policy at once; a single completion that is
            longer with its prompt still goes whole.
    """

    def __init__(
        self, policy: AskedPolicy, reference: AskedPolicy, temperature: float, pack_tokens: int
    ) -> None:
        self._sides = (policy, reference)
        self._temperature = temperature
        self._pack_tokens = pack_tokens
        self._is_checked = False
        self.why_plain: str | None = None
        # no cache of features: adapters of one side may stand in the tower that both share
        settings = SharedPrefixSettings(temperature, pack_tokens)
        for model in {id(side.model): side.model for side in self._sides}.values():
            try:
                enable_shared_prefix(model, settings)
            except ConfigError as error:
                self.why_plain = str(error)

    def __call__(
        self, prompt: PromptInputs, ids_GT: torch.Tensor, mask_GT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns (G, T) float32 logprobs of both, in nats; 0 where the mask is 0.

        Args:
            prompt: on the device of the policies.
            ids_GT: completions, on that device too.
            mask_GT: 1 for a row's tokens, which come first; a row may have none.
        """
        if not mask_GT.any():
            nothing = torch.zeros(ids_GT.shape, device=ids_GT.device)
            return nothing, nothing
        batch = SharedPrefixBatch((prompt,), ids_GT, mask_GT.long())
        if not self._is_checked and self.why_plain is None:
            self._check(batch)
        policy, reference = (self._logprobs(side, batch).float() for side in self._sides)
        return policy, reference

    def _check(self, batch: SharedPrefixBatch) -> None:
        self._is_checked = True
        for side in self._sides:
            with side.asked() as model:
                self.why_plain = self.why_plain or refusal(model, batch, self._temperature)

    def _logprobs(self, side: AskedPolicy, batch: SharedPrefixBatch) -> torch.Tensor:
        with side.asked() as model:
            if self.why_plain is None:
                return model(shared_prefix=batch).logprobs
            num_tokens = len(batch.prompts[0].ids_P) + batch.completion_ids_BC.shape[1]
            at_once = max(1, self._pack_tokens // num_tokens)
            pieces = zip(
                batch.completion_ids_BC.split(at_once),
                batch.completion_mask_BC.split(at_once),
                strict=True,
            )
            parts = [
                plain_logprobs(
                    model, SharedPrefixBatch(batch.prompts, ids, mask), self._temperature
                )
                for ids, mask in pieces
            ]
            return torch.cat(parts)
