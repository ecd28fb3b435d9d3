"""RAVEN's files: original problems there and back, rules inferred by hand, broken files."""

import dataclasses
import io
import json
import os
import random
import re
import shutil
import struct
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest

from rl_avr.contracts import Annotation, Component, Entity, Panel, Puzzle, Rule, Scene
from rl_avr.errors import DataError, PuzzleError
from rl_avr.puzzles import raven_format, raven_npz, raven_xml
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.raven_format import iter_raven, raven_name, read_raven, write_raven
from rl_avr.puzzles.raven_rules import infer_rules, meta_arrays, rule_names
from rl_avr.puzzles.render import render_panels
from rl_avr.puzzles.sampler import sample_puzzles

KEYS = (
    *("image", "target", "predict", "meta_matrix", "meta_target"),
    *("structure", "meta_structure"),
)
LATIN = (("Constant", "Type"), ("Constant", "Size"), ("Constant", "Color"))


@pytest.fixture
def problem(tmp_path, puzzle):
    """The npz of the puzzle made by hand, written in RAVEN's format; the XML lies beside."""
    return write_raven(puzzle, tmp_path, 7, "val")[0]


def arrays_of(npz):
    with np.load(npz) as archive:
        return {key: archive[key] for key in archive.files}


def change(npz, **changes):
    arrays = {**arrays_of(npz), **changes}
    np.savez(npz, **{key: value for key, value in arrays.items() if value is not None})


def replace_in_xml(npz, old, new, count=1):
    xml = npz.with_suffix(".xml")
    text = xml.read_text()
    assert old in text
    xml.write_text(text.replace(old, new, count))


# --- originals


def test_originals_go_there_and_back(original_items, tmp_path):
    folders, rules, num_problems = set(), set(), 0
    for path, original, pixels in original_items():
        name = raven_name(path)
        assert original.configuration == path.parent.name
        assert original.puzzle_id == f"raven-{path.parent.name}-{name.number}-{name.split}"
        folders.add(original.configuration)
        rules |= {(rule.attribute, rule.kind, rule.parameter) for rule in original.rules}
        npz, xml = write_raven(original, tmp_path, name.number, name.split)
        puzzle, images = read_raven(xml)
        assert puzzle == original
        assert np.array_equal(images, pixels)
        old, new = arrays_of(path), arrays_of(npz)
        assert list(old) == list(new) == list(KEYS)
        for key in KEYS:
            assert old[key].dtype == new[key].dtype and old[key].shape == new[key].shape
            assert key == "predict" or np.array_equal(old[key], new[key]), key
        assert xml_facts(path.with_suffix(".xml")) == xml_facts(xml)
        num_problems += 1
    assert num_problems == 280
    assert folders == set(CONFIGURATIONS)
    assert {("type", "progression", step) for step in (-2, -1, 1, 2)} <= rules
    assert {("size", "arithmetic", 1), ("color", "arithmetic", -1)} <= rules
    assert {("position", "constant", 0), ("position", "arithmetic", 1)} <= rules


def xml_facts(xml):
    """Returns tag and attributes of every element, less real_bbox and what leaks."""
    root = ET.parse(xml).getroot()
    for leak in root.findall("Modified_attributes"):
        root.remove(leak)
    return [
        (node.tag, {k: v for k, v in node.attrib.items() if k != "real_bbox"})
        for node in root.iter()
    ]


def test_leaks_reach_no_puzzle(originals, tmp_path):
    """A wrong prediction, and a wrong or missing list of changes, alter nothing."""
    source = sorted((originals / "iraven" / "distribute_nine").glob("*.npz"))[0]
    expected = read_raven(source)[0]
    npz = tmp_path / source.name
    shutil.copy(source, npz)
    shutil.copy(source.with_suffix(".xml"), npz.with_suffix(".xml"))
    change(npz, predict=np.int64((expected.answer_index + 1) % 8))
    xml = npz.with_suffix(".xml")
    start, end = "<Modified_attributes>", "</Modified_attributes>"
    text = xml.read_text()
    assert start in text
    for leak in ("", f"{start}<Candidate id='0' />{end}", f"{start}nonsense{end}" * 2):
        xml.write_text(re.sub(f"{start}.*{end}", leak, text, flags=re.DOTALL))
        assert read_raven(npz)[0] == expected
    change(npz, predict=None)
    assert read_raven(npz)[0] == expected


def test_quick_checks_and_plain_panels_read_the_same(original_items, monkeypatch):
    """The fast paths against the slow ones: fewer arrays, one picture, no nodes."""
    problems = [(path, puzzle) for path, puzzle, _ in original_items()][::7]
    for path, puzzle in problems:
        assert read_raven(path, checks="quick")[0] == puzzle
    monkeypatch.setattr(raven_xml, "_plain_panel", lambda panel, grammar: None)
    for path, puzzle in problems:
        assert read_raven(path, checks="quick")[0] == puzzle


# --- written files


def test_a_written_problem_by_hand(problem, puzzle):
    assert problem.name == "RAVEN_7_val.npz" and problem.parent.name == "center_single"
    arrays = arrays_of(problem)
    assert tuple(arrays) == KEYS
    assert arrays["target"] == 2 and arrays["target"].dtype == np.int64
    assert arrays["predict"] == -1, "a prediction would give the answer away"
    assert arrays["structure"].tolist() == [
        *("Scene", "Singleton", "Grid", "Center_Single", "/", "/", "/", "/")
    ]
    # constant number and position; constant type; progression of size; arithmetic of color
    assert arrays["meta_matrix"].tolist() == [
        [1, 0, 0, 0, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 0, 0, 0, 1],
        *([[0] * 9] * 4),
    ]
    assert arrays["meta_target"].tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1]
    # Singleton, Grid, Center_Single
    assert np.flatnonzero(arrays["meta_structure"]).tolist() == [0, 10, 11]
    assert np.array_equal(arrays["image"], render_panels(puzzle))


def test_the_mask_is_the_shape_s_pixels(problem, puzzle):
    entities = ET.parse(problem.with_suffix(".xml")).getroot().findall(".//Entity")
    images = arrays_of(problem)["image"]
    for node, image in zip(entities, images, strict=True):
        runs = json.loads(node.get("mask"))
        mask = np.zeros(160 * 160, bool)
        for start, length in zip(runs[::2], runs[1::2], strict=True):
            mask[start - 1 : start - 1 + length] = True
        mask = mask.reshape(160, 160)
        assert (image[~mask] == 255).all(), "a lone upright shape is all inside its mask"
        rows, columns = np.nonzero(mask)
        y, x, height, width = json.loads(node.get("real_bbox"))
        assert y * 320 == pytest.approx(rows.min() + rows.max(), abs=0.02)
        assert x * 320 == pytest.approx(columns.min() + columns.max(), abs=0.02)
        assert height * 160 == pytest.approx(np.ptp(rows) + 1, abs=0.01)
        assert width * 160 == pytest.approx(np.ptp(columns) + 1, abs=0.01)


def test_the_puzzle_by_hand_comes_back(problem, puzzle):
    back, images = read_raven(problem)
    same = dataclasses.replace(
        puzzle, puzzle_id="raven-center_single-7-val", difficulty=back.difficulty
    )
    assert back == same
    assert np.array_equal(images, render_panels(puzzle))
    assert images.flags.writeable


def test_sampled_puzzles_come_back_with_their_rules(tmp_path):
    config = PuzzleConfig(
        mix=dict.fromkeys(CONFIGURATIONS, 1.0), has_angle_noise=True, has_uniformity_noise=True
    )
    for index, puzzle in enumerate(sample_puzzles("train", 60, 3, config)):
        npz, _ = write_raven(puzzle, tmp_path, index, "train")
        back, images = read_raven(npz)
        assert (back.context, back.choices, back.answer_index) == (
            *(puzzle.context, puzzle.choices),
            puzzle.answer_index,
        )
        assert np.array_equal(images, render_panels(puzzle))
        found = {(rule.component, rule.attribute): rule for rule in back.rules}
        for rule in puzzle.rules:
            same = found.pop((rule.component, rule.attribute))
            # on four slots, two steps on and two steps back are one movement
            assert rule == same or (rule.attribute == "position" and rule.parameter in (2, -2))
        # noise that by chance looks like a constant rule is read as one
        assert all(rule.kind == "constant" for rule in found.values())


def test_writing_again_writes_the_same_bytes_and_leaves_nothing_else(tmp_path, puzzle):
    first = [path.read_bytes() for path in write_raven(puzzle, tmp_path, 0, "test")]
    second = [path.read_bytes() for path in write_raven(puzzle, tmp_path, 0, "test")]
    assert first == second
    names = sorted(path.name for path in (tmp_path / "center_single").iterdir())
    assert names == ["RAVEN_0_test.npz", "RAVEN_0_test.xml"]


def test_a_full_disk_leaves_the_old_file_and_no_half(problem, puzzle, monkeypatch):
    before = problem.read_bytes()

    def full(stream, *args):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raven_format, "write_arrays", full)
    with pytest.raises(OSError, match="No space left"):
        write_raven(puzzle, problem.parents[1], 7, "val")
    assert problem.read_bytes() == before
    assert len(list(problem.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "nonregular", "configuration": "matrix"}, "expected a matrix puzzle"),
        ({"family": "annotated"}, "expected a matrix puzzle"),
        ({"configuration": "center"}, "expected a matrix puzzle"),
        ({"answer_index": None}, "answer None"),
        ({"answer_index": 8}, "answer 8"),
        ({"choices": ()}, "0 choices"),
        ({"context": (Scene(()),) * 8}, "expected a matrix puzzle"),
        ({"configuration": "distribute_four", "rules": ()}, "position|do not obey"),
        ({"configuration": "in_center_single_out_center_single"}, "expected 2 components"),
        ({"rules": (Rule("type", "progression", 1),)}, "do not obey"),
        ({"rules": (Rule("turn", "progression", 1),)}, "RAVEN's grammar"),
        ({"rules": (Rule("type", "xor"),)}, "RAVEN's grammar"),
        ({"rules": (Rule("type", "constant"),) * 2}, "one rule"),
        ({"rules": (Rule("type", "constant", component=1),)}, "no component"),
    ],
)
def test_what_the_format_has_no_place_for_is_refused(tmp_path, puzzle, changes, message):
    with pytest.raises(PuzzleError, match=message):
        write_raven(dataclasses.replace(puzzle, **changes), tmp_path, 0, "train")
    assert not list(tmp_path.rglob("RAVEN*"))


@pytest.mark.parametrize(
    "entity", [Entity(0, 1, 1), Entity(1, 6, 1), Entity(1, 1, 10), Entity(1, 1, 1, 8)]
)
def test_levels_outside_the_grammar_are_not_written(tmp_path, puzzle, entity):
    broken = (Panel((Component((entity,)),)), *puzzle.choices[1:])
    with pytest.raises(PuzzleError, match="panel 8.*expected a level"):
        write_raven(dataclasses.replace(puzzle, choices=broken), tmp_path, 0, "train")


@pytest.mark.parametrize(("number", "split"), [(-1, "train"), (0, "held_out")])
def test_numbers_and_splits_are_checked(tmp_path, puzzle, number, split):
    with pytest.raises(PuzzleError, match="expected a number from 0"):
        write_raven(puzzle, tmp_path, number, split)


# --- names of rules


def grid_parts(masks, types=None, uniformity=3):
    """Returns nine components of a grid with these positions and types."""
    types = types or [[1] * 9] * 9
    return [
        Component(
            tuple(Entity(types[i][slot], 2, 5, 3, slot) for slot in range(9) if mask >> slot & 1),
            uniformity,
        )
        for i, mask in enumerate(masks)
    ]


NINE = CONFIGURATIONS["distribute_nine"].components[0]
FOUR = CONFIGURATIONS["distribute_four"].components[0]


@pytest.mark.parametrize(
    ("name", "masks", "expected"),
    [
        (
            ("Progression", "Number"),
            (0b1, 0b110, 0b111, 0b11, 0b1011, 0b11110, 0b1000, 0b1001, 0b1110),
            Rule("number", "progression", 1),
        ),
        (
            ("Arithmetic", "Number"),
            (0b111, 0b1, 0b11, 0b1111, 0b11, 0b110, 0b11, 0b1, 0b1000),
            Rule("number", "arithmetic", -1),
        ),
        (
            ("Progression", "Position"),
            (0b1, 0b100, 0b10000, 0b11, 0b1100, 0b110000, 0b110, 0b11000, 0b1100000),
            Rule("position", "progression", 2),
        ),
        (
            # the eighth slot moves on to the first
            ("Progression", "Position"),
            (256, 1, 2, 0b11, 0b110, 0b1100, 0b101, 0b1010, 0b10100),
            Rule("position", "progression", 1),
        ),
        (
            ("Arithmetic", "Position"),
            (0b1, 0b110, 0b111, 0b11, 0b110, 0b111, 0b1000, 0b1, 0b1001),
            Rule("position", "arithmetic", 1),
        ),
        (
            ("Arithmetic", "Position"),
            (0b111, 0b1, 0b110, 0b11, 0b110, 0b1, 0b1100, 0b1000, 0b100),
            Rule("position", "arithmetic", -1),
        ),
        (
            ("Distribute_Three", "Position"),
            (0b1, 0b10, 0b100, 0b10, 0b100, 0b1, 0b100, 0b1, 0b10),
            Rule("position", "distribute_three"),
        ),
        (
            ("Constant", "Number/Position"),
            (0b1, 0b1, 0b1, 0b110, 0b110, 0b110, 0b11, 0b11, 0b11),
            Rule("position", "constant"),
        ),
    ],
)
def test_layout_rules_get_their_parameters(name, masks, expected):
    rules, num_noisy = infer_rules((name, *LATIN), grid_parts(masks), NINE, 0)
    assert rules[0] == expected and num_noisy == 0
    broken = (*masks[:8], masks[8] ^ 0b1_0000_0000)
    with pytest.raises(PuzzleError, match=r"do not obey \('" + name[0]):
        infer_rules((name, *LATIN), grid_parts(broken), NINE, 0)


def test_a_step_that_could_go_both_ways_is_the_forward_one():
    """On four slots, two on and two back are one movement."""
    masks = (0b1, 0b100, 0b1, 0b10, 0b1000, 0b10, 0b11, 0b1100, 0b11)
    rules, _ = infer_rules((("Progression", "Position"), *LATIN), grid_parts(masks), FOUR, 1)
    assert rules[0] == Rule("position", "progression", 2, 1)
    assert {rule.component for rule in rules} == {1}


def test_noise_has_no_rule_and_is_written_as_constant():
    masks = (0b11, 0b11, 0b11, 0b101, 0b101, 0b101, 0b110, 0b110, 0b110)
    types = [[1, 2, 3, 1, 1, 1, 1, 1, 1]] * 9
    names = (("Constant", "Number/Position"), *LATIN)
    rules, num_noisy = infer_rules(names, grid_parts(masks, types, uniformity=1), NINE, 0)
    assert [rule.attribute for rule in rules] == ["position", "size", "color"]
    assert num_noisy == 1
    # on a uniform layout the same panels break the rule
    with pytest.raises(PuzzleError, match="do not obey.*Type"):
        infer_rules(names, grid_parts(masks, types), NINE, 0)
    panels = tuple(Panel((part,)) for part in grid_parts(masks, types, uniformity=1))
    puzzle = Puzzle("x", "rpm", "distribute_nine", panels[:8], (panels[8],) * 8, 0, rules, 0.5, 0)
    assert rule_names(puzzle) == (names,)


def test_meta_arrays_of_two_components_by_hand():
    names = (
        (("Constant", "Number/Position"), ("Distribute_Three", "Type"), *LATIN[1:]),
        (("Arithmetic", "Position"), *LATIN),
    )
    meta = meta_arrays("in_distribute_four_out_center_single", names)
    assert meta["meta_matrix"][[0, 1, 4, 5]].tolist() == [
        [1, 0, 0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 0],
    ]
    assert meta["meta_target"].tolist() == [1, 0, 1, 1, 1, 1, 1, 1, 1]
    # Out_In, Out, In, Out_Center_Single, In_Distribute_Four
    assert np.flatnonzero(meta["meta_structure"]).tolist() == [3, 8, 9, 18, 20]
    assert meta["structure"].tolist() == [
        *("Scene", "Out_In", "Out", "Out_Center_Single", "/", "/"),
        *("In", "In_Distribute_Four", "/", "/", "/", "/"),
    ]


# --- broken npz


def test_python_2_wrote_the_structure_as_bytes(problem):
    expected = read_raven(problem)[0]
    change(problem, structure=arrays_of(problem)["structure"].astype("S"))
    assert read_raven(problem)[0] == expected


@pytest.mark.parametrize("key", [key for key in KEYS if key != "predict"])
def test_a_missing_key_is_named(problem, key):
    change(problem, **{key: None, "other": np.zeros(3)})
    with pytest.raises(DataError, match=rf"RAVEN_7_val.npz: .*other.*missing: {key}"):
        read_raven(problem)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image", np.zeros((16, 160, 80), np.uint8), "image: expected uint8 of shape"),
        ("image", np.zeros((16, 160, 160), np.float32), "image: expected uint8"),
        ("image", np.zeros((16, 160, 160), np.uint8), "image: expected the panels"),
        ("image", np.array([None] * 16, object), "image: an object array"),
        ("target", np.array(8), "target: expected 0 to 7, got 8"),
        ("target", np.array(-1), "target: expected 0 to 7, got -1"),
        ("target", np.array(2.0), "target: expected whole numbers"),
        ("target", np.array([2]), "target: expected whole numbers of shape"),
        ("target", np.array(None, object), "target: an object array"),
        ("meta_matrix", np.zeros((8, 9), np.uint8), "meta_matrix: expected"),
        ("meta_matrix", np.zeros((4, 9), np.uint8), "meta_matrix: expected uint8 of shape"),
        ("meta_target", np.zeros(9, np.uint8), "meta_target: expected"),
        ("meta_structure", np.ones(21, np.uint8), "meta_structure: expected"),
        ("structure", np.array(["Scene"] * 8), "structure: expected"),
        ("structure", np.array(["Scene"] * 65), "structure: expected text"),
        ("structure", np.array([b"\xff"]), "structure: expected ASCII"),
        ("structure", np.arange(8), "structure: expected text"),
        ("structure", np.array(["", ""]), "structure: expected"),
        ("structure", np.full(4, 0x7FFFFFFF, np.uint32).view("<U2"), "structure: expected"),
        ("structure", np.array(["a", None], object), "structure: an object array"),
    ],
)
def test_a_wrong_array_is_named(problem, key, value, message):
    change(problem, **{key: value})
    with pytest.raises(DataError, match=f"RAVEN_7_val.npz: {message}"):
        read_raven(problem)


def test_another_answer_breaks_the_rules(problem):
    change(problem, target=np.int64(0))
    with pytest.raises(DataError, match=r"xml: Data/Rules/Rule_Group\[0\]: .*Type.*obey|obey"):
        read_raven(problem)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.98])
def test_a_truncated_npz_is_named(problem, share):
    content = problem.read_bytes()
    problem.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="RAVEN_7_val.npz: expected an npz file"):
        read_raven(problem)


def test_a_changed_byte_is_found_wherever_it_is(problem):
    content = bytearray(problem.read_bytes())
    rng = random.Random(0)
    for _ in range(60):
        at = rng.randrange(len(content))
        broken = content.copy()
        broken[at] ^= 1 << rng.randrange(8)
        problem.write_bytes(broken)
        try:
            puzzle, images = read_raven(problem)
        except DataError as error:
            assert "RAVEN_7_val" in str(error)
        else:
            # a byte that means nothing: a date, padding, the prediction
            problem.write_bytes(content)
            expected, pixels = read_raven(problem)
            assert puzzle == expected and np.array_equal(images, pixels)


def test_no_size_that_a_file_claims_is_believed(problem):
    """A header of a petabyte, and a member that unpacks to a gigabyte, cost nothing."""
    arrays = arrays_of(problem)
    huge = io.BytesIO()
    np.lib.format.write_array(huge, arrays["image"])
    header = huge.getvalue().replace(b"(16, 160, 160)", b"(10**9, 10**6)")
    claims = header.replace(b"(10**9, 10**6)", b"(999999999999,)").ljust(len(header))

    def write(content, method=zipfile.ZIP_STORED):
        with zipfile.ZipFile(problem, "w", method) as archive:
            for key, value in arrays.items():
                stream = io.BytesIO()
                np.lib.format.write_array(stream, value)
                archive.writestr(f"{key}.npy", content if key == "image" else stream.getvalue())

    for content in (header, claims):
        write(content)
        with pytest.raises(DataError, match="image: expected"):
            read_raven(problem)
    write(huge.getvalue() + bytes(50 * 2**20), zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="image: expected at most"):
        read_raven(problem)
    write(huge.getvalue() + b"more")
    with pytest.raises(DataError, match="image: expected the end"):
        read_raven(problem)
    with problem.open("ab") as stream:
        stream.truncate(5 * 2**20)
    with pytest.raises(DataError, match="expected at most"):
        read_raven(problem)


def test_a_pickle_is_never_loaded(problem):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    change(problem, image=np.array([Bomb()] * 16, object))
    with pytest.raises(DataError, match="image: an object array"):
        read_raven(problem)


def test_a_pipe_is_not_waited_for(problem):
    problem.unlink()
    os.mkfifo(problem)
    with pytest.raises(DataError, match="bytes of a file"):
        raven_npz.read_arrays(problem)


def test_an_encrypted_member_is_refused(problem):
    content = bytearray(problem.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature)
        flags = struct.unpack_from("<H", content, at + offset)[0]
        struct.pack_into("<H", content, at + offset, flags | 1)
    problem.write_bytes(content)
    with pytest.raises(DataError, match="image: .*encrypted"):
        read_raven(problem)


# --- broken XML


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Data>&b;</Data>"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "document type"),
        (BOMB.replace("<!DOCTYPE", "<!doctype").encode(), "document type"),
        (BOMB.encode("utf-16"), "expected UTF-8"),
        (BOMB.encode("utf-7"), "well-formed|document type"),
        (b'<!DOCTYPE Data SYSTEM "file:///etc/passwd"><Data/>', "document type"),
        (b"<Data>&lol;</Data>", "well-formed"),
        (b"", "well-formed"),
        (b"<Data><Panels>", "well-formed"),
        (b"\xff\xfe\x00", "expected UTF-8"),
        (b"<Data>\x00</Data>", "well-formed"),
        (b"<Data />", "Data: expected 1 elements Panels, got '0'"),
        (b"<Other />", "expected 1 elements Panels"),
        (b"<Data><Panels><Panel /></Panels></Data>", "Panels: expected 16 elements Panel"),
        (b" " * (4 * 2**20 + 1), "expected at most"),
    ],
)
def test_a_broken_xml_is_refused(problem, content, message):
    problem.with_suffix(".xml").write_bytes(content)
    with pytest.raises(DataError, match=f"RAVEN_7_val.xml: .*({message})"):
        read_raven(problem)


@pytest.mark.parametrize("name", ["mask", "real_bbox"])
@pytest.mark.parametrize("value", ["[<1>]", "&lol;", "[1"])
def test_attributes_that_are_not_read_must_be_xml_all_the_same(problem, name, value):
    xml = problem.with_suffix(".xml")
    text, end = xml.read_text(), "" if value == "[1" else '"'
    assert read_raven(problem)
    changed = re.sub(f'{name}="[^"]*"', f'{name}="{value}{end}', text, count=1)
    assert changed != text
    xml.write_text(changed)
    with pytest.raises(DataError, match="RAVEN_7_val.xml: expected well-formed XML"):
        read_raven(problem)


def test_every_truncation_of_the_xml_is_refused(problem):
    xml = problem.with_suffix(".xml")
    content = xml.read_bytes()
    for length in range(0, len(content), len(content) // 40):
        xml.write_bytes(content[:length])
        with pytest.raises(DataError, match="RAVEN_7_val.xml: "):
            read_raven(problem)


FIRST = r"Panels/Panel\[0\]/Struct/Component\[?0?\]?/Layout"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('Type="2"', 'Type="0"', "type: expected a level from 1 to 5, got 0"),
        ('Type="2"', 'Type="6"', "type: expected a level from 1 to 5, got 6"),
        ('Type="2"', 'Type="-1"', "@Type: expected a level"),
        ('Type="2"', 'Type="two"', "@Type: expected a level"),
        ('Type="2"', 'Type="\u0662"', "@Type: expected a level"),
        ('Type="2"', "", "expected an attribute Type"),
        ('Size="0"', 'Size="6"', "size: expected a level from 0 to 5"),
        ('Color="3"', 'Color="10"', "color: expected a level from 0 to 9"),
        ('Angle="3"', 'Angle="8"', "angle: expected a level from 0 to 7"),
        ('Uniformity="3"', 'Uniformity="4"', "uniformity from 0 to 3"),
        ('Number="0"', 'Number="1"', "@Number: expected 0, one per entity"),
        ('bbox="[0.5, 0.5, 1, 1]"', 'bbox="[0.5, 0.5, 1]"', "@bbox: expected a slot"),
        ('bbox="[0.5, 0.5, 1, 1]"', 'bbox="[NaN]"', "@bbox: expected a slot"),
        ('bbox="[0.5, 0.5, 1, 1]"', 'bbox="0.5"', "@bbox: expected a slot"),
        ('bbox="[0.5, 0.5, 1, 1]"', 'bbox="' + "[" * 5000 + '"', "@bbox: expected a list"),
        ('Position="[[0.5, 0.5, 1, 1]]"', 'Position="[[0.5, 0.5, 1, 2]]"', "@Position: expected"),
        ('Position="[[0.5, 0.5, 1, 1]]"', 'Position="oops"', "@Position: expected a list"),
        ('name="Center_Single"', 'name="Center_Double"', "one of RAVEN's configurations"),
        ('name="Singleton"', 'name="Pair"', "one of RAVEN's configurations"),
        ('name="Grid"', 'name="Left"', "@name: expected 'Grid'"),
        ('Component id="0"', 'Component id="1"', "@id: expected '0'"),
    ],
)
def test_a_wrong_element_is_named(problem, old, new, message):
    replace_in_xml(problem, old, new)
    with pytest.raises(DataError, match=f"RAVEN_7_val.xml: Data/Panels/Panel.0.*{message}"):
        read_raven(problem)


def test_two_entities_in_one_slot_are_refused(problem):
    text = problem.with_suffix(".xml").read_text()
    entity = re.search("<Entity.*?/>", text)[0]
    replace_in_xml(problem, entity, entity * 2)
    replace_in_xml(problem, 'Number="0"', 'Number="1"')
    with pytest.raises(DataError, match="expected entities in different slots"):
        read_raven(problem)


def test_a_panel_of_another_configuration_is_refused(problem):
    text = problem.with_suffix(".xml").read_text()
    second = text.index('name="Singleton"', text.index('name="Singleton"') + 1)
    xml = problem.with_suffix(".xml")
    xml.write_text(text[:second] + 'name="Out_In"' + text[second + len('name="Singleton"') :])
    with pytest.raises(DataError, match=r"Panel\[1\]/Struct@name: expected 'Singleton'"):
        read_raven(problem)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name="Constant" attr="Type"', 'name="Progression" attr="Type"'),
        ('name="Constant" attr="Type"', 'name="Shuffle" attr="Type"'),
        ('name="Constant" attr="Type"', 'name="Constant" attr="Mood"'),
        ('name="Constant" attr="Number/Position"', 'name="Progression" attr="Number"'),
        ('name="Arithmetic" attr="Color"', 'name="Constant" attr="Color"'),
        ('<Rule name="Constant" attr="Type" />', ""),
        ('<Rule_Group id="0">', '<Rule_Group id="2">'),
    ],
)
def test_wrong_rules_are_refused(problem, old, new):
    replace_in_xml(problem, old, new)
    with pytest.raises(DataError, match="RAVEN_7_val"):
        read_raven(problem)


def test_rules_that_agree_with_the_flags_but_not_the_panels_are_refused(problem):
    replace_in_xml(problem, 'name="Constant" attr="Type"', 'name="Progression" attr="Type"')
    names = ((("Constant", "Number/Position"), ("Progression", "Type")),)
    rest = (("Progression", "Size"), ("Arithmetic", "Color"))
    change(problem, **meta_arrays("center_single", ((*names[0], *rest),)))
    message = r"Rule_Group\[0\]: the panels do not obey \('Progression', 'Type'\)"
    with pytest.raises(DataError, match=message):
        read_raven(problem)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Panel><Struct", "<Panel><!-- a note --><Struct"),
        ("</Layout>", "<Note /></Layout>"),
        ("</Component>", "<Note /></Component>"),
        ("</Panel>", "words</Panel>"),
        ('Type="2"', 'Mood="9" Type="2"'),
    ],
)
def test_what_means_nothing_changes_nothing(problem, old, new):
    expected = read_raven(problem)[0]
    replace_in_xml(problem, old, new)
    assert read_raven(problem)[0] == expected


def test_quick_checks_find_other_pictures_and_another_answer(problem, puzzle):
    read_raven(problem, checks="quick")
    pixels = arrays_of(problem)["image"]
    change(problem, image=np.roll(pixels, 1, axis=0))
    with pytest.raises(DataError, match="expected the panels that the XML describes"):
        read_raven(problem, checks="quick")
    change(problem, image=pixels, meta_matrix=np.zeros((8, 9), np.uint8))
    with pytest.raises(DataError, match="meta_matrix: expected"):
        read_raven(problem, checks="quick")


# --- names and folders


@pytest.mark.parametrize("end", [".npz", ".xml"])
def test_half_a_problem_is_named(problem, end):
    problem.with_suffix(end).unlink()
    with pytest.raises(DataError, match=f"RAVEN_7_val{end}: not found"):
        read_raven(problem)


@pytest.mark.parametrize("name", ["RAVEN_7.npz", "RAVEN_x_val.npz", "7_val", "RAVEN_7_held_out"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="expected a file called RAVEN_"):
        read_raven(tmp_path / name)


def test_a_problem_in_another_configuration_s_folder_is_refused(problem, tmp_path):
    other = tmp_path / "distribute_nine"
    shutil.copytree(problem.parent, other)
    with pytest.raises(DataError, match="expected distribute_nine, its folder, got center_single"):
        read_raven(other / problem.name)
    free = tmp_path / "anything"
    shutil.copytree(problem.parent, free)
    assert read_raven(free / "RAVEN_7_val")[0] == read_raven(problem)[0]


def test_one_bad_file_does_not_stop_the_rest(tmp_path, puzzle):
    for number in (10, 9, 2, 30, 1):
        write_raven(puzzle, tmp_path, number, "train")
    folder = tmp_path / "center_single"
    (folder / "RAVEN_2_train.npz").write_bytes(b"oops")
    (folder / "RAVEN_30_train.xml").unlink()
    (folder / "RAVEN_9_train.npz").unlink()
    (folder / "RAVEN_oops.npz").write_bytes(b"oops")
    (folder / "notes.txt").write_text("not a problem")
    items = list(iter_raven(tmp_path))
    assert [item.path.name for item in items] == [
        f"RAVEN_{name}.npz"
        for name in ("oops", "1_train", "2_train", "9_train", "10_train", "30_train")
    ]
    good = [item for item in items if item.error is None]
    assert [raven_name(item.path) for item in good] == [(1, "train"), (10, "train")]
    assert all(item.puzzle.context == puzzle.context for item in good)
    for item in items:
        assert (item.puzzle is None) == (item.images is None) == (item.error is not None)
        if item.error is not None:
            assert item.path.stem in str(item.error)


def test_a_folder_without_problems_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="found none"):
        iter_raven(tmp_path)
    with pytest.raises(DataError, match="found none"):
        iter_raven(tmp_path / "nowhere")


def test_an_annotated_puzzle_is_not_written(tmp_path):
    annotation = Annotation("What comes next?", (), "a star")
    puzzle = Puzzle("own-1", "annotated", "free", (), (), None, (), 0, 0, annotation)
    with pytest.raises(PuzzleError, match="own-1.*'annotated'"):
        write_raven(puzzle, tmp_path, 0, "train")
