"""The collector: prompts -> engine -> parse -> grade -> complete graded groups.

GRPO, evaluation and `rl-avr rollout` all take their groups from here, so a chain is
parsed and graded in one place only.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from rewards.config import RewardConfig
from rewards.grader import Grader
from rl_avr.closing import Closing
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.errors import RolloutError
from rl_avr.seeding import derive_seed
from rollouts.config import SamplingConfig
from rollouts.engine import Engine, Sampling

logger = logging.getLogger(__name__)


Phase = Callable[[Literal["rollout", "reward"]], AbstractContextManager[None]]


def _unmeasured(_: str) -> AbstractContextManager[None]:
    return nullcontext()


class Collector(Closing):
    """Samples and grades whole groups; as a context it ends what grading started.

    Args:
        engine: where completions come from; whoever made it closes it.
        sampling: how they are sampled.
        rewards: how they are graded.
        seed: with the call's own path it decides every sample.
        max_truncated_share: a call of which a larger share is cut at the limit warns.
        phase: gives the context in which sampling and grading run; one that measures them, say.
    """

    def __init__(
        self,
        engine: Engine,
        sampling: SamplingConfig,
        rewards: RewardConfig,
        seed: int,
        max_truncated_share: float = 0.2,
        phase: Phase = _unmeasured,
    ) -> None:
        self.engine = engine
        self.phase = phase
        self._sampling = sampling
        self._grader = Grader(rewards)
        self._seed = seed
        self._max_truncated_share = max_truncated_share

    def collect(
        self, prompts: Sequence[Prompt], num_generations: int, *path: str | int
    ) -> list[GradedGroup]:
        """Returns one graded group per prompt, in order.

        Args:
            prompts: what to ask.
            num_generations: completions per prompt.
            path: names this call, e.g. the step and the rank; equal paths sample alike.

        Raises:
            RolloutError: a completion was sampled by weights other than the engine's
                current ones, or a group is not whole.
            RewardError: one of the user's own functions failed too often.
        """
        seed = derive_seed("rollout", self._seed, *path)
        sampling = Sampling(self._sampling, num_generations, seed)
        with self.phase("rollout"):
            groups = self.engine.generate(prompts, sampling)
        if [group.prompt.prompt_id for group in groups] != [p.prompt_id for p in prompts]:
            raise RolloutError(
                f"expected one group a prompt, in order; got {len(groups)} groups for "
                f"{len(prompts)} prompts from {type(self.engine).__name__}"
            )
        version = self.engine.weights_version
        for group in groups:
            stale = {c.weights_version for c in group.completions} - {version}
            if stale or len(group.completions) != num_generations:
                raise RolloutError(
                    f"prompt {group.prompt.prompt_id}: expected {num_generations} completions of "
                    f"weights version {version}; got {len(group.completions)}, versions {stale}"
                )
        with self.phase("reward"):
            graded = self._grader.grade(groups)
        self._warn_of_truncation(graded)
        return graded

    def batches(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        batch_size: int,
        *path: str | int,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> Iterator[GradedGroup]:
        """Yields graded groups batch by batch; `on_batch` hears how many are done.

        Every batch has the same path: a prompt's seed is a hash of its own id, so that neither
        the size of the batches nor the place where one starts changes what is sampled.
        """
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            yield from self.collect(batch, num_generations, *path)
            on_batch(len(batch))

    def _warn_of_truncation(self, groups: Sequence[GradedGroup]) -> None:
        num_cut, num = count_truncated(groups)
        if num_cut > self._max_truncated_share * num:
            logger.warning(
                "%d of %d completions (%.0f%%) were cut at %d tokens, more than "
                "rollouts.max_truncated_share %g; their answers are lost. Raise "
                "rollouts.sampling.max_new_tokens (and rollouts.max_model_len with it)",
                num_cut,
                num,
                100 * num_cut / num,
                self._sampling.max_new_tokens,
                self._max_truncated_share,
            )

    def close(self) -> None:
        """Ends what grading started; the engine stays."""
        self._grader.close()


def count_truncated(groups: Iterable[GradedGroup]) -> tuple[int, int]:
    """Returns how many completions were cut at the limit, and how many there are."""
    reasons = [c.finish_reason for graded in groups for c in graded.group.completions]
    return reasons.count("length"), len(reasons)
