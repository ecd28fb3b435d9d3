"""Laws on rows of values, against numbers worked by hand."""

import random

import pytest

from rl_avr.puzzles.nonregular import laws
from rl_avr.puzzles.nonregular.layouts import LAYOUTS, full_rows, split_rows


def by_kind(found, kind, parameter=0):
    (law,) = [law for law in found if (law.kind, law.parameter) == (kind, parameter)]
    return law


EIGHT = laws.around(8, "It turns", lambda n: f"{n} places", (1, 2, 3, 4))
COUNTS = (
    *laws.count_steps(range(1, 10), "count"),
    *laws.arithmetic(range(1, 10), "count"),
    *laws.nominal(range(1, 10), "count"),
)


@pytest.mark.parametrize(
    ("kind", "parameter", "rows", "missing"),
    [
        ("progression", 3, ((0, 3, 6, 1),), 4),
        ("progression", -1, ((1, 0, 7, 6),), 5),
        ("progression", 4, ((1, 5, 1, 5),), 1),
        ("progression", 2, ((0, 2, 4), (7, 1)), 3),
        ("progression", 2, ((0, 2, 5), (7, 1)), None),
        ("growing", 1, ((0, 1, 3, 6),), 2),
        ("growing", -1, ((0, 7, 5, 2),), 6),
        ("growing", 1, ((0, 1, 2, 3),), None),
    ],
)
def test_steps_around_a_cycle(kind, parameter, rows, missing):
    assert by_kind(EIGHT, kind, parameter).predict(rows) == missing


@pytest.mark.parametrize(
    ("kind", "parameter", "rows", "missing"),
    [
        ("progression", 2, ((1, 3, 5, 7),), 9),
        ("progression", 2, ((3, 5, 7), (5, 7)), 9),
        # The next count would be 10, which no panel shows.
        ("progression", 3, ((1, 4, 7), (4, 7)), None),
        ("arithmetic", 1, ((1, 2, 3), (2, 5)), 7),
        ("arithmetic", -1, ((5, 3, 2), (9, 8)), 1),
        ("arithmetic", -1, ((5, 3, 2), (3, 3)), None),
        ("constant", 0, ((4, 4, 4), (6, 6)), 6),
        ("constant", 0, ((4, 4, 4), (6, 5)), None),
        ("shared", 0, ((4, 4, 4, 4, 4),), 4),
        ("alternate", 0, ((4, 2, 4, 2),), 4),
        ("alternate", 0, ((4, 4, 4, 4),), None),
        ("distribute_three", 0, ((1, 5, 3), (3, 1)), 5),
        ("distribute_three", 0, ((1, 5, 3), (3, 3)), None),
        ("distribute_three", 0, ((1, 5, 3), (3, 1, 5), (5, 3)), 1),
        # The same three in every row, but 3 twice in the last column.
        ("distribute_three", 0, ((1, 5, 3), (3, 1, 5), (5, 1)), None),
    ],
)
def test_counts(kind, parameter, rows, missing):
    assert by_kind(COUNTS, kind, parameter).predict(rows) == missing


def test_a_combination_goes_place_by_place():
    text = laws.Text("xor", 0, "xor", "Sentence.")
    law = laws.combination(text, 4, lambda a, b: a ^ b)
    assert law.predict(((0b1100, 0b1010, 0b0110), (0b1111, 0b0001))) == 0b1110
    assert law.predict(((0b1100, 0b1010, 0b1110), (0b1111, 0b0001))) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_law_draws_it_predicts(layout):
    rng = random.Random(7)
    without = laws.combination(laws.Text("without", 0, "", ""), 4, lambda a, b: a & ~b)
    num_checked = 0
    for law in [*EIGHT, *COUNTS, without]:
        if layout not in law.layouts:
            continue
        for last in range(1, 8):
            rows = law.draw(rng, last, full_rows(layout))
            if rows is None:
                continue
            assert tuple(len(row) for row in rows) == full_rows(layout)
            assert rows[-1][-1] == last
            assert law.predict((*rows[:-1], rows[-1][:-1])) == last
            num_checked += 1
    assert num_checked >= 7


def test_rows_of_a_context():
    assert split_rows("abcdefgh", "matrix") == (tuple("abc"), tuple("def"), tuple("gh"))
    assert full_rows("group") == (6,)
