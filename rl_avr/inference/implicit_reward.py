"""The reward that a policy and its reference are made of, token by token.

    r_t = log pi(y_t | x, y_<t) - log pi_ref(y_t | x, y_<t)        sum over t: r(x, y)

For a policy trained by DPO, beta r(x, y) is the reward that it was trained towards, up to a
number that is the same for all completions of a prompt. Nothing else is needed: two policies
that share a tokenizer, and completions.

Source: DPO, 2305.18290, equation 5; token by token: From r to Q*, 2404.12358, and PRIME,
2502.01456.

G: completions of a prompt, T: longest completion.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rl_avr.contracts import Prompt
from rl_avr.errors import DataError, RlAvrError
from rl_avr.modeling.config import Dtype
from rl_avr.modeling.packed_pass import base_of
from rl_avr.modeling.policy_pair import AskedPolicy, load_policy_pair
from rl_avr.modeling.reward_pass import RewardPass
from rl_avr.modeling.shared_prefix import PromptInputs
from rl_avr.modeling.shared_prefix_rows import processed_inputs
from rollouts.prompt_inputs import processed_prompt

PACK_TOKENS = 16384
"""Most tokens that go through a policy at once, where no other number is given."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class TokenRewards:
    """Logprobs of completions under a policy and under its reference, in nats.

    Args:
        policy: (G, T) float32, 0 behind the end of a completion.
        reference: (G, T), likewise.
        mask: (G, T), True where there is a token; they come first.
    """

    policy: torch.Tensor
    reference: torch.Tensor
    mask: torch.Tensor

    @property
    def reward(self) -> torch.Tensor:
        """(G, T): r_t, 0 behind the end of a completion."""
        return (self.policy - self.reference) * self.mask

    @property
    def total(self) -> torch.Tensor:
        """(G,): the sum over each completion; 0 for one without tokens."""
        return self.reward.sum(dim=1)

    @property
    def lengths(self) -> torch.Tensor:
        """(G,): tokens of each completion."""
        return self.mask.sum(dim=1)


class ImplicitReward:
    """Scores completions by how much likelier a policy finds them than its reference.

    Prompt and image go through each of the two once for all completions of a prompt where its
    architecture allows it, which is found out at the first prompt; `why_plain` says why not.

    Args:
        policy: a model of transformers or peft, or `AskedPolicy` to choose among its adapters.
        reference: the same; it may be the same model with other adapters, or without.
        processor: of both.
        temperature: logits of both are divided by it; above 0.
        pack_tokens: most tokens that go through a policy at once; a single completion that is
            longer with its prompt still goes whole.
    """

    def __init__(
        self,
        policy: Any,
        reference: Any,
        processor: Any,
        *,
        temperature: float = 1.0,
        pack_tokens: int = PACK_TOKENS,
    ) -> None:
        self.processor = processor
        self.policy, self.reference = _asked(policy), _asked(reference)
        self._pass = RewardPass(self.policy, self.reference, temperature, pack_tokens)

    @property
    def why_plain(self) -> str | None:
        """Why every completion has its own copy of the prompt; None where they share one."""
        return self._pass.why_plain

    def score(self, prompt: Prompt, completions: Sequence[Sequence[int] | str]) -> TokenRewards:
        """Returns the logprobs of completions of one prompt.

        Args:
            prompt: with its images.
            completions: token ids, the end token included where there is one; or texts, which
                are taken to end where the text does. See `completion_ids` for a text that was cut.

        Raises:
            DataError: an image that cannot be read or that the policies cannot take, a completion
                with an image placeholder, or logprobs that are no numbers.
        """
        tokenizer = self.processor.tokenizer
        ids = [completion_ids(tokenizer, c) if isinstance(c, str) else list(c) for c in completions]
        self._check_placeholders(prompt, ids)
        inputs = self._inputs(prompt)
        ids_GT, mask_GT = _padded(ids, tokenizer.pad_token_id)
        device = inputs.ids_P.device
        both = self._pass(inputs, ids_GT.to(device), mask_GT.to(device))
        policy, reference = (logprobs.cpu() for logprobs in both)
        if not (policy.isfinite().all() and reference.isfinite().all()):
            raise DataError(
                f"{prompt.prompt_id}: logprobs that are no numbers; expected two whole policies in "
                "a precision that holds them, such as float32 or bfloat16"
            )
        return TokenRewards(policy, reference, mask_GT)

    def _inputs(self, prompt: Prompt) -> PromptInputs:
        """Returns the prompt as the policies read it; an image that they cannot take is told."""
        device = base_of(self.policy.model).device
        try:
            return processed_inputs(processed_prompt(self.processor, prompt).to(device))
        except RlAvrError:
            raise
        except (ValueError, IndexError, TypeError, RuntimeError) as error:
            sizes = f"{len(prompt.images)} images" if prompt.images else "no image"
            raise DataError(
                f"{prompt.prompt_id}: {type(self.processor).__name__} cannot read the prompt with "
                f"its {sizes}: {error}; expected images of a size and number that the policy takes"
            ) from error

    def _check_placeholders(self, prompt: Prompt, ids: Sequence[Sequence[int]]) -> None:
        image_id = base_of(self.policy.model).config.image_token_id
        for place, row in enumerate(ids):
            if image_id in row:
                raise DataError(
                    f"{prompt.prompt_id}, completion {place}: has the image placeholder "
                    f"{image_id}, and there is no image for it; expected words alone"
                )


def load_pair(
    policy_path: str,
    reference_path: str,
    *,
    dtype: Dtype = "float32",
    device: str | None = None,
    temperature: float = 1.0,
    pack_tokens: int = PACK_TOKENS,
) -> ImplicitReward:
    """Returns what scores completions by two policies, each a folder, a hub name or adapters.

    Raises:
        ConfigError: as `load_policy_pair`.
    """
    pair = load_policy_pair(policy_path, reference_path, dtype, device)
    return ImplicitReward(
        pair.policy,
        pair.reference,
        pair.processor,
        temperature=temperature,
        pack_tokens=pack_tokens,
    )


def completion_ids(tokenizer: Any, text: str, is_ended: bool = True) -> list[int]:
    """Returns a text as a policy would write it, the end token last unless it was cut."""
    end = [tokenizer.eos_token_id] if is_ended else []
    return [*tokenizer(tokenizable(text), add_special_tokens=False).input_ids, *end]


def tokenizable(text: str) -> str:
    """Returns a text in which lone surrogates, which no tokenizer reads, are U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _asked(policy: Any) -> AskedPolicy:
    return policy if isinstance(policy, AskedPolicy) else AskedPolicy(policy)


def _padded(ids: Sequence[Sequence[int]], pad_id: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (G, T) ids and which of them are tokens of a completion."""
    longest = max(map(len, ids), default=0)
    rows = [[*row, *[pad_id or 0] * (longest - len(row))] for row in ids]
    lengths = torch.tensor([len(row) for row in ids]).long()
    mask = torch.arange(longest) < lengths[:, None]
    return torch.tensor(rows, dtype=torch.long).view(len(ids), longest), mask
