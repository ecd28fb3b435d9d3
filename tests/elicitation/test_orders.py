"""Orders: the same questions, coarse first, details at once, or in grid order."""

import random

import pytest

from rl_avr.elicitation.orders import ORDERS, ordered
from rl_avr.elicitation.question_words import LEVELS
from rl_avr.elicitation.questions import perception_questions
from rl_avr.errors import ConfigError


def ranks(questions):
    return [LEVELS.index(question.level) for question in questions]


def rising(places):
    return sum(a < b for a, b in zip(places, places[1:], strict=False))


@pytest.fixture
def questions(puzzle):
    return perception_questions(puzzle, random.Random(0))


@pytest.mark.parametrize("order", ORDERS)
def test_no_question_is_lost_or_added(zoo, order):
    for puzzle in zoo[::5]:
        asked = perception_questions(puzzle, random.Random(1))
        found = ordered(asked, order, random.Random(2))
        assert sorted(map(repr, found)) == sorted(map(repr, asked))
        assert ordered((), order, random.Random(0)) == ()


def test_elicitation_goes_from_coarse_to_shuffled_fine(questions):
    place = {question: i for i, question in enumerate(questions)}
    found = ordered(questions, "elicitation_shuffled", random.Random(3))
    assert ranks(found) == sorted(ranks(questions))
    coarse = [q for q in questions if q.level == "coarse"]
    assert list(found[: len(coarse)]) == coarse
    fine = [place[q] for q in found if q.level == "fine"]
    # 47 neighbours: a shuffle rises 23.5 times, standard deviation 2
    assert len(fine) == 48
    assert 15 < rising(fine) < 32


def test_the_base_mixes_the_levels(questions):
    found = ranks(ordered(questions, "base_shuffled", random.Random(3)))
    assert found != sorted(found)
    assert found.index(0) > 0
    changes = sum(a != b for a, b in zip(found, found[1:], strict=False))
    assert changes > 20


def test_the_control_is_in_grid_order_whatever_came_in(questions):
    mixed = random.Random(4).sample(questions, k=len(questions))
    found = ordered(mixed, "sequential", random.Random(0))
    assert ranks(found) == sorted(ranks(questions))
    fine = [q for q in found if q.level == "fine"]
    panels = [q.panel for q in fine]
    wanted = [f"context:{i}" for i in range(8)] + [f"choice:{i}" for i in range(8)]
    assert list(dict.fromkeys(panels)) == wanted
    assert panels == sorted(panels, key=wanted.index)
    assert ordered(found, "sequential", random.Random(0)) == found


def test_shuffles_follow_the_generator_alone(questions):
    for order in ORDERS[:2]:
        one, again, other = (ordered(questions, order, random.Random(s)) for s in (1, 1, 2))
        assert one == again
        assert one != other


def test_an_unknown_order_is_refused(questions):
    with pytest.raises(ConfigError, match="expected one of elicitation_shuffled, base_shuffled"):
        ordered(questions, "random", random.Random(0))
