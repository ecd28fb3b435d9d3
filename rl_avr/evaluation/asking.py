"""Problems -> engine -> rows; a problem that fails gets a row that says why.

A batch that the engine refuses is halved until the problems at fault are alone. A prompt's
chains hang on the seed and on its own id, so neither batches nor halves change an answer.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from rewards.config import RewardConfig
from rl_avr.closing import Closing
from rl_avr.collector import Collector
from rl_avr.contracts import GradedGroup, Prompt, RolloutGroup
from rl_avr.errors import DataError, RolloutError
from rl_avr.evaluation.labels import in_letters
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.reranking import SampleVote
from rl_avr.evaluation.rows import ProblemRow, samples_of
from rollouts.config import RolloutConfig
from rollouts.engine import Engine, Sampling

logger = logging.getLogger(__name__)

_NAMES = {"rollout": "generation", "reward": "grading"}


class Phases:
    """Adds up the seconds of each phase; phases do not contain each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measures a block under a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            name = _NAMES.get(name, name)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def line(self) -> str:
        """Returns the share of each phase, e.g. `12.0 s: loading 25%, generation 75%`."""
        total = sum(self.seconds.values())
        shares = (f"{name} {one / max(total, 1e-9):.0%}" for name, one in self.seconds.items())
        return f"{total:.1f} s: {', '.join(shares)}"


@dataclass(frozen=True)
class Answered:
    """A problem's row and the chains that it was made of, none where it failed."""

    row: ProblemRow
    chains: Mapping[str, GradedGroup] = field(default_factory=dict)


class ReadableEngine(Closing):
    """An engine whose completions are as the parser reads them.

    They name choices by letters, whatever names the prompt gave them, and begin with what the
    prompt began the turn with; tokens, and so costs, are of what was sampled. `last` has the
    groups of the last call as they were.

    Args:
        engine: what samples; whoever made it closes it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.weights_version = engine.weights_version
        self.problems: Mapping[str, Problem] = {}
        self.last: list[RolloutGroup] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns the engine's groups, their texts whole and with the names of choices replaced."""
        self.last = self._engine.generate(prompts, sampling)
        return [self._readable(group) for group in self.last]

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Hands the weights on."""
        self._engine.sync_weights(named_weights, step)
        self.weights_version = self._engine.weights_version

    def close(self) -> None:
        """Leaves the engine open."""

    def _readable(self, group: RolloutGroup) -> RolloutGroup:
        prompt = group.prompt
        style = self.problems[prompt.prompt_id].labels
        if style == "letters" and not prompt.prefill:
            return group
        num_choices = prompt.puzzle.num_choices
        changed = (
            replace(one, text=in_letters(prompt.prefill + one.text, style, num_choices))
            for one in group.completions
        )
        return replace(group, completions=tuple(changed))


class Asker(Closing):
    """Asks problems: one greedy chain and k sampled ones of each.

    Args:
        engine: where completions come from; whoever made it closes it.
        rollouts: how they are sampled.
        rewards: how they are graded.
        num_samples: k.
        seed: of the samples.
        phases: measures prompts, generation, grading and reranking.
        vote: scores the samples; None leaves them without a score.
    """

    def __init__(
        self,
        engine: Engine,
        rollouts: RolloutConfig,
        rewards: RewardConfig,
        num_samples: int,
        seed: int,
        phases: Phases,
        *,
        vote: SampleVote | None = None,
    ) -> None:
        self._engine = ReadableEngine(engine)
        self._phases = phases
        self._vote = vote
        sampling, limit = rollouts.sampling, rollouts.max_truncated_share
        greedy = replace(sampling, temperature=0.0)
        self._passes = {
            name: (Collector(self._engine, config, rewards, seed, limit, phases), num)
            for name, config, num in (("greedy", greedy, 1), ("sampled", sampling, num_samples))
        }

    def ask(self, problems: Sequence[Problem]) -> list[Answered]:
        """Returns what came of each problem, in order.

        Raises:
            RewardError: one of the user's own functions failed too often.
        """
        try:
            return self._ask(problems)
        except (RolloutError, DataError, OSError) as error:
            if len(problems) == 1:
                return [_failed(problems[0], error)]
        half = len(problems) // 2
        return self.ask(problems[:half]) + self.ask(problems[half:])

    def close(self) -> None:
        """Ends what grading started; the engine stays."""
        for collector, _ in self._passes.values():
            collector.close()

    def _ask(self, problems: Sequence[Problem]) -> list[Answered]:
        with self._phases("prompts"):
            # images that are drawn when they are read are drawn once for both passes
            prompts = [replace(one.prompt, images=tuple(one.prompt.images)) for one in problems]
        self._engine.problems = {one.prompt.prompt_id: one for one in problems}
        groups = {
            name: collector.collect(prompts, num, "eval", name)
            for name, (collector, num) in self._passes.items()
        }
        answered = [
            _answered(problem, {name: found[i] for name, found in groups.items()})
            for i, problem in enumerate(problems)
        ]
        if self._vote is None:
            return answered
        with self._phases("reranking"):
            said = zip(answered, self._engine.last, strict=True)
            rows = [self._vote.reranked(one.row, group) for one, group in said]
        return [replace(one, row=row) for one, row in zip(answered, rows, strict=True)]


def _answered(problem: Problem, chains: dict[str, GradedGroup]) -> Answered:
    greedy, sampled = (samples_of(chains[name]) for name in ("greedy", "sampled"))
    return Answered(replace(_row(problem), greedy=greedy[0], samples=sampled), chains)


def _failed(problem: Problem, error: Exception) -> Answered:
    logger.warning("%s: counted wrong: %s", problem.prompt.prompt_id, error)
    return Answered(replace(_row(problem), error=f"{type(error).__name__}: {error}"))


def _row(problem: Problem) -> ProblemRow:
    puzzle = problem.prompt.puzzle
    return ProblemRow(
        problem.prompt.prompt_id, problem.tags, puzzle.answer_index, puzzle.num_choices
    )
