"""Random mutations of gold chains, under random configs: never an error, never above the gold.

The examples are the same in every run.
"""

import math
import random
from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards.answers import grade_text
from rewards.composition import score
from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import AnswerKind, FinishReason, PromptKind
from rl_avr.elicitation.chains import answer_line, direct_answer, gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.prompts import AnswerForm, in_tags

SAME_EVERY_TIME = settings(
    derandomize=True,
    deadline=None,
    print_blob=True,
    max_examples=300,
    # the fixture `annotated` only makes puzzles
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
UNGATED_MODES = ("graded", "added")
"""In these the form alone is worth something, whatever the answer."""

PIECES = (
    *(
        "### Answer: ",
        "### Answer: A",
        "### Answer: B",
        "###Answer:C",
        "###",
        "A",
        "D",
        "yes",
        "no",
    ),
    *("<think>", "</think>", "<answer>", "</answer>", "<answer>C</answer>", "any", "mixed", "not"),
    *("no rule", "constant", "progression +1", "->", "|", ":", ",", ".", " ", "A: ", "Size: "),
    *("Missing panel:", "This is a regular puzzle.", "panel 1", "Panel 9", "choice A", "slot 1"),
    *("which fits", "which is wrong", "0", "7", "square", "square.circle", "1+2", "14"),
    *("\r", "\t", "\x00", "\x0b", "\x85", "\u2028", "\u200b", "\u202e", "\u0301", "\ufeff"),
    *("\u0421", "\uff23", "\u0661", "\ud800", "\U0001f642", "\ufb01", "\u0130", "\u00df"),
)
PLACE = st.integers(0, 10_000)
INSERTED = st.one_of(st.sampled_from(PIECES), st.text(st.characters(), max_size=6))
CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(("delete", "repeat", "swap")),
            st.sampled_from(("\n", " ", "")),
            PLACE,
            PLACE,
        ),
        st.tuples(st.just("insert"), st.sampled_from(("\n", " ", "")), PLACE, INSERTED),
        st.tuples(st.just("replace"), st.sampled_from(("\n", " ", "")), PLACE, INSERTED),
        st.tuples(st.just("splice"), st.sampled_from(("\n", " ", "")), PLACE, PLACE),
        st.tuples(st.just("answer"), st.just("\n"), PLACE, st.sampled_from("ABCDEFGHIaZ")),
        st.tuples(
            st.sampled_from(("upper", "strip", "tags", "reverse")), st.just(""), PLACE, PLACE
        ),
    ),
    max_size=6,
)


def changed(text, other, changes):
    """Returns a text after a list of changes; lines, words or characters are the pieces."""
    for what, between, place, more in changes:
        pieces = text.split(between) if between else list(text)
        at = place % (len(pieces) + 1)
        if what == "delete":
            del pieces[at : at + 1 + more % 3]
        elif what == "repeat":
            pieces[at:at] = pieces[at : at + 1] * (1 + more % 5)
        elif what == "swap" and pieces:
            i, j = place % len(pieces), more % len(pieces)
            pieces[i], pieces[j] = pieces[j], pieces[i]
        elif what == "insert":
            pieces.insert(at, more)
        elif what == "replace":
            pieces[at : at + 1] = [more]
        elif what == "splice":
            tail = other.split(between) if between else list(other)
            pieces[at:] = tail[more % (len(tail) + 1) :]
        elif what == "answer":
            pieces = [*pieces[:-1], f"### Answer: {more}"]
        elif what == "reverse":
            pieces.reverse()
        elif what == "tags":
            pieces = list(in_tags(text))
        text = between.join(pieces)
        text = text.upper() if what == "upper" else text.strip() if what == "strip" else text
    return text


WEIGHT = st.one_of(st.just(0.0), st.floats(0.001, 50))
CONFIGS = st.fixed_dictionaries(
    dict.fromkeys(PARTS[1:], WEIGHT)
    | {
        "choice": st.floats(0.001, 50),
        "format_mode": st.sampled_from(("separate", "implicit", "and", "graded", "added")),
        "gate": st.sampled_from(("choice", "none", "stream")),
        "stream_weight": st.floats(0, 5),
        "aggregation": st.sampled_from(("sum_then_normalize", "normalize_then_sum")),
        "stage": st.sampled_from(("reasoning", "reasoning", "perception")),
        "answer_form": st.sampled_from(get_args(AnswerForm)),
        "length_limit": st.integers(50, 500),
        "length_buffer": st.integers(0, 50),
    }
).map(lambda fields: RewardConfig(**fields))


KINDS = get_args(PromptKind)


@st.composite
def situations(draw, kinds=KINDS, **fixed):
    """Draws what a completion is asked for, how it ended, and how it differs from the gold.

    What is fixed is a field of the config and its value.
    """
    return {
        "config": replace(draw(CONFIGS), **fixed),
        "kind": draw(st.sampled_from(kinds)),
        "finish": draw(st.sampled_from(("stop", "stop", "stop", *get_args(FinishReason)))),
        "num_tokens": draw(st.one_of(st.none(), st.integers(0, 600))),
        "places": draw(st.tuples(PLACE, PLACE)),
        "is_fluent": draw(st.tuples(st.booleans(), st.booleans())),
        "changes": draw(CHANGES),
    }


@pytest.fixture(scope="session")
def written(zoo):
    """Puzzles with their gold chains in both phrasings."""
    return [
        (puzzle, gold_chain(puzzle), fluent_chain(puzzle, random.Random(index)))
        for index, puzzle in enumerate(zoo)
    ]


def told(written, situation):
    """Returns the puzzle, its gold text, and the changed text, in the form asked for."""
    (puzzle, *ours), (_, *theirs) = (written[at % len(written)] for at in situation["places"])
    ours, theirs = (
        texts[is_fluent]
        for texts, is_fluent in zip((ours, theirs), situation["is_fluent"], strict=True)
    )
    if situation["kind"] != "cot":
        ours, theirs = answer_line(puzzle), theirs.split("\n")[-1]
    if situation["config"].answer_form == "tags":
        ours, theirs = in_tags(ours), in_tags(theirs)
    return puzzle, ours, changed(ours, theirs, situation["changes"])


def judged(text, puzzle, situation, finish=None, num_tokens=None):
    config, kind = situation["config"], situation["kind"]
    parsed = read(
        text,
        puzzle,
        finish or situation["finish"],
        kind,
        config.answer_form,
        situation["num_tokens"] if num_tokens is None else num_tokens,
    )
    return parsed, score(parsed, puzzle, config, kind)


def assert_in_bounds(found):
    for _, value in (*found.parts, *found.streams, ("outcome", found.outcome)):
        assert value is None or 0.0 <= value <= 1.0
    assert 0.0 <= found.total <= 1.0 and not math.isnan(found.total)


@SAME_EVERY_TIME
@given(situations())
def test_no_mutation_of_a_chain_is_worth_more_than_the_gold(written, situation):
    puzzle, gold, text = told(written, situation)
    parsed, found = judged(text, puzzle, situation)
    assert_in_bounds(found)
    assert judged(text, puzzle, situation) == (parsed, found)
    shortest = None if situation["num_tokens"] is None else 0
    _, ceiling = judged(gold, puzzle, situation, "stop", shortest)
    assert found.total <= ceiling.total
    assert {value for _, value in ceiling.parts} <= {1.0, None}
    for (name, value), (_, best) in zip(found.parts, ceiling.parts, strict=True):
        assert (value is None) == (best is None), name


@SAME_EVERY_TIME
@given(
    situations(gate="choice", stage="reasoning", answer_form="mark"),
    st.sampled_from("ABCDEFGHIZ"),
)
def test_a_wrong_answer_is_worth_nothing_behind_the_gate(written, situation, letter):
    puzzle, _, text = told(written, situation)
    if letter == puzzle.answer_letter:
        letter = "A" if letter != "A" else "B"
    _, found = judged(changed(text, "", [("answer", "\n", 0, letter)]), puzzle, situation)
    assert found.part("choice") == 0.0
    if situation["config"].format_mode not in UNGATED_MODES:
        assert found.total == 0.0
        assert {value for _, value in found.streams} <= {0.0, None}


def said(parsed):
    """Returns what a text says, without how often and where."""
    return (
        {c._replace(start=0, end=0) for c in parsed.panel_claims},
        {c.rule for c in parsed.rule_claims},
        {v._replace(start=0, end=0) for v in parsed.verdict_claims},
    )


@SAME_EVERY_TIME
@given(
    situations(("cot",), answer_form="mark"),
    st.lists(st.tuples(PLACE, st.integers(1, 4)), min_size=1, max_size=4),
)
def test_saying_a_line_again_raises_nothing(written, situation, copies):
    # Only where the copy says what the line said: a line about choices that stood before the
    # line about the rules reads otherwise behind it. In tags a copied </answer> may close what
    # was left open, so this is about the other form.
    puzzle, _, text = told(written, situation)
    lines = text.split("\n")
    again = "\n".join(lines[at % len(lines)] for at, times in copies for _ in range(times))
    once, first = judged(text, puzzle, situation)
    twice, second = judged(f"{text}\n{again}", puzzle, situation)
    if said(once) != said(twice):
        return
    for (name, before), (_, after) in zip(first.parts, second.parts, strict=True):
        assert after is None or after <= before, name
    assert second.total <= first.total
    assert Counter(once.panel_claims) <= Counter(twice.panel_claims)


@SAME_EVERY_TIME
@given(PLACE, st.text(st.characters(), min_size=1, max_size=3), st.booleans())
def test_only_the_letter_itself_is_the_letter(written, at, other, is_fluent):
    puzzle, *texts = written[at % len(written)]
    gold = texts[is_fluent]
    if other.strip() == puzzle.answer_letter or "\n" in other:
        return
    parsed = read(gold[:-1] + other, puzzle)
    assert parsed.choice_index != puzzle.answer_index
    assert score(parsed, puzzle, RewardConfig()).total == 0.0


@SAME_EVERY_TIME
@given(
    PLACE,
    st.lists(INSERTED, max_size=40).map("".join),
    st.sampled_from(get_args(PromptKind)),
    st.sampled_from(get_args(AnswerForm)),
)
def test_any_text_at_all_can_be_graded(written, at, text, kind, form):
    puzzle = written[at % len(written)][0]
    config = RewardConfig(answer_form=form, gate="none", length_limit=10)
    parsed = read(text, puzzle, "stop", kind, form, len(text))
    found = score(parsed, puzzle, config, kind)
    assert_in_bounds(found)
    assert found.part("format") == 0.0 or kind != "cot"


GOLDS = {
    "exact": "the three fish",
    "letter": "C",
    "yes_no": "yes",
    "count": "12",
    "number": "-12.5",
    "anls": "Rue de la Paix 7",
    "name": "Ada Lovelace",
    "tuple": "circle, size 3, color 4",
    "set": "A, C, E",
}
WORDS = (
    *("yes", "no", "not", "12", "-12.5", "%", "twelve", "C", "A", "E", "circle", "size 3", "fish"),
    *("color 4", ", ", ",", " ", ".", "or", "the ", "three", "Ada", "Lovelace", "Paix", "1e309"),
)


@SAME_EVERY_TIME
@given(
    st.sampled_from(sorted(GOLDS)),
    st.lists(st.one_of(st.sampled_from(WORDS), INSERTED), max_size=30).map("".join),
    CHANGES,
    st.booleans(),
)
def test_no_answer_to_an_open_question_is_worth_more_than_the_gold(
    annotated, kind, words, changes, is_changed
):
    gold = GOLDS[kind]
    text = changed(gold, words, changes) if is_changed else words
    worth = grade_text(text, (gold,), kind)
    assert 0.0 <= worth <= 1.0
    assert grade_text(text, (gold,), kind) == worth
    assert grade_text(gold, (gold,), kind) == 1.0
    assert set(GOLDS) == set(get_args(AnswerKind))
    puzzle = annotated(choices=(), answer=gold, answer_kind=kind)
    for asked in get_args(PromptKind):
        for form in get_args(AnswerForm):
            parsed = read(text, puzzle, "stop", asked, form)
            found = score(parsed, puzzle, RewardConfig(answer_form=form), asked)
            assert_in_bounds(found)
            assert found.total < 1.0 or found.part("choice") == 1.0
    assert grade_text(direct_answer(puzzle), (gold,), kind) == 1.0
