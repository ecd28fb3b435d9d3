"""What every rollout engine promises.

The policy that sampled is the policy that is trained: weights are versioned, prompt
ids come back as the engine saw them, and logprobs are of the distribution sampled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from rl_avr.contracts import Prompt, RolloutGroup
from rl_avr.seeding import derive_seed
from rollouts.config import SamplingConfig


@dataclass(frozen=True)
class Sampling:
    """How one call samples.

    Args:
        config: temperature, length and cut.
        num_generations: completions per prompt.
        seed: of the call; each prompt gets one of its own from it.
    """

    config: SamplingConfig
    num_generations: int
    seed: int

    def prompt_seed(self, prompt: Prompt, weights_version: int) -> int:
        """Returns a prompt's own 62-bit seed, whatever stands beside it in a batch.

        It is a hash: an engine that gives completion i the seed of its prompt plus i would
        share completions between prompts whose seeds are neighbours.
        """
        return derive_seed("prompt", self.seed, prompt.prompt_id, weights_version) >> 1


class Engine(Protocol):
    """Samples groups of completions and takes new weights between steps."""

    weights_version: int

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt, in order, each whole.

        Where a prompt has a `prefill`, its ids follow those of the chat template, without an end
        of the turn, and completions are what comes behind them.
        """

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Replaces the weights; every cache that depends on them is emptied.

        Args:
            named_weights: all at the first sync; what later ones may leave out the engine says.
            step: step of the run that they are for, named where they turn out to be broken.
        """

    def close(self) -> None:
        """Frees the engine."""

    def __enter__(self) -> "Engine":
        """Returns the engine."""

    def __exit__(self, *exc_info: object) -> None:
        """Closes the engine."""
