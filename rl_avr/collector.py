"""The collector: prompts -> engine -> parse -> grade -> complete graded groups.

GRPO, evaluation and `rl-avr rollout` all take their groups from here, so a chain is
parsed and graded in one place only.
"""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from rewards.config import RewardConfig
from rewards.grader import Grader
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.errors import RolloutError
from rl_avr.seeding import derive_seed
from rollouts.config import SamplingConfig
from rollouts.engine import Engine


class Collector:
    """Samples and grades whole groups; as a context it ends what grading started.

    Args:
        engine: where completions come from; whoever made it closes it.
        sampling: how they are sampled.
        rewards: how they are graded.
        seed: with the call's own path it decides every sample.
    """

    def __init__(
        self, engine: Engine, sampling: SamplingConfig, rewards: RewardConfig, seed: int
    ) -> None:
        self.engine = engine
        self._sampling = sampling
        self._grader = Grader(rewards)
        self._seed = seed

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
        groups = self.engine.generate(prompts, num_generations, self._sampling, seed)
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
        return self._grader.grade(groups)

    def batches(
        self,
        prompts: Sequence[Prompt],
        num_generations: int,
        batch_size: int,
        *path: str | int,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> Iterator[GradedGroup]:
        """Yields graded groups batch by batch; `on_batch` hears how many are done."""
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            yield from self.collect(batch, num_generations, *path, start)
            on_batch(len(batch))

    def close(self) -> None:
        """Ends what grading started; the engine stays."""
        self._grader.close()

    def __enter__(self) -> "Collector":
        """Returns the collector."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends what grading started."""
        self.close()
