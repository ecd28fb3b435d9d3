"""What a worker process does: loads the user's functions once, then calls them.

It imports little, because every process that replaces one which hung starts with it.
"""

import asyncio
import contextlib
import io
import math
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rewards.own_loading import Form, OwnFunction, failure_text, load
from rl_avr.errors import ConfigError
from rl_avr.parent_process import end_with_parent

Verdict = tuple[float | None, str | None]
"""A value, or None where the function cannot judge; and what went wrong, if something did."""
Call = Mapping[str, Any]
"""`prompt`, `completion` and columns of one sample, as far as the function wants them."""

ROUNDING = 1e-6
"""A value this little outside [0, 1] is a sum of floats that was meant to be inside."""
_OOM_SCORE = "500"

_functions: dict[str, OwnFunction | str] = {}
_runner: list[asyncio.Runner] = []


def start(parent: int, folder: str, paths: Sequence[str]) -> None:
    """Prepares this process and loads the functions; none of them can stop it by raising.

    Args:
        parent: process id of the parent, with which this process ends.
        folder: the parent's current folder.
        paths: the functions.
    """
    end_with_parent(parent)
    # where memory runs out the kernel is to take this process, not the training
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    _print_to_stderr()
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.append(folder)
    for path in paths:
        try:
            _functions[path] = load(path)
        except ConfigError as error:
            _functions[path] = str(error)


def forms() -> dict[str, Form | str]:
    """Returns how each function is called, or why it could not be loaded."""
    return {path: f if isinstance(f, str) else f.form for path, f in _functions.items()}


def judge(
    path: str, calls: "Sequence[Call] | Unreadable", time_limit_s: float
) -> list[Verdict] | None:
    """Returns one verdict a call; None where a batch of several failed as a whole.

    Args:
        path: the function.
        calls: one for each sample, or why they could not be read here.
        time_limit_s: limit of one call of an async function per sample; every other limit
            is kept by who ends this process.
    """
    function = _functions[path]
    if isinstance(calls, Unreadable):
        return None if calls.num_calls > 1 else [(None, calls.reason)]
    if isinstance(function, str):
        return [(None, function)] * len(calls)
    if function.form.is_async and not function.form.is_batched:
        return _run(_all(function, calls, time_limit_s))
    # nothing that a user's function raises may end this process: not SystemExit either
    try:
        if not function.form.is_batched:
            return [verdict(_awaited(function.function(**call))) for call in calls]
        return [verdict(value) for value in _batch(function, calls)]
    except _BadResult as error:
        failure = str(error)
    except BaseException as error:
        failure = failure_text(error, function.file)
    return None if len(calls) > 1 else [(None, failure)]


def verdict(value: object) -> Verdict:
    """Returns what a function's value is worth.

    None is a verdict. A truth value, a number of any library and a tensor of one element are
    numbers; words are not, even where they spell one.

    >>> verdict(True), verdict(None)
    ((1.0, None), (None, None))
    >>> verdict(float("nan"))
    (None, 'returned nan')
    >>> verdict("0.5")
    (None, "returned '0.5' (str), no number")
    """
    if value is None:
        return None, None
    if isinstance(value, str | bytes):
        return None, f"returned {value[:40]!r} ({type(value).__name__}), no number"
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None, "returned a number too large for [0, 1]"
    # __float__ of someone's class may raise anything
    except Exception:
        return None, f"returned a value of type {type(value).__name__}, no number"
    if math.isnan(number):
        return None, "returned nan"
    if not -ROUNDING <= number <= 1 + ROUNDING:
        return None, f"returned {number:g}, outside [0, 1]"
    return max(0.0, min(1.0, number)), None


class Unreadable(NamedTuple):
    """Calls that could not be unpickled."""

    num_calls: int
    reason: str


class Packed:
    """Calls that were pickled where a failure can be told, not in the pool's own thread.

    The worker has them unpickled before its time begins to run, so the imports that they
    need are not counted.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._data = pickle.dumps(calls, pickle.HIGHEST_PROTOCOL)
        self._num_calls = len(calls)

    def __reduce__(self) -> tuple[Callable[[bytes, int], object], tuple[bytes, int]]:
        return _unpacked, (self._data, self._num_calls)


class _BadResult(Exception):
    """A result that is no list of the right length."""


def _unpacked(data: bytes, num_calls: int) -> object:
    try:
        return pickle.loads(data)
    # unpickling runs the code of the columns' classes
    except Exception as error:
        reason = f"its columns cannot be read in a worker: {failure_text(error, '')}"
        return Unreadable(num_calls, reason)


def _batch(function: OwnFunction, calls: Sequence[Call]) -> list[Any]:
    plural = {"prompt": "prompts", "completion": "completions"}
    names = dict.fromkeys(name for call in calls for name in call)
    lists = {plural.get(name, name): [call.get(name) for call in calls] for name in names}
    result = _awaited(function.function(**lists))
    expected = f"expected a list of {len(calls)}"
    if isinstance(result, str | bytes | Mapping | AbstractSet) or not hasattr(result, "__iter__"):
        raise _BadResult(f"returned a value of type {type(result).__name__}; {expected}")
    # one more than asked for, and no more: a generator may have no end
    values = list(islice(result, len(calls) + 1))
    if len(values) != len(calls):
        got = "more values" if len(values) > len(calls) else f"{len(values)} values"
        raise _BadResult(f"returned {got}; {expected}")
    return values


async def _all(function: OwnFunction, calls: Sequence[Call], time_limit_s: float) -> list[Verdict]:
    return await asyncio.gather(*(_one(function, call, time_limit_s) for call in calls))


async def _one(function: OwnFunction, call: Call, time_limit_s: float) -> Verdict:
    scope = asyncio.timeout(time_limit_s)
    try:
        async with scope:
            return verdict(await function.function(**call))
    except BaseException as error:
        if isinstance(error, TimeoutError) and scope.expired():
            return None, no_answer(time_limit_s)
        return None, failure_text(error, function.file)


def no_answer(time_limit_s: float) -> str:
    """Returns the words for a function that was too slow."""
    return f"no answer within {time_limit_s:g} s"


def _awaited(result: Any) -> Any:
    return _run(_wait(result)) if hasattr(result, "__await__") else result


async def _wait(result: Any) -> Any:
    return await result


def _run(coroutine: Any) -> Any:
    # one loop for the life of the process: clients that users keep are bound to theirs
    if not _runner:
        _runner.append(asyncio.Runner())
    return _runner[0].run(coroutine)


def _print_to_stderr() -> None:
    """Sends what functions print to stderr; stdout may be a table or a file of the parent."""
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a completion may hold half a surrogate pair, which no encoding can print
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
