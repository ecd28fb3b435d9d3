"""Runs jobs in several processes, with their progress, so that no failure leaves it hanging."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from rl_avr.errors import DataError

Tick = Callable[[], object]
_POLL_S = 0.2
_counter: Any = None


def run_jobs(
    function: Callable[[Any, Tick], None],
    jobs: Sequence[Any],
    num_workers: int,
    progress: Callable[[int], object] = lambda count: None,
) -> None:
    """Calls `function(job, tick)` for every job, the first failure of which is raised.

    Args:
        function: a function at the top of a module; it calls `tick` after each unit of work.
        jobs: what it is called with.
        num_workers: processes; with one, or for one job, the work is done in this process.
        progress: called now and then with how many units were done since the last call.

    Raises:
        DataError: a process ended without saying why, as when memory runs out.
    """
    if min(num_workers, len(jobs)) <= 1:
        for job in jobs:
            function(job, lambda: progress(1))
        return
    # spawn: a fork would copy the locks of threads that the parent's libraries hold
    context = multiprocessing.get_context("spawn")
    counter = context.Value("Q", 0)
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(num_workers, len(jobs)), context, initializer=_start, initargs=(counter,)
    )
    try:
        _follow([executor.submit(_call, function, job) for job in jobs], counter, progress)
        executor.shutdown()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, perhaps because memory ran out; what it had finished "
            "is kept: run the same command again, with fewer data.num_workers if need be"
        ) from error
    finally:
        # after a failure the others' work is lost anyway: they must not hold up the message
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        executor.shutdown(cancel_futures=True)


def _follow(futures: list[Future[None]], counter: Any, progress: Callable[[int], object]) -> None:
    seen = 0
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
        # without the lock, which a worker that was killed may hold for ever
        now = counter.get_obj().value
        progress(now - seen)
        seen = now
        for future in done:
            future.result()


def _start(counter: Any) -> None:
    global _counter
    _counter = counter
    # an interrupt from the keyboard reaches every process; the parent alone deals with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed; it would wait for its next job for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _call(function: Callable[[Any, Tick], None], job: Any) -> None:
    function(job, _tick)


def _tick() -> None:
    with _counter.get_lock():
        _counter.value += 1
