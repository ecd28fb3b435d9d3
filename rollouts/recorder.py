"""Graded groups on disk: one JSON object a line, so that a run can be read afterwards."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl_avr.contracts import GradedGroup


def append_groups(path: Path, groups: Iterable[GradedGroup], **tags: Any) -> None:
    """Appends groups to a JSON-lines file, with `tags` (a step, a rank) in every line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        for group in groups:
            stream.write(json.dumps({**tags, **_record(group)}, ensure_ascii=False) + "\n")


def _record(graded: GradedGroup) -> dict[str, Any]:
    completions = zip(graded.group.completions, graded.parsed, graded.scores, strict=True)
    return {
        "prompt_id": graded.group.prompt.prompt_id,
        "puzzle": graded.group.prompt.puzzle.to_json(),
        "completions": [
            {
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "weights_version": completion.weights_version,
                "status": parsed.status,
                "choice_index": parsed.choice_index,
                "total": score.total,
                "parts": dict(score.parts),
            }
            for completion, parsed, score in completions
        ],
    }
