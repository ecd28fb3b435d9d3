"""Grades recorded rollouts again, by any rewards config, and says what each part gives."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from rewards.composition import part_names
from rewards.config import RewardConfig, part_name
from rewards.grader import Grader
from rl_avr.contracts import GradedGroup, ParseStatus, Prompt
from rl_avr.errors import ConfigError, DataError, PuzzleError
from rl_avr.pipeline.text_table import text_table
from rl_avr.settings import load_rewards
from rl_avr.training.puzzle_files import kind_of
from rollouts.recorder import RecordedGroup, append_groups, read_groups

_EVAL_FILES = ("greedy.jsonl", "sampled.jsonl")
_GROUPS_PER_BATCH = 64
_STATUSES: tuple[ParseStatus, ...] = (
    "ok",
    "truncated",
    "no_answer",
    "several_answers",
    "not_a_choice",
    "malformed",
)
_ALL = "all"
_SAME = 1e-9
"""Two totals further apart than this differ by more than their rounding."""


@dataclass
class _Tally:
    """Sums over the completions of one kind of puzzle."""

    num: int = 0
    totals: float = 0.0
    parts: dict[str, list[float]] = field(default_factory=dict)
    """Part -> sum and number of what it could judge."""
    statuses: Counter[str] = field(default_factory=Counter)
    groups: int = 0
    admitted: int = 0

    def add(self, graded: GradedGroup) -> None:
        self.groups += 1
        self.admitted += graded.is_admitted
        for parsed, score in zip(graded.parsed, graded.scores, strict=True):
            self.num += 1
            self.totals += score.total
            self.statuses[parsed.status] += 1
            for name, value in score.parts:
                if value is not None:
                    sums = self.parts.setdefault(name, [0.0, 0.0])
                    sums[0] += value
                    sums[1] += 1


@dataclass
class _Changes:
    """How the grades differ from those that were recorded."""

    compared: int = 0
    changed: int = 0
    distance: float = 0.0
    flags: int = 0
    flags_changed: int = 0

    def add(self, recorded: RecordedGroup, graded: GradedGroup) -> None:
        for old, score in zip(recorded.totals, graded.scores, strict=True):
            if old is None:
                continue
            self.compared += 1
            if abs(old - score.total) > _SAME:
                self.changed += 1
                self.distance += abs(old - score.total)
        if recorded.is_admitted is not None:
            self.flags += 1
            self.flags_changed += recorded.is_admitted != graded.is_admitted


def score_rollouts(
    sources: Sequence[Path], config: Path | None = None, out: Path | None = None
) -> str:
    """Grades recorded rollouts again; returns the table and what changed, as text.

    Args:
        sources: files of rollouts, or folders of runs.
        config: a YAML file with a block `rewards`; None for the defaults.
        out: where the groups go with their new grades; it appears only when whole.

    Raises:
        DataError: a file cannot be read or is damaged, or `out` cannot be written.
        ConfigError: the config cannot be used, or `out` is one of the sources.
        RewardError: one of the user's own functions failed too often.
    """
    rewards = load_rewards(config) if config else RewardConfig()
    files = [file for source in sources for file in rollout_files(source)]
    if out and out.resolve() in {file.resolve() for file in files}:
        raise ConfigError(f"--out: expected another file than those that are read, got {out}")
    partial = out.with_name(f"{out.name}.partial") if out else None
    tallies: dict[str, _Tally] = {}
    changes, broken = _Changes(), list[str]()
    try:
        if partial:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(b"")
        with Grader(rewards) as grader:
            for recorded, graded in _regraded(files, grader, broken.append):
                _write(partial, recorded, graded)
                for old, new in zip(recorded, graded, strict=True):
                    changes.add(old, new)
                    for kind in (_kind(new.group.prompt), _ALL):
                        tallies.setdefault(kind, _Tally()).add(new)
        if partial and out:
            partial.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error}") from error
    finally:
        if partial:
            partial.unlink(missing_ok=True)
    if not tallies:
        raise DataError(f"{', '.join(map(str, files))}: expected a group or more, found none")
    names = (*part_names(rewards), *map(part_name, rewards.own))
    lines = [_table(tallies, names), "", *_sentences(changes, broken)]
    return "\n".join(lines + ([f"written: {out}"] if out else []))


def rollout_files(source: Path) -> list[Path]:
    """Returns the files that a path stands for: itself, or what a run's folder has.

    Raises:
        DataError: there is nothing.
    """
    if not source.is_dir():
        return [source]
    # groups that were sampled and not trained lie beside those that were
    found = [f for f in sorted(source.glob("rollouts/*.jsonl")) if not f.name.startswith("dropped")]
    found = found or [source / name for name in _EVAL_FILES if (source / name).is_file()]
    if not found:
        raise DataError(
            f"{source}: expected a file of rollouts, or a run's folder with rollouts/*.jsonl, "
            f"{' or '.join(_EVAL_FILES)}; found none of them"
        )
    return found


def _regraded(
    files: Sequence[Path], grader: Grader, on_broken: Callable[[str], object]
) -> Iterator[tuple[list[RecordedGroup], list[GradedGroup]]]:
    """Yields batches of groups as they were recorded and as they are graded now."""
    with tqdm(total=sum(map(_num_lines, files)), desc="grading", unit="group") as bar:
        for file in files:
            for batch in _batches(read_groups(file, on_broken)):
                try:
                    graded = grader.grade([recorded.group for recorded in batch])
                except PuzzleError as error:
                    lines = f"lines {batch[0].line} to {batch[-1].line}"
                    raise DataError(f"{file}, {lines}: {error}") from error
                yield batch, graded
                bar.update(len(batch))


def _batches(groups: Iterator[RecordedGroup]) -> Iterator[list[RecordedGroup]]:
    batch: list[RecordedGroup] = []
    for group in groups:
        batch.append(group)
        if len(batch) == _GROUPS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _num_lines(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
    except OSError as error:
        raise DataError(f"{file}: expected recorded rollouts; got: {error}") from error


def _write(
    path: Path | None, recorded: Sequence[RecordedGroup], graded: Sequence[GradedGroup]
) -> None:
    """Appends graded groups, each with the tags that it was recorded with."""
    if path is None:
        return
    pairs = zip(recorded, graded, strict=True)
    for tags, same in groupby(pairs, key=lambda pair: dict(pair[0].tags)):
        append_groups(path, [new for _, new in same], **tags)


def _kind(prompt: Prompt) -> str:
    kind = kind_of(prompt.puzzle)
    return kind if prompt.kind == "cot" else f"{kind}, {prompt.kind}"


def _table(tallies: dict[str, _Tally], names: Sequence[str]) -> str:
    """Returns one row for each kind of puzzle, then all."""
    whole = tallies[_ALL]
    statuses = [name for name in _STATUSES if name == "ok" or whole.statuses[name]]
    header = ("puzzles", "n", *names, "total", *statuses, "groups", "admitted")
    kinds = sorted(kind for kind in tallies if kind != _ALL)
    rows = [_row(kind, tallies[kind], names, statuses) for kind in (*kinds, _ALL)]
    return text_table([header, *rows])


def _row(kind: str, tally: _Tally, names: Sequence[str], statuses: Sequence[str]) -> list[str]:
    sums = [tally.parts.get(name, [0.0, 0.0]) for name in names]
    return [
        kind,
        str(tally.num),
        *(f"{total / num:.3f}" if num else "—" for total, num in sums),
        _share(tally.totals, tally.num, "{:.3f}"),
        *(_share(tally.statuses[name], tally.num) for name in statuses),
        str(tally.groups),
        _share(tally.admitted, tally.groups),
    ]


def _share(part: float, whole: int, form: str = "{:.1%}") -> str:
    return form.format(part / whole) if whole else "—"


def _sentences(changes: _Changes, broken: Sequence[str]) -> Iterator[str]:
    if not changes.compared:
        yield "No recorded totals to compare with."
    elif not changes.changed:
        yield f"None of {changes.compared} recorded totals changed."
    else:
        mean = changes.distance / changes.changed
        yield (
            f"{changes.changed} of {changes.compared} recorded totals changed, "
            f"by {mean:.3f} on average."
        )
    if changes.flags_changed:
        yield f"{changes.flags_changed} of {changes.flags} groups are admitted otherwise."
    if broken:
        yield f"{len(broken)} broken line{'s' * (len(broken) > 1)} left out:"
        yield from (f"  {line}" for line in broken)
