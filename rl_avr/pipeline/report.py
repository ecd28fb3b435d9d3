"""Collects what a run left in its folder and writes report.html."""

import json
from pathlib import Path
from typing import Any

from rl_avr.contracts import CHOICE_LETTERS, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.prompts import answer_form_of
from rl_avr.reporting.page import Chain, Example, Mark, Report, render_report
from rl_avr.reporting.sinks import read_metrics
from rl_avr.reporting.wandb_runs import read_wandb
from rl_avr.training.credit import judged_claims

_NUM_EXAMPLES = 8
_WANDB = ("wandb/offline-run-*/run-*.wandb", "run-*.wandb")
"""Where the files of wandb lie in a run's folder, or in an offline run's own."""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a run from what is there; returns its path.

    Args:
        folder: of the run.
        out: the page; None for `report.html` in the folder.

    Raises:
        DataError: no such folder, or a file in it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such run folder; expected one that a run has written")
    results = read_json(folder / "results.json")
    config = folder / "config.yaml"
    page = render_report(
        Report(
            title=f"rl_avr: {folder.name}",
            results={k: v for k, v in results.items() if k != "seconds"},
            seconds=results.get("seconds", {}),
            metrics=run_metrics(folder),
            examples=examples(folder),
            config_text=config.read_text() if config.is_file() else "",
            versions=read_json(folder / "versions.json"),
        )
    )
    path = out or folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def run_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns the metrics of a run, of metrics.jsonl or else of the run's offline runs of wandb.

    Of a step that several runs of wandb have the newest is taken; without any there are none.

    Raises:
        DataError: a file cannot be read.
    """
    metrics = folder / "metrics.jsonl"
    if metrics.is_file():
        return read_metrics(metrics)
    # the folder's name begins with the time of its start
    files = sorted(path for place in _WANDB for path in folder.glob(place))
    rows = {row["step"]: row for path in files for row in read_wandb(path)}
    return [rows[step] for step in sorted(rows)]


def examples(folder: Path) -> tuple[Example, ...]:
    """Returns puzzles with the greedy chain before and after, of every kind of outcome.

    Kinds take turns: wrong then right, right then right, wrong then wrong, right then
    wrong; so a run in which most puzzles got better shows the others too.
    """
    before, after = (folder / name / "greedy.jsonl" for name in ("eval_warm", "eval_grpo"))
    if not (before.is_file() and after.is_file()):
        return ()
    kinds: dict[tuple[bool, bool], list[Example]] = {}
    later = {row["prompt_id"]: row for row in _rows(after)}
    for old in _rows(before):
        # a problem that failed has no chain
        if (new := later.get(old["prompt_id"])) is None:
            continue
        puzzle = Puzzle.from_json(old["puzzle"])
        example = Example(puzzle, chain(old, puzzle), chain(new, puzzle))
        kinds.setdefault((example.before.is_correct, example.after.is_correct), []).append(example)
    order = [(False, True), (True, True), (False, False), (True, False)]
    turns = [
        kinds.get(kind, [])[turn : turn + 1] for turn in range(_NUM_EXAMPLES) for kind in order
    ]
    return tuple(example for turn in turns for example in turn)[:_NUM_EXAMPLES]


def chain(row: dict[str, Any], puzzle: Puzzle) -> Chain:
    """Returns a recorded group's first chain with every claim marked right or wrong."""
    completion = row["completions"][0]
    text = completion["text"]
    form = answer_form_of(row.get("prompt", ""))
    parsed = read(text, puzzle, completion["finish_reason"], row.get("kind", "cot"), form)
    marks = [Mark(c.start, c.end, c.is_true) for c in judged_claims(parsed, puzzle)]
    choice = parsed.choice_index
    return Chain(
        text=text,
        marks=tuple(sorted(marks, key=lambda mark: mark.start)),
        choice_letter=None if choice is None else CHOICE_LETTERS[choice],
        is_correct=completion["parts"]["choice"] == 1.0,
        parts={"total": completion["total"], **completion["parts"]},
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise DataError(f"{path}: expected one JSON object a line; got: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Returns what a JSON file of a run holds; nothing where there is no such file.

    Raises:
        DataError: it is no JSON.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: expected JSON; got: {error}") from error
