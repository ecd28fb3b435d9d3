"""What can be asked about a puzzle: facts of its state, without the words of a question.

Facts come in grid order, from coarse to fine: the whole, panel by panel, value by value,
then comparisons and rules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rl_avr.contracts import Panel, PanelClaim, Puzzle, Rule, Scene
from rl_avr.elicitation import question_words as words
from rl_avr.elicitation.fluent import complete_rows, rule_clauses, trend
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.prompts import NO_RULE, ROW_ANSWERS, ChainLine, Schema, panel_name

Args = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StateKey:
    """The value of the state that a question asks for, as a claim names it."""

    panel: str
    attribute: str
    value: int
    component: int = 0
    slot: int | None = None

    def claim(self) -> PanelClaim:
        """Returns the claim that the right answer makes."""
        return PanelClaim(self.panel, self.attribute, self.value, 0, 0, self.component, self.slot)


@dataclass(frozen=True)
class Fact:
    """Something true of a puzzle.

    Args:
        family: a key of `question_words.FAMILIES`.
        args: what fills the placeholders of its paraphrases.
        answer: in canonical form.
        accepted: other ways to say it.
        others: canonical answers that are wrong; any of them could have been right.
        key: the value of the state, where it is just one.
        panel: the panel asked about, as claims name it; empty for the whole.
    """

    family: str
    args: Args
    answer: str
    accepted: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    key: StateKey | None = None
    panel: str = ""


def make_fact(
    family: str,
    args: dict[str, str],
    answer: str,
    domain: Sequence[str],
    *,
    accepted: Sequence[str] = (),
    key: StateKey | None = None,
    panel: str = "",
) -> Fact:
    """Returns a fact; the wrong answers are the rest of the domain."""
    return Fact(
        family,
        tuple(args.items()),
        answer,
        (*words.variants(answer), *accepted),
        tuple(other for other in dict.fromkeys(domain) if other != answer),
        key,
        panel or (key.panel if key else ""),
    )


def named_panels(puzzle: Puzzle) -> list[tuple[str, Panel | Scene]]:
    """Returns the shown panels and the choices with their names."""
    shown = [(f"context:{i}", panel) for i, panel in enumerate(puzzle.context)]
    return shown + [(f"choice:{i}", panel) for i, panel in enumerate(puzzle.choices)]


def whole_facts(puzzle: Puzzle) -> Iterator[Fact]:
    """Yields what one sees before looking at any panel."""
    rows = schema_of(puzzle).rows
    counts = [str(n) for n in range(3, 10)]
    yield make_fact("num_panels", {}, str(len(puzzle.context)), counts)
    yield make_fact("num_choices", {}, str(puzzle.num_choices), counts)
    layouts = list(words.PANEL_LAYOUTS.values())
    yield make_fact("panel_layout", {}, words.PANEL_LAYOUTS[rows], layouts)


def trend_facts(puzzle: Puzzle, nouns: dict[str, str]) -> Iterator[Fact]:
    """Yields how each attribute goes along each complete row.

    Args:
        puzzle: the puzzle.
        nouns: noun of a line -> what a question calls it.
    """
    schema = schema_of(puzzle)
    for row, (start, length) in enumerate(complete_rows(schema)):
        for line in schema.lines:
            stated = [stated_values(p, line) for p in puzzle.context[start : start + length]]
            if any(len(values) != 1 for values in stated):
                continue
            values = [found[0][1] for found in stated]
            domain = ROW_ANSWERS if line.is_ordered else (words.STAYS, words.CHANGES)
            answer = f"it {trend(line, values)}"
            args = {"noun": nouns[line.noun], "row": _row_words(schema, row)}
            yield make_fact("row_trend", args, answer, domain, panel=f"context:{start}")


def _row_words(schema: Schema, row: int) -> str:
    return "from panel to panel" if len(schema.rows) == 1 else f"along row {row + 1}"


def compare(line: ChainLine, first: int | None, second: int | None) -> tuple[str, list[str]]:
    """Returns how a value relates to another, and all answers that could have been.

    Args:
        line: the attribute.
        first: a value; None where a panel has several.
        second: the value it is set beside.
    """
    may_be_unlike = line.may_differ
    pair = words.COMPARISONS.get(line.attribute)
    if pair is None and line.attribute != "type" and line.is_ordered:
        pair = words.COMPARISONS["number"]
    domain = [words.SAME, *(pair or (words.DIFFERENT,))]
    if may_be_unlike:
        domain.append(words.NOT_COMPARABLE)
    if first is None or second is None:
        return words.NOT_COMPARABLE, domain
    if first == second:
        return words.SAME, domain
    if pair is None:
        return words.DIFFERENT, domain
    return pair[0] if first > second else pair[1], domain


def panel_comparisons(puzzle: Puzzle, nouns: dict[str, str]) -> Iterator[Fact]:
    """Yields how neighbours in a row, and neighbours among the choices, compare."""
    schema = schema_of(puzzle)
    panels = dict(named_panels(puzzle))
    rows = [*schema.panels, tuple(name for name in panels if name.startswith("choice:"))]
    for row in rows:
        for first, second in pairwise(row):
            for line in schema.lines:
                values = [_single(panels[name], line) for name in (first, second)]
                answer, domain = compare(line, *values)
                args = {
                    "attribute": nouns[line.noun],
                    "first": panel_name(first),
                    "second": panel_name(second),
                }
                yield make_fact("compare_panels", args, answer, domain, panel=first)


def _single(panel: Panel | Scene, line: ChainLine) -> int | None:
    stated = stated_values(panel, line)
    return stated[0][1] if len(stated) == 1 else None


def rule_facts(puzzle: Puzzle, nouns: dict[str, str]) -> Iterator[Fact]:
    """Yields the rule of each complete row, then the rule that two rows share.

    The layout of a grid has one rule for number and position, so the one without it is
    not asked about: it may well be regular.
    """
    schema = schema_of(puzzle)
    rules = {(r.component, r.attribute): r for r in puzzle.rules}
    for line in schema.lines:
        rule = rules.get((line.component, line.attribute))
        if rule is None and line.attribute in ("number", "position"):
            continue
        answer, accepted = _rule_words(line, rule)
        domain = [*line.phrases.values(), *([] if line.is_always_ruled else [NO_RULE])]
        for family, row, panel in _rule_places(schema):
            args = {"noun": nouns[line.noun], **row}
            yield make_fact(family, args, answer, domain, accepted=accepted, panel=panel)


def _rule_words(line: ChainLine, rule: Rule | None) -> tuple[str, tuple[str, ...]]:
    if rule is None:
        return NO_RULE, ()
    clause = rule_clauses(line)[rule.kind, rule.parameter]
    return line.phrases[rule.kind, rule.parameter], (clause, clause.removeprefix("it "))


def _rule_places(schema: Schema) -> Iterator[tuple[str, dict[str, str], str]]:
    if len(schema.rows) == 1:
        yield "rule", {}, "context:0"
        return
    rows = complete_rows(schema)
    for row, (start, _) in enumerate(rows):
        yield "row_rule", {"row": str(row + 1)}, f"context:{start}"
    if len(rows) > 1:
        yield "shared_rule", {}, "context:0"
