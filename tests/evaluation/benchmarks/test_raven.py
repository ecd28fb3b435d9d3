"""RAVEN's files as problems: originals, an npz alone, leaks, splits, broken files."""

import re
import shutil
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from rl_avr.chat import decode_image
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.raven import load_raven
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.raven_format import read_raven, write_raven
from rl_avr.puzzles.sampler import sample_puzzles

CONFIG = LoadConfig()
MODIFIED = "<Modified_attributes><Candidate id='{}' /></Modified_attributes>"


@pytest.fixture
def folder(tmp_path, puzzle):
    write_raven(puzzle, tmp_path, 8, "test")
    write_raven(puzzle, tmp_path, 27, "val")
    write_raven(puzzle, tmp_path, 103, "train")
    return tmp_path


def change(npz, **changes):
    with np.load(npz) as archive:
        arrays = {**{key: archive[key] for key in archive.files}, **changes}
    np.savez(npz, **{key: value for key, value in arrays.items() if value is not None})


def test_every_original_is_loaded_as_it_is_read(originals, split):
    for benchmark in ("raven", "iraven"):
        problems, refused = split(load_raven(originals / benchmark, CONFIG, benchmark))
        assert not refused and len(problems) == 140
        counts = Counter(problem.values("configuration") for problem in problems)
        assert counts == {(name,): 20 for name in CONFIGURATIONS}
        assert Counter(problem.values("split") for problem in problems) == {
            ("train",): 84,
            ("val",): 28,
            ("test",): 28,
        }
        assert len({problem.prompt.prompt_id for problem in problems}) == 140
        for problem in problems[::17]:
            stem = problem.prompt.puzzle.puzzle_id.removeprefix(f"{benchmark}/")
            puzzle, panels = read_raven(originals / benchmark / stem)
            assert problem.prompt.puzzle == replace(puzzle, puzzle_id=f"{benchmark}/{stem}")
            assert np.array_equal(problem.panels(), panels)
            kinds = {rule.kind for rule in puzzle.rules} - {"constant"}
            assert set(problem.values("rule")) == kinds


def test_the_order_is_that_of_the_numbers_and_ids_do_not_depend_on_the_limit(folder, split):
    problems, _ = split(load_raven(folder, CONFIG))
    names = [problem.prompt.prompt_id for problem in problems]
    assert names == [
        f"raven/center_single/RAVEN_{name}/cot" for name in ("8_test", "27_val", "103_train")
    ]
    first, _ = split(load_raven(folder, replace(CONFIG, limit=2)))
    assert first == problems[:2]
    assert [problem.prompt.puzzle.answer_index for problem in problems] == [2, 2, 2]


def test_tags_by_hand(folder, split):
    problems, _ = split(load_raven(folder, CONFIG, "iraven"))
    difficulty = problems[0].prompt.puzzle.difficulty
    assert problems[0].tags == (
        ("benchmark", "iraven"),
        ("split", "test"),
        ("configuration", "center_single"),
        ("rule", "progression"),
        ("rule", "arithmetic"),
        ("attribute", "size"),
        ("attribute", "color"),
        ("difficulty", f"{difficulty:g}"),
    )


@pytest.mark.parametrize(("name", "stem"), [("test", "RAVEN_8_test"), ("val", "RAVEN_27_val")])
def test_one_split_alone(folder, split, name, stem):
    problems, refused = split(load_raven(folder, replace(CONFIG, split=name)))
    assert not refused and len(problems) == 1
    assert stem in problems[0].prompt.prompt_id


def test_a_name_of_another_split_than_its_number_is_refused(folder, split):
    for end in (".npz", ".xml"):
        old = folder / "center_single" / f"RAVEN_103_train{end}"
        old.rename(old.with_name(f"RAVEN_103_test{end}"))
    problems, refused = split(load_raven(folder, CONFIG))
    assert len(problems) == 2
    assert refused[0].where == "center_single/RAVEN_103_test"
    assert "number 103 is of the split train, not test" in refused[0].reason


def shown(problem):
    return problem.prompt.text, tuple(problem.prompt.images), problem.tags


@pytest.mark.parametrize("image", ["composed", "panels"])
def test_leaks_change_nothing_that_is_shown(folder, split, image):
    config = replace(CONFIG, image=image)
    npz = folder / "center_single" / "RAVEN_8_test.npz"
    xml = npz.with_suffix(".xml")
    expected = shown(split(load_raven(folder, config))[0][0])
    text = xml.read_text()
    for wrong in (0, 2, 7):
        change(npz, predict=np.int64(wrong))
        xml.write_text(text.replace("</Data>", MODIFIED.format(wrong) + "</Data>"))
        found = split(load_raven(folder, config))[0][0]
        assert shown(found) == expected
    change(npz, predict=None)
    assert shown(split(load_raven(folder, config))[0][0]) == expected


def test_the_right_choice_does_not_show_in_prompt_or_tags(folder, split):
    """Two problems that differ in their target alone are asked alike."""
    config = replace(CONFIG, prompt="direct")
    npz = folder / "center_single" / "RAVEN_8_test.npz"
    npz.with_suffix(".xml").unlink()
    one = split(load_raven(folder, config))[0][0]
    change(npz, target=np.int64(5))
    other = split(load_raven(folder, config))[0][0]
    assert (one.prompt.puzzle.answer_index, other.prompt.puzzle.answer_index) == (2, 5)
    assert shown(one) == shown(other) and one.prompt.prompt_id == other.prompt.prompt_id


def test_an_npz_alone_has_no_state_but_its_tags(folder, split, puzzle):
    whole = split(load_raven(folder, CONFIG))[0][0]
    (folder / "center_single" / "RAVEN_8_test.xml").unlink()
    problem = split(load_raven(folder, CONFIG))[0][0]
    found = problem.prompt.puzzle
    assert not found.has_state and found.num_choices == 8
    assert found.answer_index == puzzle.answer_index
    assert problem.prompt.text == whole.prompt.text
    assert tuple(problem.prompt.images) == tuple(whole.prompt.images)
    assert problem.tags == tuple(tag for tag in whole.tags if tag[0] != "difficulty")


def test_an_npz_alone_of_every_configuration(tmp_path, split):
    config = PuzzleConfig(mix=dict.fromkeys(CONFIGURATIONS, 1.0))
    puzzles = list(sample_puzzles("train", 20, 5, config))
    for number, puzzle in enumerate(puzzles):
        write_raven(puzzle, tmp_path, 10 * number, "train")
    whole, refused = split(load_raven(tmp_path, CONFIG))
    for path in tmp_path.rglob("*.xml"):
        path.unlink()
    alone, refused_alone = split(load_raven(tmp_path, CONFIG))
    assert not refused and not refused_alone
    assert len({problem.values("configuration") for problem in alone}) > 4
    for one, other in zip(whole, alone, strict=True):
        assert one.prompt.puzzle.configuration == other.prompt.puzzle.configuration
        assert set(one.values("rule")) == set(other.values("rule"))
        assert set(one.values("attribute")) == set(other.values("attribute"))


@pytest.mark.parametrize("prompt", ["chain", "direct"])
@pytest.mark.parametrize("labels", ["letters", "digits", "roman"])
def test_prompts(folder, split, prompt, labels):
    config = LoadConfig(prompt=prompt, labels=labels, image="panels")
    problem = split(load_raven(folder, config))[0][0]
    text = problem.prompt.text
    last = {"letters": "A to H", "digits": "1 to 8", "roman": "I to VIII"}[labels]
    noun = {"letters": "letter", "digits": "number", "roman": "Roman numeral"}[labels]
    assert f"the choices {last}. Which choice completes the matrix?" in text
    assert ("reason first" in text) == (prompt == "chain")
    assert (f"a {noun} answer" if prompt == "chain" else f"the option's {noun} from") in text
    assert problem.prompt.kind == ("cot" if prompt == "chain" else "direct")
    assert problem.labels == labels and len(problem.prompt.images) == 16


def test_tags_form_of_the_answer_is_asked_for(folder, split):
    problem = split(load_raven(folder, replace(CONFIG, answer_form="tags")))[0][0]
    assert problem.prompt.text.endswith("between <answer> and </answer>.")


def test_images_show_the_file_s_own_pixels(folder, split):
    npz = folder / "center_single" / "RAVEN_8_test.npz"
    pixels = np.load(npz)["image"].copy()
    pixels[3, 70:90, 70:90] ^= 1
    change(npz, image=pixels)
    problem = split(load_raven(folder, CONFIG))[0][0]
    image = np.asarray(decode_image(problem.prompt.images[0]))[..., 0]
    assert np.array_equal(image[160 + 70 : 160 + 90, 70:90], pixels[3, 70:90, 70:90])


@pytest.mark.parametrize(
    "structure",
    [
        np.array(["", ""]).view("V4"),
        np.array(["Scene"] * 8),
        np.full(4, 0x7FFFFFFF, np.uint32).view("<U2"),
        np.array([b"\xff"]),
    ],
)
def test_an_npz_alone_of_no_configuration_is_refused(folder, split, structure):
    npz = folder / "center_single" / "RAVEN_8_test.npz"
    npz.with_suffix(".xml").unlink()
    change(npz, structure=structure)
    problems, refused = split(load_raven(folder, CONFIG))
    assert len(problems) == 2 and "structure: expected" in refused[0].reason


BAD = {
    "corrupt": lambda npz: npz.write_bytes(b"oops"),
    "truncated": lambda npz: npz.write_bytes(npz.read_bytes()[:-300]),
    "object array": lambda npz: change(npz, image=np.array([None] * 16, object)),
    "more choices": lambda npz: change(npz, image=np.zeros((18, 160, 160), np.uint8)),
    "no target": lambda npz: change(npz, target=None),
    "target 8": lambda npz: change(npz, target=np.int64(8)),
    "npz missing": lambda npz: npz.unlink(),
    "broken XML": lambda npz: npz.with_suffix(".xml").write_text("<Data>"),
    "entity bomb": lambda npz: npz.with_suffix(".xml").write_text(
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><Data>&b;</Data>'
    ),
    "outside file": lambda npz: npz.with_suffix(".xml").write_text(
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Data>&a;</Data>'
    ),
    "other pictures": lambda npz: change(npz, image=np.zeros((16, 160, 160), np.uint8)),
    "XML is a folder": lambda npz: (
        npz.with_suffix(".xml").unlink(),
        npz.with_suffix(".xml").mkdir(),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_the_rest_goes_on(folder, split, name):
    BAD[name](folder / "center_single" / "RAVEN_27_val.npz")
    problems, refused = split(load_raven(folder, CONFIG))
    assert [p.values("split") for p in problems] == [("test",), ("train",)]
    assert [item.where for item in refused] == ["center_single/RAVEN_27_val"]
    assert "RAVEN_27_val" in refused[0].reason


def test_a_member_that_leads_elsewhere_is_never_written(folder, split, tmp_path):
    npz = folder / "center_single" / "RAVEN_8_test.npz"
    with zipfile.ZipFile(npz, "a") as archive:
        archive.writestr("../../../escaped.npy", b"x")
        archive.writestr("/escaped.npy", b"x")
    before = sorted(tmp_path.parent.rglob("*"))
    problems, refused = split(load_raven(folder, CONFIG))
    assert len(problems) == 3 and not refused
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_an_archive_or_an_empty_folder_is_refused_at_once(tmp_path):
    archive = tmp_path / "raven.tar.xz"
    archive.write_bytes(b"")
    with pytest.raises(DataError, match="expected a folder.*unpack an archive first"):
        load_raven(archive, CONFIG)
    with pytest.raises(DataError, match="found none"):
        load_raven(tmp_path, CONFIG)
    with pytest.raises(DataError, match="expected a folder"):
        load_raven(tmp_path / "nowhere", CONFIG)


def test_the_same_folder_twice_is_two_sets(folder, split):
    shutil.copytree(folder / "center_single", folder / "again")
    problems, refused = split(load_raven(folder, CONFIG))
    assert len({problem.prompt.prompt_id for problem in problems}) == 6 and not refused
    assert not any(re.search(r"answer|target", tag) for p in problems for tag, _ in p.tags)
