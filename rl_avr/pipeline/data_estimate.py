"""What a set would hold, how large it gets and how long it takes, measured on a few puzzles."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rl_avr.pipeline.data_shards import MADE_SPLITS, Shard, draw, make_row, of_kind
from rl_avr.pipeline.text_table import text_table
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.feasibility import check_request
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.matrix import SamplingReport
from rl_avr.puzzles.nonregular.sampler import sample_counted
from rl_avr.puzzles.sampler import sample_puzzles

_NUM_PROBES = 24
_NUM_COUNTED = 100


@dataclass(frozen=True)
class Estimate:
    """Means over a few puzzles.

    Args:
        bytes_per_puzzle: on disk.
        seconds_per_puzzle: in one process.
    """

    bytes_per_puzzle: float
    seconds_per_puzzle: float


def shares(config: PuzzleConfig) -> dict[str, float]:
    """Returns the share of each kind that the mix asks for; they sum to 1."""
    wanted = {kind: weight for kind, weight in config.mix.items() if weight > 0}
    total = sum(wanted.values())
    return {kind: weight / total for kind, weight in wanted.items()}


def estimate(config: PuzzleConfig) -> Estimate:
    """Returns the means, and refuses at once what cannot be made.

    Raises:
        ConfigError: the request cannot be met.
        PuzzleError: a kind of the mix has no puzzle that meets the settings.
    """
    check_request(config)
    for kind in shares(config):
        for split in MADE_SPLITS:
            draw(split, 0, of_kind(config, kind))
    size, started = 0, time.perf_counter()
    for index in range(_NUM_PROBES):
        row = make_row(draw("train", index, config), config)
        size += len(row["image"]["bytes"]) + len(row["puzzle"]) // 4
    return Estimate(size / _NUM_PROBES, (time.perf_counter() - started) / _NUM_PROBES)


def rejections(config: PuzzleConfig) -> list[tuple[str, str, str]]:
    """Returns what is drawn, why some of it is thrown away, and how much, of a few puzzles."""
    wanted = shares(config)
    rows: list[tuple[str, str, str]] = []
    matrices = {kind: share for kind, share in wanted.items() if kind in CONFIGURATIONS}
    if matrices:
        report = SamplingReport()
        only = replace(config, mix=matrices)
        for _ in sample_puzzles("train", _NUM_COUNTED, config.seed, only, report):
            pass
        rows += _matrix_rejections(report)
    others = [kind for kind in wanted if kind not in CONFIGURATIONS]
    if others:
        num = max(1, _NUM_COUNTED // len(others))
        found = [
            sample_counted("train", index, config.seed, kind)[1]
            for kind in others
            for index in range(num)
        ]
        drawn = sum(f.ambiguous + f.other_split + 1 for f in found)
        rows += [
            ("scenes of a puzzle", "ambiguous", _percent(sum(f.ambiguous for f in found), drawn)),
            ("", "other split", _percent(sum(f.other_split for f in found), drawn)),
        ]
    return rows


def _matrix_rejections(report: SamplingReport) -> list[tuple[str, str, str]]:
    return [
        ("values of a rule", "ambiguous", _percent(report.draws.ambiguous, report.draws.drawn)),
        ("values of the choices", "equal", _percent(report.equal_values, report.groups)),
        ("sets of rules", "no answer set", _percent(report.no_answer_set, report.rule_sets)),
        ("matrices", "other split", _percent(report.other_split, report.matrices)),
        ("", "not one right choice", _percent(report.not_unique, report.matrices)),
    ]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"


def describe(
    guess: Estimate, config: PuzzleConfig, shards: Sequence[Shard], num_workers: int
) -> str:
    """Returns a table of what would be made, and what of it is there."""
    num = {split: sum(s.num_rows for s in shards if s.split == split) for split in MADE_SPLITS}
    rows = [("kind", "share", *MADE_SPLITS)]
    rows += [
        (kind, f"{share:.1%}", *(f"{share * num[s]:.0f}" for s in MADE_SPLITS))
        for kind, share in shares(config).items()
    ]
    rows.append(("all", "100%", *(str(num[s]) for s in MADE_SPLITS)))
    rows.append(("files", "", *(str(sum(x.split == s for x in shards)) for s in MADE_SPLITS)))
    left = sum(s.num_rows for s in shards if not (s.final.is_file() or s.draft.is_file()))
    seconds = left * guess.seconds_per_puzzle / max(1, min(num_workers, len(shards)))
    there = sum(num.values()) - left
    return "\n".join(
        [
            f"dry run: {shards[0].folder}",
            text_table(rows),
            text_table([("drawn", "thrown away because", "share"), *rejections(config)]),
            f"size: about {sum(num.values()) * guess.bytes_per_puzzle / 1e6:.1f} MB, "
            f"{guess.bytes_per_puzzle / 1e3:.1f} kB a puzzle",
            f"there already: {there} puzzles; left: {left}, about {_duration(seconds)} in "
            f"{num_workers} processes of {1 / guess.seconds_per_puzzle:.0f} puzzles a second",
        ]
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
