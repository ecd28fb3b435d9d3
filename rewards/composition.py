"""Parts -> one total, and the streams that become advantages.

    total = sum_k w_k v_k / sum_k w_k        over the terms k that could be judged

A term is a part after the format mode and the gate. Without the gate a group in which
every answer is wrong still has different rewards, and group normalisation turns format
and length into full-size advantages (a published run collapsed from 0.753 to 0.102 this
way); a group is therefore also admitted on the variance of its outcomes.

    stream        what is normalised within the group on its own
    total         the one stream of `sum_then_normalize`
    <part>        each part with a weight, with `normalize_then_sum`
    outcome, perception    the two sums of `gate: stream`

Source: sum-then-normalise and normalise-then-sum are trl's two ways (GDPO, the second);
the gate is VideoRFT's (1[R_acc > 0] R_aux); format modes: OThink-MR1 (separate),
VLAA-Thinking (implicit), Vision-R1 (and), MathBook (graded), View-R1 (added).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rewards.config import RewardConfig
from rewards.parts.choice import choice
from rewards.parts.consistency import consistency
from rewards.parts.detail import detail
from rewards.parts.format import format as format_part
from rewards.parts.knowledge import knowledge
from rewards.parts.length import length
from rewards.parts.perception import perception
from rewards.parts.rule import rule
from rewards.routing import route
from rl_avr.contracts import (
    GradedGroup,
    ParsedCompletion,
    PromptKind,
    Puzzle,
    RolloutGroup,
    Score,
)
from rl_avr.elicitation.reading import read

Part = Callable[[ParsedCompletion, Puzzle], float | None]

REWARDS: dict[str, Part] = {
    "choice": choice,
    "format": format_part,
    "perception": perception,
    "rule": rule,
    "consistency": consistency,
    "detail": detail,
    "knowledge": knowledge,
}
"""The parts that need no setting; `length` needs its limit."""

PERCEPTION_STREAM = ("perception", "rule", "detail", "knowledge")
_NO_OWN: Mapping[str, float | None] = {}


def parts_of(
    parsed: ParsedCompletion, puzzle: Puzzle, config: RewardConfig, kind: PromptKind = "cot"
) -> dict[str, float | None]:
    """Returns part -> value of every part that the config and the kind of prompt judge."""
    judged = route(kind, config).parts
    parts = _all_parts(parsed, puzzle, config, judged)
    return {name: value for name, value in parts.items() if name in judged}


def _all_parts(
    parsed: ParsedCompletion, puzzle: Puzzle, config: RewardConfig, judged: Sequence[str]
) -> dict[str, float | None]:
    """Returns part -> value; None for a part that is not judged."""
    values = {
        name: part(parsed, puzzle) if name in judged else None for name, part in REWARDS.items()
    }
    if config.length_limit:
        values["length"] = length(parsed, config.length_limit, config.length_buffer)
    return values


def score(
    parsed: ParsedCompletion,
    puzzle: Puzzle,
    config: RewardConfig,
    kind: PromptKind = "cot",
    own: Mapping[str, float | None] = _NO_OWN,
) -> Score:
    """Returns the named parts of one completion, its total in [0, 1] and its streams.

    Args:
        parsed: what the completion says.
        puzzle: the puzzle that it answers.
        config: weights and composition.
        kind: what the prompt asked for.
        own: what the user's own functions gave, by name, in [0, 1] or None.

    The total of a completion that no part could judge is 0.
    """
    outcome_name, judged = route(kind, config)
    parts = _all_parts(parsed, puzzle, config, judged)
    parts.update(own)
    terms, outcome = _terms(parts, outcome_name, config)
    total, streams = _combined(terms, outcome_name, config)
    return Score(total, tuple(parts.items()), tuple(streams.items()), outcome)


def part_names(config: RewardConfig) -> tuple[str, ...]:
    """Returns the names of the parts in every score, without the user's own."""
    return (*REWARDS, "length") if config.length_limit else tuple(REWARDS)


Terms = dict[str, float | None]
"""Name -> value after format mode and gate."""


def _terms(
    parts: Mapping[str, float | None], outcome_name: str, config: RewardConfig
) -> tuple[Terms, float | None]:
    """Returns the terms, and the outcome on whose variance a group is admitted."""
    right, form = parts[outcome_name], parts["format"]
    outcome = right
    if config.format_mode == "and" and form != 1.0 and right is not None:
        outcome = right = 0.0
    elif config.format_mode == "graded" and right is not None:
        right = 0.9 * right if right > 0 else 0.1 * (form or 0.0)
    elif config.format_mode == "added" and right is not None:
        right = (right + 0.5 * (form or 0.0)) / 1.5
    is_open = config.gate != "choice" or outcome_name != "choice" or outcome in (1.0, None)
    terms: Terms = {
        name: value if is_open else 0.0
        for name, value in parts.items()
        if value is not None or name == outcome_name
    }
    terms[outcome_name] = right
    if config.format_mode not in ("separate", "and"):
        terms.pop("format", None)
    return terms, outcome


def _combined(
    terms: Terms, outcome_name: str, config: RewardConfig
) -> tuple[float, dict[str, float | None]]:
    weights = config.weights_with_own
    if config.gate == "stream":
        apart = set(PERCEPTION_STREAM) - {outcome_name}
        streams = {
            "outcome": _mean({n: v for n, v in terms.items() if n not in apart}, weights),
            "perception": _mean({n: v for n, v in terms.items() if n in apart}, weights),
        }
        return _mean(streams, stream_weights(config)) or 0.0, streams
    total = _mean(terms, weights)
    if config.aggregation == "sum_then_normalize":
        return total or 0.0, {"total": total}
    names = stream_weights(config)
    return total or 0.0, {name: terms.get(name) for name in names}


def _mean(terms: Terms, weights: Mapping[str, float]) -> float | None:
    total = weight_sum = 0.0
    for name, value in terms.items():
        if value is not None:
            weight = weights[name]
            total += weight * value
            weight_sum += weight
    return total / weight_sum if weight_sum else None


def stream_weights(config: RewardConfig) -> dict[str, float]:
    """Returns stream -> weight of its advantage."""
    if config.gate == "stream":
        return {"outcome": 1.0, "perception": config.stream_weight}
    if config.aggregation == "sum_then_normalize":
        return {"total": 1.0}
    weights = dict(config.weights_with_own)
    if config.format_mode not in ("separate", "and"):
        weights["format"] = 0.0
    return {name: weight for name, weight in weights.items() if weight}


def stream_aggregation(
    config: RewardConfig,
) -> Literal["sum_then_normalize", "normalize_then_sum"]:
    """Returns how several streams become one advantage, as trl names it."""
    return "normalize_then_sum" if config.gate == "stream" else config.aggregation


def grade(
    group: RolloutGroup,
    config: RewardConfig,
    own_G: Sequence[Mapping[str, float | None]] = (),
) -> GradedGroup:
    """Returns a rollout group with each completion parsed and scored.

    Args:
        group: what was sampled.
        config: weights and composition.
        own_G: for each completion what the user's own functions gave.
    """
    puzzle, kind = group.prompt.puzzle, group.prompt.kind
    parsed = tuple(
        read(c.text, puzzle, c.finish_reason, kind, config.answer_form, len(c.token_ids) or None)
        for c in group.completions
    )
    own_G = own_G or [_NO_OWN] * len(parsed)
    scores = [score(p, puzzle, config, kind, own) for p, own in zip(parsed, own_G, strict=True)]
    return admitted(GradedGroup(group, parsed, tuple(scores)), config)


def admitted(graded: GradedGroup, config: RewardConfig) -> GradedGroup:
    """Returns the group as its outcomes let it count.

    Where all outcomes are equal, or none is known, every stream but that of perception
    gets one and the same number, so its advantages are exactly 0.
    """
    outcomes = {score.outcome for score in graded.scores}
    if config.admission == "none" or len(outcomes - {None}) > 1:
        return graded
    kept = {"perception"} if config.gate == "stream" else set()
    scores = tuple(
        Score(
            s.total,
            s.parts,
            tuple((name, value if name in kept else 0.0) for name, value in s.streams),
            s.outcome,
        )
        for s in graded.scores
    )
    return GradedGroup(graded.group, graded.parsed, scores, is_admitted=False)
