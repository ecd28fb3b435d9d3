"""LogicVista, made to the shape of its dataset.json."""

import json

import pytest

from rewards.parts.choice import choice
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.logicvista import load_logicvista

CONFIG = LoadConfig()
ROW = {
    "imagename": "v1_0.png",
    "question": "What choice (A, B, C, or D) fits the pattern?",
    "answer": "C",
    "reasoning": "The square moves, so it is C.",
    "skill": ["inductive"],
    "capability": ["diagram", "ocr"],
    "imagesource": "a site",
}


@pytest.fixture
def folder(tmp_path, png):
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "v1_0.png").write_bytes(png())
    return tmp_path


def write(folder, rows):
    (folder / "data" / "dataset.json").write_text(json.dumps(rows))


def grade(problem, answer):
    puzzle = problem.prompt.puzzle
    return choice(read(f"So.\n### Answer: {answer}", puzzle), puzzle)


def test_one_letter_several_and_others(folder, split):
    answers = {"v1_0": "C", "v1_1": "A, C", "v1_2": "3", "v1_3": "C"}
    write(folder, {name: {**ROW, "answer": answer} for name, answer in answers.items()})
    problems, refused = split(load_logicvista(folder, CONFIG))
    assert not refused
    assert [p.prompt.prompt_id for p in problems] == [f"logicvista/{n}/cot" for n in answers]
    kinds = [problem.prompt.puzzle.annotation.answer_kind for problem in problems]
    assert kinds == ["letter", "set", "exact", "letter"]
    assert [grade(problems[0], text) for text in ("C", "(C)", "A", "A, C")] == [1, 1, 0, 0]
    assert [grade(problems[1], text) for text in ("C, A", "B", "A, B, C")] == [1, 0, 0]
    assert grade(problems[2], "3") == 1 and grade(problems[2], "2") == 0
    assert problems[0].tags == (
        *(("benchmark", "logicvista"), ("pattern", "inductive")),
        *(("capability", "diagram"), ("capability", "ocr")),
    )


def test_the_later_name_of_the_capability(folder, split):
    row = {key: value for key, value in ROW.items() if key != "capability"}
    write(folder, {"v1_0": {**row, "broad_capability": ["ocr"]}})
    assert split(load_logicvista(folder, CONFIG))[0][0].values("capability") == ("ocr",)


def test_leaks_change_nothing_that_is_shown(folder, split):
    write(folder, {"v1_0": ROW})
    (expected,), _ = split(load_logicvista(folder, CONFIG))
    write(folder, {"v1_0": {**ROW, "reasoning": "It is B.", "sourcelink": "answer C"}})
    (found,), _ = split(load_logicvista(folder, CONFIG))
    assert (found.prompt, found.tags) == (expected.prompt, expected.tags)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("oops", "expected an object, got 'oops'"),
        ({**ROW, "answer": None}, "answer: expected a text"),
        ({**ROW, "imagename": "../dataset.json"}, "leads out of"),
        ({**ROW, "imagename": "none.png"}, "is missing"),
        ({**ROW, "question": ""}, "question: expected a text"),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_on(folder, split, row, message):
    write(folder, {"v1_0": ROW, "v1_1": row, "v1_2": ROW})
    problems, refused = split(load_logicvista(folder, CONFIG))
    assert len(problems) == 2 and [item.where for item in refused] == ["v1_1"]
    assert message in refused[0].reason


def test_without_a_whole_file_it_is_refused_at_once(folder):
    with pytest.raises(DataError, match="no such file"):
        load_logicvista(folder, CONFIG)
    write(folder, [ROW])
    with pytest.raises(DataError, match="expected an object"):
        load_logicvista(folder, CONFIG)
