"""General conversations about images, mixed in so that the policy keeps what it could do.

Records of LLaVA's layout have `conversations`, turns `{"from": "human" | "gpt", "value"}`,
and an image or a list of images; ShareGPT-4o-Reasoning is a folder of JSONL files of them,
in which chains and direct answers have requests of their own. Records of any other data
set have a question and an answer column. Every record is checked before training; images
are decoded when they are read.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rl_avr.chat import VISION_TOKENS, decode_image
from rl_avr.errors import DataError, nearest
from rl_avr.prompts import COT_REQUEST_OPEN, DIRECT_REQUEST_OPEN
from rl_avr.training.annotated import Problem, shown
from rl_avr.training.own_data import BadRow, encoded_image, json_rows, load_rows, named_problems
from sft_warmstart.config import ReplayConfig
from sft_warmstart.conversations import Messages, turns

_TURNS = "conversations"
_SPEAKERS = ("human", "gpt")
_REQUESTS = {"as_is": "", "chain": COT_REQUEST_OPEN, "direct": DIRECT_REQUEST_OPEN}
_IMAGE_MARK = re.compile(r"\s*<image>\s*")
_NO_IMAGE = (
    "expected an image or a list of images; take records without one out, or name the right "
    "column in sft.replay.image"
)
Record = Mapping[str, Any]


class ReplaySet:
    """Checked records.

    Args:
        config: which data set.

    Raises:
        DataError: it cannot be read, or records cannot be used: their numbers, the column,
            and what is wrong.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        path = Path(config.path)
        self._folder = Path(config.image_folder or (path if path.is_dir() else path.parent))
        self._names: list[str] = []
        files = _json_files(path)
        self._records = self._read_json(files) if files else _table(config)
        if not len(self._records):
            raise DataError(f"{config.path}: expected records, found none")
        self._check()

    def __len__(self) -> int:
        return len(self._records)

    def conversation(self, index: int) -> tuple[Messages, list[Image.Image], str]:
        """Returns messages, images and name of a record.

        Raises:
            DataError: an image cannot be read.
        """
        record, name = self._records[index], self._name(index)
        values = _listed(record[self._config.image])
        try:
            raw = [encoded_image(value, self._config.image, self._folder) for value in values]
        except BadRow as bad:
            reasons = "; ".join(problem.reason for problem in bad.problems)
            raise DataError(f"{name}, column {self._config.image!r}: {reasons}") from bad
        images = [decode_image(one, name) for one in raw]
        return turns(*_pairs(record, self._config)), images, name

    def _name(self, index: int) -> str:
        return self._names[index] if self._names else f"{self._config.path}, row {index}"

    def _read_json(self, files: Sequence[Path]) -> list[Record]:
        records: list[Record] = []
        for file in files:
            for number, row in enumerate(_json_records(file)):
                if isinstance(row, BadRow):
                    reasons = "; ".join(problem.reason for problem in row.problems)
                    raise DataError(f"{file}, row {number}: {reasons}")
                records.append(row)
                self._names.append(f"{file}, row {number}")
        return records

    def _check(self) -> None:
        """Refuses records that cannot be used, all at once."""
        reasons: dict[Problem, list[int]] = {}
        for index, record in enumerate(_without_pixels(self._records, self._config.image)):
            for problem in self._problems(record):
                reasons.setdefault(problem, []).append(index)
        if reasons:
            bad = sorted({index for rows in reasons.values() for index in rows})
            raise DataError(
                f"{self._config.path}: {len(bad)} of {len(self)} records cannot be used, the first "
                f"is {self._name(bad[0])}:\n{named_problems(reasons)}\nmend them or take them out"
            )

    def _problems(self, record: Record) -> Iterator[Problem]:
        try:
            _pairs(record, self._config)
        except BadRow as bad:
            yield from bad.problems
        column = self._config.image
        values = _listed(record.get(column))
        if not values:
            yield Problem(column, f"{_NO_IMAGE}; got {_got(record, column)}")
        for value in values:
            if value is _HAS_PIXELS or (
                isinstance(value, str) and os.path.isfile(self._folder / value)
            ):
                continue
            try:
                encoded_image(value, column, self._folder)
            except BadRow as bad:
                yield from bad.problems


_HAS_PIXELS = object()


def _without_pixels(records: Any, image: str) -> Iterator[Record]:
    """Yields records; encoded images in a table are not loaded, as there may be gigabytes."""
    if isinstance(records, list):
        yield from records
        return
    from datasets import Image as ImageFeature

    if not isinstance(records.features[image], ImageFeature):
        yield from records
        return
    for row, is_null in zip(
        records.remove_columns(image), records.data.column(image).is_null(), strict=True
    ):
        yield {**row, image: None if is_null.as_py() else _HAS_PIXELS}


def _table(config: ReplayConfig) -> Any:
    """Returns the needed columns of a data set, images undecoded."""
    from datasets import Image as ImageFeature
    from datasets import List

    rows = load_rows(config.path, config.split, "", "sft.replay.split")
    names = rows.column_names
    needed = [_TURNS] if _TURNS in names else [config.question, config.answer]
    for column in (config.image, *needed):
        if column not in names:
            raise DataError(
                f"{config.path}: column {column!r} of sft.replay is missing; expected one of "
                f"{', '.join(names)}; nearest: {nearest(column, names, 1)}"
            )
    rows = rows.select_columns([config.image, *needed])
    feature = rows.features[config.image]
    if isinstance(feature, ImageFeature):
        return rows.cast_column(config.image, ImageFeature(decode=False))
    if isinstance(feature, List) and isinstance(feature.feature, ImageFeature):
        return rows.cast_column(config.image, List(ImageFeature(decode=False)))
    return rows


def _json_files(path: Path) -> list[Path]:
    """Returns the JSON files of a path; none where it is a table of another form."""
    if path.suffix in (".json", ".jsonl", ".ndjson"):
        return [path]
    if not path.is_dir() or any(path.rglob("*.parquet")) or any(path.glob("*.arrow")):
        return []
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return []
    return sorted([*path.rglob("*.json"), *path.rglob("*.jsonl")])


def _json_records(file: Path) -> Iterator[Record | BadRow]:
    """Yields the records of a file: a list, or one a line."""
    try:
        with open(file, encoding="utf-8-sig") as stream:
            if stream.read(1) != "[":
                yield from json_rows(file)
                return
            stream.seek(0)
            records = json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: expected JSON, a list or one record a line; got: {error}"
        ) from error
    for record in records:
        is_record = isinstance(record, dict)
        yield (
            record if is_record else BadRow(Problem("", f"expected a record, got {shown(record)}"))
        )


def _pairs(record: Record, config: ReplayConfig) -> list[tuple[str, str]]:
    """Returns the questions of a record with their answers; BadRow where there are none."""
    if _TURNS in record:
        texts = _spoken(record[_TURNS])
    else:
        texts = [_text(record, column) for column in (config.question, config.answer)]
    request = _REQUESTS[config.prompt]
    questions = [
        text if not request or text.endswith(request) else f"{text} {request}"
        for text in texts[::2]
    ]
    return list(zip(questions, texts[1::2], strict=True))


def _spoken(spoken: Any) -> list[str]:
    """Returns the texts of LLaVA's turns, which must alternate and end with an answer."""
    expected = "expected turns with `from` and `value`, human and gpt one after the other"
    if not isinstance(spoken, list) or not spoken or len(spoken) % 2:
        raise BadRow(Problem(_TURNS, f"{expected}, got {shown(spoken)}"))
    texts = []
    for place, turn in enumerate(spoken):
        speaker = turn.get("from") if isinstance(turn, dict) else None
        if speaker != _SPEAKERS[place % 2]:
            raise BadRow(Problem(_TURNS, f"{expected}; turn {place + 1} is {shown(turn)}"))
        texts.append(_cleaned(turn.get("value"), _TURNS, f"turn {place + 1}: "))
    return texts


def _text(record: Record, column: str) -> str:
    value = record.get(column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        raise BadRow(Problem(column, f"expected a text, got {_got(record, column)}"))
    return _cleaned(value, column)


def _cleaned(text: Any, column: str, where: str = "") -> str:
    """Returns a text without its image marks, as images stand before the first turn.

    >>> _cleaned("<image>\\nWhat is this?", "question"), _cleaned("Is <image> a cat?", "question")
    ('What is this?', 'Is a cat?')
    """
    if not isinstance(text, str) or not text.strip():
        raise BadRow(Problem(column, f"{where}expected a text, got {shown(text)}"))
    bare = _IMAGE_MARK.sub(lambda mark: "\n" if "\n" in mark[0] else " ", text).strip()
    left = [token for token in VISION_TOKENS if token in bare]
    if left or not bare:
        reason = f"expected words without image marks but <image>, got {left} in {shown(text)}"
        raise BadRow(Problem(column, f"{where}{reason}"))
    return bare


def _got(record: Record, column: str) -> str:
    return shown(record[column]) if column in record else f"a record with {', '.join(record)}"


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
