"""Why one completion got its reward: every claim with its truth, every part, what was left out.

Pure: what a terminal or a page shows of it is theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rewards.composition import PERCEPTION_STREAM, score, stream_weights
from rewards.config import RewardConfig
from rewards.routing import Route, route
from rewards.segments import Segment, segments
from rewards.truth import FactKey, Judged, claimed_panel, predicted_keys, stated_keys
from rl_avr.contracts import (
    CHOICE_LETTERS,
    ParsedCompletion,
    PromptKind,
    Puzzle,
    Score,
    Span,
)
from rl_avr.elicitation.chains import (
    answer_line,
    direct_answer,
    gold_chain,
    has_chain,
    value_words,
)
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.prompts import NO_RULE, ChainLine, in_tags, panel_name

STATUS_WORDS = {
    "ok": "every section is there, in order, with one answer",
    "truncated": "cut off at the limit of tokens",
    "no_answer": "there is no answer",
    "several_answers": "there is more than one answer",
    "not_a_choice": "the answer is no choice of the puzzle",
    "malformed": "a section is missing, repeated or out of order",
}
_MOST_OF_AN_ANSWER = 200
_NO_OWN: Mapping[str, float | None] = {}


@dataclass(frozen=True)
class Claim:
    """A statement of a completion.

    Args:
        span: its characters.
        is_true: whether the state, or the gold answer, agrees.
        says: what it says, in words.
        truth: what is true instead; empty for a true claim.
        is_repeat: an earlier claim is about the same, so this one costs precision.
    """

    span: Span
    is_true: bool
    says: str
    truth: str = ""
    is_repeat: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the text, by the name that a person reads, and its claims in order."""

    name: str
    span: Span
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class PartValue:
    """A part: as it judged, its weight, and as it counts after format mode and gate.

    `value` is None where it cannot judge, `counted` where it has no term in the total.
    """

    name: str
    value: float | None
    weight: float
    counted: float | None


@dataclass(frozen=True)
class Explanation:
    """Why one completion got its reward.

    Args:
        text: what the model wrote.
        parsed: what it says.
        score: what it is worth.
        chosen: its answer, a long one cut; None without exactly one.
        right: the gold answer; empty where there is none.
        parts: in the order of the score.
        sections: in the order of the text.
        missed: what the gold chain states and the text does not speak of.
        notes: what format mode, gate and stage did, in sentences.
        gold: what would be right: the gold chain, or the answer alone.
    """

    text: str
    parsed: ParsedCompletion
    score: Score
    chosen: str | None
    right: str
    parts: tuple[PartValue, ...]
    sections: tuple[Section, ...]
    missed: tuple[str, ...]
    notes: tuple[str, ...]
    gold: str

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Every claim, in the order of the text."""
        return tuple(claim for section in self.sections for claim in section.claims)


def explain(
    text: str,
    parsed: ParsedCompletion,
    puzzle: Puzzle,
    config: RewardConfig,
    kind: PromptKind = "cot",
    own: Mapping[str, float | None] = _NO_OWN,
) -> Explanation:
    """Returns why a completion got its reward.

    Args:
        text: the completion.
        parsed: what it says.
        puzzle: the puzzle that it answers.
        config: weights and composition.
        kind: what the prompt asked for.
        own: what the user's own functions gave, by name.

    A text that says nothing has no section and no claim.
    """
    found = score(parsed, puzzle, config, kind, own)
    right = "" if _is_ungraded(puzzle) else direct_answer(puzzle)
    lines = {(line.component, line.attribute): line for line in schema_of(puzzle).lines}
    words = _Words(puzzle, lines)
    return Explanation(
        text,
        parsed,
        found,
        None if parsed.answer is None else _short(parsed.answer),
        right,
        _part_values(parsed, puzzle, config, kind, own, found),
        tuple(_sections(parsed, puzzle, found, right, words)),
        _missed(parsed, puzzle, words) if kind == "cot" else (),
        tuple(_notes(found, config, kind, route(kind, config))),
        _gold(puzzle, config, kind),
    )


def _is_ungraded(puzzle: Puzzle) -> bool:
    return puzzle.answer_index is None and puzzle.annotation is None


def _gold(puzzle: Puzzle, config: RewardConfig, kind: PromptKind) -> str:
    if _is_ungraded(puzzle):
        return ""
    gold = gold_chain(puzzle) if kind == "cot" and has_chain(puzzle) else answer_line(puzzle)
    return in_tags(gold) if config.answer_form == "tags" else gold


def _part_values(
    parsed: ParsedCompletion,
    puzzle: Puzzle,
    config: RewardConfig,
    kind: PromptKind,
    own: Mapping[str, float | None],
    found: Score,
) -> tuple[PartValue, ...]:
    gate = "none" if config.gate == "stream" else config.gate
    # with this aggregation the streams are the terms, after format mode and gate
    terms = replace(config, aggregation="normalize_then_sum", gate=gate)
    counted = dict(score(parsed, puzzle, terms, kind, own).streams)
    weights = config.weights_with_own
    return tuple(
        PartValue(name, value, weights[name], counted.get(name)) for name, value in found.parts
    )


def _sections(
    parsed: ParsedCompletion, puzzle: Puzzle, found: Score, right: str, words: "_Words"
) -> list[Section]:
    seen: set[FactKey] = set()
    sections = []
    for segment in segments(parsed, puzzle):
        claims = [words.claim(judged, seen) for judged in segment.claims]
        if segment.name == "answer" and parsed.answer is not None:
            claims += _answer_claim(segment, parsed.answer, found, right)
        sections.append(Section(_section_name(segment.name), segment.span, tuple(claims)))
    return sections


def _section_name(name: str) -> str:
    return panel_name(name) if ":" in name else name


def _answer_claim(segment: Segment, answer: str, found: Score, right: str) -> list[Claim]:
    value = dict(found.parts)["choice"]
    if value is None:
        return []
    truth = "" if value == 1.0 else f"right is {right}" + (f", worth {value:.2f}" if value else "")
    return [Claim(segment.span, value == 1.0, f"answer: {_short(answer)}", truth)]


def _short(answer: str) -> str:
    is_long = len(answer) > _MOST_OF_AN_ANSWER
    return f"{answer[:_MOST_OF_AN_ANSWER]}…" if is_long else answer


class _Words:
    """Says claims, facts and what is true instead, in the words of the chains."""

    def __init__(self, puzzle: Puzzle, lines: Mapping[tuple[int, str], ChainLine]) -> None:
        self._puzzle = puzzle
        self.lines = lines
        self.rules = {(rule.component, rule.attribute): rule for rule in puzzle.rules}

    def claim(self, judged: Judged, seen: set[FactKey]) -> Claim:
        """Returns a judged claim in words; `seen` has what was claimed before it."""
        key, value = judged.key, judged.value
        # a chain predicts twice, at its rule and in the missing panel: no repetition
        is_repeat = key in seen and key[:2] != ("panel", "missing")
        seen.add(key)
        says, truth = {"panel": self._panel, "rule": self._rule, "fits": self._fits}[str(key[0])](
            key, value
        )
        return Claim(judged.span, judged.is_true, says, "" if judged.is_true else truth, is_repeat)

    def _panel(self, key: FactKey, value: object) -> tuple[str, str]:
        _, name, component, attribute, slot = key
        line = self.lines[_int(component), str(attribute)]
        place = panel_name(str(name)) + ("" if slot is None else f", slot {_int(slot) + 1}")
        return f"{place}, {line.noun}: {line.words[_int(value)]}", self._true_value(str(name), line)

    def _true_value(self, name: str, line: ChainLine) -> str:
        panel = claimed_panel(name, self._puzzle)
        if panel is None:
            return "there is no such panel"
        return f"it is {value_words(stated_values(panel, line), line)}"

    def _rule(self, key: FactKey, value: object) -> tuple[str, str]:
        _, component, attribute = key
        line = self.lines[_int(component), str(attribute)]
        assert isinstance(value, tuple)
        return f"rule of {line.noun}: {line.phrases[value]}", f"it is {self.rule_phrase(line)}"

    def rule_phrase(self, line: ChainLine) -> str:
        """Returns the rule of an attribute, or that there is none."""
        rule = self.rules.get((line.component, line.attribute))
        return line.phrases[rule.kind, rule.parameter] if rule else NO_RULE

    def _fits(self, key: FactKey, value: object) -> tuple[str, str]:
        _, index, component, attribute = key
        line = self.lines[_int(component), str(attribute)]
        letter = CHOICE_LETTERS[_int(index)]
        verdict = "fits" if value else "does not fit"
        here, right = (
            self._true_value(name, line).removeprefix("it is ")
            for name in (f"choice:{index}", "missing")
        )
        return f"choice {letter}, {line.noun}: {verdict}", f"it is {here}, right is {right}"


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _missed(parsed: ParsedCompletion, puzzle: Puzzle, words: _Words) -> tuple[str, ...]:
    """Returns what the gold chain states and no claim is about, right or wrong, line by line."""
    if not puzzle.has_state:
        return ()
    told = {(c.panel, c.component, c.attribute) for c in parsed.panel_claims}
    named = {(c.rule.component, c.rule.attribute) for c in parsed.rule_claims}
    stated = {key[:3] for key in stated_keys(puzzle)}
    predicted = {key[:3] for key in predicted_keys(puzzle)}
    found = []
    for place, line in words.lines.items():
        shown = [panel for row in schema_of(puzzle).panels for panel in row]
        missing = [p for p in shown if (p, *place) in stated - told]
        if missing:
            which = "every panel" if len(missing) == len(shown) else _panels(missing)
            found.append(f"{line.noun} of {which}")
        if place in words.rules and place not in named:
            found.append(f"rule of {line.noun}: {words.rule_phrase(line)}")
        if ("missing", *place) in predicted - told:
            found.append(f"{line.noun} of the missing panel")
    return tuple(found)


def _panels(names: list[str]) -> str:
    numbers = [panel_name(name).removeprefix("panel ") for name in names]
    return f"panel {numbers[0]}" if len(numbers) == 1 else f"panels {', '.join(numbers)}"


def _notes(found: Score, config: RewardConfig, kind: PromptKind, way: Route) -> list[str]:
    """Returns what kind, stage, format mode and gate did to the total, in sentences."""
    parts = dict(found.parts)
    notes = []
    if kind != "cot":
        notes.append(f"The prompt is of the kind {kind}: {', '.join(way.parts)} judge it.")
    elif way.outcome != "choice":
        notes.append(f"stage: {config.stage}. The outcome is {way.outcome}; no choice is graded.")
    notes += _format_notes(parts, config, way.outcome)
    if config.gate == "choice" and way.outcome == "choice" and found.outcome is not None:
        if found.outcome == 1.0:
            notes.append("gate: choice. The answer is right, so every part counts.")
        else:
            notes.append("gate: choice. The answer is not right, so the other parts count as 0.")
    if config.gate == "stream":
        apart = [name for name in PERCEPTION_STREAM if name != way.outcome]
        weights = stream_weights(config)
        streams = ", ".join(
            f"{name} {_shown(value)} (weight {weights[name]:g})" for name, value in found.streams
        )
        notes.append(f"gate: stream. {', '.join(apart)} are a stream of their own: {streams}.")
    silent = [name for name, value in parts.items() if value is None and name in way.parts]
    if silent:
        notes.append(f"Cannot judge, so not in the total: {', '.join(silent)}.")
    return notes


def _format_notes(
    parts: Mapping[str, float | None], config: RewardConfig, outcome: str
) -> list[str]:
    mode, right = config.format_mode, parts[outcome]
    if mode == "separate":
        return []
    if mode == "and":
        is_lost = parts["format"] != 1.0 and bool(right)
        lost = f" The form is wrong, so {outcome} counts as 0." if is_lost else ""
        return [f"format_mode: and. {outcome} counts only in the right form.{lost}"]
    return [
        {
            "implicit": "format_mode: implicit. The form has no term of its own.",
            "graded": f"format_mode: graded. {outcome} is worth 0.9, the right form alone 0.1.",
            "added": f"format_mode: added. {outcome} and half the form, divided by 1.5.",
        }[mode]
    ]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
