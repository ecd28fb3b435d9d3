"""Replay: LLaVA's layout and tables of any columns; what cannot be used is named at once."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from rl_avr.errors import DataError
from rl_avr.prompts import COT_REQUEST_OPEN, DIRECT_REQUEST_OPEN
from sft_warmstart.config import ReplayConfig
from sft_warmstart.conversations import turns
from sft_warmstart.replay import ReplaySet


def picture(shade=200):
    return Image.fromarray(np.full((4, 6, 3), shade, np.uint8))


def encoded(shade=200):
    buffer = io.BytesIO()
    picture(shade).save(buffer, "PNG")
    return buffer.getvalue()


def record(*texts, **changes):
    speakers = ("human", "gpt")
    said = [{"from": speakers[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"id": "1", "image": "a.png", "conversations": said} | changes


PAIR = ("<image>\nWhat is shown?", "A gray square.")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, shade in (("a.png", 200), ("b.png", 30)):
        (tmp_path / name).write_bytes(encoded(shade))
    return tmp_path


def llava(folder, *records, name="replay.json", **changes):
    (folder / name).write_text(json.dumps(list(records)))
    return ReplaySet(ReplayConfig(path=str(folder / name), **changes))


def shades(images):
    return [int(np.asarray(image)[0, 0, 0]) for image in images]


def test_a_record_of_llava_by_hand(folder):
    found = llava(folder, record(*PAIR), record("Is it <image> dark?", "no", "Sure?", "yes\n"))
    assert len(found) == 2
    messages, images, name = found.conversation(0)
    assert messages == turns(("What is shown?", "A gray square."))
    assert shades(images) == [200]
    assert images[0].mode == "RGB"
    assert name == f"{folder / 'replay.json'}, row 0"
    assert found.conversation(1)[0] == turns(("Is it dark?", "no"), ("Sure?", "yes"))


def test_several_images_keep_their_order(folder):
    both = record("<image>\n<image>\nWhich is darker?", "the second", image=["a.png", "b.png"])
    messages, images, _ = llava(folder, both).conversation(0)
    assert messages[0]["content"] == "Which is darker?"
    assert shades(images) == [200, 30]


def test_images_may_lie_elsewhere(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("images")
    (other / "far.png").write_bytes(encoded(77))
    found = llava(folder, record(*PAIR, image="far.png"), image_folder=str(other))
    assert shades(found.conversation(0)[1]) == [77]


def test_the_layout_of_sharegpt4o_reasoning(folder):
    """A folder of folders of JSONL files, chains and direct answers apart."""
    question = "<image>\nHow many squares are there?"
    texts = {
        "direct.none.jsonl": (f"{question}\nGive a short answer.", "1"),
        "cot.none.jsonl": (
            f"{question}\nGive a reason, then a short answer.",
            "One square is there.\n### Answer: 1",
        ),
    }
    for name, pair in texts.items():
        path = folder / "sft" / "chartqa" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(record(*pair, id=str(k))) for k in range(3)]
        path.write_text("\n".join(lines) + "\n")
    found = ReplaySet(ReplayConfig(path=str(folder / "sft"), image_folder=str(folder)))
    assert len(found) == 6
    chain, _, name = found.conversation(0)
    assert chain[1]["content"] == "One square is there.\n### Answer: 1"
    assert name == f"{folder}/sft/chartqa/cot.none.jsonl, row 0"
    assert found.conversation(5)[0][1]["content"] == "1"


@pytest.mark.parametrize(
    ("prompt", "request_text"), [("chain", COT_REQUEST_OPEN), ("direct", DIRECT_REQUEST_OPEN)]
)
def test_a_request_is_added_once(folder, prompt, request_text):
    records = record(*PAIR), record(f"What is shown? {request_text}", "A square.")
    found = llava(folder, *records, prompt=prompt)
    assert {found.conversation(i)[0][0]["content"] for i in (0, 1)} == {
        f"What is shown? {request_text}"
    }


def test_json_lines_with_columns_of_any_names(folder):
    path = folder / "own.jsonl"
    rows = [{"photo": "b.png", "asked": "How many?", "said": 3}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = ReplayConfig(path=str(path), image="photo", question="asked", answer="said")
    messages, images, _ = ReplaySet(config).conversation(0)
    assert messages == turns(("How many?", "3"))
    assert shades(images) == [30]


@pytest.mark.parametrize("is_list", [False, True])
def test_a_parquet_file_with_encoded_images(folder, is_list):
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    feature = ImageFeature()
    rows = {"image": [picture(90)], "question": ["<image>What?"], "answer": ["a square"]}
    if is_list:
        feature, rows["image"] = List(ImageFeature()), [[picture(90), picture(30)]]
    features = Features(image=feature, question=Value("string"), answer=Value("string"))
    Dataset.from_dict(rows, features).to_parquet(folder / "x.parquet")
    found = ReplaySet(ReplayConfig(path=str(folder / "x.parquet")))
    messages, images, name = found.conversation(0)
    assert messages == turns(("What?", "a square"))
    assert shades(images) == ([90, 30] if is_list else [90])
    assert name == f"{folder}/x.parquet, row 0"


def test_a_saved_data_set_in_the_layout_of_llava(folder):
    from datasets import Dataset

    Dataset.from_list([record(*PAIR)] * 2).save_to_disk(folder / "saved")
    config = ReplayConfig(path=str(folder / "saved"), image_folder=str(folder))
    assert ReplaySet(config).conversation(1)[0] == turns(("What is shown?", "A gray square."))


def refused(folder, *records, **changes):
    with pytest.raises(DataError) as found:
        llava(folder, *records, **changes)
    return str(found.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (record(*PAIR, image=None), "column 'image': expected an image"),
        (record(*PAIR, image=[]), "column 'image': expected an image"),
        (record(*PAIR, image="c.png"), "column 'image': expected the path of an image"),
        (record("Why?"), "column 'conversations': expected turns"),
        (record(), "column 'conversations': expected turns"),
        (record("Why?", "so", conversations="Why?"), "column 'conversations': expected turns"),
        (record("<image>", "so"), "turn 1: expected words"),
        (record("Why?", " "), "turn 2: expected a text, got ' '"),
        (record("Why <|image_pad|>?", "so"), "turn 1: expected words without image marks"),
        (record("Why?", "so", conversations=[{"from": "gpt", "value": "x"}] * 2), "turn 1 is"),
        ({"id": "1", "image": "a.png"}, "column 'question': expected a text, got a record with id"),
    ],
)
def test_records_that_cannot_be_used_are_named_with_row_and_column(folder, bad, message):
    found = refused(folder, record(*PAIR), bad, record(*PAIR), bad)
    assert "2 of 4 records cannot be used, the first is" in found
    assert "replay.json, row 1:" in found
    assert "rows 1, 3: " in found
    assert message in found
    assert "take them out" in found


def test_every_problem_is_told_at_once(folder):
    found = refused(folder, record(*PAIR, image=None), record("Why?"), record(*PAIR))
    assert "2 of 3 records" in found
    assert "row 0: column 'image'" in found
    assert "row 1: column 'conversations'" in found


def test_a_missing_column_of_a_table_is_named_with_the_nearest(folder):
    from datasets import Dataset

    Dataset.from_dict({"images": ["a.png"], "question": ["?"], "answer": ["!"]}).to_parquet(
        folder / "x.parquet"
    )
    with pytest.raises(DataError, match="column 'image' of sft.replay is missing.*nearest: images"):
        ReplaySet(ReplayConfig(path=str(folder / "x.parquet")))


def test_an_empty_image_of_a_table_is_found_without_decoding(folder):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    features = Features(image=ImageFeature(), question=Value("string"), answer=Value("string"))
    rows = {"image": [picture(), None], "question": ["?", "?"], "answer": ["a", "b"]}
    Dataset.from_dict(rows, features).to_parquet(folder / "x.parquet")
    with pytest.raises(DataError, match="1 of 2 records .* row 1:\n  row 1: column 'image'"):
        ReplaySet(ReplayConfig(path=str(folder / "x.parquet")))


def test_an_image_that_is_none_stops_when_it_is_read(folder):
    (folder / "a.png").write_bytes(b"no picture")
    found = llava(folder, record(*PAIR))
    with pytest.raises(DataError, match=r"replay\.json, row 0.*expected an image|cannot identify"):
        found.conversation(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "row 0: expected a record, got 1"),
        ("[{", "expected JSON, a list or one record a line"),
        ("[]", "expected records, found none"),
        ('{"id": 1', "row 0: line 1: expected JSON"),
    ],
)
def test_a_file_of_another_form_is_refused(folder, text, message):
    (folder / "replay.json").write_text(text)
    with pytest.raises(DataError, match=message):
        ReplaySet(ReplayConfig(path=str(folder / "replay.json")))


def test_a_file_that_is_not_there_is_named(folder):
    for name in ("no.json", "no.jsonl", "no.parquet"):
        with pytest.raises(DataError, match=name):
            ReplaySet(ReplayConfig(path=str(folder / name)))
