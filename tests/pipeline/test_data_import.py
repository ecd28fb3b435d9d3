"""Importing: good puzzles are taken, each bad one is named with its line and every reason."""

import io
import json
import shutil

import pytest
from PIL import Image

from rewards.parts.choice import choice
from rl_avr.contracts import Annotation, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.pipeline import data_import
from rl_avr.pipeline.data_annotated import Bad, Good, read_annotated
from rl_avr.pipeline.data_import import import_data
from rl_avr.pipeline.data_raven import export_data, file_number
from rl_avr.prompts import prompt_text
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts, write_puzzles
from rl_avr.training.puzzle_files import iter_rows, splits_of


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path):
    """Returns a function that writes lines, dictionaries or raw bytes, beside four images."""
    (tmp_path / "photos").mkdir()
    for index in range(4):
        (tmp_path / "photos" / f"{index}.png").write_bytes(png(10 * index))

    def write(*lines):
        path = tmp_path / "puzzles.jsonl"
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"\n".join(raw) + b"\n")
        return path

    return write


def line(index=0, **changes):
    whole = {
        "image": f"photos/{index}.png",
        "question": "Which choice completes the row?",
        "choices": ["A", "B", "C", "D"],
        "answer": "B",
        **changes,
    }
    return {name: value for name, value in whole.items() if value != "left out"}


def reasons(path):
    return [(item.where, item.reason) for item in read_annotated(path) if isinstance(item, Bad)]


def reason(source, *lines):
    """Returns what is wrong with the last line, which is the only bad one."""
    ((where, text),) = reasons(source(*lines))
    assert where == f"line {len(lines)}"
    return text


def test_a_whole_row_becomes_a_puzzle_with_everything_it_says(source, tmp_path):
    path = source(
        line(
            choices=["a red fish", "a blue fish"],
            answer="B",
            perception=[{"question": "How many fish?", "answer": "two"}],
            chain="I see two fish.\n### Answer: B",
            prefix="This is a fish puzzle.",
            id="fish-1",
            split="val",
        )
    )
    (item,) = read_annotated(path)
    assert item.split == "val"
    import_data(path, "annotated", tmp_path / "set")
    (prompt,) = read_prompts(DataConfig(path=str(tmp_path / "set"), split="val"))
    puzzle = prompt.puzzle
    assert puzzle.annotation == Annotation(
        question="Which choice completes the row?",
        choices=("a red fish", "a blue fish"),
        answer="B",
        perception=(("How many fish?", "two"),),
        chain="I see two fish.\n### Answer: B",
        prefix="This is a fish puzzle.",
    )
    assert (puzzle.puzzle_id, puzzle.family, puzzle.answer_letter) == ("fish-1", "annotated", "B")
    assert not puzzle.has_state and puzzle.num_choices == 2
    assert prompt.images[0] == png(0)
    assert prompt.text == prompt_text(puzzle, "cot")


def test_an_open_question_has_no_letter(source):
    (item,) = read_annotated(source(line(choices=None, answer=" a fish ")))
    puzzle = json.loads(item.row["puzzle"])
    assert puzzle["answer_index"] is None
    assert puzzle["annotation"]["answer"] == "a fish" and puzzle["annotation"]["choices"] == []


def test_an_open_question_keeps_how_it_is_graded_on_its_way_through_the_files(source, tmp_path):
    whole = line(
        question="How many fish are there?",
        choices="left out",
        answer="2",
        accepted=["a pair", " both "],
        answer_kind="count",
        split="train",
    )
    import_data(source(whole), "annotated", tmp_path / "set")
    (prompt,) = read_prompts(DataConfig(path=str(tmp_path / "set")))
    note = prompt.puzzle.annotation
    assert (note.answer, note.accepted, note.answer_kind) == ("2", ("a pair", "both"), "count")
    assert Puzzle.from_json(prompt.puzzle.to_json()) == prompt.puzzle
    said = {"Two.": 1.0, "2": 1.0, "A pair": 1.0, "both": 1.0, "3": 0.0, "pair of fish": 0.0}
    for text, worth in said.items():
        assert choice(read(f"### Answer: {text}", prompt.puzzle), prompt.puzzle) == worth
    page = (tmp_path / "set" / "gallery.html").read_text()
    assert "<dt>Right as well</dt><dd>a pair; both</dd>" in page
    assert "<dt>Graded as</dt><dd>count</dd>" in page


def test_a_page_says_nothing_of_grading_where_there_are_choices(source, tmp_path):
    import_data(source(line()), "annotated", tmp_path / "set")
    page = (tmp_path / "set" / "gallery.html").read_text()
    assert "Graded as" not in page and "Right as well" not in page


def test_a_set_written_before_answers_had_kinds_is_read(source):
    (item,) = read_annotated(source(line(choices=None, answer="a fish")))
    raw = json.loads(item.row["puzzle"])
    assert (raw["annotation"].pop("answer_kind"), raw["annotation"].pop("accepted")) == (
        "exact",
        [],
    )
    puzzle = Puzzle.from_json(json.dumps(raw))
    assert puzzle == Puzzle.from_json(item.row["puzzle"])


def open_line(answer, kind, *accepted):
    return line(choices=None, answer=answer, answer_kind=kind, accepted=list(accepted))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("a fish", "exact"),
        ("###", "exact"),
        ("B", "letter"),
        ("No", "yes_no"),
        ("true", "yes_no"),
        ("1,200", "count"),
        ("Four", "count"),
        ("twenty", "count"),
        ("-1.5e3", "number"),
        ("12 %", "number"),
        ("12%", "number"),
        (".5", "number"),
        ("Paris, France", "anls"),
        ("Anna", "name"),
        ("circle, size 4", "tuple"),
        ("A, C", "set"),
    ],
)
def test_a_gold_answer_of_its_kind_is_taken(source, answer, kind):
    (item,) = read_annotated(source(open_line(answer, kind)))
    assert isinstance(item, Good), item


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        ("several", "count", "a whole number"),
        ("about 4", "count", "a whole number"),
        ("-4", "count", "a whole number"),
        ("1.5", "count", "a whole number"),
        ("4 fish", "count", "a whole number"),
        ("12 km", "number", "a number"),
        ("seven", "number", "a number"),
        ("much", "number", "a number"),
        ("maybe", "yes_no", "yes or no"),
        ("no, yes", "yes_no", "yes or no"),
        ("a square", "letter", "a letter"),
        ("Z", "letter", "a letter"),
    ],
)
def test_a_gold_answer_of_another_kind_is_refused(source, answer, kind, expected):
    assert reason(source, open_line(answer, kind)) == (
        f"'answer': {answer!r} where 'answer_kind' is {kind!r}; expected {expected}, "
        "or another kind"
    )


def test_answers_that_no_one_line_can_be_are_refused(source):
    text = reason(source, open_line("one\ntwo", "exact", "three", "four\nfive"))
    assert text == (
        r"'answer': 'one\ntwo' would be graded as wrong; expected an answer in one line that is "
        r"right where 'answer_kind' is 'exact'; 'accepted': 'four\nfive' would be graded as wrong; "
        "expected an answer in one line that is right where 'answer_kind' is 'exact'"
    )


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"{", "expected JSON; got: Expecting property name"),
        (b"[" * 100_000, "expected JSON; got: "),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"image": "\xff"}', "expected JSON; got: 'utf-8' codec can't decode"),
        (line(choises=["A"]), "unknown key 'choises'; nearest: choices"),
        (line(answer="left out"), "'answer' is missing"),
        (line(question=None), "'question' is missing"),
        (line(question=" "), "'question': expected text, got ' '"),
        (line(id=7), "'id': expected text, got 7"),
        (line(answer=2), "'answer': expected text, got 2"),
        (line(answer="E"), "'answer': expected a letter of A to D, got 'E'"),
        (line(answer="b"), "'answer': expected a letter of A to D, got 'b'"),
        (line(answer="AB"), "'answer': expected a letter of A to D, got 'AB'"),
        (
            line(choices=["5", "7"], answer="7"),
            "'answer': expected a letter of A to B, got '7'; '7' is choice B",
        ),
        (line(choices=list("ABCDEFGHI")), "'choices': expected a list of 2 to 8 texts, got 9 ch"),
        (line(choices=["A"], answer="A"), "'choices': expected a list of 2 to 8 texts, got 1 ch"),
        (line(choices=4), "'choices': expected a list of 2 to 8 texts, got 4"),
        (line(choices=["A", 2], answer="A"), "'choices': expected texts, got ['A', 2]"),
        (line(chain="So.\n### Answer: C"), "'chain' ends with the answer 'C', 'answer' is 'B'"),
        (line(perception={"a": 1}), "'perception': expected a list, got {'a': 1}"),
        (line(perception=[{"question": "?"}]), "'perception' 0: expected an object with the texts"),
        (
            line(accepted=["b"]),
            "'accepted': only an open question has it; this one has 'choices', leave one out",
        ),
        (
            line(answer_kind="letter"),
            "'answer_kind': only an open question has it; this one has 'choices', leave one out",
        ),
        (
            line(choices=None, answer_kind="cuont"),
            "'answer_kind': expected one of exact, letter, yes_no, count, number, anls, name, "
            "tuple, set, got 'cuont'",
        ),
        (line(choices=None, answer_kind=["exact"]), "'answer_kind': expected one of exact, "),
        (line(choices=None, accepted="b"), "'accepted': expected a list of texts, got 'b'"),
        (line(choices=None, accepted=["b", 2]), "'accepted': expected a list of texts, got ['b'"),
        (line(choices=None, accepted=[" "]), "'accepted': expected a list of texts, got [' ']"),
        (line(split="dev"), "'split': expected one of train, held_out, val, test, got 'dev'"),
        (line(image="photos/9.png"), "image 'photos/9.png': No such file or directory, looked for"),
        (line(image="photos"), "image 'photos': Is a directory, looked for"),
        (line(image="puzzles.jsonl"), "image 'puzzles.jsonl': expected an image that Pillow can"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(source, bad, expected):
    assert reason(source, line(1), bad).startswith(expected)


def test_every_reason_of_a_line_is_given_at_once(source):
    text = reason(source, line(quesion="?", question=None, answer="Z"))
    assert text == (
        "unknown key 'quesion'; nearest: question; 'question' is missing; "
        "'answer': expected a letter of A to D, got 'Z'"
    )


def test_a_truncated_image_and_a_bomb_are_named(source, tmp_path, monkeypatch):
    (tmp_path / "photos" / "cut.png").write_bytes(png(1)[:40])
    assert "expected an image that Pillow can read" in reason(source, line(image="photos/cut.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert "exceeds limit" in reason(source, line())


def test_what_a_line_before_has_is_refused(source):
    assert "id 'x' stands in line 1 too" in reason(source, line(0, id="x"), line(1, id="x"))
    text = reason(source, line(0), line(0, id="other"))
    assert text == "the same image and question stand in line 1 too"
    # a bad line takes nothing away from a later one
    assert reasons(source(line(0, id="x", answer="Z"), line(1, id="x"))) == [
        ("line 1", "'answer': expected a letter of A to D, got 'Z'")
    ]


def test_an_image_is_never_in_two_splits(source):
    questions = [line(0, question=f"Question {index}?") for index in range(20)]
    assert len({item.split for item in read_annotated(source(*questions))}) == 1
    text = reason(source, line(0, split="train"), line(0, question="Else?", split="test"))
    assert text == "split 'test': line 1 has the same image in the split 'train'"


def test_a_tenth_is_held_out_and_the_order_of_lines_does_not_matter(tmp_path):
    names = [str(index) for index in range(300)]
    for name in names:
        Image.new("L", (int(name) + 1, 1)).save(tmp_path / f"{name}.png")
    records = [{"image": f"{name}.png", "question": "?", "answer": "x"} for name in names]
    found = []
    for ordered in (records, records[::-1]):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in ordered))
        items = [item for item in read_annotated(path) if isinstance(item, Good)]
        found.append({item.row["puzzle_id"]: item.split for item in items})
    assert found[0] == found[1] and len(found[0]) == 300
    assert 15 <= sum(split == "held_out" for split in found[0].values()) <= 50


def test_blank_lines_and_a_byte_order_mark_do_no_harm(source):
    path = source(b"\xef\xbb\xbf" + json.dumps(line(0)).encode(), b"", b"  ", line(1), line(2, x=1))
    assert [where for where, _ in reasons(path)] == ["line 5"]


def test_the_good_are_imported_and_the_bad_reported(source, tmp_path):
    path = source(line(0), b"oops", line(1, split="held_out"), line(2, answer="Z"))
    out = tmp_path / "set"
    text = import_data(path, "annotated", out)
    assert text.splitlines()[0].endswith("2 refused") and "2 puzzles imported" in text
    assert "  line 2: expected JSON" in text and "  line 4: 'answer': expected a letter" in text
    report = json.loads((out / "import.json").read_text())
    assert [item["where"] for item in report["bad"]] == ["line 2", "line 4"]
    assert sum(report["good"].values()) == 2 and report["repeated"] == 0
    page = (out / "gallery.html").read_text()
    assert "refused: line 4: &#39;answer&#39;" in page and page.count("data:image/png") == 2
    with Image.open(out / "gallery.png") as sheet:
        assert sheet.width > 400
    assert "No puzzle shows what another one shows" in (out / "README.md").read_text()
    assert not (out / ".import").exists()


@pytest.mark.parametrize("strict", [False, True])
def test_without_a_good_line_nothing_is_written(source, tmp_path, strict):
    path = source(line(0, answer="Z"), b"oops")
    with pytest.raises(DataError) as caught:
        import_data(path, "annotated", tmp_path / "set", strict=strict)
    assert "none of 2 puzzles can be used:\n  line 1: 'answer'" in str(caught.value)
    assert not list((tmp_path / "set").glob("*")) if (tmp_path / "set").exists() else True


def test_strict_takes_all_or_none(source, tmp_path):
    path = source(line(0), line(1, answer="Z"))
    with pytest.raises(DataError, match="1 bad and 1 good; --strict takes all or none"):
        import_data(path, "annotated", tmp_path / "set", strict=True)
    assert not list((tmp_path / "set").glob("*"))
    import_data(source(line(0)), "annotated", tmp_path / "set", strict=True)
    assert list((tmp_path / "set").glob("*.parquet"))


def test_a_set_is_not_imported_over_another(source, tmp_path):
    import_data(source(line(0)), "annotated", tmp_path / "set")
    with pytest.raises(DataError, match="a set lies here already"):
        import_data(source(line(1)), "annotated", tmp_path / "set")


def test_a_missing_or_empty_source_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.jsonl: expected a JSONL file; got: "):
        import_data(tmp_path / "no.jsonl", "annotated", tmp_path / "set")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.jsonl: no puzzle found"):
        import_data(tmp_path / "empty.jsonl", "annotated", tmp_path / "set")


def test_a_large_import_is_cut_into_files(source, tmp_path, monkeypatch):
    monkeypatch.setattr(data_import, "_MAX_ROWS", 2)
    questions = [line(i % 4, question=f"{i}?", split="train") for i in range(5)]
    import_data(source(*questions), "annotated", tmp_path / "set")
    assert len(list((tmp_path / "set").glob("train-*-of-00003.parquet"))) == 3
    rows = [row for _, _, row in iter_rows(tmp_path / "set", "train")]
    assert [json.loads(row["puzzle"])["annotation"]["question"] for row in rows] == [
        f"{i}?" for i in range(5)
    ]


def write_set(folder, per_configuration=2):
    for split in ("train", "held_out"):
        puzzles = [
            sample_puzzle(split, index, 5, PuzzleConfig(mix={name: 1.0}))
            for name in CONFIGURATIONS
            for index in range(per_configuration)
        ]
        write_puzzles(puzzles, folder / f"{split}.parquet", RenderConfig(panel_size_px=8))
    return folder


def states(folder):
    found = []
    for split in splits_of(folder):
        for _, _, row in iter_rows(folder, split):
            puzzle = json.loads(row["puzzle"])
            found.append(
                {key: puzzle[key] for key in ("context", "choices", "answer_index", "rules")}
            )
    return sorted(found, key=json.dumps)


def test_what_is_exported_in_ravens_format_is_imported_again(tmp_path):
    folder = write_set(tmp_path / "set")
    text = export_data(folder, tmp_path / "raven", None)
    assert text == f"{tmp_path / 'raven'}: 14 train, 14 test"
    names = sorted(path.name for path in (tmp_path / "raven" / "center_single").iterdir())
    assert names == [
        f"RAVEN_{number}_{split}.{end}"
        for number, split in ((0, "train"), (1, "train"), (8, "test"), (9, "test"))
        for end in ("npz", "xml")
    ]
    text = import_data(tmp_path / "raven", "raven", tmp_path / "again", panel_size_px=8)
    assert "28 puzzles imported (14 train, 14 test), 0 refused" in text
    assert states(tmp_path / "again") == states(folder)
    ids = {row["puzzle_id"] for _, _, row in iter_rows(tmp_path / "again", "train")}
    assert "center_single/RAVEN_0_train" in ids and len(ids) == 14


def test_a_broken_problem_is_named_and_the_others_go_on(tmp_path):
    folder = write_set(tmp_path / "set", 1)
    export_data(folder, tmp_path / "raven", "train")
    broken = tmp_path / "raven" / "center_single" / "RAVEN_0_train.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    (tmp_path / "raven" / "distribute_four" / "RAVEN_0_train.xml").unlink()
    text = import_data(tmp_path / "raven", "raven", tmp_path / "again", panel_size_px=8)
    assert "5 puzzles imported (5 train), 2 refused" in text
    assert "center_single/RAVEN_0_train.npz: " in text
    assert "distribute_four/RAVEN_0_train.npz: " in text and ".xml: not found" in text


def test_problems_that_show_the_same_are_counted_not_dropped(tmp_path):
    export_data(write_set(tmp_path / "set", 1), tmp_path / "raven" / "one", "train")
    shutil.copytree(tmp_path / "raven" / "one", tmp_path / "raven" / "two")
    text = import_data(tmp_path / "raven", "raven", tmp_path / "again", panel_size_px=8)
    assert "14 puzzles imported" in text and "7 show what an earlier one shows" in text
    assert "7 puzzles show what another one shows" in (tmp_path / "again" / "README.md").read_text()


def test_exports_do_not_mix_and_leave_out_what_has_no_place(tmp_path, puzzles):
    other = sample_puzzle("train", 0, 0, PuzzleConfig(mix={"rotation": 1.0}))
    render = RenderConfig(panel_size_px=8)
    write_puzzles([puzzles[0], other], tmp_path / "set" / "train.parquet", render)
    text = export_data(tmp_path / "set", tmp_path / "raven", None)
    assert "1 train; 1 left out, such as: puzzle rotation-" in text
    with pytest.raises(DataError, match="RAVEN's files lie here already"):
        export_data(tmp_path / "set", tmp_path / "raven", None)
    write_puzzles([other], tmp_path / "none" / "train.parquet", render)
    with pytest.raises(DataError, match="no puzzle fits RAVEN's format: puzzle rotation-"):
        export_data(tmp_path / "none", tmp_path / "raven2", None)


def test_numbers_of_a_split_end_in_its_digits():
    assert [file_number(count, "train") for count in (0, 5, 6, 60)] == [0, 5, 10, 100]
    assert [file_number(count, "test") for count in (0, 1, 2)] == [8, 9, 18]
