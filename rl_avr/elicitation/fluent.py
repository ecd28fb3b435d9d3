"""Gold chains of thought in sentences; `sentences` reads them back to the same claims."""

import random
from collections.abc import Iterable, Sequence

from rl_avr.contracts import CHOICE_LETTERS, Panel, Puzzle, Rule, Scene
from rl_avr.elicitation import phrasings
from rl_avr.elicitation.chains import (
    annotated_chain,
    answer_index,
    answer_line,
    predicted_value,
    ruled_lines,
    tried_words,
)
from rl_avr.elicitation.phrasings import PHRASINGS, regular_clauses
from rl_avr.elicitation.schema import Stated, schema_of, stated_values
from rl_avr.prompts import ChainLine, Schema, panel_name


def fluent_chain(puzzle: Puzzle, rng: random.Random, prefix: bool = True) -> str:
    """Returns a chain of thought in sentences, one paragraph for each step.

    It reads every panel, compares along the rows, names the rules, predicts the missing
    panel and eliminates choices. It claims exactly what `gold_chain` does.

    Args:
        puzzle: the puzzle.
        rng: chooses the phrasing of every sentence.
        prefix: begin with the sentence that names the kind of puzzle.

    Raises:
        PuzzleError: as `gold_chain`.
    """
    if puzzle.annotation is not None:
        return annotated_chain(puzzle, puzzle.annotation, prefix)
    last = answer_index(puzzle)
    schema = schema_of(puzzle)
    ruled = ruled_lines(puzzle, schema)
    lines = [schema.prefix] if prefix and schema.prefix else []
    names = [name for row in schema.panels for name in row]
    for name, panel in zip(names, puzzle.context, strict=True):
        lines.append(" ".join(_panel_sentences(name, panel, schema, rng)))
    lines.append(" ".join(_comparisons(puzzle, schema, rng)))
    lines += _rule_sentences(puzzle, schema, rng)
    lines.append(_missing_sentence(puzzle, ruled, rng))
    lines += [_choice_sentence(puzzle, index, ruled, rng) for index in range(last + 1)]
    lines.append(answer_line(puzzle))
    return "\n".join(line for line in lines if line)


def spoken(line: ChainLine, word: str) -> str:
    """Returns a compact chain's word as it stands in a sentence: slots are added up."""
    return "+".join(word) if line.attribute == "position" else word


def where(schema: Schema, component: int, panel: str) -> str:
    """Returns the part of a panel that a sentence speaks of."""
    part = schema.parts[component]
    return f"the {part} of {panel_name(panel)}" if part else panel_name(panel)


def rule_clauses(line: ChainLine) -> dict[tuple[str, int], str]:
    """Returns (kind, parameter) -> clause of every rule that a chain can claim."""
    return dict(line.clauses) or regular_clauses(line.attribute)


def capitalized(text: str) -> str:
    """Returns a phrase as it stands at the head of a sentence."""
    return text[0].upper() + text[1:]


def _fill(statement: str, rng: random.Random, **values: str) -> str:
    if "where" in values:
        values["Where"] = capitalized(values["where"])
    return rng.choice(PHRASINGS[statement]).format(**values)


def _panel_sentences(
    name: str, panel: Panel | Scene, schema: Schema, rng: random.Random
) -> Iterable[str]:
    if isinstance(panel, Scene):
        for line in schema.lines:
            value = line.words[panel.value(line.attribute)]
            yield _fill("scene", rng, where=panel_name(name), noun=line.noun, value=value)
        return
    for component in range(len(panel.components)):
        lines = [line for line in schema.lines if line.component == component]
        place = where(schema, component, name)
        if lines[0].attribute == "number":
            yield _layout_sentence(panel, lines[:2], place, rng)
            lines = lines[2:]
        yield from _entity_sentences(panel, lines, place, rng)


def _layout_sentence(
    panel: Panel, lines: Sequence[ChainLine], place: str, rng: random.Random
) -> str:
    (_, count), (_, mask) = (stated_values(panel, line)[0] for line in lines)
    slots = spoken(lines[1], lines[1].words[mask])
    plural = "s" if count > 1 else ""
    return _fill(
        "layout", rng, where=place, number=f"{count} shape{plural}", slots=f"slot{plural} {slots}"
    )


def _entity_sentences(
    panel: Panel, lines: Sequence[ChainLine], place: str, rng: random.Random
) -> Iterable[str]:
    stated = [stated_values(panel, line) for line in lines]
    if all(len(values) == 1 for values in stated):
        words = {
            line.attribute: line.words[values[0][1]]
            for line, values in zip(lines, stated, strict=True)
        }
        has_one = len(panel.components[lines[0].component].entities) == 1
        yield _fill("shape" if has_one else "shapes", rng, where=place, **words)
        return
    for line, values in zip(lines, stated, strict=True):
        if len(values) == 1:
            word = line.words[values[0][1]]
            yield _fill("same", rng, where=place, attribute=line.attribute, value=word)
        else:
            entities = _entities(line, values)
            yield _fill("mixed", rng, where=place, attribute=line.attribute, entities=entities)


def _entities(line: ChainLine, values: Stated) -> str:
    return _joined(
        [f"{line.words[v]} in slot {slot + 1}" for slot, v in values if slot is not None]
    )


def _joined(items: Sequence[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def _comparisons(puzzle: Puzzle, schema: Schema, rng: random.Random) -> Iterable[str]:
    for line in schema.lines:
        trends = []
        for row, (start, length) in enumerate(complete_rows(schema)):
            stated = [stated_values(p, line) for p in puzzle.context[start : start + length]]
            if all(len(values) == 1 for values in stated):
                verb = trend(line, [values[0][1] for values in stated])
                is_only = len(schema.rows) == 1
                trends.append(
                    f"{verb} {'from panel to panel' if is_only else f'along row {row + 1}'}"
                )
        if trends:
            yield _fill("comparison", rng, noun=line.noun, trends=" and ".join(trends))


def complete_rows(schema: Schema) -> list[tuple[int, int]]:
    """Returns start and length of each row without a missing panel; of a single row, itself."""
    rows, start = [], 0
    for length in schema.rows[:-1] or schema.rows:
        rows.append((start, length))
        start += length
    return rows


def trend(line: ChainLine, values: Sequence[int]) -> str:
    """Returns how values go along a row; those without an order change or stay."""
    pairs = list(zip(values, values[1:], strict=False))
    if len(set(values)) == 1:
        return phrasings.SAME
    if not line.is_ordered:
        return phrasings.CHANGES
    if all(a <= b for a, b in pairs):
        return phrasings.UP
    return phrasings.DOWN if all(a >= b for a, b in pairs) else phrasings.UP_AND_DOWN


def _rule_sentences(puzzle: Puzzle, schema: Schema, rng: random.Random) -> Iterable[str]:
    rules: dict[tuple[int, str], Rule] = {(r.component, r.attribute): r for r in puzzle.rules}
    for line in schema.lines:
        rule = rules.get((line.component, line.attribute))
        if rule is None:
            yield _fill("no_rule", rng, noun=line.noun)
        else:
            clause = rule_clauses(line)[rule.kind, rule.parameter]
            word = spoken(line, line.words[predicted_value(puzzle, line)])
            yield _fill("rule", rng, noun=line.noun, rule=clause, value=word)


def _missing_sentence(puzzle: Puzzle, ruled: Sequence[ChainLine], rng: random.Random) -> str:
    clauses = [
        f"the {line.noun} is {spoken(line, line.words[predicted_value(puzzle, line)])}"
        for line in ruled
    ]
    return _fill("missing", rng, clauses=_joined(clauses))


def _choice_sentence(
    puzzle: Puzzle, index: int, ruled: Sequence[ChainLine], rng: random.Random
) -> str:
    verdicts = ""
    for line, word, fits in tried_words(puzzle, index, ruled):
        if verdicts:
            verdicts += ", and " if fits else ", but "
        words = phrasings.FITS if fits else phrasings.DIFFERS
        verdicts += f"the {line.noun} is {spoken(line, word)}, {rng.choice(words)}"
    return _fill("verdict", rng, choice=CHOICE_LETTERS[index], verdicts=verdicts)
