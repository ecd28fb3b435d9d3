"""Parts -> one total.

    total = sum_k w_k part_k / sum_k w_k        over the parts that could judge
    gate "choice": auxiliary parts count as 0 where the choice is wrong
    needs_format:  a choice counts as wrong where the format is wrong

Without the gate a group in which every answer is wrong still has different rewards,
and group normalisation turns format and length into full-size advantages (a published
run collapsed from 0.753 to 0.102 this way).
"""

from collections.abc import Callable

from rewards.config import RewardConfig
from rewards.parts import choice_part, format_part, perception_part, rule_part
from rl_avr.contracts import GradedGroup, ParsedCompletion, Puzzle, RolloutGroup, Score
from rl_avr.elicitation.reading import read

REWARDS: dict[str, Callable[[ParsedCompletion, Puzzle], float | None]] = {
    "choice": choice_part,
    "format": format_part,
    "perception": perception_part,
    "rule": rule_part,
}


def score(parsed: ParsedCompletion, puzzle: Puzzle, config: RewardConfig) -> Score:
    """Returns the named parts of one completion and their total in [0, 1]."""
    parts = {name: part(parsed, puzzle) for name, part in REWARDS.items()}
    weights = {
        "choice": config.choice,
        "format": config.format,
        "perception": config.perception,
        "rule": config.rule,
    }
    counted = dict(parts)
    if config.needs_format and parts["format"] != 1.0:
        counted["choice"] = 0.0
    open_gate = config.gate == "none" or counted["choice"] == 1.0
    total = weight_sum = 0.0
    for name, value in counted.items():
        if value is None:
            continue
        weight_sum += weights[name]
        if name == "choice" or open_gate:
            total += weights[name] * value
    return Score(total / weight_sum if weight_sum else 0.0, tuple(parts.items()))


def grade(group: RolloutGroup, config: RewardConfig) -> GradedGroup:
    """Returns a rollout group with each completion parsed and scored."""
    puzzle, kind = group.prompt.puzzle, group.prompt.kind
    parsed = tuple(read(c.text, puzzle, c.finish_reason, kind) for c in group.completions)
    return GradedGroup(group, parsed, tuple(score(p, puzzle, config) for p in parsed))
