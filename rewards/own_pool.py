"""Worker processes whose calls may hang or crash; each loses only its own call.

A `pebble.ProcessPool` ends a process whose call takes too long and starts another. What it
does not survive is repaired here: a process that ends between two calls breaks the whole
pool, which is then started anew and gets the calls again that were not answered.
"""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, NamedTuple

from pebble import ProcessExpired, ProcessPool

from rewards.own_worker import no_answer
from rl_avr.errors import RewardError

START_LIMIT_S = 300.0
"""Longest time in which a new process imports the functions."""
_POLL_S = 0.5


class Job(NamedTuple):
    """A call of a function at the top of a module, and how long it may take.

    `grace_s` comes on top where the function keeps the limit itself if it can.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    time_limit_s: float
    grace_s: float = 0.0


@dataclass(frozen=True)
class Lost:
    """A call that was not answered, and why."""

    reason: str


class WorkerPool:
    """Processes that are started when they are first needed.

    Args:
        num_workers: how many.
        initializer: called once in each, before its first call; its time does not count.
        initargs: what it is called with.
        start_limit_s: longest time in which nothing is answered, beyond a call's own limit.
    """

    def __init__(
        self,
        num_workers: int,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        self._num_workers = num_workers
        self._initializer = initializer
        self._initargs = initargs
        self._start_limit_s = start_limit_s
        self._pool: ProcessPool | None = None
        self._is_stopped = threading.Event()

    def run(self, jobs: Sequence[Job], num_tries: int = 3) -> Iterator[Any]:
        """Yields what each job returned, in order, or `Lost`.

        Who does not take all of them calls `stop` afterwards. What a job raises is raised.

        Args:
            jobs: the calls.
            num_tries: how often in a row the processes may be lost before any call is answered.

        Raises:
            RewardError: they were lost as often as that.
        """
        futures: dict[int, Future[Any]] = {}
        num_failures = 0
        for index, job in enumerate(jobs):
            while True:
                try:
                    for i in range(index, len(jobs)) if len(futures) < len(jobs) else ():
                        if i not in futures:
                            futures[i] = self._scheduled(jobs[i])
                    answer = self._answer(futures, index, job)
                    break
                except BrokenProcessPool as error:
                    self.stop()
                    futures = {i: f for i, f in futures.items() if i < index or _is_answered(f)}
                    num_failures += 1
                    if num_failures == num_tries:
                        raise RewardError(_broken(error)) from error
            num_failures = 0
            yield answer

    def stop(self) -> None:
        """Ends all processes, whatever they are doing, and waits for their end."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()
            self._is_stopped.set()

    def _scheduled(self, job: Job) -> Future[Any]:
        try:
            if self._pool is None:
                self._start()
            assert self._pool is not None
            return self._pool.schedule(
                job.function, job.args, timeout=job.time_limit_s + job.grace_s
            )
        except RuntimeError as error:
            raise BrokenProcessPool(str(error)) from error

    def _start(self) -> None:
        """Starts the processes from a thread that lives until they are stopped.

        The kernel ends a process with the thread that started it; see `end_with_parent`.
        """
        # spawn: a fork would copy the locks of threads that the parent's libraries hold
        context = multiprocessing.get_context("spawn")
        pool = ProcessPool(self._num_workers, 0, self._initializer, self._initargs, context=context)
        is_stopped = threading.Event()
        is_started: Future[bool] = Future()

        def keep() -> None:
            try:
                is_started.set_result(pool.active)
            except BaseException as error:
                is_started.set_exception(error)
            is_stopped.wait()

        threading.Thread(target=keep, name="own rewards", daemon=True).start()
        self._pool, self._is_stopped = pool, is_stopped
        is_started.result()

    def _answer(self, futures: Mapping[int, Future[Any]], index: int, job: Job) -> Any:
        """Waits for one future while the pool lives and anything at all is answered."""
        num_done, since = 0, time.monotonic()
        while not wait([futures[index]], _POLL_S).done:
            # a broken pool forgets the calls that it had not looked at yet
            if self._pool is None or not self._pool.active:
                raise BrokenProcessPool
            now_done = sum(future.done() for future in futures.values())
            if now_done > num_done:
                num_done, since = now_done, time.monotonic()
            elif time.monotonic() - since > job.time_limit_s + self._start_limit_s:
                raise BrokenProcessPool(
                    f"nothing was answered for {self._start_limit_s:g} s more than a call may take"
                )
        try:
            return futures[index].result()
        except TimeoutError:
            return Lost(no_answer(job.time_limit_s))
        except ProcessExpired as error:
            return Lost(_death(error.exitcode))


def _is_answered(future: Future[Any]) -> bool:
    return future.done() and not isinstance(future.exception(), BrokenProcessPool)


def _broken(error: BrokenProcessPool) -> str:
    return (
        "the worker processes of the own rewards end before they answer: "
        f"{error or 'no reason known'}; their own words are on stderr. A function's module must "
        "not end the process, and a script that is run needs `if __name__ == '__main__':`, "
        "because every worker imports it"
    )


def _death(exitcode: int | None) -> str:
    """Returns how a process ended: minus a signal's number, or what it exited with."""
    if exitcode is None or exitcode >= 0:
        return f"its process ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    memory = ", perhaps because memory ran out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
