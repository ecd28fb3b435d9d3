"""The rewards in other frameworks: trl, verl, EasyR1, and whatever calls a plain function.

    plain     (prompts, completions, **columns) -> one number or None for each completion
    trl       the plain form, called with keywords; 1.16's `GRPOTrainer(reward_funcs=...)`
    verl      one completion -> {"score", ...}, as the managers of `experimental/reward_loop`
              call a `custom_reward_function`
    EasyR1    list of mappings -> list of {"overall", ...}, as `worker.reward` calls it since
              the function's file says its `REWARD_TYPE` (after 0.3.0)

`rewards.columns` has the columns. A data set of this package has `puzzle`; one with only
image, question and gold answer needs `answer`, and parts that need the state are then
None. Weights, format mode and gate work as they do here, completion by completion. What
needs the whole group or the advantage does not exist there: admission on the variance of
the outcomes (with `gate: choice`, the default, a group of wrong answers has equal totals
all the same), and the weight by difficulty, which is refused.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rewards.columns import COLUMNS, Row, gold_columns, rows_of
from rewards.composition import score, stream_weights
from rewards.config import RewardConfig
from rewards.own import OwnRewards, OwnSample, own_sample
from rl_avr.contracts import Score
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, nearest

Numbers = list[float | None]


def trl_reward(config: RewardConfig) -> "Reward":
    """Returns the total as one reward function of trl 1.16.

    It logs the mean of every part as trl's metric `part/<name>`.

    Raises:
        ConfigError: the config has a weight by difficulty; a function of the user's cannot
            be loaded.
    """
    return Reward(_Scorer(config), None)


def trl_rewards(config: RewardConfig) -> tuple[list["Reward"], list[float]]:
    """Returns one reward function of trl 1.16 for each part with a weight, and the weights.

    For `GRPOTrainer(reward_funcs=...)` and `GRPOConfig(reward_weights=...)`. The values are
    those after format mode and gate, the weights sum to 1, so where every part can judge
    the weighted sum is the total. A part that cannot is None and counts as 0 in trl's sum,
    where the total leaves it out. `aggregation` is a setting of trl there:
    `multi_objective_aggregation`; with `gate: stream` the functions are `outcome` and
    `perception`, and `normalize_then_sum` normalises them apart.

    Raises:
        ConfigError: as `trl_reward`.
    """
    scorer = _Scorer(config)
    total = sum(scorer.weights.values())
    functions = [Reward(scorer, name) for name in scorer.weights]
    return functions, [weight / total for weight in scorer.weights.values()]


def plain_reward(config: RewardConfig, part: str | None = None) -> "Reward":
    """Returns a function `(prompts, completions, **columns) -> list[float | None]`.

    Args:
        config: weights and composition.
        part: a part with a weight, as it counts after format mode and gate; None for the
            total.

    Raises:
        ConfigError: no such part has a weight; else as `trl_reward`.
    """
    scorer = _Scorer(config)
    if part is not None and part not in scorer.weights:
        raise ConfigError(
            f"part: expected one of {', '.join(scorer.weights)}, got {part!r}; nearest: "
            f"{nearest(part, scorer.weights, 1)}. A part counts where its weight is above 0"
        )
    return Reward(scorer, part)


def verl_reward(config: RewardConfig) -> Callable[..., dict[str, float]]:
    """Returns `compute_score(data_source, solution_str, ground_truth, extra_info)` for verl.

    `score` is the total, 0 where nothing can judge, and `acc` the outcome, which verl
    validates by; then every part as it was judged, NaN where it could not.

    `ground_truth` is the gold answer, a puzzle's JSON, or a JSON object of columns; columns
    in `extra_info` are read too, and win. `data_source` is not read.

    Raises:
        ConfigError: as `trl_reward`; or there are functions of the user's own, which verl
            would call one by one from several threads.
    """
    if config.own:
        raise ConfigError(
            "own: expected none, because verl scores one completion at a time in several "
            f"threads; got {', '.join(config.own)}. Give verl a function that calls both"
        )
    scorer = _Scorer(config)

    def compute_score(
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, float]:
        info = {name: value for name, value in (extra_info or {}).items() if name in COLUMNS}
        (found,) = scorer.score_each([(solution_str, gold_columns(ground_truth) | info)])
        return {"score": found.total, "acc": _number(found.outcome), **_numbers(found)}

    return compute_score


def easyr1_reward(config: RewardConfig) -> Callable[..., Any]:
    """Returns `compute_score(reward_inputs)` for EasyR1, `REWARD_TYPE = "batch"`.

    Each input has `response`, `response_length` and `ground_truth`, which is the gold
    answer, a puzzle's JSON, or a JSON object of columns. Each output has the total as
    `overall`, 0 where nothing can judge, and every part as it was judged, NaN where it
    could not. One mapping instead of a list, as `sequential` has it, gives one.

    Raises:
        ConfigError: as `trl_reward`.
    """
    scorer = _Scorer(config)

    def compute_score(reward_inputs: Any, **_: Any) -> Any:
        if isinstance(reward_inputs, Mapping):
            return compute_score([reward_inputs])[0]
        cells = [
            (
                row["response"],
                {"num_tokens": row.get("response_length")} | gold_columns(row["ground_truth"]),
            )
            for row in reward_inputs
        ]
        return [{"overall": found.total, **_numbers(found)} for found in scorer.score_each(cells)]

    return compute_score


class Reward:
    """A reward function with a name; call it with keywords or `(prompts, completions)`.

    Several of one config share the work of a batch. It can be pickled, but for one with
    functions of the user's own, whose processes end with this one or with `close`.
    """

    def __init__(self, scorer: "_Scorer", part: str | None) -> None:
        self._scorer = scorer
        self._part = part
        self.__name__ = part or "total"

    def __call__(
        self,
        prompts: Sequence[Any] | None,
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> Numbers:
        """Returns one number in [0, 1] a completion; None where nothing can judge it.

        Args:
            prompts: texts or lists of messages.
            completions: texts or lists of messages.
            completion_ids: the tokens of each completion; they give its length.
            columns: those of `rewards.columns`; others are not read.

        Raises:
            RewardError: a column is missing, has another length, or holds something else.
        """
        scores = self._scorer.score(prompts, completions, completion_ids, columns)
        if self._part is not None:
            return [dict(found.streams)[self._part] for found in scores]
        if log_metric := columns.get("log_metric"):
            for name, values in _columns(scores).items():
                log_metric(f"part/{name}", sum(values) / len(values))
        return [found.total if _is_judged(found) else None for found in scores]

    def close(self) -> None:
        """Ends the processes of the user's own functions, for all functions of the config."""
        self._scorer.close()


class _Scorer:
    """Scores batches; keeps the last, so that several parts of it are one piece of work."""

    def __init__(self, config: RewardConfig) -> None:
        if config.difficulty_slope:
            raise ConfigError(
                "difficulty_slope: expected 0, because it acts on the advantage, which the other "
                f"framework computes; got {config.difficulty_slope}"
            )
        # the streams are then the single parts as they count; the total is the same
        self._config = replace(config, aggregation="normalize_then_sum")
        self._own: OwnRewards | None = None
        self._last: tuple[list[Row], list[Score]] = [], []
        self.weights = stream_weights(self._config)
        if config.own:
            # a function that cannot be loaded is named at once, not in the first step
            self._own = OwnRewards(config.own, config.own_limits)

    def score(
        self,
        prompts: Sequence[Any] | None,
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> list[Score]:
        """Returns the scores of a batch, in order."""
        rows = rows_of(prompts, completions, completion_ids, columns)
        last_rows, last_scores = self._last
        if rows == last_rows:
            return last_scores
        scores = self._scores(rows)
        self._last = rows, scores
        return scores

    def score_each(self, cells: Sequence[tuple[Any, Mapping[str, Any]]]) -> list[Score]:
        """Returns the scores of completions that have their columns beside them."""
        columns = {name: [row.get(name) for _, row in cells] for name in COLUMNS}
        return self._scores(rows_of(None, [text for text, _ in cells], None, columns))

    def close(self) -> None:
        """Ends the processes of the user's own functions, if there are any."""
        if self._own is not None:
            self._own.close()

    def _scores(self, rows: Sequence[Row]) -> list[Score]:
        own: Mapping[str, Numbers] = {}
        if self._own is not None and rows:
            own = self._own.score([_sample(row) for row in rows])
        return [
            self._score(row, {name: column[i] for name, column in own.items()})
            for i, row in enumerate(rows)
        ]

    def _score(self, row: Row, own: Mapping[str, float | None]) -> Score:
        parsed = read(
            row.text,
            row.puzzle,
            row.finish_reason,
            row.kind,
            self._config.answer_form,
            row.num_tokens,
        )
        return score(parsed, row.puzzle, self._config, row.kind, own)


def _sample(row: Row) -> OwnSample:
    return own_sample(
        row.prompt,
        row.text,
        row.puzzle,
        prompt_id=row.puzzle.puzzle_id,
        kind=row.kind,
        finish_reason=row.finish_reason,
        num_tokens=row.num_tokens,
    )


def _is_judged(found: Score) -> bool:
    return any(value is not None for _, value in found.streams)


def _columns(scores: Sequence[Score]) -> dict[str, list[float]]:
    """Returns part -> its values in a batch, without those that could not judge."""
    found: dict[str, list[float]] = {}
    for one in scores:
        for name, value in one.parts:
            if value is not None:
                found.setdefault(name, []).append(value)
    return found


def _numbers(found: Score) -> dict[str, float]:
    return {name: _number(value) for name, value in found.parts}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
