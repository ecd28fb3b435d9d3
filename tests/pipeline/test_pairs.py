"""Pairs from the rollouts that `rl-avr rollout` writes, to the folder that training reads."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from rl_avr.cli import main
from rl_avr.contracts import CHOICE_LETTERS, Puzzle
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.config import MakeConfig, OfflineConfig
from rl_avr.pipeline.data import make_data
from rl_avr.pipeline.pairs import make_pairs, show_pairs
from rl_avr.pipeline.rollout import make_rollouts
from rl_avr.preference.config import WAY_NAMES, PairsConfig
from rl_avr.preference.pair_record import read_image, read_manifest, read_pairs
from rl_avr.preference.pair_statistics import QuestionRow
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.settings import PairsSettings, RolloutSettings
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import iter_rows
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

NUM, GROUP = 10, 8
RENDER = RenderConfig(panel_size_px=36)
ALL_WAYS = dict.fromkeys(WAY_NAMES, 2)


def said(prompt, index):
    """Returns a whole chain; the k-th puzzle has k right ones of 8, and all see differently."""
    puzzle = prompt.puzzle
    if puzzle.annotation:
        return puzzle.annotation.answer if index % 2 else f"{index} shapes"
    text = gold_chain(puzzle)
    if index:
        head, colors, tail = text.partition("Color: ")
        digits = colors + tail
        places = [i for i, c in enumerate(digits.partition("->")[0]) if c.isdecimal()]
        place = places[index - 1]
        other = (int(digits[place]) + 1) % 10
        text = f"{head}{digits[:place]}{other}{digits[place + 1 :]}"
    number = int(puzzle.puzzle_id.rpartition("-")[2])
    if index >= number:
        wrong = next(c for c in CHOICE_LETTERS if c != puzzle.answer_letter)
        text = text[:-1] + wrong
    return text


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(
        MakeConfig(path=str(folder), num_workers=1),
        PuzzleConfig(num_train=NUM, num_held_out=3, render=RENDER),
    )
    return folder


def said_wrongly_all_over(prompt, index):
    """Returns the same chains with wrong letters of all kinds, the last ones most often."""
    text, letters = said(prompt, index), CHOICE_LETTERS.replace(prompt.puzzle.answer_letter, "")
    is_right = text[-1] == prompt.puzzle.answer_letter
    return text if is_right else text[:-1] + letters[-1 - index % 7]


def roll(data, folder, says=said, **changes):
    make_rollouts(
        RolloutSettings(
            run=RunConfig(dir=str(folder)),
            policy=PolicyConfig(path=str(folder / "policy")),
            data=DataConfig(path=str(data), **changes),
            rollouts=RolloutConfig(sampling=SamplingConfig(max_new_tokens=3000)),
            rollout=OfflineConfig(num_generations=GROUP, batch_size=4),
        ),
        lambda _: ScriptedEngine(says),
    )
    return folder


@pytest.fixture(scope="module")
def rolled(data, tmp_path_factory):
    """A folder of finished rollouts; never write to it."""
    return roll(data, tmp_path_factory.mktemp("rolled"))


@pytest.fixture
def settings(rolled, tmp_path):
    """Makes settings in a folder of the test's own."""

    def made(folder="pairs", seed=0, resume=True, **changes):
        config = PairsConfig(**{"rollouts": (str(rolled),), "ways": ALL_WAYS} | changes)
        return PairsSettings(RunConfig(str(tmp_path / folder), seed, resume=resume), config)

    return made


def content(folder):
    """Returns the bytes that a run is judged by."""
    names = ("pairs.jsonl", "questions.jsonl", "manifest.json", "pairs.html")
    return {name: (folder / name).read_bytes() for name in names}


def rows_of(folder):
    lines = (folder / "questions.jsonl").read_bytes().splitlines()
    return [QuestionRow.from_json(line, "here") for line in lines]


@pytest.fixture
def whole(settings):
    return content(make_pairs(settings("whole")))


def test_questions_within_the_bounds_give_pairs(settings, data, capsys):
    folder = make_pairs(settings())
    rows = rows_of(folder)
    assert [(row.num_right, row.num_judged) for row in rows] == [
        (min(k, GROUP), GROUP) for k in range(NUM)
    ]
    # a quarter and seven eighths: the first is inside, the second outside
    fates = ["too_hard"] * 2 + ["kept"] * 5 + ["too_easy"] * 3
    assert [row.fate for row in rows] == fates
    pairs = list(read_pairs(folder))
    counts = Counter(pair.prompt_id for pair in pairs)
    assert list(counts) == [row.prompt_id for row in rows if row.fate == "kept"]
    assert list(counts.values()) == [len(row.pairs) for row in rows if row.pairs]
    images = {row["puzzle_id"]: row["image"]["bytes"] for _, _, row in iter_rows(data, "train")}
    for pair in pairs:
        assert [read_image(folder, name) for name in pair.images] == [images[pair.puzzle_id]]
    assert len(list((folder / "images").iterdir())) == 5
    said = " ".join(capsys.readouterr().out.split())
    assert "accuracy below min_accuracy 2 20.0%" in said
    assert "80 completions, 80 different texts" in said
    assert "Not checked against held-out sets" in said


def test_chosen_is_right_and_rejected_wrong_as_the_puzzle_says(settings, data):
    puzzles = {
        row["puzzle_id"]: Puzzle.from_json(row["puzzle"]) for _, _, row in iter_rows(data, "train")
    }
    ways = Counter()
    for pair in read_pairs(make_pairs(settings(perception_margin=0.05))):
        right = puzzles[pair.puzzle_id].answer_letter
        ways[pair.way] += 1
        is_right = (pair.chosen_choice == right, pair.rejected_choice == right)
        if pair.way == "hard_perception":
            assert is_right == (True, True)
        elif pair.way == "perception_graded":
            assert len(set(is_right)) == 1
            seen = [side["perception"] for side in (pair.chosen_scores, pair.rejected_scores)]
            assert seen[0] > seen[1]
        else:
            assert is_right == (True, False)
        assert pair.chosen.endswith(f"### Answer: {pair.chosen_choice}")
        if pair.way == "gold_vs_own_error":
            assert pair.chosen == gold_chain(puzzles[pair.puzzle_id])
    assert ways.keys() >= {"random", "hard_choice", "length_matched", "gold_vs_own_error"}
    assert ways["random"] == 10


def test_the_manifest_says_what_was_taken_and_of_what(settings, rolled):
    folder = make_pairs(settings())
    manifest, rows = read_manifest(folder), rows_of(folder)
    statistics = manifest["statistics"]
    assert statistics["fates"] == {"kept": 5, "too_hard": 2, "too_easy": 3}
    assert statistics["accuracies"]["2/8"] == 1
    assert sum(way["pairs"] for way in statistics["ways"].values()) == manifest["num_pairs"]
    assert manifest["num_pairs"] == sum(len(row.pairs) for row in rows)
    assert manifest["about"]["rollouts"] == [str(rolled / "rollouts/rank0.jsonl")]
    assert manifest["about"]["seed"] == 0


def states_of_a_killed_run(whole):
    """Yields what questions.jsonl and pairs.jsonl can hold at a kill, with a few bytes more."""
    rows = whole["questions.jsonl"].splitlines(keepends=True)
    pairs = whole["pairs.jsonl"].splitlines(keepends=True)
    done = 0
    for place, row in enumerate(rows):
        ours = len(json.loads(row)["pairs"])
        before, now = b"".join(rows[:place]), b"".join(pairs[:done])
        yield before, now + b"".join(pairs[done : done + 1])[:100]
        yield before, now + b"".join(pairs[done : done + ours])
        yield before + row[:-1], now + b"".join(pairs[done : done + ours])
        done += ours


def test_a_run_killed_anywhere_ends_with_the_same_bytes(settings, whole, tmp_path):
    folder = make_pairs(settings())
    states = list(dict.fromkeys(states_of_a_killed_run(whole)))
    assert len(states) > 2 * NUM
    for questions, pairs in states:
        (folder / "manifest.json").unlink()
        for name, raw in (("questions.jsonl", questions), ("pairs.jsonl", pairs)):
            (folder / name).write_bytes(raw)
            if not raw:
                (folder / name).unlink()
        assert content(make_pairs(settings())).keys() == whole.keys()
        ours = content(folder)
        for name in ("pairs.jsonl", "questions.jsonl", "manifest.json"):
            assert ours[name] == whole[name], (name, len(questions), len(pairs))


def test_pairs_that_were_lost_are_not_made_up_for(settings, whole):
    folder = make_pairs(settings())
    (folder / "pairs.jsonl").write_bytes(whole["pairs.jsonl"][:-1])
    num = read_manifest(folder)["num_pairs"]
    with pytest.raises(DataError, match=f"expected {num} pairs, .*; got {num - 1}; remove"):
        make_pairs(settings())


def test_what_is_done_is_not_made_again(settings, monkeypatch):
    make_pairs(settings())

    def never(*_):
        raise AssertionError("graded again")

    monkeypatch.setattr("rl_avr.pipeline.pairs.question_of", never)
    make_pairs(settings())


def test_other_seeds_give_other_pairs(settings, whole):
    assert content(make_pairs(settings(seed=1)))["pairs.jsonl"] != whole["pairs.jsonl"]


def test_a_question_s_pairs_do_not_depend_on_the_others(settings, whole, rolled, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(rolled, fewer)
    path = fewer / "rollouts/rank0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    config = (fewer / "config.yaml").read_text()
    assert "num_puzzles: 0" in config
    # the questions left out are no longer asked for
    (fewer / "config.yaml").write_text(config.replace("num_puzzles: 0", "num_puzzles: 7"))
    path.write_text("".join(reversed(lines[:7])))
    ours = make_pairs(settings("ours", rollouts=(str(fewer),)))

    def by_prompt(raw):
        found = {}
        for line in raw.splitlines():
            found.setdefault(json.loads(line)["prompt_id"], []).append(line)
        return found

    assert by_prompt((ours / "pairs.jsonl").read_bytes()) == by_prompt(whole["pairs.jsonl"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, "seed 0 there, 1 now"),
        ({"max_accuracy": 0.5}, "max_accuracy 0.85 there, 0.5 now"),
        ({"ways": {"random": 1}}, "ways"),
    ],
)
def test_a_folder_of_other_pairs_is_refused(settings, change, expected):
    make_pairs(settings())
    with pytest.raises(DataError, match=f"pairs of another kind lie here: .*{expected}"):
        make_pairs(settings(**change))


def test_other_rollouts_and_pairs_of_others_are_refused(settings, rolled, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(rolled, copy)
    folder = make_pairs(settings(rollouts=(str(copy),)))
    path = copy / "rollouts/rank0.jsonl"
    path.write_text(path.read_text().replace("### Answer: A", "### Answer: B"))
    with pytest.raises(DataError, match="another kind lie here: rollouts_digest"):
        make_pairs(settings(rollouts=(str(copy),)))
    (folder / "begun.json").unlink()
    with pytest.raises(DataError, match="did not write"):
        make_pairs(settings())
    with pytest.raises(ConfigError, match="run.resume false: .* is there already"):
        make_pairs(settings(resume=False))


@pytest.fixture
def held_out(data, tmp_path):
    """A set of two of the puzzles under other names, choices turned round, and a third one."""
    rows = [Puzzle.from_json(row["puzzle"]) for _, _, row in iter_rows(data, "train")]
    others = [Puzzle.from_json(row["puzzle"]) for _, _, row in iter_rows(data, "held_out")]
    turned = [
        replace(
            puzzle,
            puzzle_id=f"other-{number}",
            choices=puzzle.choices[::-1],
            answer_index=len(puzzle.choices) - 1 - puzzle.answer_index,
        )
        # the first is too hard to give pairs
        for number, puzzle in enumerate((rows[0], rows[3], rows[5]))
    ]
    write_puzzles([*turned, *others], tmp_path / "set" / "test.parquet", RENDER)
    return f"{tmp_path / 'set'}:test"


def test_a_held_out_puzzle_is_found_and_refused(settings, held_out):
    with pytest.raises(DataError, match=rf"2 in {held_out}: \S+-3, \S+-5\. .*on_leak drop"):
        make_pairs(settings(held_out=(held_out,)))
    with pytest.raises(DataError, match="not finished"):
        list(read_pairs(Path(settings().run.dir)))
    with pytest.raises(DataError, match="2 in"):
        show_pairs(settings("other", held_out=(held_out,)))


def test_held_out_puzzles_can_be_left_out(settings, held_out, capsys):
    folder = make_pairs(settings(held_out=(held_out,), on_leak="drop"))
    fates = {row.puzzle_id.rpartition("-")[2]: row.fate for row in rows_of(folder)}
    assert [name for name, fate in fates.items() if fate == "held_out"] == ["3", "5"]
    assert {pair.puzzle_id.rpartition("-")[2] for pair in read_pairs(folder)} == {"2", "4", "6"}
    said = capsys.readouterr().out
    assert f"No puzzle of the pairs is in {held_out} (6), by what they show; 2 questions" in said


def test_the_data_set_s_own_held_out_split_is_clean(settings, data, capsys):
    make_pairs(settings(held_out=(f"{data}:held_out",)))
    assert f"No puzzle of the pairs is in {data}:held_out (3)" in capsys.readouterr().out


def test_a_benchmark_can_be_held_out_too(settings, data):
    with pytest.raises(DataError, match="5 in own: "):
        make_pairs(settings(benchmarks={"own": str(data)}))


def test_without_a_pair_every_filter_says_what_it_took(settings):
    with pytest.raises(DataError) as caught:
        make_pairs(settings(min_accuracy=0.3, max_accuracy=0.35))
    said = str(caught.value)
    assert "no pair is left of 10 questions" in said
    assert "accuracy below min_accuracy: 3, accuracy above max_accuracy: 7" in said
    with pytest.raises(DataError, match="no way found a pair: 5"):
        make_pairs(settings("other", ways={"hard_perception": 1}, wrong_perception=0.0))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda lines: [*lines[:2], "{}\n", *lines[3:]], "line 3: expected a group"),
        (lambda lines: [*lines[:2], "no JSON\n", *lines[3:]], "line 3: not JSON"),
        (lambda lines: [*lines, lines[0]], r":11: prompt \S+ is there twice"),
        (lambda lines: lines[:-1], "expected 10 questions, .*; got 9"),
        (lambda lines: [*lines[:-1], lines[-1][:50]], "expected 10 questions, .*; got 9"),
        (
            lambda lines: [lines[0].replace("train-0", "train-00"), *lines[1:]],
            r":1: prompt .*it is not there",
        ),
        (
            lambda lines: [lines[0].replace("Which choice", "Which"), *lines[1:]],
            r":1: prompt .*it is another one there",
        ),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(settings, rolled, tmp_path, spoil, expected):
    copy = tmp_path / "copy"
    shutil.copytree(rolled, copy)
    path = copy / "rollouts/rank0.jsonl"
    path.write_text("".join(spoil(path.read_text().splitlines(keepends=True))))
    with pytest.raises(DataError, match=rf"(?s)rank0\.jsonl.*{expected}"):
        make_pairs(settings(rollouts=(str(copy),)))


def test_folders_that_are_no_rollouts_are_refused(settings, rolled, tmp_path):
    with pytest.raises(DataError, match="nowhere.*no such file"):
        make_pairs(settings(rollouts=(str(tmp_path / "nowhere"),)))
    shutil.copytree(rolled, tmp_path / "copy")
    with pytest.raises(DataError, match=r"and 9 more are in .*rank0\.jsonl too"):
        make_pairs(settings(rollouts=(str(rolled), str(tmp_path / "copy"))))


def test_a_dry_run_shows_the_same_and_makes_no_pairs(settings, whole, capsys):
    made = settings()
    capsys.readouterr()
    said = show_pairs(made)
    assert sorted(str(p.relative_to(made.run.dir)) for p in Path(made.run.dir).rglob("*.*")) == [
        "dry_run/pairs.html"
    ]
    make_pairs(made)
    assert said.partition("\nwritten")[0] in capsys.readouterr().out
    page = (Path(made.run.dir) / "dry_run/pairs.html").read_text()
    assert page.replace("dry run", "whole") == whole["pairs.html"].decode()


@pytest.fixture
def leaning(data, settings, tmp_path):
    """Returns settings of balanced pairs, of rollouts whose wrong chains end at late letters."""
    folder = roll(data, tmp_path / "leaning", said_wrongly_all_over)

    def made(name="pairs", **changes):
        given = {"rollouts": (str(folder),), "ways": {"random": 20}, "balance": "answer"}
        return settings(name, **given | {"min_accuracy": 0.1, "max_accuracy": 0.9} | changes)

    return made


def test_balanced_pairs_choose_every_answer_as_often_as_they_reject_it(leaning, capsys):
    folder = make_pairs(leaning())
    told = capsys.readouterr().out
    assert "is the chosen one in 50.0% of pairs, by a guess in 50 %." in told
    pairs = list(read_pairs(folder))
    assert Counter(p.chosen_choice for p in pairs) == Counter(p.rejected_choice for p in pairs)
    every = list(read_pairs(make_pairs(leaning("every", balance="none"))))
    assert "pairs.balance answer takes that away" in capsys.readouterr().out
    assert {p.pair_id for p in pairs} < {p.pair_id for p in every}
    statistics = read_manifest(folder)["statistics"]
    assert statistics["told_by_answer"] == 0.5
    assert sum(both[0] for both in statistics["answers"].values()) == len(pairs)
    assert sum(way["pairs"] for way in statistics["ways"].values()) == len(pairs)


def test_a_killed_run_of_balanced_pairs_ends_with_the_same_bytes(leaning):
    folder = make_pairs(leaning())
    whole, names = content(folder), ("questions.jsonl", "candidates.jsonl")
    done = {name: (folder / name).read_bytes() for name in names}
    for share in (0.0, 0.4, 1.0):
        (folder / "manifest.json").unlink()
        for name, raw in done.items():
            (folder / name).write_bytes(raw[: int(share * len(raw))])
        # what a run leaves that was killed before it wrote the pairs
        (folder / "pairs.jsonl").unlink()
        assert content(make_pairs(leaning())) == whole


def test_balance_can_leave_no_pair_and_says_so(leaning, rolled):
    # here every wrong chain ends at the first letter, which is never right
    with pytest.raises(DataError, match="no pair left by balance: .*With pairs.balance none, in"):
        make_pairs(leaning(rollouts=(str(rolled),)))


def test_what_a_balanced_run_began_is_not_taken_over(leaning):
    folder = make_pairs(leaning())
    (folder / "manifest.json").unlink()
    (folder / "pairs.jsonl").unlink()
    with pytest.raises(ConfigError, match="run.resume false: .*candidates.jsonl is there already"):
        make_pairs(leaning(resume=False))
    with pytest.raises(DataError, match="the pairs there are not finished"):
        read_manifest(folder)
    (folder / "begun.json").unlink()
    with pytest.raises(DataError, match="holds pairs that `rl-avr pairs` did not write"):
        make_pairs(leaning(seed=5))


def test_pairs_do_not_go_into_the_folder_of_their_rollouts(settings, rolled):
    before = (rolled / "config.yaml").read_bytes()
    made = replace(settings(), run=RunConfig(str(rolled)))
    with pytest.raises(ConfigError, match="the rollouts are there, whose config.yaml would be"):
        make_pairs(made)
    assert (rolled / "config.yaml").read_bytes() == before


def test_a_dry_run_of_balanced_pairs_says_the_same(leaning, capsys):
    make_pairs(leaning())
    whole = capsys.readouterr().out.partition("written:")[0]
    told = show_pairs(leaning(is_dry_run=True)).partition("written:")[0]
    assert told.strip() == whole.strip()


def test_short_answers_of_another_folder_come_along(settings, rolled, data, tmp_path):
    short = roll(data, tmp_path / "short", ask="open", num_puzzles=4)
    folder = make_pairs(settings(rollouts=(str(short), str(rolled)), ways={"random": 1}))
    categories = Counter(pair.category for pair in read_pairs(folder))
    kept = Counter(row.category for row in rows_of(folder) if row.fate == "kept")
    assert categories == kept and kept["annotated, perception"] == 4
    pair = next(read_pairs(folder))
    assert Fraction(pair.accuracy) == Fraction(1, 2) and pair.rejected.endswith("shapes")


def test_the_command_line_makes_them(settings, rolled, tmp_path, capsys):
    config = tmp_path / "pairs.yaml"
    config.write_text(
        f"run:\n  dir: {tmp_path}/cli\npairs:\n  rollouts: ['{rolled}']\n  ways:\n    random: 3\n"
    )
    assert main(["pairs", "--config", str(config), "--dry-run"]) == 0
    assert not (tmp_path / "cli/pairs.jsonl").exists()
    assert main(["pairs", "--config", str(config)]) == 0
    assert f"written: {tmp_path}/cli/pairs.jsonl" in capsys.readouterr().out
    assert sum(1 for _ in read_pairs(tmp_path / "cli")) == 15
