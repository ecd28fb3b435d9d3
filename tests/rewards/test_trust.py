"""Gold is worth 1 all the way, and neither the order of choices nor the wording matters."""

import dataclasses
import random
from typing import get_args

import pytest

from rewards.adapters import trl_reward
from rewards.composition import grade, score
from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import CHOICE_LETTERS, AnswerKind, Completion, Prompt, RolloutGroup
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.elicitation.chains import (
    answer_line,
    direct_answer,
    gold_chain,
    ruled_lines,
    tried_words,
)
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.phrasings import DIFFERS, FITS, PHRASINGS
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.prompts import in_tags, prompt_text

FORMS = ("mark", "tags")
GATES = ("choice", "none", "stream")
SUMS = ("sum_then_normalize", "normalize_then_sum")
MODES = ("separate", "implicit", "and", "added")
ALL_PARTS = dict.fromkeys(PARTS, 1.0) | {"length_limit": 10_000}
NUM_TOKENS = 200
SHORT = {"choice", "format", "length"}
BLIND = {"perception", "rule", "consistency", "detail", "knowledge"}
"""The parts that need a state."""


class Recorded(random.Random):
    """Remembers every phrasing that was chosen."""

    def __init__(self, seed, seen):
        super().__init__(seed)
        self.seen = seen

    def choice(self, seq):
        chosen = super().choice(seq)
        self.seen.add(chosen)
        return chosen


def gold_texts(puzzle, seen, num_seeds=3):
    """Yields the gold chains of a puzzle in every phrasing and form, with their kind."""
    for prefix in (True, False):
        yield gold_chain(puzzle, prefix)
        for seed in range(num_seeds):
            yield fluent_chain(puzzle, Recorded(seed, seen), prefix)


def marked(text, form):
    return in_tags(text) if form == "tags" else text


def judged_parts(found):
    return {name: value for name, value in found.parts if value is not None}


def is_all_gold(text, puzzle, kind, form, parts):
    """Asserts that a text is worth 1 in all of the parts named, and nothing in the others."""
    config = RewardConfig(**ALL_PARTS, answer_form=form)
    parsed = read(text, puzzle, "stop", kind, form, NUM_TOKENS)
    found = score(parsed, puzzle, config, kind)
    assert parsed.status == "ok", text
    assert judged_parts(found) == dict.fromkeys(parts, 1.0), text
    assert (found.total, found.outcome) == (1.0, 1.0), text


def test_gold_is_worth_one_for_every_puzzle_in_every_phrasing(zoo):
    seen = set()
    for puzzle in zoo:
        for text in gold_texts(puzzle, seen):
            for form in FORMS:
                is_all_gold(marked(text, form), puzzle, "cot", form, PARTS)
    phrasings = {way for ways in (*PHRASINGS.values(), FITS, DIFFERS) for way in ways}
    assert seen == phrasings


def direct_texts(puzzle, form):
    if form == "tags":
        return [in_tags(answer_line(puzzle))]
    return [direct_answer(puzzle), answer_line(puzzle)]


def test_a_gold_answer_alone_is_worth_one_where_it_was_asked_for(zoo):
    for puzzle in zoo:
        for form in FORMS:
            for text in direct_texts(puzzle, form):
                is_all_gold(text, puzzle, "direct", form, SHORT)


GOLDS = {
    "exact": ("a fish", ("fishes",)),
    "letter": ("C", ("circle",)),
    "yes_no": ("yes", ()),
    "count": ("4", ("four",)),
    "number": ("12.5%", ()),
    "anls": ("rue de la Paix", ()),
    "name": ("Ada Lovelace", ()),
    "tuple": ("circle, size 3", ()),
    "set": ("A, C", ()),
}


@pytest.mark.parametrize("prefix", [None, "This is a photographed puzzle."])
def test_gold_is_worth_one_without_a_state(annotated, prefix):
    assert set(GOLDS) == set(get_args(AnswerKind))
    puzzles = [annotated(prefix=prefix)] + [
        annotated(choices=(), answer=answer, accepted=accepted, answer_kind=kind, prefix=prefix)
        for kind, (answer, accepted) in GOLDS.items()
    ]
    for puzzle in puzzles:
        for form in FORMS:
            for text in gold_texts(puzzle, set(), 1):
                is_all_gold(marked(text, form), puzzle, "cot", form, set(PARTS) - BLIND)
            for kind in ("direct", "perception"):
                for text in direct_texts(puzzle, form):
                    is_all_gold(text, puzzle, kind, form, SHORT)
        for accepted in puzzle.annotation.accepted:
            is_all_gold(accepted, puzzle, "perception", "mark", SHORT)


def test_gold_answers_to_questions_about_a_puzzle_are_worth_one(zoo, annotated):
    asked = [
        one
        for puzzle in [*zoo[::3], annotated()]
        for about in ("perception", "yes_no", "open")
        for one in ask_puzzle(puzzle, about, 8)
    ]
    assert {one.annotation.answer_kind for one in asked} >= {"exact", "count", "yes_no", "tuple"}
    for one in asked:
        for form in FORMS:
            for text in direct_texts(one, form):
                is_all_gold(text, one, "perception", form, SHORT)
            reasoned = marked(f"I look at it.\n{answer_line(one)}", form)
            is_all_gold(reasoned, one, "cot", form, set(PARTS) - BLIND)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("stage", ["reasoning", "perception"])
def test_gold_is_the_ceiling_of_every_composition(zoo, gate, stage):
    for puzzle in zoo[::11]:
        parsed = read(gold_chain(puzzle), puzzle, num_tokens=NUM_TOKENS)
        for aggregation in SUMS:
            for mode in MODES:
                config = RewardConfig(
                    gate=gate, format_mode=mode, aggregation=aggregation, stage=stage
                )
                found = score(parsed, puzzle, config)
                streams = {value for _, value in found.streams if value is not None}
                assert (found.total, streams, found.outcome) == (1.0, {1.0}, 1.0)


def test_a_graded_right_answer_is_worth_nine_tenths(zoo):
    for puzzle in zoo[::11]:
        parsed = read(gold_chain(puzzle), puzzle, num_tokens=NUM_TOKENS)
        found = score(parsed, puzzle, RewardConfig(format_mode="graded"))
        # the weights of choice, perception and rule; the form has no term of its own
        assert found.total == pytest.approx((0.9 + 0.2 + 0.1) / 1.3)
        assert found.outcome == 1.0


def test_gold_is_worth_one_in_a_graded_group(zoo):
    for puzzle in zoo[::7]:
        for form in FORMS:
            config = RewardConfig(**ALL_PARTS, answer_form=form)
            texts = [marked(text, form) for text in gold_texts(puzzle, set(), 1)]
            prompt = Prompt("p", puzzle, "cot", prompt_text(puzzle, "cot", form), ())
            completions = tuple(Completion(t, tuple(range(9)), (), "stop", 0) for t in texts)
            graded = grade(RolloutGroup(prompt, (), completions), config)
            assert {found.total for found in graded.scores} == {1.0}
            assert {p.num_tokens for p in graded.parsed} == {9}


def test_gold_is_worth_one_through_trl_s_adapter(zoo, annotated):
    open_ones = [
        annotated(choices=(), answer=answer, accepted=accepted, answer_kind=kind)
        for kind, (answer, accepted) in GOLDS.items()
    ]
    rows = [
        (puzzle, text, kind)
        for puzzle in [*zoo, annotated(), *open_ones]
        for text, kind in (
            (gold_chain(puzzle), "cot"),
            (fluent_chain(puzzle, random.Random(5)), "cot"),
            (answer_line(puzzle), "direct"),
        )
    ]
    for form in FORMS:
        reward = trl_reward(RewardConfig(**ALL_PARTS, answer_form=form))
        texts = [marked(text, form) for _, text, _ in rows]
        totals = reward(
            prompts=[prompt_text(puzzle, kind, form) for puzzle, _, kind in rows],
            completions=[[{"role": "assistant", "content": text}] for text in texts],
            completion_ids=[[0] * NUM_TOKENS for _ in rows],
            puzzle=[puzzle.to_json() for puzzle, _, _ in rows],
            prompt_kind=[kind for _, _, kind in rows],
        )
        assert totals == [1.0] * len(rows)


def all_tried(puzzle, lies):
    """Returns a chain that tries every choice, as (lines, {choice: its line without letter}).

    A lie is a choice whose first verdict is turned around.
    """
    ruled = ruled_lines(puzzle, schema_of(puzzle))
    tried = {}
    for index in range(puzzle.num_choices):
        words = [(word, fits) for _, word, fits in tried_words(puzzle, index, ruled)]
        if index in lies:
            words[0] = (words[0][0], not words[0][1])
        tried[index] = ", ".join(f"{word} {'yes' if fits else 'no'}" for word, fits in words)
    lines = gold_chain(puzzle).split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("A: "))
    return lines[:first], tried


def chain_of(lines, tried, place_of, chosen):
    """Returns the chain with every choice under the letter of its place, in order of letters."""
    letters = {place_of[index]: words for index, words in tried.items()}
    body = [f"{CHOICE_LETTERS[place]}: {letters[place]}" for place in sorted(letters)]
    return "\n".join([*lines, *body, f"### Answer: {CHOICE_LETTERS[place_of[chosen]]}"])


def reordered(puzzle, place_of):
    """Returns the puzzle with choice i at the place place_of[i]."""
    choices = [None] * puzzle.num_choices
    for index, place in place_of.items():
        choices[place] = puzzle.choices[index]
    return dataclasses.replace(
        puzzle, choices=tuple(choices), answer_index=place_of[puzzle.answer_index]
    )


def all_scores(text, puzzle, kind="cot"):
    """Returns parts, total and streams under both gates."""
    parsed = read(text, puzzle, "stop", kind, "mark", NUM_TOKENS)
    found = [
        score(parsed, puzzle, RewardConfig(**ALL_PARTS, gate=gate), kind)
        for gate in ("choice", "stream")
    ]
    return parsed.status, found


def test_permuting_the_choices_permutes_the_answer_and_leaves_every_score(zoo):
    totals = set()
    for number, puzzle in enumerate(zoo):
        rng = random.Random(number)
        same = {i: i for i in range(puzzle.num_choices)}
        places = list(same)
        rng.shuffle(places)
        place_of = dict(enumerate(places))
        moved = reordered(puzzle, place_of)
        assert moved.answer == puzzle.answer
        assert moved.answer_letter == CHOICE_LETTERS[places[puzzle.answer_index]]
        assert all_scores(gold_chain(moved), moved) == all_scores(gold_chain(puzzle), puzzle)
        lines, tried = all_tried(puzzle, rng.sample(places, 2))
        # one rule too few and one wrong panel, as another puzzle of the kind would have it
        broken = [line.replace(" 1 ", " 2 ", 1) for line in lines if "Color: " not in line]
        for chosen in {puzzle.answer_index, *rng.sample(places, 2)}:
            for told in (lines, broken):
                here = all_scores(chain_of(told, tried, same, chosen), puzzle)
                there = all_scores(chain_of(told, tried, place_of, chosen), moved)
                assert here == there
                totals.add(round(here[1][1].total, 6))
            direct = CHOICE_LETTERS[place_of[chosen]]
            assert all_scores(CHOICE_LETTERS[chosen], puzzle, "direct") == all_scores(
                direct, moved, "direct"
            )
    # the chains were of many worths, not all right or all wrong
    assert len(totals) > 50


def test_permuting_the_choices_of_people_s_own_puzzle(annotated):
    texts = ("a circle", "a square", "a star", "a cross")
    for shift in range(4):
        moved = texts[shift:] + texts[:shift]
        right = CHOICE_LETTERS[moved.index("a star")]
        puzzle = annotated(choices=moved, answer=right)
        worth = [all_scores(f"### Answer: {c}", puzzle)[1][0].total for c in "ABCD"]
        assert worth == [float(moved[i] == "a star") for i in range(4)]


class Turned(random.Random):
    """Chooses the first phrasing but once, where it chooses another."""

    def __init__(self, turn=-1, place=0):
        super().__init__(0)
        self.turn, self.place, self.calls = turn, place, []

    def choice(self, seq):
        is_turn = len(self.calls) == self.turn
        self.calls.append(seq)
        return seq[self.place if is_turn else 0]


def turns(writer):
    """Yields (place in the text, phrasing) for the first two sentences of every type."""
    plain = Turned()
    fluent_chain(writer, plain)
    met = {}
    for turn, ways in enumerate(plain.calls):
        met[ways] = met.get(ways, 0) + 1
        if met[ways] <= 2:
            yield from ((turn, place) for place in range(len(ways)))


def test_paraphrase_of_a_claim_leaves_its_score(zoo, grid, puzzle, found_claims):
    seen = set()
    for one in [puzzle, grid, *zoo[::8]]:
        plain = read(fluent_chain(one, Turned()), one)
        scores = all_scores(fluent_chain(one, Turned()), one)
        for turn, place in turns(one):
            rng = Turned(turn, place)
            text = fluent_chain(one, rng)
            seen.add(rng.calls[turn][place])
            assert found_claims(read(text, one)) == found_claims(plain), text
            assert all_scores(text, one) == scores, text
    assert seen == {way for ways in (*PHRASINGS.values(), FITS, DIFFERS) for way in ways}


def liars(zoo):
    """Yields (puzzle, another one whose chain it can read): what is claimed is mostly wrong."""
    by_schema = {}
    for puzzle in zoo:
        by_schema.setdefault(schema_of(puzzle), []).append(puzzle)
    for alike in by_schema.values():
        yield from zip(alike, [*alike[1:], alike[0]], strict=True)


def test_a_wrong_claim_is_worth_as_little_in_every_phrasing(zoo, found_claims):
    totals = set()
    for puzzle, other in liars(zoo):
        compact = gold_chain(other)
        claims = found_claims(read(compact, puzzle))
        scores = all_scores(compact, puzzle)
        # what is known of the one puzzle is not taken for the other
        own = read(compact, other)
        assert score(own, other, RewardConfig()).total == 1.0
        assert score(own, puzzle, RewardConfig(gate="none")).total < 1.0
        assert score(own, other, RewardConfig()).total == 1.0
        for seed in range(3):
            text = fluent_chain(other, random.Random(seed))
            assert found_claims(read(text, puzzle)) == claims
            assert all_scores(text, puzzle) == scores
        totals.add(round(scores[1][1].total, 6))
    assert len(totals) > 50
