"""What an evaluation leaves in its folder, and how it goes on after a stop.

    problems.jsonl   a row a problem: every number is made of these alone
    greedy.jsonl, sampled.jsonl   the chains, a group a line
    asked.json       what decides the rows
    eval.json        metrics with intervals, values by problem, readings of probes, seconds

A row is written behind its chains, so a problem is done where its row is there. Rows of
another policy, other sampling, other rewards or another problem are never kept.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.rows import ProblemRow
from rollouts.recorder import append_groups, drop_half_line

logger = logging.getLogger(__name__)

ROWS = "problems.jsonl"
CHAINS = ("greedy", "sampled")
_ASKED = "asked.json"


def begin(
    folder: Path, asked: Mapping[str, Any], problems: Sequence[Problem], goes_on: bool
) -> list[ProblemRow]:
    """Makes a folder ready for an evaluation; returns the rows that need not be asked again.

    Problems that failed are asked again.

    Args:
        folder: of the run.
        asked: what decides the rows: policy, sampling, rewards, …; plain JSON values.
        problems: what is asked.
        goes_on: whether rows that are there are kept.

    Raises:
        DataError: the folder cannot be read.
    """
    found = _read_asked(folder)
    now = {one.prompt.prompt_id: prompt_digest(one.prompt) for one in problems}
    is_same = goes_on and found.get("asked") == asked
    old = found.get("problems", {}) if is_same else {}
    there = read_rows(folder) if found else []
    done = {
        row.prompt_id: row
        for row in there
        if row.error is None and row.prompt_id in old
        # a problem that is asked no more has no digest now
        if old[row.prompt_id] == now.get(row.prompt_id)
    }
    if len(done) < len(there):
        logger.warning(
            "%s: %d of %d problems there are not what is asked now; they are asked anew",
            folder,
            len(there) - len(done),
            len(there),
        )
    put_in_order(folder, [name for name in now if name in done])
    write_json(folder / _ASKED, {"asked": dict(asked), "problems": now})
    return [done[name] for name in now if name in done]


def append(
    folder: Path, rows: Sequence[ProblemRow], chains: Mapping[str, list[GradedGroup]]
) -> None:
    """Appends the chains of problems, then their rows."""
    for name in CHAINS:
        append_groups(folder / f"{name}.jsonl", chains.get(name, ()))
    with (folder / ROWS).open("a", encoding="utf-8") as stream:
        stream.write("".join(f"{row.to_json()}\n" for row in rows))


def read_rows(folder: Path) -> list[ProblemRow]:
    """Returns the rows of a run's folder; half a line that a run is writing is left out.

    Raises:
        DataError: a line that is no row.
    """
    path = folder / ROWS
    if not path.is_file():
        return []
    # what follows the last line end is empty or half a line
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [ProblemRow.from_json(line, f"{path}, line {n}") for n, line in enumerate(lines, 1)]


def put_in_order(folder: Path, names: Sequence[str]) -> None:
    """Leaves of every file exactly the lines of these problems, in this order."""
    for path in (folder / ROWS, *(folder / f"{name}.jsonl" for name in CHAINS)):
        drop_half_line(path)
        old = path.read_bytes() if path.is_file() else b""
        lines = {json.loads(line)["prompt_id"]: line for line in old.splitlines(keepends=True)}
        new = b"".join(lines[name] for name in names if name in lines)
        if new != old or not path.is_file():
            partial = path.with_name(f"{path.name}.partial")
            partial.write_bytes(new)
            partial.replace(path)


def prompt_digest(prompt: Prompt) -> str:
    """Returns a hash of what is asked: id, words, puzzle, and images that are at hand.

    Images that are drawn when they are read are left out: they follow from their file.
    """
    images = prompt.images if isinstance(prompt.images, tuple) else ()
    texts = (prompt.prompt_id, prompt.text, prompt.kind, prompt.puzzle.to_json())
    digest = blake2b(digest_size=8)
    for part in (*(text.encode("utf-8", "surrogatepass") for text in texts), *images):
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
    return digest.hexdigest()


def _read_asked(folder: Path) -> dict[str, Any]:
    path = folder / _ASKED
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: expected what the evaluation asked; got: {error}") from error
    return found if isinstance(found, dict) else {}
