"""Samples N chains for a prompt, scores each, and returns the answer that they lead to.

    from rl_avr.inference.reranker import Reranker
    reranker = Reranker.load("runs/dpo/policy", "runs/sft/policy")
    print(reranker.answer("puzzle.png", n=16).answer)

`rl_avr.algo.voting` has the votes, `chain_scores` what a chain is worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from rl_avr.algo.voting import METHODS, Verdict, cannot_lose, doubt, mixture
from rl_avr.closing import Closing
from rl_avr.contracts import Completion, ParsedCompletion, Prompt, RolloutGroup
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError, RlAvrError
from rl_avr.inference.chain_scores import Columns, agreement_column, reward_columns
from rl_avr.inference.config import REWARD_SCORES, RerankConfig
from rl_avr.inference.implicit_reward import TokenRewards
from rl_avr.inference.own_question import ImageSource, answer_of, asked_prompt, image_bytes
from rl_avr.prompts import COT_PROMPT, answer_form_of
from rl_avr.seeding import derive_seed
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Engine, Sampling


class Scorer(Protocol):
    """What gives the implicit reward; `implicit_reward.ImplicitReward` is one."""

    processor: Any

    def score(self, prompt: Prompt, completions: Sequence[Sequence[int] | str]) -> TokenRewards:
        """Returns the logprobs of completions under the policy and its reference."""


@dataclass(frozen=True)
class Candidate:
    """One chain.

    Args:
        completion: what was sampled.
        parsed: what it says.
        answer: the letter of its choice, of an open question its words; None without one.
        score: what it is worth in the vote; 0 without an answer.
        scores: every score that was computed, by name.
    """

    completion: Completion
    parsed: ParsedCompletion
    answer: str | None
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Reranked:
    """What N chains lead to.

    Args:
        prompt_id: of the prompt.
        answer: None where no chain has an answer; nothing is guessed.
        distribution: answer -> share of the votes.
        winner_index: the chain to show for the answer; None without one.
        candidates: every chain, in the order in which it was sampled.
        num_prompt_tokens: length of the prompt as the engine saw it.
    """

    prompt_id: str
    answer: str | None
    distribution: Mapping[str, float]
    winner_index: int | None
    candidates: tuple[Candidate, ...]
    num_prompt_tokens: int = 0

    @property
    def winner(self) -> Candidate | None:
        """The chain to show for the answer."""
        return None if self.winner_index is None else self.candidates[self.winner_index]

    @property
    def chain(self) -> str | None:
        """Its text."""
        return None if self.winner is None else self.winner.completion.text

    @property
    def score(self) -> float | None:
        """Its score."""
        return None if self.winner is None else self.winner.score


class Reranker(Closing):
    """Answers prompts by N chains.

    Args:
        engine: samples the chains; closed with the reranker.
        scorer: gives the implicit reward; None leaves the methods that need none.
        config: N, scores and method.
        sampling: how chains are sampled.
        seed: of the chains; a prompt's own hang on its id, too.

    Raises:
        ConfigError: the method needs scores, and there is no scorer.
    """

    def __init__(
        self,
        engine: Engine,
        scorer: Scorer | None = None,
        config: RerankConfig | None = None,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.engine, self.scorer = engine, scorer
        self.config, self.sampling = config or RerankConfig(), sampling or SamplingConfig()
        self._seed = seed
        self._piece = cache(self._spelled)
        self.check(self.config)

    @classmethod
    def load(
        cls,
        model: str,
        reference: str = "",
        *,
        config: RerankConfig | None = None,
        rollouts: RolloutConfig | None = None,
        dtype: Any = "float32",
        seed: int = 0,
    ) -> "Reranker":
        """Returns a reranker on a policy and the one that it was trained from.

        Args:
            model: folder or hub name of the policy, or a folder of adapters.
            reference: the same; empty takes that of the config.
            config: N, scores and method. Without a reference its method must need no scores;
                with none given it is then `self_consistency`.
            rollouts: the engine, lengths and how chains are sampled.
            dtype: precision of the weights.
            seed: of the chains.

        Raises:
            ConfigError: policies that cannot be loaded or do not belong together, or a method
                that needs a reference where there is none.
            RolloutError: the engine cannot be loaded.
        """
        from rl_avr.inference.loading import load_parts

        reference = reference or (config.reference if config else "")
        if config is None:
            config = RerankConfig(method="weighted_softmax" if reference else "self_consistency")
        _check_scores(config, bool(reference))
        rollouts = rollouts or RolloutConfig()
        engine, scorer = load_parts(model, reference, rollouts, dtype, seed, config.sample_from)
        return cls(engine, scorer, config, rollouts.sampling, seed)

    def answer(
        self,
        image: ImageSource | Sequence[ImageSource],
        prompt: str = COT_PROMPT,
        n: int | None = None,
        **changes: Any,
    ) -> Reranked:
        """Returns what N chains about a picture lead to.

        Args:
            image: a file, its bytes, or a Pillow image; or several, in the order of the prompt.
            prompt: the question and what form of answer it wants.
            n: N; None takes that of the config.
            changes: fields of `RerankConfig` to change for this call, such as `method`.

        Raises:
            DataError: an image that cannot be read, or that the policy cannot take.
            ConfigError: a change that cannot be used.
            RolloutError: the engine failed, or the prompt is too long.
        """
        if n is not None:
            changes["num_chains"] = n
        config = replace(self.config, **changes)
        several = image if isinstance(image, list | tuple) else [image]
        raw = tuple(image_bytes(one, f"image {i}") for i, one in enumerate(several))
        asked = asked_prompt(raw, prompt, config.num_choices, config.configuration)
        return self.rerank([asked], config)[0]

    def rerank(
        self,
        prompts: Sequence[Prompt],
        config: RerankConfig | None = None,
        sampling: SamplingConfig | None = None,
    ) -> list[Reranked]:
        """Returns what the chains of each prompt lead to, in order.

        A prompt's chains do not depend on what stands beside it. With `stop`, each is asked in
        rounds until it is safe.

        Raises:
            DataError, ConfigError, RolloutError: as `answer`.
        """
        config, sampling = config or self.config, sampling or self.sampling
        self.check(config)
        pools = [_Pool(prompt) for prompt in prompts]
        open_pools, round_index = pools, 0
        while open_pools:
            left = config.num_chains - len(open_pools[0].completions)
            num = left if config.stop == "none" else min(left, config.round_size)
            seed = derive_seed("rerank", self._seed, round_index)
            groups = self.sample([p.prompt for p in open_pools], Sampling(sampling, num, seed))
            for pool, group in zip(open_pools, groups, strict=True):
                self._add(pool, group)
            open_pools = [pool for pool in open_pools if not pool.is_decided(config)]
            round_index += 1
        return [pool.reranked(config) for pool in pools]

    def check(self, config: RerankConfig) -> None:
        """Raises ConfigError where the config needs scores or an engine that there are not."""
        if config.sample_from != self.config.sample_from:
            raise ConfigError(
                f"rerank.sample_from: the {self.config.sample_from} samples here; load another "
                f"reranker for chains of the {config.sample_from}"
            )
        _check_scores(config, self.scorer is not None)

    def close(self) -> None:
        """Frees the engine and forgets the scorer."""
        self.engine.close()
        self.scorer = None

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns the engine's chains alone.

        Raises:
            DataError: an image that the policy cannot take.
            RolloutError: the engine failed, or a prompt is too long.
        """
        try:
            return self.engine.generate(prompts, sampling)
        except RlAvrError:
            raise
        except (ValueError, IndexError, TypeError) as error:
            names = ", ".join(prompt.prompt_id for prompt in prompts[:3])
            raise DataError(
                f"{names}: the policy cannot take the prompt or its images: {error}; expected "
                "images of a size and number that its processor takes"
            ) from error

    def _add(self, pool: "_Pool", group: RolloutGroup) -> None:
        """Adds chains with their scores to what is known of a prompt."""
        prompt = pool.prompt
        form = answer_form_of(prompt.text)
        new = group.completions
        parsed = [
            read(c.text, prompt.puzzle, c.finish_reason, prompt.kind, form, len(c.token_ids))
            for c in new
        ]
        columns = {"agreement": agreement_column(parsed)}
        if self.scorer is not None:
            rewards = self.scorer.score(prompt, [c.token_ids for c in new])
            columns |= reward_columns(rewards, new, parsed, self._piece)
        pool.num_prompt_tokens = len(group.prompt_token_ids)
        pool.add(new, parsed, columns)

    def _spelled(self, token_id: int) -> str:
        assert self.scorer is not None
        return self.scorer.processor.tokenizer.decode([token_id], skip_special_tokens=True)


class _Pool:
    """The chains of one prompt so far."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.num_prompt_tokens = 0
        self.completions: list[Completion] = []
        self.parsed: list[ParsedCompletion] = []
        self.columns: Columns = {}

    def add(
        self,
        completions: Sequence[Completion],
        parsed: Sequence[ParsedCompletion],
        columns: Columns,
    ) -> None:
        """Adds chains with their scores."""
        self.completions += completions
        self.parsed += parsed
        for name, column in columns.items():
            self.columns.setdefault(name, []).extend(column)

    def is_decided(self, config: RerankConfig) -> bool:
        """Returns whether no more chains are wanted."""
        left = config.num_chains - len(self.completions)
        if left <= 0 or config.stop == "none":
            return left <= 0
        answers, _, verdict = self._vote(config)
        if config.stop == "exact":
            return cannot_lose(answers, left)
        return doubt(verdict) < config.alpha

    def reranked(self, config: RerankConfig) -> Reranked:
        """Returns what the chains lead to."""
        answers, scores, verdict = self._vote(config)
        candidates = tuple(
            Candidate(c, p, answer, score, {name: col[i] for name, col in self.columns.items()})
            for i, (c, p, answer, score) in enumerate(
                zip(self.completions, self.parsed, answers, scores, strict=True)
            )
        )
        return Reranked(
            self.prompt.prompt_id,
            verdict.answer,
            verdict.distribution,
            verdict.winner_index,
            candidates,
            self.num_prompt_tokens,
        )

    def _vote(self, config: RerankConfig) -> tuple[list[str | None], list[float], Verdict]:
        """Returns each chain's answer and score, and the verdict."""
        answers = [answer_of(one, self.prompt.puzzle) for one in self.parsed]
        # without a scorer the chains of a plain vote have nothing to tell them apart
        known = config.scores.keys() <= self.columns.keys()
        scores = mixture(answers, self.columns, config.scores) if known else [0.0] * len(answers)
        return answers, scores, METHODS[config.method](answers, scores, config.temperature)


def _check_scores(config: RerankConfig, has_scorer: bool) -> None:
    if config.sample_from == "reference" and not has_scorer:
        raise ConfigError(
            "rerank.sample_from reference: expected the policy whose chains are sampled in "
            "rerank.reference, got none"
        )
    missing = [name for name in config.scores if name in REWARD_SCORES]
    if missing and not has_scorer and config.method != "self_consistency":
        raise ConfigError(
            f"rerank.reference is empty: {config.method} by {', '.join(missing)} needs the policy "
            "that this one was trained from. Name it, or take method self_consistency or the score "
            "agreement"
        )
