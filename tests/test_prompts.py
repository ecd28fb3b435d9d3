"""Words: every level and every rule goes to a phrase and back; what a policy is asked."""

import hashlib

import pytest

from rl_avr.contracts import Rule
from rl_avr.elicitation.schema import all_schemas
from rl_avr.prompts import (
    CENTER_SCHEMA,
    COT_PROMPT,
    DIRECT_PROMPT,
    panel_name,
    prompt_text,
    regular_line,
    rule_of_phrase,
    rule_phrase,
    single_token_phrases,
    value_level,
    value_word,
)
from rl_avr.puzzles.grammar import ATTRIBUTES, LEVELS, TYPE_NAMES
from rl_avr.puzzles.rules import all_rules


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_level_goes_to_a_word_and_back(attribute):
    words = [value_word(attribute, level) for level in LEVELS[attribute]]
    assert [value_level(attribute, word) for word in words] == list(LEVELS[attribute])
    assert len(set(words)) == len(words)


def test_type_words_are_the_grammar_s():
    assert [value_word("type", level) for level in LEVELS["type"]] == list(TYPE_NAMES[1:])


@pytest.mark.parametrize(
    ("attribute", "word"),
    [
        ("type", "none"),
        ("type", "1"),
        ("type", "Square"),
        ("type", ""),
        ("color", ""),
        ("color", "10"),
        ("color", "-1"),
        ("color", "+1"),
        ("color", "٣"),
        ("color", "²"),
        ("color", "\uff13"),
        ("color", "circle"),
        ("size", "1_0"),
    ],
)
def test_a_word_that_is_no_value_is_none(attribute, word):
    assert value_level(attribute, word) is None


@pytest.mark.parametrize(
    ("rule", "phrase"),
    [
        (Rule("type", "constant"), "constant"),
        (Rule("size", "progression", 1), "progression +1"),
        (Rule("size", "progression", -2), "progression -2"),
        (Rule("color", "arithmetic", 1), "arithmetic +"),
        (Rule("color", "arithmetic", -1), "arithmetic -"),
        (Rule("type", "distribute_three"), "distribute three"),
    ],
)
def test_rule_phrases_by_hand(rule, phrase):
    assert rule_phrase(rule) == phrase


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_rule_goes_to_a_phrase_and_back(attribute):
    for rule in all_rules(attribute):
        assert rule_of_phrase(attribute, rule_phrase(rule)) == rule


@pytest.mark.parametrize(
    "phrase", ["", "progression", "progression +3", "progression 1", "Constant", "constant "]
)
def test_a_phrase_that_names_no_rule_is_none(phrase):
    assert rule_of_phrase("size", phrase) is None


def test_panel_names_count_from_one_and_letters_from_a():
    assert [panel_name(f"context:{i}") for i in (0, 7)] == ["panel 1", "panel 8"]
    assert [panel_name(f"choice:{i}") for i in (0, 7)] == ["choice A", "choice H"]


def test_phrases_are_distinct_and_none_hides_behind_a_shorter_one():
    phrases = single_token_phrases()
    assert len(set(phrases)) == len(phrases)
    assert all(phrases)
    for index, phrase in enumerate(phrases):
        # alternatives of a pattern are tried in order
        assert not any(phrase.startswith(earlier) for earlier in phrases[:index])


def test_the_phrases_of_center_puzzles_never_change():
    # a shipped tokenizer has one token for each of them
    digest = hashlib.sha256("\x00".join(single_token_phrases()).encode()).hexdigest()
    assert digest.startswith("00367db7cc931d03")
    assert COT_PROMPT == (
        "Which choice completes the matrix? Generate a reason first and then output a letter "
        "answer."
    )


def test_phrases_of_more_schemas_add_to_those_of_center_puzzles():
    wide = single_token_phrases(all_schemas())
    assert set(single_token_phrases()) < set(wide)
    assert {"\nLeft Type:", "\nPosition:", " -> no rule", " any", " mixed"} <= set(wide)
    assert {"This is a non-regular puzzle.", "\nHeading:", " northeast"} <= set(wide)
    for index, phrase in enumerate(wide):
        assert not any(phrase.startswith(earlier) for earlier in wide[:index])
    # a token for each of 512 tile patterns would be trained too rarely
    assert " 12578" not in wide
    assert len(wide) < 1000


def test_center_has_three_lines_that_always_have_a_rule():
    assert [line.label for line in CENTER_SCHEMA.lines] == ["Type", "Size", "Color"]
    assert all(line.is_always_ruled and not line.may_differ for line in CENTER_SCHEMA.lines)
    assert CENTER_SCHEMA.panels == (
        ("context:0", "context:1", "context:2"),
        ("context:3", "context:4", "context:5"),
        ("context:6", "context:7"),
    )


def test_a_position_is_the_numbers_of_its_slots():
    line = regular_line("position", num_slots=9)
    assert line.words[0b100000101] == "139"
    assert len(line.words) == len(set(line.words.values())) == 511
    assert line.values["123456789"] == 511
    assert {"0", "", "31", "11", "1 3"}.isdisjoint(line.values)
    assert "4" not in regular_line("position", num_slots=3).values


def test_what_a_choice_is_said_to_have():
    sizes = regular_line("size", num_slots=4)
    assert sizes.trials["4 yes"] == (4, True, 1)
    assert sizes.trials["mixed no"] == (None, False, 5)
    assert len(sizes.trials) == 2 * len(sizes.values) + 2
    # one slot has one value
    assert "mixed no" not in regular_line("size").trials
    assert regular_line("type").trials["circle no"] == (5, False, 6)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("cot", COT_PROMPT), ("perception", DIRECT_PROMPT), ("direct", DIRECT_PROMPT)],
)
def test_what_is_asked_of_a_matrix(puzzle, kind, text):
    assert prompt_text(puzzle, kind) == text


def test_what_is_asked_of_the_other_families(zoo, annotated):
    group = next(p for p in zoo if p.configuration == "group")
    assert prompt_text(group, "cot").startswith("Which choice belongs with the panels shown? Gen")
    row = next(p for p in zoo if p.configuration == "sequence")
    assert prompt_text(row, "direct").endswith("option's letter from the given choices directly.")
    assert prompt_text(annotated(), "cot") == (
        "Which tile continues the row? Generate a reason first and then output a letter answer."
    )
    texts = annotated(choices=("up", "down"), answer="A")
    assert prompt_text(texts, "direct") == (
        "Which tile continues the row?\nA: up\nB: down\n"
        "Answer with the option's letter from the given choices directly."
    )
    free = annotated(choices=(), answer="a fish")
    assert prompt_text(free, "direct").endswith("row? Answer the question with a short answer.")
    assert prompt_text(free, "cot").endswith("reason first and then output a short answer.")
