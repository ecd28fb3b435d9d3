"""LogicVista: questions about diagrams whose options the images name.

    <folder>[/data]/dataset.json    id -> imagename, question, answer, skill, capability (or
                                    broad_capability), …
    <folder>[/data]/images/<imagename>

The files do not say how many options a question has, only which are right: one letter
(graded as a letter, with or without the option's words), several (`A, C`, graded as a
set, all of which must be there), or the option's number or word. Each problem is thus an
open question, without a choice index. `reasoning` and where a question comes from are
never read.

Source: LogicVista (2407.04973), its released dataset.json.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import (
    Outcome,
    asked,
    need_folder,
    outcomes,
    read_image,
    read_object,
    record_puzzle,
    words,
)
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.problems import Problem
from rl_avr.training.annotated import shown

_ONE = re.compile("[A-H]")
_SEVERAL = re.compile(r"[A-Z](?:\s*,\s*[A-Z])+")


def load_logicvista(folder: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every question, in the order of the file.

    Raises:
        DataError: at once, where there is no dataset.json or it is no object.
    """
    need_folder(folder, "dataset.json")
    root = folder / "data" if (folder / "data").is_dir() else folder
    file = root / "dataset.json"
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected the set's dataset.json and images/")
    rows = read_object(file)

    def read(name: str) -> Iterator[Problem]:
        row = rows[name]
        if not isinstance(row, dict):
            raise DataError(f"expected an object, got {shown(row)}")
        image = read_image(root / "images", row.get("imagename"))
        answer = words(row, "answer")
        kind = "letter" if _ONE.fullmatch(answer) else "exact"
        record = {
            "question": words(row, "question"),
            "answer": answer,
            "answer_kind": "set" if _SEVERAL.fullmatch(answer) else kind,
        }
        puzzle = record_puzzle(f"logicvista/{name}", record, image)
        capability = "capability" if "capability" in row else "broad_capability"
        tags = (
            ("benchmark", "logicvista"),
            *(("pattern", skill) for skill in _names(row, "skill")),
            *(("capability", name) for name in _names(row, capability)),
        )
        yield asked(puzzle, (image,), config, tags, "letters")

    return outcomes(((name, name) for name in rows), read, config.limit)


def _names(row: dict[str, Any], key: str) -> list[str]:
    value = row.get(key)
    found = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(name[:80] for name in found if isinstance(name, str) and name))
