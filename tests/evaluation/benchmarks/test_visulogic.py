"""VisuLogic, made to the documented shape."""

import json

import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.visulogic import load_visulogic

CONFIG = LoadConfig(labels="digits")
ROW = {
    "id": "00000",
    "image_path": "images/00000.png",
    "question": "Choose the figure that fits. Options: A, B, C, D",
    "label": "B",
    "tag": "Quantitative Reasoning",
}


@pytest.fixture
def folder(tmp_path, png):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000.png").write_bytes(png())
    return tmp_path


def write(folder, *rows):
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_a_puzzle(folder, split, png):
    other = {**ROW, "id": 7, "answer": "D", "solution": "D because"}
    write(folder, ROW, {key: other[key] for key in other if key != "label"})
    problems, refused = split(load_visulogic(folder, CONFIG))
    assert not refused
    assert [problem.prompt.prompt_id for problem in problems] == [
        "visulogic/00000/cot",
        "visulogic/7/cot",
    ]
    assert [problem.prompt.puzzle.answer_letter for problem in problems] == ["B", "D"]
    assert problems[0].tags == (("benchmark", "visulogic"), ("pattern", "Quantitative Reasoning"))
    assert problems[0].labels == "letters", "the images letter the choices"
    assert problems[0].prompt.text == f"{ROW['question']} Generate a reason first and then " + (
        "output a letter answer."
    )
    assert problems[0].prompt.images == (png(),)
    assert problems[0].prompt.text == problems[1].prompt.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "E"}, "expected a letter of A to D"),
        ({"label": None}, "label: expected a text, got None"),
        ({"id": None}, "id: expected a text or a number"),
        ({"id": "1"}, "id 'visulogic/1/cot' stands before"),
        ({"image_path": "../x.png"}, "leads out of"),
        ({"image_path": "images/1.png"}, "is missing"),
        ({"question": 3}, "question: expected a text"),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_on(folder, split, changes, message):
    write(folder, {**ROW, "id": "1"}, {**ROW, "id": "2", **changes}, {**ROW, "id": "3"})
    problems, refused = split(load_visulogic(folder, CONFIG))
    assert [p.prompt.puzzle.puzzle_id for p in problems] == ["visulogic/1", "visulogic/3"]
    assert [item.where for item in refused] == ["data.jsonl, row 1"]
    assert message in refused[0].reason


def test_without_the_file_it_is_refused_at_once(folder):
    with pytest.raises(DataError, match="no such file"):
        load_visulogic(folder, CONFIG)
