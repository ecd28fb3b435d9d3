"""PuzzleVQA and AlgoPuzzleVQA, made to their exact shape: options, leaks, broken rows."""

import json
from dataclasses import replace
from functools import partial

import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.puzzle_vqa import load_puzzle_vqa

CONFIG = LoadConfig()
ROW = {
    "image": "images/size_grid/size_grid_0000.png",
    "question": "What is the size of the missing part?",
    "answer": "large",
    "options": ["small", "large", "medium"],
    "caption": "The sizes are small, large, small.",
    "explanation": "They alternate.",
    "deduction": "So it is large.",
}


@pytest.fixture
def folder(tmp_path, png):
    (tmp_path / "data" / "images" / "size_grid").mkdir(parents=True)
    (tmp_path / "data" / "images" / "size_grid" / "size_grid_0000.png").write_bytes(png())
    write(tmp_path, "size_grid", ROW, {**ROW, "answer": 3, "options": ["1", "2", "3", "4"]})
    write(tmp_path, "clock", {**ROW, "options": None, "answer": "4:23", "solution": {"hour": 2}})
    return tmp_path


def write(folder, kind, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "data" / f"{kind}.json").write_text("\n".join(lines) + "\n")


def test_problems_in_order_with_their_gold_answer(folder, split, png):
    problems, refused = split(load_puzzle_vqa(folder, CONFIG))
    assert not refused
    assert [problem.prompt.prompt_id for problem in problems] == [
        f"puzzlevqa/{name}/cot" for name in ("clock/0", "size_grid/0", "size_grid/1")
    ]
    assert problems[1].prompt.text == (
        "What is the size of the missing part?\nA: small\nB: large\nC: medium\n"
        "Generate a reason first and then output a letter answer."
    )
    assert [problem.prompt.puzzle.answer_index for problem in problems] == [None, 1, 2]
    assert problems[0].prompt.puzzle.annotation.answer == "4:23"
    assert problems[1].tags == (("benchmark", "puzzlevqa"), ("pattern", "size_grid"))
    assert problems[1].prompt.images == (png(),)


def test_options_are_named_as_asked(folder, split):
    config = LoadConfig(labels="roman", prompt="direct")
    problem = split(load_puzzle_vqa(folder, config, "algopuzzlevqa"))[0][1]
    assert "\nI: small\nII: large\nIII: medium\n" in problem.prompt.text
    assert problem.labels == "roman" and problem.values("benchmark") == ("algopuzzlevqa",)


def test_leaks_change_nothing_that_is_shown(folder, split):
    expected = [(p.prompt, p.tags) for p in split(load_puzzle_vqa(folder, CONFIG))[0]]
    leaks = dict.fromkeys(("caption", "explanation", "deduction", "solution"), "large")
    write(folder, "size_grid", {**ROW, **leaks}, {**ROW, "answer": 3, "options": list("1234")})
    assert [(p.prompt, p.tags) for p in split(load_puzzle_vqa(folder, CONFIG))[0]] == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{oops", "expected JSON"),
        ("[1, 2]", "expected an object"),
        ("[" * 100_000, "expected JSON"),
        ({**ROW, "options": list("abcdefghi"), "answer": "a"}, "of 2 to 8, got 9 choices"),
        ({**ROW, "options": ["large"]}, "got 1 choices"),
        ({**ROW, "options": "large"}, "choices: expected a list"),
        ({**ROW, "options": ["large", "large"]}, "answer: expected the text of one of"),
        ({**ROW, "answer": "huge"}, "answer: expected the text of one of the choices"),
        ({**ROW, "answer": None}, "answer: expected the text of a choice, got None"),
        ({**ROW, "options": ["large", " "]}, "expected texts"),
        ({**ROW, "options": ["large", {"a": 1}]}, "choices: expected texts or numbers"),
        ({**ROW, "options": ["large", "<|image_pad|>"]}, "expected no image marks in the words"),
        ({**ROW, "question": "What is <image>?"}, "expected no image marks in the words"),
        ({**ROW, "options": None, "answer": ""}, "answer: expected a text or a whole number"),
        ({**ROW, "options": None, "answer": [1]}, "answer: expected a text or a whole number"),
        ({key: ROW[key] for key in ROW if key != "question"}, "question: expected a text"),
        ({**ROW, "image": "../../secret.png"}, "leads out of"),
        ({**ROW, "image": "/etc/passwd"}, "leads out of"),
        ({**ROW, "image": "images\\x.png"}, "expected a path inside"),
        ({**ROW, "image": "images/none.png"}, "is missing"),
        ({**ROW, "image": "images"}, "is missing"),
        ({**ROW, "image": "a\0b"}, "expected a path inside"),
        ({**ROW, "image": 3}, "expected a path inside"),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_on(folder, split, row, message):
    (folder.parent / "secret.png").write_bytes(b"")
    write(folder, "size_grid", row, ROW)
    problems, refused = split(load_puzzle_vqa(folder, CONFIG))
    assert [p.prompt.puzzle.puzzle_id for p in problems] == [
        "puzzlevqa/clock/0",
        "puzzlevqa/size_grid/1",
    ]
    assert [item.where for item in refused] == ["size_grid.json, row 0"]
    assert message in refused[0].reason


def test_an_image_outside_is_never_opened(folder, split, png):
    """A path that leads out is refused although there is an image."""
    (folder.parent / "outside.png").write_bytes(png())
    for name in ("../../outside.png", str(folder.parent / "outside.png"), "images/../../x.png"):
        write(folder, "size_grid", {**ROW, "image": name})
        refused = split(load_puzzle_vqa(folder, CONFIG))[1]
        assert "leads out of" in refused[0].reason


@pytest.mark.parametrize("content", [b"", b"oops", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_broken_image_is_refused(folder, split, content):
    (folder / "data" / "images" / "size_grid" / "size_grid_0000.png").write_bytes(content)
    problems, refused = split(load_puzzle_vqa(folder, CONFIG))
    assert not problems and len(refused) == 3
    assert "expected an image that Pillow can read" in refused[0].reason


def test_the_limit_counts_what_can_be_used(folder, split):
    write(folder, "clock", "{oops", {**ROW, "image": "none"}, ROW)
    load = partial(load_puzzle_vqa, folder)
    problems, refused = split(load(replace(CONFIG, limit=1)))
    assert [p.prompt.puzzle.puzzle_id for p in problems] == ["puzzlevqa/clock/2"]
    assert len(refused) == 2


def test_a_folder_without_files_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="found none"):
        load_puzzle_vqa(tmp_path, CONFIG)
