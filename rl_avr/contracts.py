"""The typed values that travel between the layers. No torch, no input or output.

    Puzzle -> Prompt -> RolloutGroup (Completions) -> GradedGroup (ParsedCompletions, Scores)

All are immutable and hashable. `Puzzle` goes to JSON and back without loss.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, get_args

CHOICE_LETTERS = "ABCDEFGH"

ParseStatus = Literal[
    "ok", "truncated", "no_answer", "several_answers", "not_a_choice", "malformed"
]
PromptKind = Literal["perception", "cot", "direct"]
AnswerKind = Literal["exact", "letter", "yes_no", "count", "number", "anls", "name", "tuple", "set"]
"""How the answer to an open question is graded; `rewards.answers` has a function for each."""
FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class Entity:
    """One shape. Every field is a level of RAVEN's grammar, never a pixel or a word.

    Args:
        type: 1 triangle, 2 square, 3 pentagon, 4 hexagon, 5 circle.
        size: 0 to 5, smallest first.
        color: 0 to 9, white first.
        angle: 0 to 7, -135 to 180 degrees in steps of 45; 3 is upright.
        slot: index of its place in the component's layout, row-major.
    """

    type: int
    size: int
    color: int
    angle: int = 3
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Component:
    """The entities of one part of a panel, such as the left half.

    Args:
        entities: at least one; in slot order unless a file has them otherwise.
        uniformity: RAVEN's level, 0 to 3; at 3 all entities of a panel are alike.
    """

    entities: tuple[Entity, ...]
    uniformity: int = 3


@dataclass(frozen=True, slots=True)
class Panel:
    """One cell of a matrix or of its answer set, a component for each part."""

    components: tuple[Component, ...]

    @property
    def entities(self) -> tuple[Entity, ...]:
        """Every entity of every component."""
        return tuple(e for component in self.components for e in component.entities)


@dataclass(frozen=True, slots=True)
class Scene:
    """One panel of a non-regular puzzle: named whole numbers that its kind gives meaning."""

    values: tuple[tuple[str, int], ...]

    def value(self, name: str) -> int:
        """Returns the value called `name`.

        Raises:
            KeyError: the scene has no such value.
        """
        return dict(self.values)[name]


class Rule(NamedTuple):
    """A rule along the rows of one component.

    Args:
        attribute: `number`, `position`, `type`, `size` or `color`; a non-regular
            kind's own names.
        kind: `constant`, `progression`, `arithmetic` or `distribute_three`; a
            non-regular kind's own names.
        parameter: the step of a progression (-2, -1, 1, 2), the sign of an
            arithmetic rule (1, -1), 0 for the others.
        component: index of the component.
    """

    attribute: str
    kind: str
    parameter: int = 0
    component: int = 0


@dataclass(frozen=True)
class Annotation:
    """What people wrote about a puzzle whose symbolic state is not known.

    Args:
        question: the puzzle's question.
        choices: texts of the choices, empty where the question is open. Choices that
            are drawn in the image have their letter as text.
        answer: the right answer: a letter where there are choices.
        perception: perception questions with their answers.
        chain: a chain of thought, or None.
        prefix: sentence that names the kind of puzzle, or None.
        accepted: other right answers to an open question.
        answer_kind: how the answer to an open question is graded.
    """

    question: str
    choices: tuple[str, ...]
    answer: str
    perception: tuple[tuple[str, str], ...] = ()
    chain: str | None = None
    prefix: str | None = None
    accepted: tuple[str, ...] = ()
    answer_kind: AnswerKind = "exact"


PuzzleFamily = Literal["rpm", "nonregular", "annotated"]


@dataclass(frozen=True)
class Puzzle:
    """A puzzle with its symbolic state.

    Args:
        puzzle_id: unique within a data set.
        family: `rpm` for matrix puzzles of RAVEN's grammar, `nonregular` for puzzles
            of scenes, `annotated` for people's own images.
        configuration: RAVEN's folder name, `center_single` and so on; of a
            non-regular puzzle the layout; of an annotated one free.
        context: the panels shown, row-major; the missing one is not among them. Empty
            where the state is not known.
        choices: the answer set, in the order of its letters. Empty where the state is
            not known.
        answer_index: index of the right choice; None for an open question.
        rules: one per ruled attribute.
        difficulty: see `rl_avr.puzzles.difficulty`; 0 where it is not known.
        seed: what the sampler was given; 0 where the puzzle was read from a file.
        annotation: what people wrote, for the family `annotated`.
    """

    puzzle_id: str
    family: PuzzleFamily
    configuration: str
    context: tuple[Panel | Scene, ...]
    choices: tuple[Panel | Scene, ...]
    answer_index: int | None
    rules: tuple[Rule, ...]
    difficulty: float
    seed: int
    annotation: Annotation | None = None

    @property
    def has_state(self) -> bool:
        """Whether the panels are known, so that claims about them can be graded."""
        return bool(self.context)

    @property
    def num_choices(self) -> int:
        """How many choices there are; 0 for an open question."""
        return len(self.annotation.choices) if self.annotation else len(self.choices)

    @property
    def answer(self) -> Panel | Scene:
        """The panel that completes the puzzle.

        Raises:
            ValueError: the state is not known.
        """
        if self.answer_index is None or not self.choices:
            raise ValueError(f"puzzle {self.puzzle_id}: its state is not known")
        return self.choices[self.answer_index]

    @property
    def answer_letter(self) -> str:
        """The letter of the right choice.

        Raises:
            ValueError: the question is open.
        """
        if self.answer_index is None:
            raise ValueError(f"puzzle {self.puzzle_id}: an open question has no letter")
        return CHOICE_LETTERS[self.answer_index]

    def to_json(self) -> str:
        """Returns the puzzle as one line of JSON.

        A panel is a list of components, each `[uniformity, [[type, size, color, angle,
        slot], ...]]`; a scene is a mapping.
        """
        raw = {f.name: getattr(self, f.name) for f in fields(self)}
        raw["context"] = [_raw_panel(panel) for panel in self.context]
        raw["choices"] = [_raw_panel(panel) for panel in self.choices]
        raw["rules"] = [rule._asdict() for rule in self.rules]
        raw["annotation"] = asdict(self.annotation) if self.annotation else None
        return json.dumps(raw, separators=(",", ":"))

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
        raw["annotation"] = _annotation(raw["annotation"]) if raw["annotation"] else None
        puzzle = cls(**raw)
        index = puzzle.answer_index
        if index is not None and not 0 <= index < puzzle.num_choices:
            raise ValueError(f"answer_index {index}: expected 0 to {puzzle.num_choices - 1}")
        return puzzle


def _raw_panel(panel: Panel | Scene) -> Any:
    if isinstance(panel, Scene):
        return dict(panel.values)
    return [
        [c.uniformity, [[e.type, e.size, e.color, e.angle, e.slot] for e in c.entities]]
        for c in panel.components
    ]


def _panel(raw: Any) -> Panel | Scene:
    if isinstance(raw, dict):
        return Scene(tuple(raw.items()))
    return Panel(
        tuple(
            Component(tuple(Entity(*levels) for levels in entities), uniformity)
            for uniformity, entities in raw
        )
    )


def _annotation(raw: dict[str, Any]) -> Annotation:
    raw["choices"] = tuple(raw["choices"])
    raw["accepted"] = tuple(raw.get("accepted", ()))
    raw["perception"] = tuple((question, answer) for question, answer in raw["perception"])
    if raw.get("answer_kind", "exact") not in get_args(AnswerKind):
        raise ValueError(f"answer_kind {raw['answer_kind']!r}: expected one of {AnswerKind}")
    return Annotation(**raw)


@dataclass(frozen=True)
class Prompt:
    """What a policy is asked.

    Args:
        prompt_id: unique within a data set.
        puzzle: the puzzle behind it, for grading.
        kind: `cot` for a chain and a choice, `perception` for questions.
        text: the user's words, without any image placeholder.
        images: the images, encoded, in the order in which they stand before the text; a tuple,
            or a sequence that draws them when they are read.
        prefill: how the policy's turn begins; a completion is what comes behind it.
    """

    prompt_id: str
    puzzle: Puzzle
    kind: PromptKind
    text: str
    images: Sequence[bytes] = field(repr=False)
    prefill: str = ""


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


class Span(NamedTuple):
    """Characters [start, end) of a completion's text."""

    start: int
    end: int


class PanelClaim(NamedTuple):
    """A statement about one attribute of one panel.

    Args:
        panel: `context:0` to `context:7`, `choice:0` to `choice:7`, or `missing`.
        attribute: `number`, `position`, `type`, `size` or `color`; a non-regular
            kind's own names.
        value: the level claimed; a count for `number`; for `position` a number whose
            bit k says that slot k is filled.
        start: offset of its first character in the completion's text.
        end: one past its last.
        component: index of the component.
        slot: the slot spoken of, or None for all entities of the component.
    """

    panel: str
    attribute: str
    value: int
    start: int
    end: int
    component: int = 0
    slot: int | None = None

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)


class RuleClaim(NamedTuple):
    """A statement about the rule of one attribute."""

    rule: Rule
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)


class VerdictClaim(NamedTuple):
    """A statement that one attribute of a choice fits the missing panel, or does not."""

    choice_index: int
    attribute: str
    fits: bool
    start: int
    end: int
    component: int = 0

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)


@dataclass(eq=False, slots=True)
class Passage:
    """The claims of one piece of a text, at offsets from some place of the text.

    Told from others by its identity. Only the mark `is_shared` ever changes.

    Args:
        section: name of the one section that it is; None where it may be of several.
        panels: claims about panels, in the order of the text.
        rules: claims about rules, in the order of the text.
        verdicts: verdicts on choices, in the order of the text.
        is_even: whether it tells one attribute of all panels shown, one value of each in
            their order, and after them, with a rule, one value of the missing panel.
        is_shared: whether it was found in another place, too, so that what is worked out
            of it is worth keeping.
    """

    section: str | None
    panels: Sequence[PanelClaim]
    rules: Sequence[RuleClaim]
    verdicts: Sequence[VerdictClaim]
    is_even: bool = False
    is_shared: bool = False


@dataclass(frozen=True)
class _Parsed:
    """The fields of `ParsedCompletion`."""

    status: ParseStatus
    panel_claims: tuple[PanelClaim, ...]
    rule_claims: tuple[RuleClaim, ...]
    verdict_claims: tuple[VerdictClaim, ...]
    choice_index: int | None
    sections: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    answer: str | None = None
    num_tokens: int | None = None


class ParsedCompletion(_Parsed):
    """What a completion says, without judgement.

    Args:
        status: `ok` when every section is there, in order, with one answer.
        panel_claims: in the order of the text; a repeated claim appears twice.
        rule_claims: in the order of the text.
        verdict_claims: in the order of the text.
        choice_index: index of the chosen letter, or None without exactly one answer.
        sections: names of the sections found, in the order of the text.
        spans: where each section stands.
        answer: the words of the one answer, or None without exactly one.
        num_tokens: length of the completion, the end token included; None where it is
            not known.
    """

    @classmethod
    def of_passages(
        cls,
        status: ParseStatus,
        passages: tuple[tuple[int, Passage], ...],
        choice_index: int | None,
        sections: tuple[str, ...],
        spans: tuple[Span, ...],
        answer: str | None,
        num_tokens: int | None,
    ) -> Self:
        """Returns what passages say; their claims are listed when they are first asked for.

        All but the passages are fields.
        """
        parsed = cls.__new__(cls)
        vars(parsed).update(
            status=status,
            passages=passages,
            choice_index=choice_index,
            sections=sections,
            spans=spans,
            answer=answer,
            num_tokens=num_tokens,
        )
        return parsed

    @cached_property
    def passages(self) -> tuple[tuple[int, Passage], ...]:
        """Each passage with its offset in the text; one of all claims where none are known."""
        return ((0, Passage(None, self.panel_claims, self.rule_claims, self.verdict_claims)),)

    @cached_property
    def panel_claims(self) -> tuple[PanelClaim, ...]:
        """The claims about panels."""
        return tuple(
            PanelClaim(panel, attribute, value, at + start, at + end, component, slot)
            for at, passage in self.passages
            for panel, attribute, value, start, end, component, slot in passage.panels
        )

    @cached_property
    def rule_claims(self) -> tuple[RuleClaim, ...]:
        """The claims about rules."""
        return tuple(
            RuleClaim(rule, at + start, at + end)
            for at, passage in self.passages
            for rule, start, end in passage.rules
        )

    @cached_property
    def verdict_claims(self) -> tuple[VerdictClaim, ...]:
        """The verdicts on choices."""
        return tuple(
            VerdictClaim(index, attribute, fits, at + start, at + end, component)
            for at, passage in self.passages
            for index, attribute, fits, start, end, component in passage.verdicts
        )


@dataclass(frozen=True)
class Score:
    """A total and its named parts; a part that cannot judge is None, not 0.

    Args:
        total: in [0, 1].
        parts: name -> value in [0, 1], as each part judged; before any gate.
        streams: what becomes an advantage, each normalised within its group on its own;
            the same names in every score of a run.
        outcome: whether a group learned something is decided by the variance of this:
            the final answer, in [0, 1]; None where it cannot be judged.
    """

    total: float
    parts: tuple[tuple[str, float | None], ...]
    streams: tuple[tuple[str, float | None], ...] = ()
    outcome: float | None = None

    def part(self, name: str) -> float | None:
        """Returns the part called `name`."""
        return dict(self.parts)[name]


@dataclass(frozen=True)
class GradedGroup:
    """A rollout group with the parsed form and the score of each completion.

    Args:
        group: what was sampled.
        parsed: what each completion says.
        scores: what each is worth; their streams are those after admission.
        is_admitted: whether its outcomes differ, or need not; an outcome stream of a
            group that is not admitted is the same number in every score.
    """

    group: RolloutGroup
    parsed: tuple[ParsedCompletion, ...]
    scores: tuple[Score, ...]
    is_admitted: bool = True
