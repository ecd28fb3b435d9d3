"""MARVEL's files, made to their exact shape: three kinds of questions, leaks, broken files."""

import json
from dataclasses import replace

import pytest

from rewards.parts.choice import choice
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.marvel import load_marvel
from rl_avr.evaluation.labels import in_letters

CONFIG = LoadConfig()
ROW = {
    "id": 0,
    "pattern": "Quantities",
    "task_configuration": "Two-row",
    "avr_question": "Which choice (either 1, 2, 3, or 4) fills the missing part?",
    "explanation": "closed areas",
    "answer": 3,
    "f_perception_question": "Are there two or three lines in choice 1?",
    "f_perception_answer": "two",
    "f_perception_distractor": "three",
    "c_perception_question_tuple": ["How many above?", "How many below?", "How many in all?"],
    "c_perception_answer_tuple": [6, 4, 10],
}


@pytest.fixture
def folder(tmp_path, png):
    for number in (10, 2, 33):
        write(tmp_path, png(number), number)
    return tmp_path


def write(folder, image, number, **changes):
    place = folder / "Json_data" / str(number)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number}.png").write_bytes(image)
    row = {key: value for key, value in {**ROW, "id": number, **changes}.items() if value != "-"}
    (place / f"{number}_label.json").write_text(json.dumps(row))


def grade(problem, answer):
    puzzle = problem.prompt.puzzle
    text = in_letters(answer, problem.labels, puzzle.num_choices)
    return choice(read(text, puzzle, kind=problem.prompt.kind), puzzle)


def test_the_puzzle(folder, split, png):
    problems, refused = split(load_marvel(folder, CONFIG))
    assert not refused
    names = [problem.prompt.prompt_id for problem in problems]
    assert names == [f"marvel/{number}/puzzle/cot" for number in (2, 10, 33)]
    problem = problems[0]
    assert problem.prompt.text == (
        f"{ROW['avr_question']} Generate a reason first and then output a number answer."
    )
    assert problem.prompt.images == (png(2),)
    assert problem.prompt.puzzle.answer_index == 2 and problem.labels == "digits"
    assert problem.tags == (
        *(("benchmark", "marvel"), ("pattern", "Quantities")),
        *(("configuration", "Two-row"), ("ask", "puzzle")),
    )
    assert [grade(problem, f"### Answer: {name}") for name in "3C14"] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "kind", "right", "wrong"),
    [
        ("two", "count", "2", "three"),
        ("yes", "yes_no", "Yes", "no"),
        ("bottom right", "exact", "Bottom right.", "top right"),
    ],
)
def test_the_fine_question(folder, split, png, answer, kind, right, wrong):
    write(folder, png(), 2, f_perception_answer=answer)
    problem = split(load_marvel(folder, replace(CONFIG, ask="fine")))[0][0]
    assert problem.prompt.prompt_id == "marvel/2/fine/perception"
    assert problem.prompt.text.startswith(ROW["f_perception_question"])
    assert "three" not in problem.prompt.text.removeprefix(ROW["f_perception_question"])
    assert problem.prompt.puzzle.annotation.answer_kind == kind
    assert (grade(problem, right), grade(problem, answer), grade(problem, wrong)) == (1, 1, 0)


def test_the_coarse_questions(folder, split):
    problems, refused = split(load_marvel(folder, replace(CONFIG, ask="coarse")))
    assert len(problems) == 9 and not refused
    assert [problem.values("part") for problem in problems[:3]] == [
        ("question",),
        ("choices",),
        ("whole",),
    ]
    assert [grade(p, text) for p, text in zip(problems, ("6", "four", "10"), strict=False)] == [
        1
    ] * 3
    assert len({problem.prompt.prompt_id for problem in problems}) == 9
    assert len(split(load_marvel(folder, replace(CONFIG, ask="coarse", limit=4)))[0]) == 4


@pytest.mark.parametrize("ask", ["puzzle", "fine", "coarse"])
def test_leaks_change_nothing_that_is_shown(folder, split, png, ask):
    config = replace(CONFIG, ask=ask)
    expected = [(p.prompt, p.tags) for p in split(load_marvel(folder, config))[0]]
    write(folder, png(2), 2, explanation="it is 3", f_perception_distractor="four", hint="3")
    assert [(p.prompt, p.tags) for p in split(load_marvel(folder, config))[0]] == expected
    if ask == "puzzle":
        write(folder, png(2), 2, answer=1)
        (found, *_), _ = split(load_marvel(folder, config))
        assert (found.prompt.text, found.prompt.images, found.tags) == (
            *(expected[0][0].text, expected[0][0].images, expected[0][1]),
        )


@pytest.mark.parametrize(
    ("ask", "changes", "message"),
    [
        ("puzzle", {"answer": 5}, "answer: expected 1 to 4, got 5"),
        ("puzzle", {"answer": 0}, "answer: expected 1 to 4"),
        ("puzzle", {"answer": True}, "answer: expected 1 to 4"),
        ("puzzle", {"answer": "3"}, "answer: expected 1 to 4"),
        ("puzzle", {"answer": "-"}, "answer: expected 1 to 4, got None"),
        ("puzzle", {"avr_question": " "}, "avr_question: expected a text"),
        ("puzzle", {"id": 3}, "id: expected 2"),
        ("fine", {"f_perception_answer": "-"}, "f_perception_answer: expected a text, got no such"),
        ("fine", {"f_perception_answer": "a\nb"}, "graded as wrong"),
        ("coarse", {"c_perception_answer_tuple": [1, 2]}, "expected 3 of them"),
        ("coarse", {"c_perception_answer_tuple": [1, 2, "x"]}, "expected whole numbers"),
        ("coarse", {"c_perception_question_tuple": None}, "expected 3 of them, got None"),
        ("coarse", {"c_perception_question_tuple": ["a", 1, "b"]}, "expected a text, got 1"),
    ],
)
def test_a_bad_label_is_refused_and_the_rest_goes_on(folder, split, png, ask, changes, message):
    write(folder, png(), 2, **changes)
    problems, refused = split(load_marvel(folder, replace(CONFIG, ask=ask)))
    assert {p.prompt.puzzle.puzzle_id.split("/")[1] for p in problems} == {"10", "33"}
    assert [item.where for item in refused] == ["2"] and message in refused[0].reason


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_object_is_refused(folder, split, content):
    (folder / "Json_data" / "10" / "10_label.json").write_bytes(content)
    problems, refused = split(load_marvel(folder, CONFIG))
    assert len(problems) == 2 and refused[0].where == "10"


def test_missing_files_and_broken_images_are_refused(folder, split, png_bomb):
    data = folder / "Json_data"
    (data / "2" / "2.png").write_bytes(png_bomb)
    (data / "10" / "10.png").unlink()
    (data / "33" / "33_label.json").unlink()
    problems, refused = split(load_marvel(folder, CONFIG))
    assert not problems and [item.where for item in refused] == ["2", "10", "33"]
    assert "12000 by 12000; refused" in refused[0].reason
    assert "is missing" in refused[1].reason and "33_label.json" in refused[2].reason


def test_only_folders_named_by_a_number_are_puzzles(folder, split):
    for name in ("007", "x", ".git", "٣"):
        (folder / "Json_data" / name).mkdir()
    assert len(split(load_marvel(folder / "Json_data", CONFIG))[0]) == 3
    with pytest.raises(DataError, match="found none"):
        load_marvel(folder / "Json_data" / "x", CONFIG)
