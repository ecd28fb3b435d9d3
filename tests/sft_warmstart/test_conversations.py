"""Conversations: every kind's answers are gold by the graders, for every family of puzzles."""

import random

import numpy as np
import pytest

from rewards.parts.choice import choice
from rewards.parts.format import format as well_formed
from rewards.parts.perception import perception
from rewards.parts.rule import rule
from rl_avr.elicitation.asking import answer_questions
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.grading import grade_answer
from rl_avr.elicitation.questions import coarse_questions, elicitation, fine_questions
from rl_avr.elicitation.reading import read
from rl_avr.errors import PuzzleError
from rl_avr.prompts import COT_PROMPT, DIRECT_PROMPT, prompt_text
from rl_avr.seeding import rng_for
from sft_warmstart.config import MIXED, ElicitationConfig, OwnChainsConfig, SftConfig
from sft_warmstart.conversations import Visit, can_give, num_parts, puzzle_messages, turns

SFT = SftConfig(stage="reasoning")


def made(puzzle, kind, cycle=0, sft=SFT, part=0, own=None, seed=0):
    return puzzle_messages(puzzle, Visit(kind, part, cycle, seed), sft, own or {})


def asks(messages):
    return [m["content"] for m in messages if m["role"] == "user"]


def answers(messages):
    return [m["content"] for m in messages if m["role"] == "assistant"]


def eliciting(**changes):
    return SftConfig(elicitation=ElicitationConfig(**changes))


def test_every_kind_alternates_and_begins_with_the_user(zoo):
    for puzzle in zoo:
        for kind in MIXED:
            messages = made(puzzle, kind)
            assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2)
            assert len(messages) == (22 if kind == "perception" else 2)
            assert all(m["content"].strip() for m in messages)


def test_perception_answers_are_graded_as_right(zoo):
    for puzzle in zoo:
        questions = elicitation(puzzle, 8, rng_for("questions", 0, puzzle.puzzle_id, 4))
        messages = made(puzzle, "perception", cycle=4)
        assert asks(messages) == [question.text for question in questions]
        for question, answer in zip(questions, answers(messages), strict=True):
            assert grade_answer(question, answer)


def test_chains_are_right_in_every_part_of_the_reward(zoo):
    for puzzle in zoo:
        ((question,), (text,)) = (f(made(puzzle, "chain")) for f in (asks, answers))
        assert question == prompt_text(puzzle, "cot")
        parsed = read(text, puzzle)
        for part in (choice, well_formed, perception, rule):
            assert part(parsed, puzzle) == 1.0


def test_direct_answers_are_right(zoo):
    for puzzle in zoo:
        ((question,), (text,)) = (f(made(puzzle, "direct")) for f in (asks, answers))
        assert question == prompt_text(puzzle, "direct")
        parsed = read(text, puzzle, kind="direct")
        assert choice(parsed, puzzle) == well_formed(parsed, puzzle) == 1.0


@pytest.mark.parametrize("kind", ["yes_no", "open"])
def test_answers_about_the_missing_panel_are_right(zoo, kind):
    for puzzle in zoo:
        for cycle in range(4):
            ((question,), (text,)) = (f(made(puzzle, kind, cycle)) for f in (asks, answers))
            known = answer_questions(puzzle, kind, rng_for(kind, 0, puzzle.puzzle_id, cycle // 2))
            if kind == "open":
                known = answer_questions(puzzle, kind, random.Random(0))
            (asked,) = (one for one in known if prompt_text(one, "direct") == question)
            parsed = read(text, asked, kind="direct")
            assert choice(parsed, asked) == well_formed(parsed, asked) == 1.0


def test_critiques_end_with_the_right_answer(zoo):
    for puzzle in zoo:
        for cycle in range(3):
            (text,) = answers(made(puzzle, "critique", cycle))
            assert choice(read(text, puzzle), puzzle) == 1.0


def test_chains_and_prefixes_by_hand(puzzle, chain):
    messages = made(puzzle, "chain")
    assert messages == turns((COT_PROMPT, chain))
    assert messages == [
        {"role": "user", "content": COT_PROMPT},
        {"role": "assistant", "content": chain},
    ]
    bare = SftConfig(stage="reasoning", prefix=False)
    assert answers(made(puzzle, "chain", sft=bare)) == [gold_chain(puzzle, False)]
    assert "regular" not in made(puzzle, "chain", sft=bare)[1]["content"]
    assert made(puzzle, "direct") == turns((DIRECT_PROMPT, "C"))


def test_every_chain_names_its_kind_of_puzzle(zoo):
    for puzzle in zoo:
        first = answers(made(puzzle, "chain"))[0].split("\n")[0]
        kind = "regular" if puzzle.family == "rpm" else "non-regular"
        assert first == f"This is a {kind} puzzle."


def test_coarse_questions_come_first(puzzles):
    for puzzle in puzzles[:30]:
        messages = made(puzzle, "perception")
        coarse = {q.text: q.answer for q in coarse_questions(puzzle)}
        fine = {q.text: q.answer for q in fine_questions(puzzle)}
        pairs = list(zip(asks(messages), answers(messages), strict=True))
        assert set(pairs[:3]) <= coarse.items()
        assert set(pairs[3:]) <= fine.items()
        assert len(pairs) == 11


def test_fine_questions_have_an_order_of_their_own_for_every_puzzle_cycle_and_seed(puzzles):
    everything = eliciting(num_fine=48)
    orders = [tuple(asks(made(p, "perception", sft=everything))[3:]) for p in puzzles[:40]]
    assert len(set(orders)) == 40
    assert len({frozenset(order) for order in orders}) == 1, "all 48 are asked, in another order"
    grid = [q.text for q in fine_questions(puzzles[0])]
    # the place of the first grid question is spread over the conversation: 23.5 on average
    # with a standard deviation of 13.9 / sqrt(40) = 2.2
    places = [order.index(grid[0]) for order in orders]
    assert abs(np.mean(places) - 23.5) < 3.5 * 2.2
    same, cycle, seed = (
        made(puzzles[0], "perception", sft=everything, **changes)
        for changes in ({}, {"cycle": 1}, {"seed": 1})
    )
    assert tuple(asks(same)[3:]) == orders[0]
    assert asks(cycle) != asks(same)
    assert asks(seed) != asks(same)


def test_orders_are_controls_of_each_other(puzzle):
    grid = [q.text for q in (*coarse_questions(puzzle), *fine_questions(puzzle))]
    for order in ("sequential", "base_shuffled"):
        sft = eliciting(num_coarse=6, num_fine=48, order=order)
        asked = asks(made(puzzle, "perception", sft=sft))
        assert sorted(asked) == sorted(grid)
        assert (asked == grid) == (order == "sequential")
    # six coarse ones among 54 begin a plain shuffle once in 26 million
    assert set(asked[:6]) != set(grid[:6])
    none = eliciting(num_coarse=0, num_fine=5)
    assert set(asks(made(puzzle, "perception", sft=none))) <= set(grid[6:])


@pytest.mark.parametrize("name", ["distribute_nine", "rotation"])
def test_other_puzzles_are_asked_in_grid_order_too(zoo, name):
    from rl_avr.training.puzzle_files import kind_of

    puzzle = next(p for p in zoo if kind_of(p) == name)
    sft = eliciting(num_coarse=0, num_fine=400, order="sequential")
    asked = [q for q in asks(made(puzzle, "perception", sft=sft)) if "compare" not in q.lower()]
    first = [next((k for k in range(8) if f"panel {k + 1}" in text), 8) for text in asked]
    about = [k for k in first if k < 8]
    assert len(set(about)) > 3
    fine = about[: about.index(max(about)) + 1]
    assert fine == sorted(fine)


def test_separate_questions_are_the_same_ones_each_on_its_own(zoo):
    for puzzle in zoo[::5]:
        one = made(puzzle, "perception", cycle=2)
        separate = eliciting(conversations="separate")
        assert num_parts(puzzle, "perception", separate.elicitation) == 11
        alone = [made(puzzle, "perception", 2, separate, part) for part in range(11)]
        assert all(len(messages) == 2 for messages in alone)
        assert [m for messages in alone for m in messages] == one
        assert num_parts(puzzle, "chain", separate.elicitation) == 1
        assert num_parts(puzzle, "perception", SFT.elicitation) == 1


def test_yes_and_no_come_in_turn_and_as_often(puzzles):
    first = []
    for puzzle in puzzles:
        both = [answers(made(puzzle, "yes_no", cycle))[0] for cycle in (0, 1)]
        assert sorted(both) == ["no", "yes"]
        first.append(both[0])
    # a fair coin for which comes first: 150 of 300, standard deviation 8.7
    assert abs(first.count("yes") - 150) < 4 * 8.7


def test_own_chains_come_in_turn(puzzle):
    own = {"by-hand": (("Why?", "first"), ("And?", "second"))}
    found = [made(puzzle, "chain", cycle, own=own) for cycle in range(3)]
    assert found == [turns(own["by-hand"][k]) for k in (0, 1, 0)]


def test_a_puzzle_without_an_own_chain_gives_its_gold_one_or_none(puzzle, chain):
    own = {"another": (("Why?", "first"),)}
    gold = SftConfig(own_chains=OwnChainsConfig(path="x"))
    none = SftConfig(own_chains=OwnChainsConfig(path="x", fallback="none"))
    assert can_give(puzzle, "chain", own, gold)
    assert answers(made(puzzle, "chain", own=own)) == [chain]
    assert not can_give(puzzle, "chain", own, none)
    assert can_give(puzzle, "chain", {"by-hand": ()}, none)


def test_what_every_puzzle_with_a_state_can_give(zoo):
    assert all(can_give(puzzle, kind, {}, SFT) for puzzle in zoo for kind in MIXED)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"perception", "chain", "direct"}),
        ({"perception": ()}, {"chain", "direct"}),
        ({"chain": None}, {"perception", "direct"}),
        ({"choices": (), "answer": "up"}, {"perception", "chain", "direct"}),
    ],
)
def test_what_an_annotated_puzzle_can_give(annotated, changes, expected):
    puzzle = annotated(**changes)
    assert {kind for kind in MIXED if can_give(puzzle, kind, {}, SFT)} == expected
    for kind in MIXED:
        if kind in expected:
            assert made(puzzle, kind)
        else:
            with pytest.raises(PuzzleError):
                made(puzzle, kind)


def test_an_annotated_puzzle_gives_what_people_wrote(annotated):
    puzzle = annotated()
    assert sorted(asks(made(puzzle, "perception"))) == [
        *("How many tiles are shown?", "Is the first tile red?")
    ]
    separate = eliciting(conversations="separate")
    assert num_parts(puzzle, "perception", separate.elicitation) == 2
    assert answers(made(puzzle, "chain")) == [gold_chain(puzzle)]
    assert answers(made(puzzle, "direct")) == ["C"]
    assert answers(made(annotated(choices=(), answer="up"), "direct")) == ["up"]
