"""What every rollout engine promises.

The policy that sampled is the policy that is trained: weights are versioned, prompt
ids come back as the engine saw them, and logprobs are of the distribution sampled.
"""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol

import torch

from rl_avr.contracts import Prompt, RolloutGroup
from rollouts.config import SamplingConfig


class Engine(Protocol):
    """Samples groups of completions and takes new weights between steps."""

    weights_version: int

    def generate(
        self, prompts: Sequence[Prompt], num_generations: int, sampling: SamplingConfig, seed: int
    ) -> list[RolloutGroup]:
        """Returns one group per prompt, in order, each with `num_generations` completions."""

    def sync_weights(self, named_weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replaces the weights; every cache that depends on them is emptied."""

    def close(self) -> None:
        """Frees the engine."""

    def __enter__(self) -> "Engine":
        """Returns the engine."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the engine."""
