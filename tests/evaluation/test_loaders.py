"""Guarantees of every loader: order, ids, gold answers, labels, no leak of the answer."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rewards.parts.choice import choice
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.labels import LABELS, in_letters
from rl_avr.evaluation.loaders import LOADERS, load_problems
from rl_avr.evaluation.problems import Problem
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.raven_format import write_raven
from rl_avr.training.puzzle_data import write_puzzles

CONFIG = LoadConfig()
VQA = {"image": "i.png", "question": "Which?", "options": ["x", "y", "z"], "answer": "y"}
MARVEL = {"id": 5, "avr_question": "Which?", "answer": 2, "pattern": "p", "task_configuration": "c"}


@pytest.fixture(params=LOADERS)
def benchmark(request, tmp_path, puzzle):
    """Name and path of a set with two problems."""
    name, path = request.param, tmp_path
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    for place in (tmp_path, tmp_path / "images", tmp_path / "5", tmp_path / "6"):
        place.mkdir(exist_ok=True)
        for file in ("i.png", "5.png", "6.png"):
            (place / file).write_bytes(buffer.getvalue())
    if name in ("raven", "iraven", "raven_fair"):
        for number in (8, 9):
            write_raven(puzzle, tmp_path, number, "test")
    elif name == "pgm":
        for number in (1, 2):
            image = np.zeros(16 * 160 * 160, np.uint8)
            np.savez(tmp_path / f"PGM_neutral_val_{number}.npz", image=image, target=1)
    elif name == "marvel":
        for number in (5, 6):
            text = json.dumps({**MARVEL, "id": number})
            (tmp_path / str(number) / f"{number}_label.json").write_text(text)
    elif name in ("puzzlevqa", "algopuzzlevqa"):
        (tmp_path / "kind.json").write_text("\n".join([json.dumps(VQA)] * 2))
    elif name == "visulogic":
        row = {"image_path": "i.png", "question": "Which?", "label": "B"}
        lines = [json.dumps({**row, "id": number}) for number in (1, 2)]
        (tmp_path / "data.jsonl").write_text("\n".join(lines))
    elif name == "logicvista":
        row = {"imagename": "i.png", "question": "Which?", "answer": "B"}
        (tmp_path / "dataset.json").write_text(json.dumps({"a": row, "b": row}))
    elif name == "own":
        puzzles = [puzzle, replace(puzzle, puzzle_id="other")]
        write_puzzles(puzzles, tmp_path / "train.parquet", RenderConfig())
    else:
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join([json.dumps(VQA)] * 2))
    return name, path


def load(benchmark, **changes):
    name, path = benchmark
    config = replace(CONFIG, **changes)
    if name == "columns":
        config = replace(config, columns=replace(config.columns, choices="options"))
    found = list(load_problems(name, path, config))
    assert all(isinstance(item, Problem) for item in found), found
    return found


def test_the_same_problems_in_the_same_order_each_time(benchmark):
    problems = load(benchmark)
    assert load(benchmark) == problems and len(problems) == 2
    assert len({problem.prompt.prompt_id for problem in problems}) == 2
    assert load(benchmark, limit=1) == problems[:1]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("prompt", ["chain", "direct"])
@pytest.mark.parametrize("answer_form", ["mark", "tags"])
def test_the_gold_answer_is_right_and_others_are_wrong(benchmark, labels, prompt, answer_form):
    """The whole path: what a policy says in the problem's own labels, read back and graded."""
    for problem in load(benchmark, labels=labels, prompt=prompt, answer_form=answer_form):
        puzzle = problem.prompt.puzzle
        if puzzle.answer_index is None:
            gold, wrong = puzzle.annotation.answer, "A"
        else:
            gold = LABELS[problem.labels][puzzle.answer_index]
            wrong = LABELS[problem.labels][(puzzle.answer_index + 1) % puzzle.num_choices]
        for answer, value in ((gold, 1.0), (wrong, 0.0)):
            text = (
                f"### Answer: {answer}" if answer_form == "mark" else f"<answer>{answer}</answer>"
            )
            if prompt == "chain" and answer_form == "tags":
                text = f"<think>\nIt fits.\n</think>\n{text}"
            said = in_letters(text, problem.labels, puzzle.num_choices)
            parsed = read(said, puzzle, "stop", problem.prompt.kind, answer_form)
            assert choice(parsed, puzzle) == value, (answer, parsed)


def test_every_problem_names_its_benchmark_and_not_its_answer(benchmark):
    for problem in load(benchmark):
        assert problem.values("benchmark") == (benchmark[0],)
        assert problem.prompt.prompt_id.startswith(f"{benchmark[0]}/")
        assert not {"answer", "target", "gold"} & {name for name, _ in problem.tags}
        for raw in problem.prompt.images:
            Image.open(io.BytesIO(raw)).load()


def test_only_some_benchmarks_have_questions_about_what_is_seen(tmp_path):
    with pytest.raises(DataError, match="raven: expected ask 'puzzle', got 'fine'"):
        load_problems("raven", tmp_path, replace(CONFIG, ask="fine"))


def test_an_unknown_benchmark_is_named(tmp_path):
    with pytest.raises(DataError, match="got 'ravne'; nearest: raven"):
        load_problems("ravne", tmp_path, CONFIG)


@pytest.mark.parametrize("changes", [{"limit": -1}, {"panel_size_px": 4}, {"panel_size_px": 5000}])
def test_settings_are_checked(changes):
    with pytest.raises(ConfigError):
        replace(CONFIG, **changes)
