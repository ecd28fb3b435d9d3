"""Graded groups on disk: one JSON object a line, so that a run can be read and regraded."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_avr.contracts import Completion, GradedGroup, Prompt, Puzzle, RolloutGroup
from rl_avr.errors import DataError
from rl_avr.prompts import prompt_text

logger = logging.getLogger(__name__)

_GROUP_KEYS = (
    "prompt_id",
    "kind",
    "prompt",
    "puzzle",
    "is_admitted",
    "completions",
)
_KINDS = ("perception", "cot", "direct")
_FINISH_REASONS = ("stop", "length", "abort")
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class RecordedGroup:
    """One line of a file: what was sampled, and how it was graded then.

    Args:
        group: what was sampled. Token ids, logprobs and the image are not recorded: there
            are as many ids as there were tokens, each 0, and no image.
        totals: total of each completion; None where it was not recorded.
        outcomes: outcome of each completion; None where it could not be judged or was not
            recorded.
        is_admitted: whether the group was; None where it was not recorded.
        tags: what else the line holds, such as the step.
        line: its number in the file, from 1.
    """

    group: RolloutGroup
    totals: tuple[float | None, ...]
    outcomes: tuple[float | None, ...]
    is_admitted: bool | None
    tags: Mapping[str, Any]
    line: int


def append_groups(path: Path, groups: Iterable[GradedGroup], **tags: Any) -> None:
    """Appends groups to a JSON-lines file, with `tags` (a step, a rank) in every line.

    Half a line at the end, left by a process that was killed as it wrote, is removed first;
    otherwise the next line would be lost with it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drop_half_line(path)
    # a lone surrogate, which UTF-8 cannot hold, becomes its JSON escape
    with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
        for group in groups:
            stream.write(json.dumps({**tags, **_record(group)}, ensure_ascii=False) + "\n")


def read_groups(
    path: Path, on_broken: Callable[[str], object] = logger.warning
) -> Iterator[RecordedGroup]:
    """Yields the groups of a file, in order, one in memory at a time.

    Files without the keys `kind`, `prompt`, `num_tokens` and `is_admitted` are read too:
    the kind is then `cot`, the prompt what a policy is asked by default.

    Args:
        path: what `append_groups` wrote.
        on_broken: hears of a last line that is no JSON, which is left out; a run that was
            stopped as it wrote leaves half of one.

    Raises:
        DataError: the file cannot be opened; any other line is no recorded group.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            for number, raw in enumerate(stream, start=1):
                if not raw.strip():
                    continue
                try:
                    record = json.loads(raw)
                except (ValueError, RecursionError) as error:
                    if stream.tell() < size:
                        raise DataError(f"{path}, line {number}: not JSON: {error}") from error
                    on_broken(f"{path}, line {number}: the last line is broken and left out")
                    return
                yield _recorded(record, f"{path}, line {number}", number)
    except OSError as error:
        raise DataError(f"{path}: expected recorded rollouts; got: {error}") from error


def _record(graded: GradedGroup) -> dict[str, Any]:
    prompt = graded.group.prompt
    completions = zip(graded.group.completions, graded.parsed, graded.scores, strict=True)
    return {
        "prompt_id": prompt.prompt_id,
        "kind": prompt.kind,
        "prompt": prompt.text,
        "puzzle": prompt.puzzle.to_json(),
        "is_admitted": graded.is_admitted,
        "completions": [
            {
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "num_tokens": len(completion.token_ids),
                "weights_version": completion.weights_version,
                "status": parsed.status,
                "choice_index": parsed.choice_index,
                "total": score.total,
                "outcome": score.outcome,
                "parts": dict(score.parts),
            }
            for completion, parsed, score in completions
        ],
    }


def drop_half_line(path: Path) -> None:
    """Cuts a file after its last line end; does nothing where there is no file.

    A last line without its end counts as half, though it may be whole: who counts the groups of
    a file that is to be continued does this first.
    """
    if not path.is_file():
        return
    with path.open("r+b") as stream:
        end = position = stream.seek(0, os.SEEK_END)
        keep = 0
        while position > 0:
            start = max(0, position - _BLOCK_BYTES)
            stream.seek(start)
            found = stream.read(position - start).rfind(b"\n")
            if found >= 0:
                keep = start + found + 1
                break
            position = start
        if keep < end:
            logger.warning("%s: half a line at its end is removed", path)
            stream.truncate(keep)


def drop_groups_from(path: Path, step: int) -> None:
    """Cuts a file before its first group whose tag `step` is `step` or later.

    Groups are appended in the order of their steps, so that one cut does it, which a kill
    cannot leave half done. Without a file nothing is done.

    Args:
        path: what `append_groups` wrote with a tag `step`.
        step: the first one that is recorded again.

    Raises:
        DataError: a line is no JSON object with a whole `step`.
    """
    drop_half_line(path)
    if not path.is_file():
        return
    with path.open("r+b") as stream:
        start = 0
        for number, raw in enumerate(stream, start=1):
            try:
                is_later = int(json.loads(raw)["step"]) >= step
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}: expected a group with its step; got: {error!r}; "
                    "repair or delete the line"
                ) from error
            if is_later:
                break
            start += len(raw)
        stream.truncate(start)


def _recorded(record: Any, where: str, line: int) -> RecordedGroup:
    """Returns the group of a line, or raises DataError that says where it stands."""
    try:
        puzzle = Puzzle.from_json(record["puzzle"])
        kind = _known(record, "kind", "cot", _KINDS)
        text = record.get("prompt")
        prompt = Prompt(
            record["prompt_id"],
            puzzle,
            kind,
            prompt_text(puzzle, kind) if text is None else text,
            (),
        )
        rows = record["completions"]
        group = RolloutGroup(prompt, (), tuple(_completion(row) for row in rows))
        totals = tuple(row.get("total") for row in rows)
        outcomes = tuple(row.get("outcome") for row in rows)
        tags = {name: value for name, value in record.items() if name not in _GROUP_KEYS}
        return RecordedGroup(group, totals, outcomes, record.get("is_admitted"), tags, line)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: expected a group as this version records it; got: {error!r}"
        ) from error


def _completion(row: Mapping[str, Any]) -> Completion:
    text, num_tokens = row["text"], row.get("num_tokens", 0)
    if not isinstance(text, str):
        raise TypeError(f"text: expected text, got {type(text).__name__}")
    if not isinstance(num_tokens, int) or num_tokens < 0:
        raise ValueError(f"num_tokens: expected a whole number >= 0, got {num_tokens!r}")
    finish_reason = _known(row, "finish_reason", "stop", _FINISH_REASONS)
    return Completion(text, (0,) * num_tokens, (), finish_reason, row.get("weights_version", 0))


def _known(row: Mapping[str, Any], key: str, default: str, allowed: tuple[str, ...]) -> Any:
    value = row.get(key, default)
    if value not in allowed:
        raise ValueError(f"{key}: expected one of {', '.join(allowed)}, got {value!r}")
    return value
