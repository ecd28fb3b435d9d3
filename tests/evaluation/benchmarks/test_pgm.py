"""PGM's files, made to the published shape: any layout of the pixels, tags, broken ones."""

from dataclasses import replace

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.pgm import load_pgm

CONFIG = LoadConfig()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, 16 * 160 * 160, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, pixels):
    write(tmp_path, "PGM_neutral_test_10.npz", pixels)
    write(tmp_path, "PGM_neutral_test_9.npz", pixels.reshape(16, 160, 160), target=7)
    write(tmp_path, "PGM_attr.rel.pairs_train_3.npz", pixels.reshape(1600, 256).astype(np.int64))
    return tmp_path


def write(folder, name, image, target=4, **more):
    encoded = np.zeros((4, 12))
    encoded[0, [0, 6, 7]] = 1  # shape, type, progression
    encoded[1, [1, 2, 8]] = 1  # line, color, XOR
    arrays = {"image": image, "target": np.array(target), "relation_structure_encoded": encoded}
    arrays |= {"meta_target": np.zeros(12), **more}
    np.savez(folder / name, **{key: value for key, value in arrays.items() if value is not None})


def test_problems_in_order_with_their_gold_answer(folder, pixels, split):
    problems, refused = split(load_pgm(folder, CONFIG))
    assert not refused
    assert [problem.prompt.prompt_id for problem in problems] == [
        "pgm/PGM_attr.rel.pairs_train_3/cot",
        "pgm/PGM_neutral_test_9/cot",
        "pgm/PGM_neutral_test_10/cot",
    ]
    assert [problem.prompt.puzzle.answer_index for problem in problems] == [4, 7, 4]
    for problem in problems:
        assert np.array_equal(problem.panels(), pixels.reshape(16, 160, 160))
        assert not problem.prompt.puzzle.has_state and problem.prompt.puzzle.num_choices == 8


def test_tags_by_hand(folder, split):
    problem = split(load_pgm(folder, CONFIG))[0][1]
    assert problem.tags == (
        *(("benchmark", "pgm"), ("split", "test"), ("regime", "neutral")),
        *(("object", "shape"), ("object", "line")),
        *(("attribute", "color"), ("attribute", "type")),
        *(("rule", "progression"), ("rule", "XOR")),
    )


def test_one_split_alone(folder, split):
    problems, _ = split(load_pgm(folder, replace(CONFIG, split="train")))
    assert [problem.values("regime") for problem in problems] == [("attr.rel.pairs",)]


def test_what_the_file_says_of_the_answer_is_not_shown(folder, pixels, split):
    expected = [(p.prompt.text, tuple(p.prompt.images)) for p in split(load_pgm(folder, CONFIG))[0]]
    leak = np.array(["the answer is 4"])
    write(
        folder,
        "PGM_neutral_test_9.npz",
        pixels,
        meta_target=np.ones(12),
        relation_structure=np.array([[leak, None]], object),
        relation_structure_encoded=None,
    )
    problems, refused = split(load_pgm(folder, CONFIG))
    assert not refused, "an object array that is not read is not refused"
    assert [(p.prompt.text, tuple(p.prompt.images)) for p in problems] == expected
    assert problems[1].values("rule") == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros(5, np.uint8)}, "image: expected whole numbers"),
        ({"image": np.zeros(16 * 160 * 160)}, "image: expected whole numbers"),
        ({"image": np.full(16 * 160 * 160, 256)}, "gray values from 0 to 255, got 256"),
        ({"image": np.full(16 * 160 * 160, -1)}, "gray values from 0 to 255, got -1"),
        ({"image": np.array([None] * 16, object)}, "image: an object array"),
        ({"image": None}, "missing: image"),
        ({"target": 8}, "target: expected 0 to 7, got 8"),
        ({"target": -1}, "target: expected 0 to 7, got -1"),
        ({"target": [1, 2]}, "target: expected whole numbers"),
        ({"target": 1.0}, "target: expected whole numbers"),
        ({"relation_structure_encoded": np.zeros((4, 11))}, "relation_structure_encoded: expected"),
    ],
)
def test_a_bad_file_is_refused_and_the_rest_goes_on(folder, pixels, split, changes, message):
    write(folder, "PGM_neutral_test_9.npz", **{"image": pixels, **changes})
    problems, refused = split(load_pgm(folder, CONFIG))
    assert len(problems) == 2 and refused[0].where == "PGM_neutral_test_9.npz"
    assert message in refused[0].reason


def test_files_of_other_names(folder, split):
    (folder / "PGM_neutral_held_1.npz").write_bytes(b"oops")
    problems, refused = split(load_pgm(folder, CONFIG))
    assert len(problems) == 3 and "expected a file called PGM_" in refused[0].reason


def test_a_folder_without_problems_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="found none"):
        load_pgm(tmp_path, CONFIG)
