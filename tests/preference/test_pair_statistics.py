"""Statistics over questions, by hand; rows go to JSON and back."""

import json

import pytest

from rl_avr.errors import DataError
from rl_avr.preference.pair_statistics import (
    CategoryStatistics,
    PairFacts,
    QuestionRow,
    WayStatistics,
    balanced_rows,
    question_row,
    statistics_of,
)


def row(category, fate, num_right, num_judged, *pairs, num_cut=0):
    return QuestionRow(
        "p/cot", "p", category, ("k",), fate, num_right, num_judged, 8, 5, num_cut, 1, pairs
    )


ROWS = [
    row(
        "a",
        "kept",
        2,
        8,
        PairFacts("random", (10, 14), (50, 70), (1.0, 0.5), ("A", "H")),
        PairFacts("random", (20, 14), (100, 70), (0.5, 0.5), ("A", "H")),
        PairFacts("gold_vs_own_error", None, (60, 60), None, ("H", "B")),
    ),
    row("a", "too_hard", 1, 8, num_cut=3),
    row("b", "too_easy", 8, 8),
    row("b", "kept", 2, 8, PairFacts("random", (12, 14), (60, 70), None, ("B", "H"))),
    row("c", "unjudged", 0, 0),
]


def test_sums_by_hand():
    found = statistics_of(ROWS, ["random", "hard_choice", "gold_vs_own_error"])
    assert (found.num_questions, found.num_pairs) == (5, 4)
    assert found.fates == {"kept": 2, "unjudged": 1, "too_hard": 1, "too_easy": 1}
    assert found.completions == {"sampled": 40, "different": 25, "cut": 3, "unreadable": 5}
    assert list(found.accuracies.items()) == [("1/8", 1), ("2/8", 2), ("8/8", 1)]
    assert found.ways == {
        "random": WayStatistics(
            questions=2,
            pairs=3,
            tokens=(14.0, 14.0),
            characters=(70.0, 70.0),
            longer=pytest.approx(1 / 3),
            shorter=pytest.approx(2 / 3),
            perception=(0.75, 0.5),
        ),
        "hard_choice": WayStatistics(0, 0, None, (0.0, 0.0), 0.0, 0.0, None),
        "gold_vs_own_error": WayStatistics(1, 1, None, (60.0, 60.0), 0.0, 0.0, None),
    }
    assert found.categories == {
        "a": CategoryStatistics(2, 1, 3, pytest.approx(3 / 16)),
        "b": CategoryStatistics(2, 1, 1, pytest.approx(10 / 16)),
        "c": CategoryStatistics(1, 0, 0, None),
    }
    assert found.answers == {"A": (2, 0), "B": (1, 1), "H": (1, 3)}
    # H is chosen in a quarter of its pairs, and B is not chosen where H is
    assert found.told_by_answer == 0.75


def test_many_answers_are_not_counted_each():
    pairs = [PairFacts("random", None, (1, 1), None, (f"{k}", "no")) for k in range(12)]
    found = statistics_of([row("a", "kept", 2, 8, *pairs)], ["random"])
    assert (found.answers, found.told_by_answer) == ({}, 1.0)


def test_answers_are_counted_with_what_no_file_can_hold():
    pairs = [PairFacts("random", None, (1, 1), None, ("\ud83d", None))]
    assert statistics_of([row("a", "kept", 2, 8, *pairs)], []).answers == {"\\ud83d": (1, 0)}


def test_balance_ranks_pairs_within_their_way():
    ways = ("random", "random", "length_matched", "length_matched")
    rows = [
        row("a", "kept", 2, 8, *(PairFacts(way, None, (1, 1), None, answers) for way in ways))
        for answers in [("A", "B")] * 8 + [("B", "A")] * 4
    ]
    found, _ = balanced_rows(rows, seed=0)
    for way in set(ways):
        assert sum(pair.way == way for one in found[:8] for pair in one.pairs) == 8


def test_a_row_of_an_earlier_version_has_no_answers():
    old = json.loads(ROWS[0].to_json())
    for pair in old["pairs"]:
        del pair["answers"]
    found = QuestionRow.from_json(json.dumps(old), "here")
    assert {pair.answers for pair in found.pairs} == {(None, None)}


def test_balance_leaves_rows_with_the_pairs_that_are_kept():
    rows, kept = balanced_rows(ROWS, seed=0)
    # A is never rejected; H and B are, once each
    assert kept == [2, 3]
    assert [len(one.pairs) for one in rows] == [1, 0, 0, 1, 0]
    assert rows[0].pairs == ROWS[0].pairs[2:]
    alone, kept = balanced_rows(ROWS[:3], seed=0)
    assert kept == []
    assert [one.fate for one in alone] == ["unbalanced", "too_hard", "too_easy"]
    assert statistics_of(rows, ["random"]).told_by_answer == 0.5


def test_accuracies_stand_in_the_order_of_their_values():
    rows = [row("a", "kept", *rate) for rate in ((9, 10), (1, 4), (10, 16), (5, 8))]
    assert list(statistics_of(rows, []).accuracies) == ["1/4", "5/8", "10/16", "9/10"]


@pytest.mark.parametrize("one", ROWS)
def test_a_row_goes_to_json_and_back(one):
    assert QuestionRow.from_json(one.to_json(), "here") == one


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"pairs": [{}]}', "{", ""])
def test_a_broken_row_says_where_it_stands(text):
    with pytest.raises(DataError, match="^questions.jsonl:4: expected what became"):
        QuestionRow.from_json(text, "questions.jsonl:4")


def test_facts_of_a_pair(sample, question):
    right, wrong = sample("right", num_tokens=7), sample("no", num_tokens=9, perception=0.5)
    gold, blind = sample("gold", num_tokens=0), sample("w", perception=None)
    asked = question(right, wrong)
    pairs = [("random", (right, wrong)), ("gold_vs_own_error", (gold, blind))]
    found = question_row(asked, "kept", ["k"], pairs)
    assert found.pairs == (
        PairFacts("random", (7, 9), (5, 2), (1.0, 0.5), (right.answer, wrong.answer)),
        PairFacts("gold_vs_own_error", None, (4, 1), None, (gold.answer, blind.answer)),
    )
    assert (found.prompt_id, found.category, found.keys) == ("p/cot", "center_single", ("k",))
