"""Preference pairs on disk: a folder that stands alone.

    pairs.jsonl      one pair a line, those of a question together
    images/          every image once, named by a hash of its bytes
    manifest.json    number and hash of the pairs, and what they were made of; written last

A folder without a manifest is not finished, and is not read.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

from rl_avr.contracts import FinishReason
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError

PAIRS_FILE = "pairs.jsonl"
CANDIDATES_FILE = "candidates.jsonl"
"""All pairs, where only some of them are kept."""
MANIFEST_FILE = "manifest.json"
_IMAGES = "images"
_SUFFIXES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"RIFF", ".webp"))
_DIGEST_BYTES = 16

Message = dict[str, Any]
Parts = dict[str, float | None]


@dataclass(frozen=True)
class PreferencePair:
    """Two completions of one prompt, of which the first is preferred.

    Args:
        pair_id: unique within a folder.
        prompt_id: what was asked; pairs with the same id share question and images.
        puzzle_id: the puzzle behind it.
        category: the puzzle's kind, or its kind and the prompt's.
        question: chat messages, without the images, which stand before the first one's text.
        images: names within the folder; `read_image` reads them.
        chosen: text, without special tokens.
        rejected: text, without special tokens.
        chosen_ids: token ids; None where they were not recorded.
        rejected_ids: token ids; None where they were not recorded.
        chosen_finish: why the completion ended; only `stop` has an end token behind it.
        rejected_finish: likewise.
        way: how the two were chosen; a name of `ways.WAYS`, or `module:name`.
        accuracy: share of right answers among the question's completions.
        chosen_scores: reward parts by name; None for one that could not judge.
        rejected_scores: likewise.
        chosen_choice: the letter, of an open question the words; None without one answer.
        rejected_choice: likewise.
    """

    pair_id: str
    prompt_id: str
    puzzle_id: str
    category: str
    question: list[Message]
    images: tuple[str, ...]
    chosen: str
    rejected: str
    chosen_ids: tuple[int, ...] | None
    rejected_ids: tuple[int, ...] | None
    chosen_finish: FinishReason
    rejected_finish: FinishReason
    way: str
    accuracy: float
    chosen_scores: Parts
    rejected_scores: Parts
    chosen_choice: str | None
    rejected_choice: str | None


class PairsWriter:
    """Writes pairs and their images into a folder; `finish` makes it readable.

    Args:
        folder: where they go.
        file: where `append` writes; another one than `PAIRS_FILE` holds pairs of which `finish`
            is to keep some.
    """

    def __init__(self, folder: Path, file: str = PAIRS_FILE) -> None:
        self._folder, self._file = folder, file
        (folder / _IMAGES).mkdir(parents=True, exist_ok=True)

    def add_image(self, image: bytes) -> str:
        """Keeps an encoded image, once; returns its name within the folder."""
        suffix = next((s for start, s in _SUFFIXES if image.startswith(start)), "")
        name = f"{_IMAGES}/{_digest(image)}{suffix}"
        path = self._folder / name
        if not path.is_file():
            partial = path.with_name(f"{path.name}.partial")
            partial.write_bytes(image)
            partial.replace(path)
        return name

    def append(self, pairs: Iterable[PreferencePair]) -> None:
        """Appends pairs, in order."""
        lines = (json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in pairs)
        # a lone surrogate, which UTF-8 cannot hold, becomes its JSON escape
        path = self._folder / self._file
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(lines)

    def finish(self, about: Mapping[str, Any], kept: Collection[int] | None = None) -> None:
        """Writes the manifest: `about`, the number of pairs and their hash.

        Args:
            about: what they were made of.
            kept: places of the appended pairs that are kept; None keeps all.
        """
        path = self._folder / PAIRS_FILE
        path.touch()
        if kept is not None:
            partial, left = path.with_name(f"{path.name}.partial"), frozenset(kept)
            with (self._folder / self._file).open("rb") as whole, partial.open("wb") as stream:
                stream.writelines(line for place, line in enumerate(whole) if place in left)
            partial.replace(path)
        with path.open("rb") as stream:
            num_pairs = sum(1 for _ in stream)
        write_json(
            self._folder / MANIFEST_FILE,
            {**about, "num_pairs": num_pairs, "pairs_digest": pairs_digest(self._folder)},
        )


def read_pairs(folder: Path) -> Iterator[PreferencePair]:
    """Yields the pairs of a finished folder, in order, one in memory at a time.

    Raises:
        DataError: the folder is not finished or is damaged; a line is no pair, with the file
            and the line; an image is not there.
    """
    num_pairs = read_manifest(folder)["num_pairs"]
    path = folder / PAIRS_FILE
    seen: set[str] = set()
    number = 0
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                pair = _pair(raw, f"{path}:{number}")
                if pair.pair_id in seen:
                    raise DataError(f"{path}:{number}: pair_id {pair.pair_id!r} is there twice")
                seen.add(pair.pair_id)
                for name in pair.images:
                    if not (folder / name).is_file():
                        raise DataError(f"{path}:{number}: image {name} is not in {folder}")
                yield pair
    except OSError as error:
        raise DataError(f"{path}: expected preference pairs; got: {error}") from error
    if number != num_pairs:
        raise DataError(
            f"{path}: expected {num_pairs} pairs, as {MANIFEST_FILE} says; got {number}; "
            "make the pairs again"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns what `PairsWriter.finish` wrote.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        begun = any((folder / name).is_file() for name in (PAIRS_FILE, CANDIDATES_FILE))
        state = "the pairs there are not finished" if begun else "no such file"
        raise DataError(f"{path}: {state}; `rl-avr pairs` writes it, or goes on")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest["num_pairs"], int):
            raise ValueError(f"num_pairs {manifest['num_pairs']!r}: expected a whole number")
        return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the manifest of pairs; got: {error!r}") from error


def read_image(folder: Path, name: str) -> bytes:
    """Returns an image of a pair, encoded, as it was given.

    Raises:
        DataError: it is not there, or its bytes are not those that its name stands for.
    """
    path = folder / name
    try:
        image = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected an image; got: {error}") from error
    if _digest(image) != path.stem:
        raise DataError(f"{path}: damaged: its bytes are not those that its name stands for")
    return image


def pairs_digest(folder: Path) -> str:
    """Returns a hash of all pairs; as images are named by their hashes, of those too."""
    with (folder / PAIRS_FILE).open("rb") as stream:
        digest = blake2b(digest_size=_DIGEST_BYTES)
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest()


def _pair(raw: bytes, where: str) -> PreferencePair:
    """Returns the pair of a line, or raises DataError that says where it stands."""
    try:
        record = json.loads(raw)
        missing = _names() - record.keys()
        if missing:
            raise ValueError(f"no {', '.join(sorted(missing))}")
        for name in ("pair_id", "prompt_id", "puzzle_id", "category", "chosen", "rejected", "way"):
            _check(name, record[name], str)
        for name in ("chosen_choice", "rejected_choice"):
            _check(name, record[name], str | None)
        for name in ("chosen_finish", "rejected_finish"):
            if record[name] not in get_args(FinishReason):
                raise ValueError(f"{name} {record[name]!r}: expected one of {FinishReason}")
        _check("accuracy", record["accuracy"], int | float)
        for name in ("chosen_scores", "rejected_scores"):
            _check(name, record[name], dict)
            for part, value in record[name].items():
                _check(f"{name}.{part}", value, int | float | None)
        _check("question", record["question"], list)
        for message in record["question"]:
            _check("question.role", message["role"], str)
            _check("question.content", message["content"], str)
        for name in record["images"]:
            if Path(name).parent != Path(_IMAGES):
                raise ValueError(f"image {name!r}: expected a name in {_IMAGES}/")
        for name in ("chosen_ids", "rejected_ids"):
            record[name] = None if record[name] is None else tuple(map(int, record[name]))
        record["images"] = tuple(record["images"])
        return PreferencePair(**{name: record[name] for name in _names()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: expected a preference pair; got: {error!r}") from error


def _check(name: str, value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind}, got {value!r:.60}")


@cache
def _names() -> frozenset[str]:
    return frozenset(field.name for field in fields(PreferencePair))


def write_pairs(
    folder: Path, pairs: Iterable[tuple[PreferencePair, Iterable[bytes]]], **about: Any
) -> Path:
    """Writes a whole folder of pairs, each with its images; returns it.

    The pairs' `images` are set to the names under which they are kept.
    """
    writer = PairsWriter(folder)
    for pair, images in pairs:
        writer.append([replace(pair, images=tuple(map(writer.add_image, images)))])
    writer.finish(about)
    return folder
