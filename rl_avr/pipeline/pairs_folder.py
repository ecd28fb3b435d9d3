"""The folder in which pairs are made: what decides them, and where a killed run goes on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError
from rl_avr.pipeline.pairs_sources import Source
from rl_avr.preference.leakage import HeldOut
from rl_avr.preference.pair_record import CANDIDATES_FILE, MANIFEST_FILE, PAIRS_FILE
from rl_avr.preference.pair_statistics import QuestionRow
from rl_avr.settings import PairsSettings
from rollouts.recorder import drop_half_line

QUESTIONS_FILE = "questions.jsonl"
_BEGUN = "begun.json"
_OF_PAIRS = (PAIRS_FILE, CANDIDATES_FILE, QUESTIONS_FILE, MANIFEST_FILE)


def about_of(
    settings: PairsSettings, sources: Sequence[Source], held_out: HeldOut
) -> dict[str, Any]:
    """Returns what decides the bytes of the pairs, as plain JSON values."""
    config = asdict(settings.pairs)
    for name in ("num_shown", "is_dry_run", "rollouts"):
        del config[name]
    if config["balance"] == "none":
        # earlier versions had no such setting
        del config["balance"]
    config["ways"] = {name: num for name, num in sorted(config["ways"].items()) if num}
    about = {
        "seed": settings.run.seed,
        **config,
        "held_out_digest": held_out.digest,
        "rollouts": [str(source.path) for source in sources],
        "rollouts_digest": [_file_digest(source.path) for source in sources],
        "rewards": [asdict(source.rewards) for source in sources],
    }
    return json.loads(json.dumps(about))


def _file_digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def claim_folder(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes what decides the pairs, or refuses a folder that was begun with something else."""
    path = folder / _BEGUN
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: expected what pairs were made of; got: {error}") from error
        changed = [
            f"{key} {str(found.get(key)):.80} there, {str(about.get(key)):.80} now"
            for key in sorted({*found, *about})
            if found.get(key) != about.get(key)
        ]
        if changed:
            raise DataError(
                f"{folder}: pairs of another kind lie here: {'; '.join(changed)}. Name another "
                "run.dir, or remove the folder"
            )
    elif any((folder / name).is_file() for name in _OF_PAIRS):
        raise DataError(
            f"{folder}: holds pairs that `rl-avr pairs` did not write; name another run.dir"
        )
    else:
        write_json(path, about)


def recorded_rows(folder: Path, pairs_file: str = PAIRS_FILE) -> list[QuestionRow]:
    """Returns what is done in a folder, once half of a question at its end was removed.

    A question's pairs are written before its row, so a kill leaves too many pairs, never too few.

    Raises:
        DataError: a row cannot be read, or there are fewer pairs than rows say.
    """
    path, pairs_path = folder / QUESTIONS_FILE, folder / pairs_file
    path.touch()
    pairs_path.touch()
    drop_half_line(path)
    with path.open("rb") as stream:
        rows = [
            QuestionRow.from_json(line, f"{path}:{number}")
            for number, line in enumerate(stream, start=1)
        ]
    expected = sum(len(row.pairs) for row in rows)
    with pairs_path.open("r+b") as stream:
        found = end = 0
        for line in islice(stream, expected):
            found += line.endswith(b"\n")
            end += len(line)
        if found < expected:
            raise DataError(
                f"{pairs_path}: expected {expected} pairs, as {path} says; got {found}; remove "
                f"{folder} to make them again"
            )
        stream.truncate(end)
    return rows


def append_row(folder: Path, row: QuestionRow) -> None:
    """Appends what became of a question, once its pairs are written."""
    path = folder / QUESTIONS_FILE
    with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(row.to_json() + "\n")
