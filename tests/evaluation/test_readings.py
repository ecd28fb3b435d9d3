"""What the probes say, on rows made by hand."""

from dataclasses import replace

import pytest

from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.readings import answer_of, base_rows, probe_readings
from rl_avr.evaluation.rows import ProblemRow, Tally, reason_of
from rl_avr.evaluation.statistics import wilson

CONFIG = EvalConfig(num_bootstrap=300)


@pytest.fixture
def probe_row(row_of):
    """Makes the row of a probe from the row of its problem."""

    def make(base, probe, greedy, variant="", gold=None, **tags):
        own = {"probe": probe, "of": base.prompt_id} | ({"variant": variant} if variant else {})
        name = f"{base.prompt_id}#{probe}-{variant}"
        gold = base.gold if gold is None else gold
        return row_of(name, gold, greedy=greedy, tags=[*own.items(), *tags.items()])

    return make


def read(rows):
    return {(one.probe, one.measure): one for one in probe_readings(rows, CONFIG, 0)}


@pytest.mark.parametrize(
    ("num_right", "words"),
    [(30, "above 12.5%: answers can be guessed"), (7, "not told from 12.5%"), (0, "below 12.5%")],
)
def test_the_blind_probe_is_held_against_chance(row_of, probe_row, num_right, words):
    base = [row_of(str(i), 0, greedy=1) for i in range(40)]
    blind = [probe_row(row, "context_blind", int(i >= num_right)) for i, row in enumerate(base)]
    found = read(base + blind)["context_blind", "accuracy"]
    assert found.value == wilson(num_right, 40, 0.95)
    assert found.reference == 0.125
    assert found.text.startswith(words)


def test_permuted_answers_are_led_back_by_the_order(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2) for i in range(4)]
    # place 5 shows what was choice 2; the last problem stays at the letter C
    order = "7 6 5 4 3 2 1 0"
    moved = [
        probe_row(row, "choices_permuted", 5 if i < 3 else 2, gold=5, order=order)
        for i, row in enumerate(base)
    ]
    found = read(base + moved)
    assert found["choices_permuted", "same answer"].value == wilson(3, 4, 0.95)
    change = found["choices_permuted", "change of accuracy"]
    assert change.value.value == -0.25 and change.reference == 0


def test_a_change_is_called_one_only_where_the_interval_leaves_out_zero(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2) for i in range(20)]
    worse = [probe_row(row, "relabelled", 3, "roman") for row in base]
    equal = [probe_row(row, "relabelled", 2, "digits") for row in base]
    found = read(base + worse + equal)
    assert found["relabelled", "change of accuracy, roman"].text.startswith("worse with")
    assert found["relabelled", "change of accuracy, digits"].text.startswith("no difference")
    assert found["relabelled", "same answer, digits"].value.value == 1
    assert found["relabelled", "same answer, roman"].value.value == 0


def test_paraphrases_agree_only_all_together(row_of, probe_row):
    base = [row_of("a", 0, greedy=0), row_of("b", 0, greedy=1), row_of("c", 0, greedy=None)]
    answers = {"a": (0, 0), "b": (1, 0), "c": (None, None)}
    rows = [
        probe_row(row, "paraphrased", answers[row.prompt_id][k], str(k + 1))
        for row in base
        for k in (0, 1)
    ]
    found = read(base + rows)
    assert found["paraphrased", "all wordings agree"].value == wilson(1, 3, 0.95)
    assert found["paraphrased", "change of accuracy, wording 2"].value.value == pytest.approx(1 / 3)


def test_twins_show_memory(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2 if i < 12 else 0) for i in range(16)]
    # of twelve solved: three twins solved, six with the old answer, three with another
    answers = [4] * 3 + [2] * 6 + [1] * 3 + [0] * 4
    twins = [
        probe_row(row, "perturbed_twin", given, gold=4)
        for row, given in zip(base, answers, strict=True)
    ]
    found = read(base + twins)
    assert found["perturbed_twin", "twin missed after a right answer"].value == wilson(9, 12, 0.95)
    assert found["perturbed_twin", "old answer kept"].value == wilson(6, 12, 0.95)
    change = found["perturbed_twin", "change of accuracy"]
    assert change.value.value == pytest.approx(3 / 16 - 12 / 16)
    assert "memorised in part" in change.text


def test_a_policy_that_solves_twins_shows_no_memory(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2) for i in range(6)]
    twins = [probe_row(row, "perturbed_twin", 4, gold=4) for row in base]
    change = read(base + twins)["perturbed_twin", "change of accuracy"]
    assert "no sign of memorising" in change.text


def test_truncated_chains_by_share(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=i) for i in range(4)]
    cut = [probe_row(row, "truncated_chain", 0, "0.25") for row in base]
    whole = [probe_row(row, "truncated_chain", row.greedy.choice, "1") for row in base]
    found = read(base + cut + whole)
    assert found["truncated_chain", "same answer, 25% of the chain"].value == wilson(1, 4, 0.95)
    assert found["truncated_chain", "same answer, 100% of the chain"].value == wilson(4, 4, 0.95)


def test_corrupted_chains_followed_or_ignored(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2) for i in range(4)]
    given = (5, 1, 2, None)
    rows = [
        probe_row(row, "corrupted_chain", choice, expected="1 5")
        for row, choice in zip(base, given, strict=True)
    ]
    found = read(base + rows)
    assert found["corrupted_chain", "follows the chain"].value == wilson(2, 4, 0.95)
    assert found["corrupted_chain", "same answer"].value == wilson(1, 4, 0.95)


@pytest.mark.parametrize(
    ("seen", "ruled", "reason"),
    [
        ((8, 0, 8), (1, 0, 1), "sound"),
        ((7, 1, 8), (1, 0, 1), "perception"),
        ((7, 1, 8), (0, 1, 1), "perception"),
        ((8, 0, 8), (0, 1, 1), "rule"),
        ((7, 0, 8), (1, 0, 1), "incomplete"),
        ((8, 0, 8), (0, 0, 1), "incomplete"),
        ((0, 0, 8), (0, 0, 1), None),
    ],
)
def test_reasons_by_hand(sample_at, seen, ruled, reason):
    tallies = {"perception": {"size": Tally(*seen)}, "rules": {"size": Tally(*ruled)}}
    assert reason_of(sample_at(2, 2, **tallies)) == reason
    assert reason_of(sample_at(1, 2, **tallies)) is None


def test_wrong_reasons_are_shares_of_right_answers(row_of, sample_at):
    def said(right, wrong, choice=2):
        return sample_at(choice, 2, perception={"size": Tally(right, wrong, 8)})

    rows = [
        replace(row_of("a", 2), samples=(said(8, 0), said(7, 1), said(7, 1, choice=0))),
        replace(row_of("b", 2), samples=(said(8, 0), said(8, 0), said(8, 0))),
        replace(row_of("silent", 2), samples=(sample_at(2, 2),) * 3),
    ]
    found = read(rows)
    assert found["wrong_reason", "perception"].value.value == pytest.approx(0.25)
    assert found["wrong_reason", "sound"].value.value == pytest.approx(0.75)
    assert found["wrong_reason", "perception"].value.n == 2


def test_retention_stays_out_of_all_else(row_of):
    general = row_of("g", 0, greedy=0, tags=[("probe", "retention"), ("shift", "harder")])
    rows = [row_of("a", 0, greedy=1, tags=[("shift", "in_distribution")]), general]
    assert base_rows(rows) == rows[:1]
    found = read(rows)
    assert found["retention", "accuracy"].value == wilson(1, 1, 0.95)
    assert ("shift", "harder") not in found


def test_shifts_are_held_against_problems_like_those_of_training(row_of):
    rows = [
        row_of(str(i), 0, greedy=i % 2, tags=[("shift", "in_distribution")]) for i in range(4)
    ] + [row_of(f"h{i}", 0, greedy=1, tags=[("shift", "harder")]) for i in range(3)]
    found = read(rows)
    assert found["shift", "harder"].value == wilson(0, 3, 0.95)
    assert found["shift", "harder"].reference == 0.5


def test_a_failed_probe_counts_as_wrong_and_as_another_answer(row_of, probe_row):
    base = [row_of(str(i), 2, greedy=2) for i in range(2)]
    moved = [probe_row(row, "relabelled", 2, "digits") for row in base]
    moved[0] = replace(moved[0], greedy=None, error="image cannot be read")
    found = read(base + moved)
    assert found["relabelled", "change of accuracy, digits"].value.value == -0.5
    assert found["relabelled", "same answer, digits"].value == wilson(1, 2, 0.95)


def test_rows_without_their_problem_and_no_rows_say_nothing(row_of, probe_row):
    assert probe_readings([], CONFIG, 0) == []
    assert probe_readings([probe_row(row_of("a", 0), "context_blind", 0)], CONFIG, 0) == []


def test_the_answer_is_the_greedy_one_else_the_vote(row_of):
    assert answer_of(row_of("a", 0, [3, 3, 1], greedy=5)) == 5
    assert answer_of(row_of("a", 0, [3, 3, 1])) == 3
    assert answer_of(ProblemRow("a", (), 0, 8, error="failed")) is None
