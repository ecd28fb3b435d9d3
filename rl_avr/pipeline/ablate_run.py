"""Runs the jobs of an ablation that have no result yet, each in a process of its own.

A job that fails does not hold up the others; those that need it are left out. Started
again, the same command goes on where it was stopped.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from rl_avr.errors import ConfigError, RlAvrError
from rl_avr.parent_process import end_with_parent
from rl_avr.pipeline.ablate_job import RESULT, write_json
from rl_avr.pipeline.ablate_plan import Job, Tree
from rl_avr.pipeline.steps import child_environment

Command = Callable[[Path, Job], Sequence[str]]
_POLL_S = 0.2
_LOG = "log.txt"
_LEAST_LEFT = 0.1
"""Share of a job's time that is taken to be left of one that is late."""


class AblationError(RlAvrError, RuntimeError):
    """Jobs failed; their logs say why."""


def job_command(root: Path, job: Job) -> list[str]:
    """Returns the command that runs a job."""
    return [sys.executable, "-m", "rl_avr.pipeline.ablate_job", str(root), job.name]


def read_results(jobs: Sequence[Job], root: Path) -> dict[str, Tree]:
    """Returns name -> result of the jobs that are done.

    Raises:
        ConfigError: a result of other settings lies in a job's folder.
    """
    found = {}
    for job in jobs:
        path = root / job.name / RESULT
        if path.is_file():
            result = json.loads(path.read_text())
            _check_same(result["spec"], job, path.parent)
            found[job.name] = result
    return found


def _check_same(spec: Tree, job: Job, folder: Path) -> None:
    # what was read from JSON has lists where YAML may have given tuples
    wanted = json.loads(json.dumps(job.spec))
    if spec != wanted:
        before, now = _leaves(spec), _leaves(wanted)
        key = min(key for key in {*before, *now} if before.get(key) != now.get(key))
        raise ConfigError(
            f"{folder}: was done with {key} {before.get(key)!r}, the settings now have "
            f"{now.get(key)!r}; name another run.dir, or remove this folder to do it again"
        )


def _leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: leaf
        for name, value in tree.items()
        for key, leaf in _leaves(value, f"{prefix}.{name}".lstrip(".")).items()
    }


def expected_seconds(job: Job, results: Mapping[str, Tree]) -> float:
    """Returns what jobs of the same table took on average; else what the settings say."""
    table = job.name.partition("/")[0]
    took = [
        result["seconds"]
        for name, result in results.items()
        if result["kind"] == job.kind and (job.kind != "arm" or name.partition("/")[0] == table)
    ]
    return sum(took) / len(took) if took else 60 * job.minutes


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    log: TextIO
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def run_jobs(
    jobs: Sequence[Job], root: Path, num_at_once: int, command: Command = job_command
) -> dict[str, Tree]:
    """Runs what is missing; returns name -> result of all.

    Args:
        jobs: each after those that it needs.
        root: folder of the ablation.
        num_at_once: processes side by side; each gets its share of the cores.
        command: how a job is run.

    Raises:
        ConfigError: a result of other settings lies in a job's folder.
        AblationError: jobs failed; all that do not need them are done.
    """
    results = read_results(jobs, root)
    waiting = [job for job in jobs if job.name not in results]
    failed: dict[str, str] = {}
    with _bar(jobs, results) as say, _ended_with_us() as running:
        while waiting or running:
            for job in _ready(waiting, results)[: num_at_once - len(running)]:
                waiting.remove(job)
                running.append(_started(job, root, num_at_once, command))
                say(f"{job.name}: begun", running, waiting, results)
            lost = [job for job in waiting if set(job.needs) & set(failed)]
            for job in lost:
                waiting.remove(job)
                failed[job.name] = "needs one that failed"
            time.sleep(_POLL_S)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                one.log.close()
                name = one.job.name
                if found := read_results([one.job], root) if not one.process.returncode else {}:
                    results |= found
                    text = f"{name}: done in {one.seconds / 60:.1f} min"
                else:
                    failed[name] = _last_words(root / name, one.process.returncode)
                    text = f"{name}: failed: {failed[name]}"
                say(text, running, waiting, results)
            say("", running, waiting, results)
    if failed:
        lines = "\n".join(f"  {name}: {why}" for name, why in failed.items())
        raise AblationError(
            f"{len(failed)} of {len(jobs)} jobs have no result:\n{lines}\nTheir {_LOG} in {root} "
            "says more; the same command does them again and keeps the others"
        )
    return results


def _ready(waiting: Sequence[Job], results: Mapping[str, Tree]) -> list[Job]:
    return [job for job in waiting if set(job.needs) <= set(results)]


def _started(job: Job, root: Path, num_at_once: int, command: Command) -> _Running:
    folder = root / job.name
    folder.mkdir(parents=True, exist_ok=True)
    description = {"name": job.name, "kind": job.kind, "spec": job.spec}
    path = folder / "job.json"
    if path.is_file():
        _check_same(json.loads(path.read_text())["spec"], job, folder)
    write_json(path, description)
    log = (folder / _LOG).open("a")
    threads = max(1, len(os.sched_getaffinity(0)) // num_at_once)
    process = subprocess.Popen(
        command(root, job),
        env={**child_environment(), "OMP_NUM_THREADS": str(threads)},
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    return _Running(job, process, log)


def _last_words(folder: Path, code: int | None) -> str:
    lines = (folder / _LOG).read_text(errors="replace").replace("\r", "\n").strip().splitlines()
    return f"exit code {code}: {lines[-1].strip() if lines else 'it said nothing'}"


@contextmanager
def _ended_with_us() -> Iterator[list[_Running]]:
    """Gives the list of running jobs, and ends those that are still in it."""
    running: list[_Running] = []
    try:
        yield running
    finally:
        for one in running:
            one.process.terminate()
            one.process.wait()
            one.log.close()


Say = Callable[[str, Sequence[_Running], Sequence[Job], Mapping[str, Tree]], None]


@contextmanager
def _bar(jobs: Sequence[Job], before: Mapping[str, Tree]) -> Iterator[Say]:
    """Gives what prints a line and moves the bar, whose time left is of the jobs' own kind."""
    form = "{desc}{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} jobs{postfix}"
    with tqdm(total=len(jobs), initial=len(before), bar_format=form, desc="ablation ") as bar:

        def say(
            text: str,
            running: Sequence[_Running],
            waiting: Sequence[Job],
            results: Mapping[str, Tree],
        ) -> None:
            if text:
                tqdm.write(f"[{len(results)}/{len(jobs)}] {text}")
            left = sum(expected_seconds(job, results) for job in waiting)
            for one in running:
                whole = expected_seconds(one.job, results)
                left += max(whole - one.seconds, _LEAST_LEFT * whole)
            words = f"about {time_words(left / max(len(running), 1))} left"
            if (bar.n, bar.postfix) != (len(results), words):
                bar.n = len(results)
                bar.set_postfix_str(words)

        yield say


def time_words(seconds: float) -> str:
    """Returns a duration in hours and minutes.

    >>> time_words(5400), time_words(90)
    ('1 h 30 min', '2 min')
    """
    minutes = round(seconds / 60 + 0.499)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
