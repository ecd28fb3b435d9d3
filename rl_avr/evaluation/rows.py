"""What an evaluation keeps of one problem: a line of `problems.jsonl`.

Every number of a report is computed from these lines alone, so nothing of a finished
evaluation needs the policy again. A problem that failed keeps its line, with what went
wrong and no samples; it counts as wrong.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from rewards.parts.rule import rule_truths
from rewards.state import Key, values_of
from rewards.truth import key_of, stated_keys
from rl_avr.contracts import GradedGroup, ParsedCompletion, ParseStatus, Puzzle
from rl_avr.errors import DataError
from rl_avr.evaluation.problems import Tags

Reason = Literal["perception", "rule", "incomplete", "sound"]
_STATUSES = get_args(ParseStatus)


class Tally(NamedTuple):
    """How much of what there is to say was said rightly and wrongly; the rest was not said."""

    right: int
    wrong: int
    total: int


@dataclass(frozen=True)
class Sample:
    """One chain.

    Args:
        status: how it could be read.
        choice: index into the answer set, or None.
        is_right: whether its answer is right.
        num_tokens: its length.
        parts: part of the reward -> its value; None where it could not judge.
        perception: attribute -> what the chain reads of the shown panels; empty where the
            state is not known.
        rules: attribute -> what it says of the rules; empty likewise.
        score: what a reranker gives it, the higher the better; None without one.
    """

    status: ParseStatus
    choice: int | None
    is_right: bool
    num_tokens: int
    parts: Mapping[str, float | None]
    perception: Mapping[str, Tally]
    rules: Mapping[str, Tally]
    score: float | None = None


@dataclass(frozen=True)
class ProblemRow:
    """One problem with what the policy made of it.

    Args:
        prompt_id: unique within an evaluation.
        tags: what it is.
        gold: index of the right choice; None for an open question.
        num_choices: how many choices there are; 0 for an open question.
        greedy: the chain at temperature 0; None where none was asked for.
        samples: the sampled chains.
        error: what went wrong, for a problem without chains.
        reranked: choice of the samples' vote, each weighing by its score; None without one.
    """

    prompt_id: str
    tags: Tags
    gold: int | None
    num_choices: int
    greedy: Sample | None = None
    samples: tuple[Sample, ...] = ()
    error: str | None = None
    reranked: int | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """Returns all values of a tag, in order; none where the problem has no such tag."""
        return tuple(value for tag, value in self.tags if tag == name)

    def to_json(self) -> str:
        """Returns the row as one line of JSON."""
        return json.dumps(vars(self), default=vars, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str = "row") -> "ProblemRow":
        """Reads what `to_json` wrote.

        Raises:
            DataError: the text is not a row; the message begins with `where`.
        """
        try:
            raw = json.loads(text)
            raw["tags"] = tuple((str(name), str(value)) for name, value in raw["tags"])
            raw["samples"] = tuple(_sample(sample) for sample in raw["samples"])
            raw["greedy"] = _sample(raw["greedy"]) if raw["greedy"] else None
            return cls(**raw)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: expected a problem's row, got {error!r}") from error


def _sample(raw: dict[str, Any]) -> Sample:
    if raw["status"] not in _STATUSES:
        raise ValueError(f"status {raw['status']!r}: expected one of {', '.join(_STATUSES)}")
    for name in ("perception", "rules"):
        raw[name] = {attribute: Tally(*counts) for attribute, counts in raw[name].items()}
    return Sample(**raw)


def reason_of(sample: Sample) -> Reason | None:
    """Returns how good the reason of a right answer is; None where there is nothing to judge.

    Returns:
        `perception` where something is said wrongly of the shown panels, else `rule` where a
        rule is named wrongly, else `incomplete` where something is left out, else `sound`.
        None for a wrong answer, or a chain that says nothing of panels and rules.
    """
    seen, ruled = list(sample.perception.values()), list(sample.rules.values())
    if not sample.is_right or not any(tally.right + tally.wrong for tally in seen + ruled):
        return None
    if any(tally.wrong for tally in seen):
        return "perception"
    if any(tally.wrong for tally in ruled):
        return "rule"
    is_whole = all(tally.right == tally.total for tally in seen + ruled)
    return "sound" if is_whole else "incomplete"


def samples_of(graded: GradedGroup) -> tuple[Sample, ...]:
    """Returns what is kept of each chain of a graded group, in order."""
    puzzle = graded.group.prompt.puzzle
    return tuple(
        Sample(
            status=parsed.status,
            choice=parsed.choice_index,
            is_right=score.part("choice") == 1.0,
            num_tokens=len(completion.token_ids),
            parts=dict(score.parts),
            perception=perception_tallies(parsed, puzzle),
            rules=rule_tallies(parsed, puzzle),
        )
        for completion, parsed, score in zip(
            graded.group.completions, graded.parsed, graded.scores, strict=True
        )
    )


def perception_tallies(parsed: ParsedCompletion, puzzle: Puzzle) -> dict[str, Tally]:
    """Returns attribute -> how much of what a chain states of the shown panels is said.

    What is said both rightly and wrongly counts as wrong; claims about anything else do not
    count. Over all attributes right / total is `perception_accuracy`. Empty without a state.
    """
    if not puzzle.has_state:
        return {}
    said: dict[Key, set[int]] = {}
    for claim in parsed.panel_claims:
        said.setdefault(key_of(claim), set()).add(claim.value)
    values = values_of(puzzle)
    return _summed(
        (key[2], said.get(key) == {values[key]}, key in said) for key in stated_keys(puzzle)
    )


def rule_tallies(parsed: ParsedCompletion, puzzle: Puzzle) -> dict[str, Tally]:
    """Returns attribute -> how many of its rules are named; see `rule_truths`.

    A rule named for an attribute that has none is one more, wrong one. Empty without rules.
    """
    if not puzzle.has_state or not puzzle.rules:
        return {}
    named = {(claim.rule.component, claim.rule.attribute) for claim in parsed.rule_claims}
    return _summed(
        (key[1], is_right, key in named) for key, is_right in rule_truths(parsed, puzzle).items()
    )


def _summed(facts: Iterable[tuple[str, bool, bool]]) -> dict[str, Tally]:
    """Returns attribute -> tally of facts: their attribute, whether right, whether said."""
    sums: dict[str, Tally] = {}
    for attribute, is_right, is_said in facts:
        right, wrong, total = sums.get(attribute, (0, 0, 0))
        sums[attribute] = Tally(right + is_right, wrong + (is_said and not is_right), total + 1)
    return dict(sorted(sums.items()))
