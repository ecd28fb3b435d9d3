"""Implicit credit in GRPO: a policy and its reference that are not trained, beside the run's own.

    r_t = log pi_c(y_t) - log pi_ref(y_t)        pi_c: the credit policy

With `refresh_steps` the credit policy becomes the running policy every so many steps, so that it
stays near the completions that it judges. It is then part of each checkpoint.

Source: PRIME, 2502.01456, which shows that a credit policy that stands still goes stale. There
it is trained on outcomes of its own; here it is the policy that is trained.

B: completions, C: padded completion.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import has_adapters, plain_model
from rl_avr.modeling.config import Dtype
from rl_avr.modeling.policy_pair import PolicyPair, check_processors, load_policy_pair
from rl_avr.modeling.reward_pass import RewardPass
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.training.config import CreditConfig, UpdateConfig
from rl_avr.training.policy_pass import GroupPrompt
from rl_avr.training.resumable import load_weights

_FOLDER = "credit_policy"
"""Folder in a checkpoint for the weights of a credit policy that is refreshed."""
_MAX_NAMED = 3


def load_credit_pair(config: CreditConfig, dtype: Dtype, processor: Any) -> PolicyPair | None:
    """Returns the pair that implicit credit needs, on the CPU; None where it needs none.

    Args:
        config: which pair.
        dtype: precision of the weights in memory.
        processor: of the policy that is trained.

    Raises:
        ConfigError: as `load_policy_pair`; or the pair reads texts in another way than the policy,
            or what is to be refreshed are adapters.
    """
    if not config.is_implicit:
        return None
    is_moving = config.refresh_steps > 0
    pair = load_policy_pair(config.policy, config.reference, dtype, "cpu", may_be_equal=is_moving)
    check_processors(processor, pair.processor, "policy.path", f"credit.policy {config.policy}")
    if is_moving and has_adapters(pair.policy.model):
        raise ConfigError(
            f"credit.refresh_steps {config.refresh_steps}: credit.policy {config.policy} or "
            f"credit.reference {config.reference} are adapters, whose base both share; expected "
            "plain folders, as rl-avr export makes of adapters"
        )
    return pair


class ImplicitCredit:
    """Gives the tokens of a batch their implicit credit.

    Args:
        pair: credit policy and reference; moved to the device.
        refresh_steps: how often the credit policy becomes the running one; 0 never.
        update: how many tokens go through at once.
        temperature: logits are divided by it.
        banned_token_ids: given no probability, as the running policy gives them none.
        model: the running policy, whole or with adapters around it.
        device: of the run.

    Raises:
        ConfigError: the credit policy is to be refreshed and has other weights than the policy.
    """

    def __init__(
        self,
        pair: PolicyPair,
        refresh_steps: int,
        update: UpdateConfig,
        temperature: float,
        banned_token_ids: Sequence[int],
        model: Any,
        device: torch.device,
    ) -> None:
        self._policy = pair.policy.model
        self._refresh_steps = refresh_steps
        self._refreshed_at = 0
        for each in {id(s.model): s.model for s in (pair.policy, pair.reference)}.values():
            mask_logits(plain_model(each), banned_token_ids)
            each.to(device)
        self._pass = RewardPass(pair.policy, pair.reference, temperature, update.pack_tokens)
        if not update.shared_prefix:
            self._pass.why_plain = "update.shared_prefix is false"
        if refresh_steps:
            _check_shapes(self._policy, plain_model(model))

    def __call__(
        self, prompts: Sequence[GroupPrompt], ids_BC: torch.Tensor, mask_BC: torch.Tensor
    ) -> torch.Tensor:
        """Returns (B, C): r_t, 0 where the mask is 0.

        Args:
            prompts: one for each group.
            ids_BC: completions, those of a group side by side.
            mask_BC: 1 for a row's tokens, which come first.
        """
        size = len(ids_BC) // len(prompts)
        rows = zip(prompts, ids_BC.split(size), mask_BC.split(size), strict=True)
        both = [self._pass(prompt.inputs, ids, mask) for prompt, ids, mask in rows]
        return torch.cat([policy - reference for policy, reference in both])

    def refresh(self, model: Any, step: int) -> None:
        """Makes the credit policy the running one where it is time; all ranks call it together."""
        if not self._refresh_steps or step - self._refreshed_at < self._refresh_steps:
            return
        own = dict(self._policy.named_parameters())
        with torch.no_grad():
            for name, weight in named_weights(model):
                own[name].copy_(weight)
        self._refreshed_at = step

    def save(self, checkpoint: Path) -> None:
        """Writes a credit policy that has moved; for one process of the run."""
        if self._refreshed_at:
            folder = checkpoint / _FOLDER
            self._policy.save_pretrained(folder)
            (folder / "step.txt").write_text(f"{self._refreshed_at}\n", encoding="utf-8")

    def load(self, checkpoint: Path) -> None:
        """Reads what `save` wrote; nothing there means that it has not moved.

        Raises:
            DataError: the weights cannot be read.
        """
        folder = checkpoint / _FOLDER
        if self._refresh_steps and folder.is_dir():
            load_weights(self._policy, folder)
            self._refreshed_at = int((folder / "step.txt").read_text(encoding="utf-8"))


def _check_shapes(credit: Any, running: Any) -> None:
    own = {name: tuple(p.shape) for name, p in credit.named_parameters()}
    base = {
        name.replace(".base_layer.", "."): p
        for name, p in running.named_parameters()
        if ".lora_" not in name
    }
    # under ZeRO-3 a rank holds a part, and the whole shape stands beside it
    given = {n: tuple(p.ds_shape if hasattr(p, "ds_shape") else p.shape) for n, p in base.items()}
    wrong = sorted(n for n in own.keys() | given.keys() if own.get(n) != given.get(n))
    if wrong:
        raise ConfigError(
            "credit.refresh_steps: credit.policy and policy.path are not of one shape: "
            f"{len(wrong)} weights differ, first {', '.join(wrong[:_MAX_NAMED])}; expected a "
            "credit policy that the running one can take the place of"
        )
