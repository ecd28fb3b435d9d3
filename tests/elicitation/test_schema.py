"""Schemas: one line for everything that can be seen, and what is stated about a panel."""

import pytest

from rl_avr.contracts import Component, Entity, Panel, Puzzle
from rl_avr.elicitation.schema import (
    all_schemas,
    regular_schema,
    schema_of,
    short_noun,
    stated_values,
)
from rl_avr.errors import PuzzleError
from rl_avr.prompts import CENTER_SCHEMA, NONREGULAR_PREFIX, PREFIX
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import KINDS


@pytest.mark.parametrize(
    ("configuration", "labels"),
    [
        ("center_single", "Type Size Color"),
        ("distribute_four", "Number Position Type Size Color"),
        ("distribute_nine", "Number Position Type Size Color"),
        (
            "left_center_single_right_center_single",
            "Left-Type Left-Size Left-Color Right-Type Right-Size Right-Color",
        ),
        (
            "up_center_single_down_center_single",
            "Up-Type Up-Size Up-Color Down-Type Down-Size Down-Color",
        ),
        (
            "in_center_single_out_center_single",
            "Out-Type Out-Size Out-Color In-Type In-Size In-Color",
        ),
        (
            "in_distribute_four_out_center_single",
            "Out-Type Out-Size Out-Color In-Number In-Position In-Type In-Size In-Color",
        ),
    ],
)
def test_the_lines_of_every_configuration(configuration, labels):
    schema = regular_schema(configuration)
    assert [line.label.replace(" ", "-") for line in schema.lines] == labels.split()
    assert schema.prefix == PREFIX


def test_lines_cover_the_grammar_and_tell_its_slots():
    for name, configuration in CONFIGURATIONS.items():
        for line in regular_schema(name).lines:
            component = configuration.components[line.component]
            assert line.num_slots == len(component.slots)
            levels = (
                range(1, 1 << len(component.slots))
                if line.attribute == "position"
                else component.levels(line.attribute)
            )
            assert set(levels) <= set(line.words)
            assert line.may_differ == (line.attribute in ATTRIBUTES and line.num_slots > 1)


def test_every_kind_has_a_line_for_every_attribute_and_a_phrase_for_every_rule():
    for name, kind in KINDS.items():
        for schema in (s for s in all_schemas() if s.prefix == NONREGULAR_PREFIX):
            if schema.lines[0].attribute == kind.attributes[0].name:
                assert [line.label for line in schema.lines] == [a.label for a in kind.attributes]
                phrases = {
                    (line.attribute, *rule): phrase
                    for line in schema.lines
                    for rule, phrase in line.phrases.items()
                }
                assert phrases == kind.rule_phrases, name


@pytest.mark.parametrize("schema", list(all_schemas()), ids=lambda s: "-".join(s.line_of_label))
def test_nothing_a_chain_says_can_be_taken_for_something_else(schema):
    assert len({line.noun for line in schema.lines}) == len(schema.lines)
    assert len(schema.line_of_label) == len(schema.lines)
    for line in schema.lines:
        assert ":" not in line.label
        assert len(line.values) == len(line.words)
        assert len(line.rules) == len(line.phrases)
        assert len(set(line.clauses.values())) == len(line.clauses)
        for word in line.words.values():
            assert word.split() == [word]
            assert not set(word) & set("|>.,;:")
            assert word not in ("any", "mixed")
        for phrase in (*line.phrases.values(), *line.clauses.values()):
            assert not set(phrase) & set("|>")
            assert phrase != "no rule"
            assert ". " not in phrase
            assert not phrase.endswith((".", ",", " "))


def test_puzzles_of_one_kind_share_a_schema(zoo, puzzle, annotated):
    for one in zoo:
        assert schema_of(one) is schema_of(one)
        assert sum(schema_of(one).rows) == len(one.context)
    assert schema_of(puzzle) is CENTER_SCHEMA
    assert schema_of(annotated()).lines == ()
    assert schema_of(annotated(prefix=None)).prefix is None


def test_an_unknown_configuration_is_named():
    bare = Puzzle("p", "rpm", "distribute_five", (), (), 0, (), 0, 0)
    with pytest.raises(PuzzleError, match="distribute_nine, .* got 'distribute_five'"):
        schema_of(bare)


def test_entities_are_stated_one_by_one_only_where_they_differ():
    entities = (Entity(2, 1, 7, 0, 8), Entity(2, 3, 7, 5, 0), Entity(2, 1, 7, 2, 4))
    panel = Panel((Component(entities, 0),))
    lines = {line.attribute: line for line in regular_schema("distribute_nine").lines}
    assert stated_values(panel, lines["number"]) == ((None, 3),)
    assert stated_values(panel, lines["position"]) == ((None, 0b100010001),)
    assert stated_values(panel, lines["type"]) == ((None, 2),)
    # in slot order, whatever the order of the file
    assert stated_values(panel, lines["size"]) == ((0, 3), (4, 1), (8, 1))
    assert stated_values(panel, lines["color"]) == ((None, 7),)


@pytest.mark.parametrize(
    ("noun", "short"),
    [
        ("place of the dot", "place of the dot"),
        ("set of lines (1 top, 2 right)", "set of lines"),
        ("side of the dot, seen along the pointer", "side of the dot"),
    ],
)
def test_a_sentence_uses_the_noun_without_its_explanation(noun, short):
    assert short_noun(noun) == short
