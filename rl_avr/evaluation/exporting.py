"""A benchmark as a task of lmms-eval, and results in the layout of its samples.

<out>/rl_avr_<benchmark>.yaml, utils.py, rl_avr_<benchmark>.parquet   the task
one JSON object a problem: doc_id, target, input, filtered_resps, accuracy   the samples
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.lmms_eval import utils
from rl_avr.evaluation.loaders import load_problems
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.results import ROWS, read_rows
from rollouts.recorder import read_groups

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("images", pa.list_(pa.binary())),
        ("answer", pa.string()),
        ("letters", pa.string()),
    ]
)
_FUNCTIONS = ("doc_to_visual", "doc_to_text", "doc_to_target", "process_results")
_ROWS_AT_ONCE = 100


def export_task(benchmark: str, path: Path, out: Path, limit: int, max_new_tokens: int) -> str:
    """Writes a benchmark as a task of lmms-eval; returns what was written and how it is run.

    Open questions and what the loader refuses are left out, and counted.

    Raises:
        DataError: the benchmark cannot be read, or has no problem with choices.
    """
    name = f"rl_avr_{benchmark}"
    table = (out / f"{name}.parquet").resolve()
    out.mkdir(parents=True, exist_ok=True)
    num, num_left_out = 0, 0
    with pq.ParquetWriter(table, _SCHEMA) as writer:
        batch = []
        for found in load_problems(benchmark, path, LoadConfig(limit=limit)):
            if not isinstance(found, Problem) or found.prompt.puzzle.answer_index is None:
                num_left_out += 1
                continue
            batch.append(_row(found))
            num += 1
            if len(batch) == _ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(batch, _SCHEMA))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, _SCHEMA))
    if not num:
        raise DataError(f"{path}: expected problems with choices, got none")
    (out / f"{name}.yaml").write_text(_task(name, table, max_new_tokens), encoding="utf-8")
    shutil.copyfile(utils.__file__, out / "utils.py")
    return (
        f"written: {out / name}.yaml, utils.py, {table.name}: {num} problems, {num_left_out} left "
        f"out\nlmms-eval --include_path {out} --tasks {name} --model … --model_args …"
    )


def _row(problem: Problem) -> dict[str, object]:
    puzzle = problem.prompt.puzzle
    return {
        "id": problem.prompt.prompt_id,
        "question": problem.prompt.text,
        "images": list(problem.prompt.images),
        "answer": puzzle.answer_letter,
        "letters": CHOICE_LETTERS[: puzzle.num_choices],
    }


def _task(name: str, table: Path, max_new_tokens: int) -> str:
    plain = {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(table)}},
        "test_split": "test",
        "output_type": "generate_until",
        "generation_kwargs": {
            "max_new_tokens": max_new_tokens,
            "temperature": 0,
            "do_sample": False,
        },
        "metric_list": [{"metric": "accuracy", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    functions = "".join(f"{key}: !function utils.{key}\n" for key in _FUNCTIONS)
    return yaml.safe_dump(plain, sort_keys=False) + functions


def export_samples(folder: Path, out: Path) -> str:
    """Writes the greedy chains of an evaluation as lmms-eval writes its samples.

    A problem that failed has an empty answer.

    Raises:
        DataError: the folder holds no evaluation.
    """
    rows = read_rows(folder)
    if not rows:
        raise DataError(f"{folder / ROWS}: expected the rows of an evaluation, got none")
    with out.open("w", encoding="utf-8") as stream:
        for line in _samples(folder):
            stream.write(json.dumps(line) + "\n")
    return f"written: {out}: {len(rows)} samples"


def _samples(folder: Path) -> Iterator[dict[str, object]]:
    asked = {one.group.prompt.prompt_id: one.group for one in read_groups(folder / "greedy.jsonl")}
    for index, row in enumerate(read_rows(folder)):
        group = asked.get(row.prompt_id)
        puzzle = group.prompt.puzzle if group else None
        gold = CHOICE_LETTERS[row.gold] if row.gold is not None else ""
        if puzzle is not None and puzzle.annotation and row.gold is None:
            gold = puzzle.annotation.answer
        yield {
            "doc_id": index,
            "target": gold,
            "input": group.prompt.text if group else "",
            "filtered_resps": group.completions[0].text if group else "",
            "accuracy": float(row.greedy is not None and row.greedy.is_right),
            "prompt_id": row.prompt_id,
        }
