"""Facts about non-regular puzzles: layout, the values of each scene, comparisons, rules."""

from collections.abc import Iterator

from rl_avr.contracts import Puzzle, Scene
from rl_avr.elicitation.facts import (
    Fact,
    StateKey,
    make_fact,
    named_panels,
    panel_comparisons,
    rule_facts,
    trend_facts,
    whole_facts,
)
from rl_avr.elicitation.schema import schema_of, short_noun
from rl_avr.prompts import panel_name
from rl_avr.puzzles.nonregular.kinds import kind_of


def scene_facts(puzzle: Puzzle) -> Iterator[Fact]:
    """Yields what can be asked about a non-regular puzzle, in grid order, coarse to fine.

    A question calls an attribute by its whole noun, explanation included; the panels of
    a group have no order, so nothing changes along them.
    """
    full_nouns = {short_noun(a.noun): a.noun for a in kind_of(puzzle).attributes}
    nouns = {noun: noun for noun in full_nouns}
    yield from whole_facts(puzzle)
    if puzzle.configuration != "group":
        yield from trend_facts(puzzle, nouns)
    for name, scene in named_panels(puzzle):
        if isinstance(scene, Scene):
            yield from _value_facts(puzzle, name, scene, full_nouns)
    yield from panel_comparisons(puzzle, nouns)
    yield from rule_facts(puzzle, nouns)


def _value_facts(
    puzzle: Puzzle, name: str, scene: Scene, full_nouns: dict[str, str]
) -> Iterator[Fact]:
    for line in schema_of(puzzle).lines:
        value = scene.value(line.attribute)
        word = line.words[value]
        args = {"noun": full_nouns[line.noun], "where": panel_name(name)}
        yield make_fact(
            "scene_value",
            args,
            word,
            list(line.words.values()),
            key=StateKey(name, line.attribute, value),
        )
