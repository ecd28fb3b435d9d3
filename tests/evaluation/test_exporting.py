"""Tasks and samples for lmms-eval: what its loader would read, read back."""

import importlib.util
import io
import json
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.evaluation.exporting import export_samples, export_task
from rl_avr.evaluation.lmms_eval.utils import chosen
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.puzzle_data import write_puzzles

PUZZLES = list(sample_puzzles("held_out", 3, 5, PuzzleConfig()))


@pytest.fixture
def task(tmp_path):
    """The files of a task, and its YAML with functions as lmms-eval finds them."""
    write_puzzles(PUZZLES, tmp_path / "set" / "held_out.parquet", RenderConfig())
    said = export_task("own", tmp_path / "set", tmp_path / "task", 0, 64)
    assert "3 problems, 0 left out" in said

    class Loader(yaml.SafeLoader):
        pass

    def function(loader, node):
        module, name = loader.construct_scalar(node).split(".")
        spec = importlib.util.spec_from_file_location(module, tmp_path / "task" / f"{module}.py")
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return vars(found)[name]

    Loader.add_constructor("!function", function)
    return yaml.load((tmp_path / "task" / "rl_avr_own.yaml").read_text(), Loader)  # noqa: S506


def test_a_task_shows_asks_and_grades_every_problem(task, tmp_path):
    rows = load_dataset(
        task["dataset_path"], **task["dataset_kwargs"], cache_dir=str(tmp_path / "cache")
    )[task["test_split"]]
    assert len(rows) == 3
    for doc, puzzle in zip(rows, PUZZLES, strict=True):
        (image,) = task["doc_to_visual"](doc)
        assert image.mode == "RGB"
        assert image.size == Image.open(io.BytesIO(doc["images"][0])).size
        assert task["doc_to_text"](doc) == doc["question"]
        assert task["doc_to_target"](doc) == puzzle.answer_letter
        (metric,) = task["metric_list"]
        assert task["process_results"](doc, [gold_chain(puzzle)]) == {metric["metric"]: 1.0}
        assert task["process_results"](doc, ["none"]) == {"accuracy": 0.0}
    assert task["generation_kwargs"]["max_new_tokens"] == 64


def test_the_utils_beside_a_task_import_nothing_of_this_package(task, tmp_path):
    assert "rl_avr." not in (tmp_path / "task" / "utils.py").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("### Answer: B\n", "B"),
        ("a\n### Answer: B\n### Answer: B", None),
        ("### Answer: E", None),
        ("### Answer: AB", None),
        ("### Answer:", None),
        ("", None),
        ("D", "D"),
        ("It is D", None),
    ],
)
def test_an_answer_is_one_letter_behind_the_mark_or_alone(text, expected):
    assert chosen(text, "ABCD") == expected


def test_samples_are_those_of_the_greedy_chains(tmp_path, row_of):
    rows = [row_of("p0", 1, (1,), greedy=1), row_of("p1", 0, error="too long")]
    lines = "".join(f"{row.to_json()}\n" for row in rows)
    (tmp_path / "problems.jsonl").write_text(lines)
    chain = {"text": "### Answer: B", "num_tokens": 3}
    group = {
        "prompt_id": "p0",
        "prompt": "which?",
        "puzzle": PUZZLES[0].to_json(),
        "completions": [chain],
    }
    (tmp_path / "greedy.jsonl").write_text(json.dumps(group) + "\n")
    export_samples(tmp_path, tmp_path / "samples.jsonl")
    first, second = map(json.loads, Path(tmp_path / "samples.jsonl").read_text().splitlines())
    assert (first["doc_id"], first["input"], first["target"]) == (0, "which?", "B")
    assert (first["filtered_resps"], first["accuracy"]) == ("### Answer: B", 1.0)
    assert (second["target"], second["filtered_resps"], second["accuracy"]) == ("A", "", 0.0)


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"problems.jsonl: expected the rows"):
        export_samples(tmp_path, tmp_path / "out")
