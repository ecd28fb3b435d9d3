"""The typed values that travel between the layers. No torch, no input or output.

    Puzzle -> Prompt -> RolloutGroup (Completions) -> GradedGroup (ParsedCompletions, Scores)

All are immutable and hashable. `Puzzle` goes to JSON and back without loss.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

CHOICE_LETTERS = "ABCDEFGH"

ParseStatus = Literal[
    "ok", "truncated", "no_answer", "several_answers", "not_a_choice", "malformed"
]
PromptKind = Literal["perception", "cot"]
FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True)
class Entity:
    """One shape. Every field is a level of RAVEN's grammar, never a pixel or a word.

    Args:
        type: 1 triangle, 2 square, 3 pentagon, 4 hexagon, 5 circle.
        size: 0 to 5, smallest first.
        color: 0 to 9, white first.
        angle: 0 to 7, -135 to 180 degrees in steps of 45; 3 is upright.
    """

    type: int
    size: int
    color: int
    angle: int = 3


@dataclass(frozen=True)
class Panel:
    """One cell of a matrix or of its answer set: its entities in slot order."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Rule:
    """A rule along the rows.

    Args:
        attribute: `type`, `size` or `color`.
        kind: `constant`, `progression`, `arithmetic` or `distribute_three`.
        parameter: the step of a progression (-2, -1, 1, 2), the sign of an
            arithmetic rule (1, -1), 0 for the others.
    """

    attribute: str
    kind: str
    parameter: int = 0


@dataclass(frozen=True)
class Puzzle:
    """A puzzle with its symbolic state.

    Args:
        puzzle_id: unique within a data set.
        family: `rpm` for matrix puzzles.
        configuration: RAVEN's folder name, `center_single` and so on.
        context: the panels shown, row-major; the missing one is not among them.
        choices: the answer set, in the order of its letters.
        answer_index: index of the right choice.
        rules: one per ruled attribute.
        difficulty: number of attributes whose rule is not constant.
        seed: what the sampler was given; 0 where the puzzle was read from a file.
    """

    puzzle_id: str
    family: str
    configuration: str
    context: tuple[Panel, ...]
    choices: tuple[Panel, ...]
    answer_index: int
    rules: tuple[Rule, ...]
    difficulty: int
    seed: int

    @property
    def answer(self) -> Panel:
        """The panel that completes the matrix."""
        return self.choices[self.answer_index]

    @property
    def answer_letter(self) -> str:
        """The letter of the right choice."""
        return CHOICE_LETTERS[self.answer_index]

    def to_json(self) -> str:
        """Returns the puzzle as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Puzzle":
        """Reads what `to_json` wrote.

        Raises:
            ValueError, KeyError or TypeError: the text is not a puzzle; a loader
                adds the row it came from.
        """
        raw = json.loads(text)
        raw["context"] = tuple(_panel(p) for p in raw["context"])
        raw["choices"] = tuple(_panel(p) for p in raw["choices"])
        raw["rules"] = tuple(Rule(**r) for r in raw["rules"])
        return cls(**raw)


def _panel(raw: dict[str, Any]) -> Panel:
    return Panel(tuple(Entity(**entity) for entity in raw["entities"]))


@dataclass(frozen=True)
class Prompt:
    """What a policy is asked.

    Args:
        prompt_id: unique within a data set.
        puzzle: the puzzle behind it, for grading.
        kind: `cot` for a chain and a choice, `perception` for questions.
        text: the user's words, without any image placeholder.
        image_png: the image, encoded; one per prompt.
    """

    prompt_id: str
    puzzle: Puzzle
    kind: PromptKind
    text: str
    image_png: bytes = field(repr=False)


@dataclass(frozen=True)
class Completion:
    """One sampled answer.

    Args:
        text: without special tokens.
        token_ids: as sampled, the end token included where there is one.
        sampling_logprobs: one per token, under the distribution that was sampled.
        finish_reason: `stop` at the end token, `length` at the limit.
        weights_version: number of the weight sync that the engine had seen.
    """

    text: str
    token_ids: tuple[int, ...]
    sampling_logprobs: tuple[float, ...]
    finish_reason: FinishReason
    weights_version: int


@dataclass(frozen=True)
class RolloutGroup:
    """One prompt, the prompt ids the engine really saw, and its G completions."""

    prompt: Prompt
    prompt_token_ids: tuple[int, ...]
    completions: tuple[Completion, ...]


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of a completion's text."""

    start: int
    end: int


@dataclass(frozen=True)
class PanelClaim:
    """A statement about one attribute of one panel.

    Args:
        panel: `context:0` to `context:7`, `choice:0` to `choice:7`, or `missing`.
        attribute: `type`, `size` or `color`.
        value: the level claimed.
    """

    panel: str
    attribute: str
    value: int
    span: Span


@dataclass(frozen=True)
class RuleClaim:
    """A statement about the rule of one attribute."""

    rule: Rule
    span: Span


@dataclass(frozen=True)
class VerdictClaim:
    """A statement that one attribute of a choice fits the missing panel, or does not."""

    choice_index: int
    attribute: str
    fits: bool
    span: Span


@dataclass(frozen=True)
class ParsedCompletion:
    """What a completion says, without judgement.

    Args:
        status: `ok` when every section is there, in order, with one answer.
        panel_claims: in the order of the text; a repeated claim appears twice.
        rule_claims: in the order of the text.
        verdict_claims: in the order of the text.
        choice_index: index of the chosen letter, or None without exactly one answer.
        sections: names of the sections found, in the order of the text.
    """

    status: ParseStatus
    panel_claims: tuple[PanelClaim, ...]
    rule_claims: tuple[RuleClaim, ...]
    verdict_claims: tuple[VerdictClaim, ...]
    choice_index: int | None
    sections: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """A total and its named parts; a part that cannot judge is None, not 0."""

    total: float
    parts: tuple[tuple[str, float | None], ...]

    def part(self, name: str) -> float | None:
        """Returns the part called `name`."""
        return dict(self.parts)[name]


@dataclass(frozen=True)
class GradedGroup:
    """A rollout group with the parsed form and the score of each completion."""

    group: RolloutGroup
    parsed: tuple[ParsedCompletion, ...]
    scores: tuple[Score, ...]
