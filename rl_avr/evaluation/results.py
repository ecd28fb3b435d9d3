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
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError
from rl_avr.evaluation.panel_images import DrawnImages
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.rows import ProblemRow
from rollouts.recorder import append_groups, drop_half_line

logger = logging.getLogger(__name__)

ROWS = "problems.jsonl"
CHAINS = ("greedy", "sampled")
_ASKED = "asked.json"


def begin(
    folder: Path,
    asked: Mapping[str, Any],
    problems: Sequence[Problem],
    goes_on: bool,
    keeps_failed: bool = False,
) -> list[ProblemRow]:
    """Makes a folder ready for an evaluation; returns the rows that need not be asked again.

    They get the problems' tags of now, which decide no answer.

    Args:
        folder: of the run.
        asked: what decides the rows: policy, sampling, rewards, …; plain JSON values.
        problems: what is asked.
        goes_on: whether rows that are there are kept.
        keeps_failed: whether those of problems that failed are; else they are asked again.

    Raises:
        DataError: the folder cannot be read.
    """
    found = _read_asked(folder)
    now = {one.prompt.prompt_id: prompt_digest(one.prompt) for one in problems}
    tags = {one.prompt.prompt_id: one.tags for one in problems}
    is_same = goes_on and found.get("asked") == asked
    old = found.get("problems", {}) if is_same else {}
    there = read_rows(folder) if found else []
    done = {
        row.prompt_id: replace(row, tags=tags[row.prompt_id])
        for row in there
        if (row.error is None or keeps_failed) and row.prompt_id in old
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
    rows = [done[name] for name in now if name in done]
    _replace(folder / ROWS, "".join(f"{row.to_json()}\n" for row in rows).encode())
    write_json(folder / _ASKED, {"asked": dict(asked), "problems": now})
    return rows


def append(
    folder: Path, rows: Sequence[ProblemRow], chains: Mapping[str, list[GradedGroup]]
) -> None:
    """Appends the chains of problems, then their rows."""
    for name in CHAINS:
        append_groups(folder / f"{name}.jsonl", chains.get(name, ()))
    with (folder / ROWS).open("a", encoding="utf-8") as stream:
        stream.write("".join(f"{row.to_json()}\n" for row in rows))


def read_rows(folder: Path) -> list[ProblemRow]:
    """Returns the rows of a run's folder, none where there are none.

    Half a line that a run is writing is left out.

    Raises:
        DataError: the file cannot be read, or another line is no row.
    """
    path = folder / ROWS
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected the problems of an evaluation, as rl-avr eval writes them; "
            f"got: {error}"
        ) from error
    # what follows the last line end is empty or half a line
    return [ProblemRow.from_json(line, f"{path}, line {n}") for n, line in enumerate(lines[:-1], 1)]


def put_in_order(folder: Path, names: Sequence[str]) -> None:
    """Leaves of every file exactly the lines of these problems, in this order."""
    for path in (folder / ROWS, *(folder / f"{name}.jsonl" for name in CHAINS)):
        drop_half_line(path)
        old = path.read_bytes() if path.is_file() else b""
        lines = {json.loads(line)["prompt_id"]: line for line in old.splitlines(keepends=True)}
        new = b"".join(lines[name] for name in names if name in lines)
        if new != old or not path.is_file():
            _replace(path, new)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def prompt_digest(prompt: Prompt) -> str:
    """Returns a hash of what is asked: id, words, puzzle, images, and how the answer begins.

    Of images that are drawn when they are read it is what they are drawn from.
    """
    texts = [prompt.prompt_id, prompt.text, prompt.kind, prompt.puzzle.to_json()]
    texts += [prompt.prefill] if prompt.prefill else []
    digest = blake2b(digest_size=8)
    for part in (*(text.encode("utf-8", "surrogatepass") for text in texts), *_images(prompt)):
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
    return digest.hexdigest()


def _images(prompt: Prompt) -> tuple[bytes, ...]:
    try:
        if isinstance(prompt.images, DrawnImages):
            return (prompt.images.source(),)
        return tuple(prompt.images)
    except (DataError, OSError) as error:
        # it fails when it is asked, and is asked again
        return (str(error).encode(),)


def _read_asked(folder: Path) -> dict[str, Any]:
    path = folder / _ASKED
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: expected what the evaluation asked; got: {error}") from error
    return found if isinstance(found, dict) else {}
