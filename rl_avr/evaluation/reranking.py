"""Which answer the sampled chains of a problem come to when each of them has a score."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rl_avr.algo.voting import METHODS
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.evaluation.config import EvalConfig, VoteConfig
from rl_avr.evaluation.rows import ProblemRow
from rl_avr.modeling.config import PolicyConfig

Score = Callable[[Prompt, Sequence[Completion]], Sequence[float]]
"""(prompt, its chains) -> a number for each, the higher the better."""


class SampleVote:
    """Gives chains their scores, and problems the answer that those vote for.

    Args:
        score: what scores them.
        config: how scores become votes.
    """

    def __init__(self, score: Score, config: VoteConfig) -> None:
        self._score = score
        self._config = config

    def reranked(self, row: ProblemRow, group: RolloutGroup) -> ProblemRow:
        """Returns a row with the scores of its samples and the answer of the vote.

        Args:
            row: of a problem.
            group: its samples as the policy gave them.

        Raises:
            DataError: the chains cannot be scored.
        """
        scores = self._score(group.prompt, group.completions)
        choices = [None if one.choice is None else str(one.choice) for one in row.samples]
        vote = METHODS[self._config.method]
        answer = vote(choices, scores, temperature=self._config.temperature).answer
        samples = (
            replace(sample, score=float(score))
            for sample, score in zip(row.samples, scores, strict=True)
        )
        return replace(
            row, samples=tuple(samples), reranked=None if answer is None else int(answer)
        )


def load_vote(policy: PolicyConfig, config: EvalConfig) -> SampleVote:
    """Returns what scores chains by the policy's implicit reward over its reference.

    Texts are scored, not the sampled ids: chains from a cache have none, and get the same score.

    Raises:
        ConfigError: the two cannot be loaded, or are no pair.
    """
    from rl_avr.inference.implicit_reward import completion_ids, load_pair

    path = config.adapter or policy.path
    reward = load_pair(path, config.rerank.reference, dtype=policy.dtype)
    tokenizer = reward.processor.tokenizer

    def score(prompt: Prompt, completions: Sequence[Completion]) -> list[float]:
        ids = [completion_ids(tokenizer, c.text, c.finish_reason == "stop") for c in completions]
        return reward.score(prompt, ids).total.tolist()

    return SampleVote(score, config.rerank)
