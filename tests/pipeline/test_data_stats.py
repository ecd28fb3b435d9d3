"""Statistics of a set: counts by hand, both guessers on sets with and without a leak."""

import json
import random
from dataclasses import replace

import pytest

from rl_avr.contracts import Annotation
from rl_avr.errors import DataError
from rl_avr.pipeline.data_bias import AnswerSet, accuracy, answer_set, bias_report, mode_guess
from rl_avr.pipeline.data_stats import _bias_rows, describe_stats, write_stats
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.puzzle_files import kind_of, puzzle_row, write_rows


def write(folder, split, puzzles):
    write_rows([puzzle_row(p, p.puzzle_id.encode()) for p in puzzles], folder / f"{split}.parquet")


def sampled(num, **settings):
    config = PuzzleConfig(**settings)
    return [
        answer_set(puzzle, kind_of(puzzle)) for puzzle in sample_puzzles("train", num, 1, config)
    ]


def interval(report, guesser, name):
    return report[guesser][name]["low"], report[guesser][name]["high"]


def test_counts_by_hand(tmp_path, puzzle):
    other = replace(puzzle, puzzle_id="b", configuration="x", difficulty=3.2, answer_index=0)
    write(tmp_path, "train", [puzzle, other])
    write(tmp_path, "held_out", [replace(puzzle, puzzle_id="c")])
    stats = write_stats(tmp_path)
    assert stats == json.loads((tmp_path / "stats.json").read_text()) | {
        # JSON has no numbers as keys
        "values": stats["values"],
        "difficulty": stats["difficulty"],
    }
    assert stats["kinds"] == {"center_single": {"train": 1, "held_out": 1}, "x": {"train": 1}}
    assert stats["rules"] == {
        "rpm: type": {"constant": 3},
        "rpm: size": {"progression": 3},
        "rpm: color": {"arithmetic": 3},
    }
    assert stats["values"]["type"] == {2: 9, 5: 9, 4: 6}
    assert stats["values"]["number"] == {1: 24}
    assert stats["difficulty"] == {2.0: 2, 3.0: 1}
    assert stats["answers"]["8"]["counts"] == {"A": 1, "B": 0, "C": 2} | dict.fromkeys("DEFGH", 0)
    assert stats["duplicates"] == {"train": 0, "held_out": 0, "held_out and train": 1}


def test_the_tables_show_everything(tmp_path, puzzle):
    turning = [sample_nonregular("train", index, 0, "rotation") for index in range(5)]
    write(tmp_path, "train", [puzzle, replace(puzzle, puzzle_id="again"), *turning])
    text = describe_stats(write_stats(tmp_path))
    rows = [line.split() for line in text.splitlines()]
    assert ["center_single", "2"] in rows and ["rotation", "5"] in rows
    assert ["train", "1"] in rows  # the duplicate
    assert ["rpm:", "size", "2", "progression", "100.0"] in rows
    assert ["size", "16", "0", "12.5", "1", "25.0", "2", "37.5", "3", "25.0"] in rows
    assert "rotation: heading" in text or "rotation: pointer" in text
    assert "too few" in text and "12.5%" in text and "25.0%" in text


def test_layout_rules_of_grids_are_told_apart(tmp_path):
    config = PuzzleConfig(mix={"distribute_four": 1.0})
    write(tmp_path, "train", list(sample_puzzles("train", 60, 0, config)))
    rules = write_stats(tmp_path)["rules"]["rpm: layout"]
    assert sum(rules.values()) == 60
    assert {name.split()[0] for name in rules} == {"number", "position"}


def test_a_set_without_states_is_counted_too(tmp_path, puzzle):
    def own(number, letter):
        note = Annotation("?", ("A", "B"), letter)
        return replace(
            puzzle,
            puzzle_id=str(number),
            family="annotated",
            context=(),
            choices=(),
            rules=(),
            answer_index="AB".index(letter),
            annotation=note,
        )

    write(tmp_path, "train", [own(0, "A"), own(1, "B"), own(2, "B")])
    stats = write_stats(tmp_path)
    assert stats["kinds"] == {"annotated": {"train": 3}}
    assert stats["answers"]["2"]["counts"] == {"A": 1, "B": 2}
    assert stats["bias"] == {"mode": {}, "trained": {}}
    assert stats["duplicates"] == {"train": 0}
    assert "annotated" in describe_stats(stats)


def test_a_folder_without_a_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="no set of puzzles"):
        write_stats(tmp_path)


def test_wilson_by_hand():
    found = accuracy(8, 10, 0.125)
    # z = 1.959964: (0.8 + z2/20 +- z sqrt(0.016 + z2/400)) / (1 + z2/10)
    assert (found.value, found.n, found.chance) == (0.8, 10, 0.125)
    assert found.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.high == pytest.approx(0.9433178, abs=1e-6)
    assert accuracy(2, 2, 0.125).p == pytest.approx(0.125**2)


def test_a_table_of_many_kinds_raises_no_alarm_by_chance_but_sees_a_leak():
    def row(p):
        return {"value": 0.3, "low": 0.26, "high": 0.34, "n": 500, "chance": 0.25, "p": p}

    names = [f"kind{i}" for i in range(20)]
    bias = {"mode": {n: row(0.01) for n in names}, "trained": {n: row(0.5) for n in names}}
    bias["trained"]["kind3"] = row(1e-6)
    found = [line[-1] for line in _bias_rows(bias)[1:]]
    assert [i for i, verdict in enumerate(found) if verdict == "ABOVE CHANCE"] == [3]


def test_the_mode_is_the_choice_with_the_commonest_values():
    base = ((1,), (5,), (3,))
    around = [((2,), (5,), (3,)), ((1,), (6,), (3,)), ((1,), (5,), (4,))]
    for place in range(4):
        choices = [*around[:place], base, *around[place:]]
        assert mode_guess(choices, random.Random(0)) == place


def test_ties_are_broken_by_lot():
    choices = [((1,),), ((1,),), ((2,),)]
    rng = random.Random(0)
    found = [mode_guess(choices, rng) for _ in range(200)]
    assert set(found) == {0, 1} and 60 < found.count(0) < 140


def test_raven_sets_show_their_bias_and_iraven_and_fair_sets_none():
    reports = {
        kind: bias_report(sampled(1200, answer_set=kind)) for kind in ("raven", "iraven", "fair")
    }
    for guesser in ("mode", "trained"):
        low, _ = interval(reports["raven"], guesser, "8 choices")
        assert low > 0.6
        for kind in ("iraven", "fair"):
            # 99.9% rather than 95% of the intervals: four are looked at
            found = reports[kind][guesser]["center_single"]
            wide = 1.7 * (found["high"] - found["low"]) / 2
            assert abs(found["value"] - 0.125) < wide, (kind, guesser, found)


def test_the_trained_guesser_finds_a_leak_that_the_mode_does_not():
    rng = random.Random(3)
    sets = []
    for _ in range(600):
        values = rng.sample(range(100), 4)
        sets.append(AnswerSet("x", tuple(((v,),) for v in values), values.index(max(values))))
    report = bias_report(sets)
    low, high = interval(report, "mode", "4 choices")
    assert low < 0.25 < high
    assert interval(report, "trained", "4 choices")[0] > 0.8


def test_the_letter_alone_is_a_leak_too():
    rng = random.Random(4)
    values = [[((rng.randrange(50),),) for _ in range(4)] for _ in range(400)]
    report = bias_report([AnswerSet("x", tuple(choices), 2) for choices in values])
    assert report["trained"]["x"]["value"] > 0.9


def test_kinds_with_few_puzzles_are_not_trained_on():
    report = bias_report(sampled(50))
    assert report["trained"] == {} and report["mode"]["center_single"]["n"] == 50
