"""Words: every level and every rule goes to a phrase and back."""

import pytest

from rl_avr.contracts import Rule
from rl_avr.prompts import (
    panel_name,
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
