"""Grades whole groups; owns the processes in which the user's own functions run."""

from collections.abc import Mapping, Sequence

from rewards.composition import grade
from rewards.config import RewardConfig
from rewards.own import OwnRewards, OwnSample, own_sample
from rl_avr.closing import Closing
from rl_avr.contracts import Completion, GradedGroup, Prompt, RolloutGroup


class Grader(Closing):
    """Grades groups by one config.

    Args:
        config: weights and composition; the user's functions are loaded here.

    Raises:
        ConfigError: a function of the user's cannot be loaded.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._config = config
        self._own = OwnRewards(config.own, config.own_limits) if config.own else None

    def grade(self, groups: Sequence[RolloutGroup]) -> list[GradedGroup]:
        """Returns the groups graded, in order.

        Raises:
            RewardError: one of the user's functions failed too often.
        """
        own = self._own_scores(groups)
        graded = []
        for group in groups:
            size = len(group.completions)
            graded.append(grade(group, self._config, own[:size]))
            own = own[size:]
        return graded

    def _own_scores(self, groups: Sequence[RolloutGroup]) -> list[Mapping[str, float | None]]:
        """Returns, for each completion of all groups, name -> value of the user's parts."""
        pairs = [(group.prompt, c) for group in groups for c in group.completions]
        if self._own is None:
            return [{} for _ in pairs]
        values = self._own.score([_sample(prompt, c) for prompt, c in pairs])
        return [{name: column[i] for name, column in values.items()} for i in range(len(pairs))]

    def close(self) -> None:
        """Ends the processes."""
        if self._own is not None:
            self._own.close()


def _sample(prompt: Prompt, completion: Completion) -> OwnSample:
    return own_sample(
        prompt.text,
        completion.text,
        prompt.puzzle,
        prompt_id=prompt.prompt_id,
        kind=prompt.kind,
        finish_reason=completion.finish_reason,
        num_tokens=len(completion.token_ids),
    )
