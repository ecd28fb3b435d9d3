"""Data sets of the user's own: every form of image and answer, and every bad row named."""

import base64
import io
import json
from typing import get_args, get_type_hints

import datasets
import pytest
from PIL import Image

from rewards.composition import score
from rewards.config import RewardConfig
from rl_avr.contracts import AnswerKind, Prompt
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError
from rl_avr.training.config import DataConfig, SourceConfig
from rl_avr.training.own_data import BadRow, row_prompts, source_prompts
from rl_avr.training.puzzle_data import read_prompts, read_rows


def png(shade=0):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path):
    """Returns a writer of a JSONL file beside the image `photos/0.png`."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(png())

    def written(*rows):
        lines = [
            row
            if isinstance(row, str)
            else json.dumps({"image": "photos/0.png", "question": "How many?", "answer": 3} | row)
            for row in rows
        ]
        path = tmp_path / "mine.jsonl"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return written


def prompts(path, **columns):
    return source_prompts(SourceConfig(path=path, **columns))


def note(path, **columns):
    (prompt,) = prompts(path, **columns)
    return prompt.puzzle.annotation


def refusal(path, num_rows=0, **columns):
    with pytest.raises(DataError) as caught:
        source_prompts(SourceConfig(path=path, **columns), num_rows)
    return str(caught.value)


def test_the_kinds_of_answer_are_those_of_the_grader():
    assert get_type_hints(SourceConfig)["answer_kind"] == AnswerKind
    assert get_args(AnswerKind)


@pytest.mark.parametrize(
    "image",
    [
        "photos/0.png",
        base64.b64encode(png()).decode(),
        "data:image/png;base64," + base64.b64encode(png()).decode(),
        {"bytes": base64.b64encode(png()).decode()},
        {"bytes": None, "path": "photos/0.png"},
        ["photos/0.png"],
    ],
    ids=["path", "base64", "data uri", "bytes", "object with path", "list"],
)
def test_every_form_of_image_gives_the_same_bytes(write, image):
    (prompt,) = prompts(write({"image": image}))
    assert prompt.images == (png(),)


def test_a_question_becomes_a_prompt_that_is_graded_by_its_kind(write):
    (prompt,) = read_prompts(DataConfig(source=SourceConfig(path=write({}), answer_kind="count")))
    assert (prompt.prompt_id, prompt.kind) == ("row-0/cot", "cot")
    assert prompt.text.startswith("How many? ") and not prompt.puzzle.has_state
    values = [
        score(read(f"I see.\n### Answer: {said}", prompt.puzzle), prompt.puzzle, RewardConfig())
        for said in ("three", "4")
    ]
    assert [value.part("choice") for value in values] == [1.0, 0.0]
    assert values[0].part("perception") is None


@pytest.mark.parametrize(
    ("answer", "gold", "accepted"),
    [
        (3, "3", ()),
        (4.0, "4", ()),
        (2.5, "2.5", ()),
        (True, "yes", ()),
        (False, "no", ()),
        (" a fish ", "a fish", ()),
        (["a fish", "a cod", "a fish"], "a fish", ("a cod",)),
    ],
)
def test_answers_of_every_type(write, answer, gold, accepted):
    found = note(write({"answer": answer}))
    assert (found.answer, found.accepted) == (gold, accepted)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("B", "B"), ("a fish", "C"), (0, "A"), (2, "C"), ("7", "B"), (7, "B")],
)
def test_a_choice_by_its_letter_its_text_or_its_index(write, answer, letter):
    found = note(write({"answer": answer, "options": ["red", "7", "a fish"]}), choices="options")
    assert (found.answer, found.choices) == (letter, ("red", "7", "a fish"))


def test_a_row_without_choices_is_an_open_question(write):
    found = note(write({"options": None}), choices="options", answer_kind="number")
    assert (found.choices, found.answer, found.answer_kind) == ((), "3", "number")


def test_image_marks_before_the_words_are_taken_off(write):
    path = write({"question": "<image>\n<image> How many?", "image": ["photos/0.png"] * 2})
    (prompt,) = prompts(path)
    assert prompt.puzzle.annotation.question == "How many?" and len(prompt.images) == 2


def test_columns_by_other_names_and_two_images(write, tmp_path):
    (tmp_path / "photos" / "1.png").write_bytes(png(9))
    path = write({"left": "photos/1.png", "right": "photos/0.png", "q": "Same?", "a": "no"})
    (prompt,) = prompts(path, image=("left", "right"), question="q", answer="a")
    assert prompt.images == (png(9), png())
    assert prompt.puzzle.annotation.question == "Same?"


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"image": "photos/9.png"}, {}, "column 'image': expected the path of an image, relative"),
        ({"image": "abcd"}, {}, "no such file in .* and no image in base64"),
        ({"image": None}, {}, "column 'image': expected an image, got None"),
        ({"image": 5}, {}, "column 'image': expected a path, base64, bytes, .* got 5"),
        (
            {"image": {"bytes": base64.b64encode(b"no image").decode()}},
            {},
            "column 'image': .*no image in base64",
        ),
        ({}, {"image": ("photo",)}, "column 'photo': expected an image, got no such column; the"),
        ({"question": " "}, {}, "column 'question': expected a text, got ' '"),
        ({"question": "Is <image> it?"}, {}, r"one <image> for each of 1 images .* got \['<image>"),
        ({"question": "<|image_pad|>?"}, {}, r"got \['<|image_pad|>'\]"),
        ({"answer": None}, {}, "column 'answer': expected a text, a number, .* got None"),
        ({"answer": []}, {}, r"column 'answer': .* got \[\]"),
        ({"answer": "many"}, {"answer_kind": "count"}, "column 'answer': 'many' where 'answer_kin"),
        ({"options": ["x"]}, {"choices": "options"}, "column 'options': expected a list of 2 to 8"),
        (
            {"answer": "Z", "options": ["x", "y"]},
            {"choices": "options"},
            "column 'answer': expected a letter of A to B, got 'Z'",
        ),
        (
            {"answer": 2, "options": ["x", "y"]},
            {"choices": "options"},
            "column 'answer': expected a letter of A to B, got '2'",
        ),
        (
            {"answer": "x", "options": ["x", "x"]},
            {"choices": "options"},
            "column 'answer': expected a letter of A to B, got 'x'",
        ),
        ("{", {}, "line 2: expected JSON; got"),
        ("[1]", {}, r"line 2: expected an object, got \[1\]"),
    ],
)
def test_a_bad_row_is_named_with_its_column(write, row, columns, expected):
    path = write({"options": ["x", "y"], "answer": "A", "photo": "photos/0.png"}, row)
    if "answer_kind" in columns:
        path = write({}, row)
    with pytest.raises(DataError, match=rf"1 of 2 rows cannot be used:\n  row 1: .*{expected}"):
        prompts(path, **columns)


def test_all_bad_rows_are_named_at_once_and_like_ones_together(write):
    path = write({}, *[{"answer": None}] * 7, {"question": None, "image": None})
    message = refusal(path)
    assert f"{path}: 8 of 9 rows cannot be used:" in message
    assert "rows 1, 2, 3, 4, 5 and 2 more: column 'answer'" in message
    assert "row 8: column 'question'" in message and "row 8: column 'image'" in message
    assert message.endswith("or set data.source.bad_rows skip")


def test_bad_rows_are_left_out_where_asked_for_and_said(write, caplog):
    path = write({"answer": None}, {}, {})
    kept = prompts(path, bad_rows="skip")
    assert [prompt.prompt_id for prompt in kept] == ["row-1/cot", "row-2/cot"]
    assert "1 of 3 rows cannot be used" in caplog.text
    with pytest.raises(DataError, match="1 of 1 rows cannot be used"):
        prompts(write({"answer": None}), bad_rows="skip")


def test_the_first_rows_alone_are_read_and_too_few_are_refused(write):
    path = write({}, {}, {"answer": None})
    assert len(read_prompts(DataConfig(num_puzzles=2, source=SourceConfig(path=path)))) == 2
    with pytest.raises(DataError, match="num_puzzles 2 asked for, 1 rows there"):
        source_prompts(SourceConfig(path=write({})), 2)
    with pytest.raises(DataError, match="expected rows, found none"):
        prompts(write(""))


def hugging_face(**columns):
    features = {"image": datasets.Image(), "question": datasets.Value("string")}
    rows = {"image": [{"bytes": png(), "path": None}] * 2, "question": ["Q?"] * 2, **columns}
    features |= {"answer": datasets.ClassLabel(names=["cat", "dog"])}
    features = {name: kind for name, kind in features.items() if name in rows}
    made = datasets.Dataset.from_dict({n: rows[n] for n in features}, datasets.Features(features))
    return made


@pytest.mark.parametrize("form", ["parquet", "folder", "saved", "saved splits"])
def test_data_sets_of_hugging_face_in_every_place(tmp_path, form):
    rows = hugging_face(answer=[1, 0])
    path = tmp_path / "set"
    if form == "parquet":
        path = tmp_path / "set.parquet"
        rows.to_parquet(path)
    elif form == "folder":
        path.mkdir()
        rows.to_parquet(path / "train-00000-of-00001.parquet")
    elif form == "saved":
        rows.save_to_disk(path)
    else:
        datasets.DatasetDict(train=rows).save_to_disk(path)
    found = prompts(str(path))
    assert [prompt.puzzle.annotation.answer for prompt in found] == ["dog", "cat"]
    assert found[0].images == (png(),)


def test_a_list_of_images_stays_encoded(tmp_path):
    image = {"bytes": png(), "path": None}
    rows = datasets.Dataset.from_dict(
        {"image": [[image, image]], "question": ["Q?"], "answer": ["a"]},
        datasets.Features(
            image=datasets.List(datasets.Image()),
            question=datasets.Value("string"),
            answer=datasets.Value("string"),
        ),
    )
    rows.save_to_disk(tmp_path / "set")
    (prompt,) = prompts(str(tmp_path / "set"))
    assert prompt.images == (png(), png())


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path):
    hugging_face(answer=[1, 0]).to_parquet(tmp_path / "set.parquet")
    message = refusal(str(tmp_path / "set.parquet"), question="questions")
    assert "column 'questions' of data.source is missing; expected one of" in message
    assert message.endswith("nearest: question")


def test_a_source_that_is_not_there(tmp_path):
    assert "no such file" in refusal(str(tmp_path / "no.parquet"))
    assert "expected a JSONL file" in refusal(str(tmp_path / "no.jsonl"))
    hugging_face(answer=[1, 0]).save_to_disk(tmp_path / "set")
    datasets.DatasetDict(train=hugging_face(answer=[1, 0])).save_to_disk(tmp_path / "sets")
    assert "data.source.split 'test'" in refusal(str(tmp_path / "sets"), split="test")


def test_what_has_no_meaning_with_a_source_is_refused(write):
    with pytest.raises(ConfigError, match="ask: expected puzzle with data.source"):
        DataConfig(ask="perception", source=SourceConfig(path="x.jsonl"))
    with pytest.raises(ConfigError, match=r"data.source.path 'x.jsonl'.*data import"):
        read_rows(DataConfig(source=SourceConfig(path="x.jsonl")))
    for empty in ({"question": ""}, {"answer": ""}, {"image": ()}, {"image": ("",)}):
        with pytest.raises(ConfigError, match=f"{next(iter(empty))}: expected"):
            SourceConfig(**empty)


def test_an_image_that_pillow_only_warns_of_is_named(write, monkeypatch):
    """From its limit to twice as many pixels Pillow decodes with a warning."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    assert "320 pixels" in refusal(write({}))


def test_rows_come_one_by_one_with_what_is_wrong(write):
    path = write({}, {"answer": None}, "{oops")
    found = list(row_prompts(SourceConfig(path=path)))
    assert [type(row) for row in found] == [Prompt, BadRow, BadRow]
    assert found[:1] == prompts(path, bad_rows="skip")
    assert [row.problems[0].key for row in found[1:]] == ["answer", ""]
