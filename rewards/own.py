"""The user's own reward functions, run in worker processes with a time limit.

    rewards:
      own: {"my_package.rewards:brevity": 0.2, "my_rewards.py:agrees": 0.5}
      own_limits: {time_limit_s: 5}

`rewards.own_loading` says how a function is written, docs/own_reward.py shows four. One
that hangs, crashes, raises, or returns anything but a number in [0, 1] or None has no
score for that sample; it is counted and named in the log, and the run goes on until too
many fail. A function that returns None has judged that it cannot judge, which is no failure.

    function               called with                  limit
    per sample             one sample                   time_limit_s
    async, per sample      up to 32 at once             time_limit_s for each
    batched                up to 32 in one list         time_limit_s times their number

Where several samples are lost together, each is called again on its own, so a function may
see a sample twice. Which samples share a list depends on the number of workers. A process
that a function starts is its own to end.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.config import PARTS, OwnConfig, part_name
from rewards.own_loading import Form
from rewards.own_pool import Job, Lost, WorkerPool
from rewards.own_worker import Packed, Verdict, forms, judge, start
from rl_avr.closing import Closing
from rl_avr.contracts import FinishReason, PromptKind, Puzzle
from rl_avr.elicitation.chains import direct_answer
from rl_avr.errors import ConfigError, RewardError, nearest

logger = logging.getLogger(__name__)

_CHUNK_SIZE = 32
_NUM_SHOWN = 3
_ASYNC_GRACE_S = 1.0
_FORMS_LIMIT_S = 30.0


@dataclass(frozen=True)
class OwnSample:
    """One completion to be judged.

    Args:
        prompt: the user's words.
        completion: the model's words.
        columns: what else a function may ask for; the names of `own_loading.COLUMNS`.
    """

    prompt: str
    completion: str
    columns: Mapping[str, Any]


def own_sample(
    prompt: str,
    completion: str,
    puzzle: Puzzle,
    *,
    prompt_id: str,
    kind: PromptKind,
    finish_reason: FinishReason,
    num_tokens: int | None,
) -> OwnSample:
    """Returns a completion with every column of `own_loading.COLUMNS`."""
    columns = {
        "prompt_id": prompt_id,
        "puzzle": puzzle,
        "answer": direct_answer(puzzle),
        "kind": kind,
        "finish_reason": finish_reason,
        "num_tokens": num_tokens,
    }
    return OwnSample(prompt, completion, columns)


class OwnRewards(Closing):
    """The user's functions and the processes in which they run.

    The processes start at once, are started again when one was lost, and end with `close`,
    after an error or an interrupt, and with this process, even where it is killed. It is
    used from one thread at a time.

    Args:
        paths: `package.module:name` or `path/to/file.py:name`, relative to the current folder.
        limits: time limit, number of processes, and how many may fail.

    Raises:
        ConfigError: a function cannot be loaded, called or named.
    """

    def __init__(self, paths: Iterable[str], limits: OwnConfig) -> None:
        self._paths = _by_name(paths)
        self._limits = limits
        self._is_closed = False
        loaded = tuple(_absolute(path) for path in self._paths.values())
        self._loaded = dict(zip(self._paths, loaded, strict=True))
        self._pool = WorkerPool(limits.num_workers, start, (os.getpid(), os.getcwd(), loaded))
        try:
            self._forms = self._read_forms()
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, in the order of the paths."""
        return tuple(self._paths)

    def score(self, samples: Sequence[OwnSample]) -> dict[str, list[float | None]]:
        """Returns, for each function, one value a sample, in order: in [0, 1] or None.

        Raises:
            RewardError: a function failed for more than `max_failed_share` of the samples; a
                column is missing or cannot be sent to another process; it is closed.
        """
        if self._is_closed:
            raise RewardError("the own rewards are closed; expected a call before close()")
        try:
            return {name: self._values(name, samples) for name in self.names}
        except BaseException:
            # calls are still being worked on, and nobody waits for their answers
            self._pool.stop()
            raise

    def close(self) -> None:
        """Ends the processes; a second call does nothing."""
        self._is_closed = True
        self._pool.stop()

    def _read_forms(self) -> dict[str, Form]:
        if not self._paths:
            return {}
        # imported in a worker alone: a function's module may crash, or need what this has not
        try:
            (found,) = self._pool.run([Job(forms, (), _FORMS_LIMIT_S)], num_tries=1)
        except RewardError as error:
            raise ConfigError(
                f"own: importing {', '.join(self._loaded.values())}: {error}"
            ) from error
        if isinstance(found, Lost):
            raise ConfigError(f"own: {found.reason}")
        problems = [form for form in found.values() if isinstance(form, str)]
        if problems:
            raise ConfigError("; ".join(problems))
        return {name: found[path] for name, path in self._loaded.items()}

    def _values(self, name: str, samples: Sequence[OwnSample]) -> list[float | None]:
        values: list[float | None] = [None] * len(samples)
        failures: dict[int, str] = {}
        is_over = False
        for index, (value, failure) in self._verdicts(name, samples):
            values[index] = value
            if failure is not None:
                failures[index] = failure
                is_over = len(failures) / len(samples) > self._limits.max_failed_share
            # the rest cannot bring the share down, and each may take its whole time
            if is_over:
                break
        if failures:
            logger.warning(_summary(name, samples, failures))
        if is_over:
            raise RewardError(self._too_many(name, len(samples), failures))
        return values

    def _verdicts(self, name: str, samples: Sequence[OwnSample]) -> Iterator[tuple[int, Verdict]]:
        """Yields index and verdict of every sample: first of whole chunks, then of single ones."""
        form = self._forms[name]
        calls = [_call(name, form, i, sample) for i, sample in enumerate(samples)]
        singles = list(range(len(calls)))
        if form.is_batched or form.is_async:
            size = min(_CHUNK_SIZE, -(-len(calls) // self._limits.num_workers)) or 1
            chunks = [singles[i : i + size] for i in range(0, len(calls), size)]
            singles = []
            jobs = [self._job(name, calls, chunk) for chunk in chunks]
            for chunk, answer in zip(chunks, self._pool.run(jobs), strict=True):
                if isinstance(answer, list):
                    yield from zip(chunk, answer, strict=True)
                elif isinstance(answer, Lost) and len(chunk) == 1:
                    yield chunk[0], (None, answer.reason)
                else:
                    singles += chunk
        jobs = [self._job(name, calls, [i]) for i in singles]
        for i, answer in zip(singles, self._pool.run(jobs), strict=True):
            yield i, (None, answer.reason) if isinstance(answer, Lost) else answer[0]

    def _job(self, name: str, calls: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> Job:
        form, limit_s = self._forms[name], self._limits.time_limit_s
        packed = _packed(name, [calls[i] for i in indices], indices)
        args = (self._loaded[name], packed, limit_s)
        if form.is_batched:
            return Job(judge, args, limit_s * len(indices))
        return Job(judge, args, limit_s, _ASYNC_GRACE_S if form.is_async else 0.0)

    def _too_many(self, name: str, num_samples: int, failures: Mapping[int, str]) -> str:
        most = Counter(failures.values()).most_common(_NUM_SHOWN)
        reasons = "; ".join(f"{count} x {reason}" for reason, count in most)
        return (
            f"own reward {self._paths[name]}: expected at most "
            f"{self._limits.max_failed_share:.0%} of the completions without a score "
            f"(own_limits.max_failed_share), got at least {len(failures)} of {num_samples} = "
            f"{len(failures) / num_samples:.0%}; most often: {reasons}. Mend the function, or "
            "raise own_limits.time_limit_s where it is slow; where it cannot judge a completion "
            "it may return None, which is not counted"
        )


def _by_name(paths: Iterable[str]) -> dict[str, str]:
    """Returns name -> path, of paths that are well formed.

    Raises:
        ConfigError: a path has no colon or no name; its file is missing; a name is taken.
    """
    found: dict[str, str] = {}
    for path in paths:
        source, colon, name = path.rpartition(":")
        if not colon or not source or not name.isidentifier():
            raise ConfigError(
                f"own.{path}: expected `package.module:name` or `path/to/file.py:name`, where "
                "name is that of a function"
            )
        if part_name(path) in (*PARTS, "total"):
            raise ConfigError(
                f"own.{path}: the name {name!r} is that of a part of this package; expected a "
                f"function that is called none of {', '.join((*PARTS, 'total'))}"
            )
        if part_name(path) in found:
            raise ConfigError(
                f"own.{path}: expected a name of its own, got {name!r} as of own.{found[name]}; "
                "rename one of the functions"
            )
        _check_source(path, source)
        found[part_name(path)] = path
    return found


def _check_source(path: str, source: str) -> None:
    if not source.endswith(".py"):
        if os.sep in source or "/" in source:
            raise ConfigError(f"own.{path}: expected a file with the ending .py, got {source}")
        return
    file = Path(source)
    if not file.is_file():
        beside = [str(found) for found in sorted(file.parent.glob("*.py"))]
        near = f"the nearest are {nearest(source, beside)}" if beside else "no .py is beside it"
        raise ConfigError(f"own.{path}: there is no file {file.absolute()}; {near}")


def _absolute(path: str) -> str:
    source, _, name = path.rpartition(":")
    return f"{Path(source).resolve()}:{name}" if source.endswith(".py") else path


def _call(name: str, form: Form, index: int, sample: OwnSample) -> dict[str, Any]:
    """Returns what the function wants of a sample."""
    given = {**sample.columns, "prompt": sample.prompt, "completion": sample.completion}
    for column in form.required:
        if column not in given:
            raise RewardError(
                f"own reward {name}: it asks for the column {column!r}, and sample {index} has "
                f"only {', '.join(given)}"
            )
    return given if form.takes_all else {key: given[key] for key in form.named if key in given}


def _packed(name: str, calls: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> Packed:
    try:
        return Packed(calls)
    # pickling runs the code of the columns' classes
    except Exception as error:
        raise RewardError(
            f"own reward {name}: samples {indices[0]} to {indices[-1]} have a column that cannot "
            f"be sent to another process ({type(error).__name__}: {error}); expected one of "
            f"{', '.join(calls[0])} to be picklable"
        ) from error


def _summary(name: str, samples: Sequence[OwnSample], failures: Mapping[int, str]) -> str:
    lines = [f"own reward {name}: {len(failures)} of {len(samples)} completions have no score"]
    for index, failure in sorted(failures.items())[:_NUM_SHOWN]:
        sample = samples[index]
        prompt = f"prompt {sample.columns['prompt_id']}, " if "prompt_id" in sample.columns else ""
        lines.append(f"  sample {index} ({prompt}{sample.completion[:40]!r}): {failure}")
    if len(failures) > _NUM_SHOWN:
        lines.append(f"  and {len(failures) - _NUM_SHOWN} more")
    return "\n".join(lines)
