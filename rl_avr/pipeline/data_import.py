"""Makes a set of other people's puzzles: every good one is taken, every bad one named."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rl_avr.errors import DataError
from rl_avr.pipeline.data_annotated import Bad, Good, read_annotated
from rl_avr.pipeline.data_manifest import count_kinds, write_card, write_whole
from rl_avr.pipeline.data_raven import read_raven_files
from rl_avr.pipeline.data_show import show_data
from rl_avr.puzzles.config import RenderConfig
from rl_avr.training.puzzle_files import SPLITS, Row, shard_path, write_rows
from rl_avr.training.versions import versions

READERS: dict[str, Callable[[Path, RenderConfig], Iterable[Good | Bad]]] = {
    "annotated": read_annotated,
    "raven": read_raven_files,
}

_REPORT = "import.json"
_NUM_SHOWN = 100
_NUM_NAMED = 20
# a shard is in memory while it fills up, one for each split
_MAX_ROWS, _MAX_BYTES = 500, 64_000_000


@dataclass
class _Shards:
    """The rows of one split on their way into files."""

    folder: Path
    split: str
    rows: list[Row] = field(default_factory=list)
    num_bytes: int = 0
    files: list[Path] = field(default_factory=list)
    num_rows: int = 0

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.num_rows += 1
        self.num_bytes += len(row["image"]["bytes"]) + len(row["puzzle"])
        if len(self.rows) == _MAX_ROWS or self.num_bytes > _MAX_BYTES:
            self.close()

    def close(self) -> None:
        """Writes what is in memory as one file."""
        if self.rows:
            path = self.folder / f"{self.split}-{len(self.files)}.parquet"
            write_rows(self.rows, path)
            self.files.append(path)
            self.rows, self.num_bytes = [], 0


def import_data(
    source: Path, format: str, out: Path, strict: bool = False, panel_size_px: int = 160
) -> str:
    """Writes a set, its report `import.json` and a page to review it; returns a summary.

    Args:
        source: a folder of RAVEN's files, or a JSONL file.
        format: a key of `READERS`.
        out: folder of the set; must not hold one yet.
        strict: write nothing where a single puzzle is bad.
        panel_size_px: side of a panel in the images that are drawn, those of RAVEN's files.

    Raises:
        DataError: no puzzle is good; with `strict`, one is bad; `out` holds a set or
            cannot be written; the source cannot be read.
    """
    if any(out.glob("*.parquet")):
        raise DataError(f"{out}: a set lies here already; choose another --out, or remove it")
    # inside the set's folder, so that renaming stays within one disk
    work = out / ".import"
    shutil.rmtree(work, ignore_errors=True)
    shards = {split: _Shards(work, split) for split in SPLITS}
    bad: list[Bad] = []
    num_repeated, seen = 0, set()
    render = RenderConfig(panel_size_px=panel_size_px)
    try:
        for item in tqdm(READERS[format](source, render), desc="importing", unit="puzzle"):
            if isinstance(item, Bad):
                bad.append(item)
                continue
            shards[item.split].add(item.row)
            num_repeated += item.row["state_hash"] in seen
            seen.add(item.row["state_hash"])
        for part in shards.values():
            part.close()
        num_good = sum(part.num_rows for part in shards.values())
        if not num_good or (strict and bad):
            raise DataError(_refusal(source, num_good, bad, strict))
        _publish(shards.values(), out)
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be written: {error.strerror}; nothing was imported"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    good = {split: part.num_rows for split, part in shards.items() if part.files}
    return _finish(_Report(source, format, good, bad, num_repeated), out)


@dataclass(frozen=True)
class _Report:
    source: Path
    format: str
    good: dict[str, int]
    bad: list[Bad]
    num_repeated: int


def _refusal(source: Path, num_good: int, bad: list[Bad], strict: bool) -> str:
    if num_good and strict:
        return f"{source}: {len(bad)} bad and {num_good} good; --strict takes all or none:\n" + (
            _named(bad)
        )
    if not bad:
        return f"{source}: no puzzle found"
    return f"{source}: none of {len(bad)} puzzles can be used:\n{_named(bad)}"


def _publish(parts: Iterable[_Shards], out: Path) -> None:
    """Gives the files their final names, which tell how many there are."""
    for part in parts:
        for index, path in enumerate(part.files):
            path.rename(shard_path(out, part.split, index, len(part.files)))


def _finish(report: _Report, out: Path) -> str:
    bad = report.bad
    raw = {
        "source": str(report.source),
        "format": report.format,
        "good": report.good,
        "bad": [{"where": item.where, "reason": item.reason} for item in bad],
        "repeated": report.num_repeated,
    }
    write_whole(out / _REPORT, json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    about = f"Puzzles imported from `{report.source.name}`, format {report.format}."
    details: dict[str, Any] = {"format": report.format, "refused": len(bad)}
    counts = count_kinds(out, list(report.good))
    made_with = versions(("pillow", "pyarrow", "rl_avr"))
    write_card(out, counts, about, details, made_with, report.num_repeated)
    notes = [f"refused: {item.where}: {item.reason}" for item in bad[:_NUM_SHOWN]]
    page, sheet = show_data(out, list(report.good), _NUM_SHOWN // len(report.good), notes=notes)
    total = ", ".join(f"{count} {split}" for split, count in report.good.items())
    lines = [f"{out}: {sum(report.good.values())} puzzles imported ({total}), {len(bad)} refused"]
    if report.num_repeated:
        lines.append(f"{report.num_repeated} show what an earlier one shows: see `data stats`")
    if bad:
        lines += [_named(bad), f"all of them: {out / _REPORT}"]
    return "\n".join([*lines, f"to review: {page} and {sheet}"])


def _named(bad: list[Bad]) -> str:
    lines = [f"  {item.where}: {item.reason}" for item in bad[:_NUM_NAMED]]
    more = len(bad) - _NUM_NAMED
    return "\n".join(lines + ([f"  … and {more} more"] if more > 0 else []))
