"""Makes the puzzles of a run: a training and a held-out split that cannot overlap.

Several processes draft the shards of both splits; then duplicates are found and replaced,
and the shards become final (`data_shards`, `data_duplicates`). A draft or a final file
appears only when whole, so after a kill or a full disk the same command goes on and the
set is the same as if nothing had happened.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rl_avr.errors import DataError
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data_duplicates import final_shards, find_replacements
from rl_avr.pipeline.data_estimate import describe, estimate
from rl_avr.pipeline.data_manifest import (
    Manifest,
    check_settings,
    count_kinds,
    read_manifest,
    settings_of,
    write_card,
    write_manifest,
)
from rl_avr.pipeline.data_shards import (
    MADE_SPLITS,
    WORK_FOLDER,
    FinalShard,
    Replacement,
    Shard,
    shards_of,
    write_draft,
    write_final,
)
from rl_avr.pipeline.processes import run_jobs
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.training.puzzle_files import SPLITS
from rl_avr.training.versions import versions

logger = logging.getLogger(__name__)

_LIBRARIES = ("numpy", "pillow", "pyarrow", "rl_avr")


def make_data(data: MakeConfig, puzzles: PuzzleConfig) -> dict[str, int]:
    """Writes both splits, or what is missing of them; returns the puzzles in each.

    Raises:
        PuzzleError: the settings ask for puzzles that do not exist; said at once.
        DataError: the folder holds something else, cannot be written, or is full.
    """
    folder = Path(data.path)
    shards = shards_of(folder, puzzles, data.shard_size)
    settings = settings_of(puzzles, data.shard_size)
    guess = estimate(puzzles)
    with _written_by_one(folder):
        try:
            manifest = _begun(folder, settings)
            if not manifest.is_complete:
                _warn_of_space(folder, shards, guess.bytes_per_puzzle)
            manifest = _drafted(manifest, shards, data.num_workers)
            _finish(manifest, shards, data.num_workers)
        except OSError as error:
            hint = "free some space" if error.errno == errno.ENOSPC else "see to it"
            raise DataError(
                f"{error.filename or folder}: cannot be written: {error.strerror}; {hint} and run "
                "the same command again: what is whole stays"
            ) from error
    return {"train": puzzles.num_train, "held_out": puzzles.num_held_out}


def describe_data(data: MakeConfig, puzzles: PuzzleConfig) -> str:
    """Returns what `make_data` would do, measured on a few puzzles; writes nothing.

    Raises:
        PuzzleError: the settings ask for puzzles that do not exist.
        DataError: the folder holds a set with other settings.
    """
    folder = Path(data.path)
    found = read_manifest(folder)
    if found is not None:
        check_settings(folder, found, settings_of(puzzles, data.shard_size))
    shards = shards_of(folder, puzzles, data.shard_size)
    return describe(estimate(puzzles), puzzles, shards, num_processes(data.num_workers))


def num_processes(num_workers: int) -> int:
    """Returns how many processes a setting stands for; 0 is one for each usable core."""
    return num_workers or len(os.sched_getaffinity(0))


@contextmanager
def _written_by_one(folder: Path) -> Iterator[None]:
    """Holds the folder; the hold goes with the process, however that ends."""
    work = folder / WORK_FOLDER
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / "lock").touch()
    except OSError as error:
        raise DataError(f"data.path {folder}: cannot be written: {error}") from error
    with open(work / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"{folder}: another `rl-avr data make` is writing here") from error
        try:
            yield
        finally:
            (work / "lock").unlink(missing_ok=True)
            # drafts that a failure left stay for the next run
            with suppress(OSError):
                work.rmdir()


def _begun(folder: Path, settings: dict[str, Any]) -> Manifest:
    found = read_manifest(folder)
    if found is not None:
        check_settings(folder, found, settings)
        now = versions(_LIBRARIES)
        if not found.is_complete and found.versions != now:
            logger.warning("%s was begun with %s; it goes on with %s", folder, found.versions, now)
        return found
    foreign = [path.name for split in SPLITS for path in folder.glob(f"{split}*.parquet")]
    if foreign:
        raise DataError(
            f"{folder}: {foreign[0]} and others lie here without a manifest; choose another "
            "data.path, or remove them"
        )
    manifest = Manifest(settings, versions(_LIBRARIES))
    write_manifest(folder, manifest)
    return manifest


def _warn_of_space(folder: Path, shards: Sequence[Shard], bytes_per_puzzle: float) -> None:
    left = sum(s.num_rows for s in shards if not (s.final.is_file() or s.draft.is_file()))
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if left * bytes_per_puzzle > free:
        logger.warning(
            "%s: about %.1f GB are still to be written, %.1f GB are free",
            folder,
            left * bytes_per_puzzle / 1e9,
            free / 1e9,
        )


def _drafted(manifest: Manifest, shards: Sequence[Shard], num_workers: int) -> Manifest:
    """Returns the manifest with the replacements, after every draft was written."""
    if manifest.replacements is not None:
        return manifest
    missing = [shard for shard in shards if not shard.draft.is_file()]
    left = sum(shard.num_rows for shard in missing)
    done = sum(shard.num_rows for shard in shards) - left
    _run("puzzles", write_draft, missing, num_workers, done, left)
    found: dict[str, tuple[Replacement, ...]] = {}
    checksums: dict[str, list[int]] = {}
    for split in MADE_SPLITS:
        mine = [shard for shard in shards if shard.split == split]
        found[split] = find_replacements(mine)
        checksums[split] = [final.checksum for final in final_shards(mine, found[split])]
    manifest = replace(manifest, replacements=found, checksums=checksums)
    write_manifest(shards[0].folder, manifest)
    return manifest


def _finish(manifest: Manifest, shards: Sequence[Shard], num_workers: int) -> None:
    """Makes every shard final and writes the card."""
    assert manifest.replacements is not None
    missing = []
    for shard in shards:
        if not shard.final.is_file():
            mine = tuple(
                r for r in manifest.replacements[shard.split] if shard.start <= r.row < shard.stop
            )
            checksum = manifest.checksums[shard.split][shard.index]
            missing.append(FinalShard(shard, mine, checksum))
    if manifest.is_complete and not missing:
        return
    lost = [job.shard for job in missing if not job.shard.draft.is_file()]
    _run("missing files", write_final, missing, num_workers, 0, sum(s.num_rows for s in lost))
    folder = shards[0].folder
    counts = count_kinds(folder, MADE_SPLITS)
    num_replaced = sum(map(len, manifest.replacements.values()))
    details = {**manifest.settings, "duplicates_replaced": num_replaced}
    write_card(folder, counts, _ABOUT, details, manifest.versions)
    write_manifest(folder, replace(manifest, is_complete=True))
    for path in (folder / WORK_FOLDER).glob("*.parquet*"):
        path.unlink()


def _run(
    title: str,
    function: Callable[[Any, Callable[[], object]], None],
    jobs: Sequence[Any],
    num_workers: int,
    done: int,
    left: int,
) -> None:
    """Runs jobs under a progress bar."""
    # smoothing 0: the rate of the whole run, since shards of several processes end in bursts
    with tqdm(
        total=done + left, initial=done, desc=title, unit="puzzle", disable=not left, smoothing=0
    ) as bar:
        run_jobs(function, jobs, num_processes(num_workers), bar.update)


_ABOUT = (
    "Visual reasoning puzzles made from a known symbolic state: a context of panels with one "
    "missing, and an answer set in which exactly one choice fits the rules."
)
