"""Pairs on disk: what is written reads back, and what is unfinished or damaged is refused."""

import json
from dataclasses import replace

import pytest

from rl_avr.errors import DataError
from rl_avr.preference.pair_record import (
    PairsWriter,
    PreferencePair,
    pairs_digest,
    read_image,
    read_manifest,
    read_pairs,
    write_pairs,
)

PAIR = PreferencePair(
    pair_id="p1/cot/random/0",
    prompt_id="p1/cot",
    puzzle_id="p1",
    category="center_single",
    question=[{"role": "user", "content": "Which?"}],
    images=(),
    chosen="### Answer: C",
    rejected="### Answer: A",
    chosen_ids=(5, 6, 7),
    rejected_ids=None,
    chosen_finish="stop",
    rejected_finish="length",
    way="random",
    accuracy=0.25,
    chosen_scores={"choice": 1.0, "rule": None},
    rejected_scores={"choice": 0.0, "rule": None},
    chosen_choice="C",
    rejected_choice=None,
)
OTHER = replace(PAIR, pair_id="p1/cot/random/1", rejected='a "quote"\n\u2028 图 \ud800')
PNG, JPEG = b"\x89PNG one", b"\xff\xd8\xff two"


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path / "pairs", [(PAIR, [PNG]), (OTHER, [PNG, JPEG])], made_of="x")


def test_pairs_and_their_images_come_back(folder):
    first, second = read_pairs(folder)
    assert replace(first, images=()) == PAIR and replace(second, images=()) == OTHER
    assert [read_image(folder, name) for name in second.images] == [PNG, JPEG]
    assert first.images == second.images[:1]
    assert sorted(path.suffix for path in (folder / "images").iterdir()) == [".jpg", ".png"]
    assert read_manifest(folder) == {
        "made_of": "x",
        "num_pairs": 2,
        "pairs_digest": pairs_digest(folder),
    }


def test_the_digest_is_that_of_texts_and_of_images(folder, tmp_path):
    same = write_pairs(tmp_path / "same", [(PAIR, [PNG]), (OTHER, [PNG, JPEG])])
    image = write_pairs(tmp_path / "image", [(PAIR, [PNG]), (OTHER, [PNG, JPEG + b"!"])])
    text = write_pairs(
        tmp_path / "text", [(replace(PAIR, chosen="?"), [PNG]), (OTHER, [PNG, JPEG])]
    )
    assert pairs_digest(same) == pairs_digest(folder)
    assert len({pairs_digest(one) for one in (folder, image, text)}) == 3


def test_pairs_that_were_not_finished_are_not_read(tmp_path):
    PairsWriter(tmp_path).append([PAIR])
    with pytest.raises(DataError, match="not finished"):
        list(read_pairs(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        list(read_pairs(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chosen": 3}, "chosen: expected .*str.*, got 3"),
        ({"chosen_choice": 2}, "chosen_choice: expected .*, got 2"),
        ({"chosen_finish": "end"}, "chosen_finish 'end'"),
        ({"rejected_scores": {"choice": "1"}}, r"rejected_scores.choice"),
        ({"question": [{"role": "user"}]}, "content"),
        ({"images": ["../secret.png"]}, r"image '../secret.png'"),
        ({"images": ["images/gone.png"]}, "image images/gone.png is not in"),
        ({"pair_id": PAIR.pair_id}, "is there twice"),
        ({"chosen_ids": ["x"]}, "invalid literal"),
    ],
)
def test_a_bad_line_is_named_with_its_file(folder, change, expected):
    path = folder / "pairs.jsonl"
    first, second = path.read_text().strip().split("\n")
    path.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    with pytest.raises(DataError, match=rf"(?s)pairs\.jsonl:2: .*{expected}"):
        list(read_pairs(folder))


def test_a_field_that_is_missing_is_named(folder):
    path = folder / "pairs.jsonl"
    first, second = map(json.loads, path.read_text().strip().split("\n"))
    del second["way"]
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: .*no way"):
        list(read_pairs(folder))


def test_a_file_that_lost_a_line_is_refused(folder):
    path = folder / "pairs.jsonl"
    path.write_text(path.read_text().strip().split("\n")[0] + "\n")
    with pytest.raises(DataError, match="expected 2 pairs, .*; got 1"):
        list(read_pairs(folder))


def test_a_damaged_image_is_refused(folder):
    (pair, _) = read_pairs(folder)
    (folder / pair.images[0]).write_bytes(PNG[:-1])
    with pytest.raises(DataError, match="damaged"):
        read_image(folder, pair.images[0])


def test_a_broken_manifest_is_named(folder):
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"manifest.json: expected the manifest of pairs"):
        read_manifest(folder)
