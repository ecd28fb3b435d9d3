"""From the settings of an ablation to its jobs: sets, starting policies, arms x seeds.

Settings of jobs are those of `rl-avr sft`. In their texts `{run}` is the folder of the
ablation and `{seed}` the seed, so an arm names what it starts from by its path, such as
`{run}/starts/reader/{seed}/policy`; that is also how the order of the jobs is known.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml

from rl_avr.errors import ConfigError, nearest
from rl_avr.modeling.config import Part
from rl_avr.settings import AblateSettings, DataSettings, SftSettings, load_settings
from rl_avr.yaml_types import converted, fits, words

RawT = TypeVar("RawT")
Tree = dict[str, Any]
JobKind = Literal["pictures", "puzzles", "start", "arm"]
_DATA_MINUTES = 1.0
_RUN_PATH = re.compile(r"\{run\}/([^\"]+)")


@dataclass(frozen=True)
class Measure:
    """What is measured of a trained policy.

    Args:
        ask: `questions`, perception questions, each asked alone; `chain`, the puzzle itself,
            with a reason first.
        data: folder of a set; its held-out puzzles are asked.
        num_puzzles: how many of them, from the first on.
        num_questions: of each puzzle, where questions are asked.
        max_new_tokens: of an answer.
        batch_size: prompts answered at once.
    """

    ask: Literal["questions", "chain"]
    data: str
    num_puzzles: int = 200
    num_questions: int = 8
    max_new_tokens: int = 16
    batch_size: int = 64


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        title: what the table calls it.
        paper: percent in the paper, where it tells.
        paper_gain: points that the paper has between it and the first arm, where it tells.
        settings: laid over the table's.
    """

    title: str = ""
    paper: float | None = None
    paper_gain: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Arms that are compared.

    Args:
        title: the question that it answers.
        paper: what the paper measured.
        trained_tokens: tokens with a loss that every arm is trained on; decides its steps.
        minutes: that a job should take.
        measure: what is measured, see `Measure`.
        settings: of `rl-avr sft`, shared by the arms.
        arms: name -> what is special about it, see `Arm`; the first is what others are
            compared with.
    """

    title: str
    measure: dict[str, Any]
    settings: dict[str, Any]
    arms: dict[str, Any]
    trained_tokens: int
    minutes: float
    paper: str = ""


@dataclass(frozen=True)
class Start:
    """A policy that arms start from.

    Args:
        settings: of `rl-avr sft`; with a `trainer.max_steps` of 0 nothing is trained.
        minutes: that it should take.
        min_pixels: least area to which its processor scales an image; 0 leaves it as it is.
        fresh: parts that are made anew by the seed.
        seed: of one policy for all seeds of the arms, in `{run}/starts/NAME`; without it each
            seed has its own, in `{run}/starts/NAME/{seed}`.
    """

    settings: dict[str, Any]
    minutes: float
    min_pixels: int = 0
    fresh: tuple[Part, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Job:
    """One child process, with a folder of its own.

    Args:
        name: its folder, seen from the run's.
        kind: what is done.
        spec: all that decides its result.
        needs: names of jobs that must be done before.
        minutes: that it should take.
    """

    name: str
    kind: JobKind
    spec: Tree
    needs: tuple[str, ...] = ()
    minutes: float = _DATA_MINUTES


def read_tables(settings: AblateSettings) -> dict[str, tuple[Table, dict[str, Arm]]]:
    """Returns name -> table and its arms.

    Raises:
        ConfigError: an unknown key or a wrong type, with its place.
    """
    found = {}
    for name, raw in settings.tables.items():
        table = _read(Table, raw, f"tables.{name}")
        arms = {
            arm: _read(Arm, one or {}, f"tables.{name}.arms.{arm}")
            for arm, one in table.arms.items()
        }
        found[name] = table, arms
    return found


def read_measure(table: Mapping[str, Any], where: str) -> Measure:
    """Returns what is measured; raises ConfigError with the place of a wrong key."""
    return _read(Measure, table, where)


def plan_jobs(settings: AblateSettings) -> list[Job]:
    """Returns all jobs, each after those that it needs; `ablate.only` leaves some out.

    Raises:
        ConfigError: settings that cannot be used, with their place.
    """
    jobs = [Job("sets/pictures", "pictures", settings.pictures)] if settings.pictures else []
    for name, raw in settings.sets.items():
        _loaded(DataSettings, {"puzzles": raw}, f"sets.{name}")
        jobs.append(Job(f"sets/{name}", "puzzles", {"puzzles": raw}))
    for name, raw in settings.starts.items():
        start = _read(Start, raw, f"starts.{name}")
        for seed in settings.ablate.seeds if start.seed is None else (start.seed,):
            tree = _filled(merged(settings.common, start.settings), "{seed}", seed)
            _loaded(SftSettings, tree, f"starts.{name}.settings")
            spec = {
                "seed": seed,
                "settings": tree,
                "min_pixels": start.min_pixels,
                "fresh": list(start.fresh),
            }
            folder = f"starts/{name}/{seed}" if start.seed is None else f"starts/{name}"
            jobs.append(_after(Job(folder, "start", spec, (), start.minutes), jobs))
    ready = list(jobs)
    for name, (table, arms) in read_tables(settings).items():
        measure = _read(Measure, table.measure, f"tables.{name}.measure")
        shared = merged(settings.common, table.settings)
        for arm, one in arms.items():
            for seed in settings.ablate.seeds:
                tree = _filled(merged(shared, one.settings), "{seed}", seed)
                _loaded(SftSettings, tree, f"tables.{name}.arms.{arm}")
                spec = {
                    "seed": seed,
                    "settings": tree,
                    "trained_tokens": table.trained_tokens,
                    "measure": dict(vars(measure)),
                }
                job = Job(f"{name}/{arm}/{seed}", "arm", spec, (), table.minutes)
                jobs.append(_after(job, ready))
    return _only(jobs, settings.ablate.only)


def merged(below: Tree, above: Tree) -> Tree:
    """Returns one tree laid over another: mappings merge, anything else replaces.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    both = {
        key: merged(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in above.items()
    }
    return below | both


def job_settings(spec: Tree, folder: Path, root: Path) -> SftSettings:
    """Returns the settings of `rl-avr sft` for a job, with its folder, its seed and its paths."""
    found = _loaded(SftSettings, _filled(spec["settings"], "{run}", str(root)), str(folder))
    run = replace(found.run, dir=str(folder), seed=spec["seed"], wandb="disabled", resume=True)
    return replace(found, run=run)


def filled_path(text: str, root: Path) -> Path:
    """Returns a path of a job's spec."""
    return Path(text.replace("{run}", str(root)))


def _after(job: Job, others: Sequence[Job]) -> Job:
    """Returns the job with the needs that the paths in its settings name."""
    paths = [f"{path}/" for path in _RUN_PATH.findall(json.dumps(job.spec))]
    needs = (one.name for one in others if any(p.startswith(f"{one.name}/") for p in paths))
    return replace(job, needs=tuple(needs))


def _only(jobs: list[Job], only: str) -> list[Job]:
    if not only:
        return jobs
    names = {job.name.rpartition("/")[0] for job in jobs if job.kind == "arm"}
    names |= {name.partition("/")[0] for name in names}
    if only not in names:
        raise ConfigError(
            f"ablate.only: expected one of {', '.join(sorted(names))}; got {only!r}, "
            f"nearest: {nearest(only, names, count=1)}"
        )
    wanted: set[str] = set()
    for job in reversed(jobs):
        if job.kind == "arm" and f"{job.name}/".startswith(f"{only}/"):
            wanted.add(job.name)
        if job.name in wanted:
            wanted |= set(job.needs)
    return [job for job in jobs if job.name in wanted]


def _filled(value: Any, mark: str, by: int | str) -> Any:
    """Returns a tree with a mark replaced in all its texts; a text that is the mark becomes it."""
    if isinstance(value, dict):
        return {key: _filled(item, mark, by) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, mark, by) for item in value]
    if not isinstance(value, str):
        return value
    return by if value == mark else value.replace(mark, str(by))


def _loaded(cls: Any, tree: Tree, where: str) -> Any:
    """Returns settings from a tree; a ConfigError names the place."""
    try:
        return load_settings(cls, (), [(name, yaml.dump(block)) for name, block in tree.items()])
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix('command line: ')}") from error


def _read(cls: type[RawT], raw: Any, where: str) -> RawT:
    """Returns a dataclass made of a mapping; a ConfigError names the key and its place."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected a mapping, got {raw!r}")
    hints = get_type_hints(cls)
    for key, value in raw.items():
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {key}; nearest: {nearest(str(key), hints)}")
        if not fits(value, hints[key]):
            raise ConfigError(f"{where}.{key}: expected {words(hints[key])}, got {value!r}")
    given = {key: converted(value, hints[key]) for key, value in raw.items()}
    try:
        return cls(**given)
    except TypeError as error:
        needed = ", ".join(item.name for item in fields(cls) if item.name not in raw)  # type: ignore[arg-type]
        raise ConfigError(f"{where}: keys are missing, of {needed}") from error
