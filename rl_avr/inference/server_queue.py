"""Requests of many clients, one batch at a time through one engine.

An engine takes one call at a time. Requests of the same kind, which is what they sample and
how, go through it together, in the order in which they came.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from rl_avr.closing import Closing
from rl_avr.contracts import Prompt
from rl_avr.errors import RlAvrError, RolloutError

logger = logging.getLogger(__name__)

Run = Callable[[Any, Sequence[Prompt]], Sequence[Any]]
"""(kind, prompts) -> one result a prompt, in order."""


class QueueClosedError(RuntimeError):
    """The queue takes no more requests, and finishes none that waits."""


@dataclass
class _Job:
    kind: Any
    prompt: Prompt
    future: "Future[Any]" = field(default_factory=Future)


class WorkQueue(Closing):
    """A thread that works off requests.

    A batch that fails is run again one request at a time, so that one that cannot be answered
    fails alone.

    Args:
        run: does the work, always in the same thread.
        max_batch: most requests of a batch.
    """

    def __init__(self, run: Run, max_batch: int) -> None:
        self._run, self._max_batch = run, max_batch
        self._jobs: deque[_Job] = deque()
        self._condition = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are worked off."""
        return not self._is_closed and self._thread.is_alive()

    def __len__(self) -> int:
        """Returns how many requests wait."""
        return len(self._jobs)

    def submit(self, kind: Any, prompt: Prompt) -> "Future[Any]":
        """Returns the result to come; one that is cancelled while it waits costs nothing.

        Raises:
            QueueClosedError: no more requests are taken.
        """
        job = _Job(kind, prompt)
        with self._condition:
            if not self.is_alive:
                raise QueueClosedError("the server is stopping")
            self._jobs.append(job)
            self._condition.notify()
        return job.future

    def close(self) -> None:
        """Finishes the batch at work and fails what waits."""
        with self._condition:
            self._is_closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._condition.notify()
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(QueueClosedError("the server is stopping"))
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._finish([job for job in batch if job.future.set_running_or_notify_cancel()])

    def _next_batch(self) -> list[_Job]:
        """Waits for work; returns the first request with others of its kind, none at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._jobs or self._is_closed)
            batch: list[_Job] = []
            for job in list(self._jobs) if not self._is_closed else ():
                if len(batch) < self._max_batch and job.kind == self._jobs[0].kind:
                    batch.append(job)
            first = {id(job) for job in batch}
            self._jobs = deque(job for job in self._jobs if id(job) not in first)
            return batch

    def _finish(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        try:
            results = self._run(jobs[0].kind, [job.prompt for job in jobs])
        except Exception as error:  # whatever it is, the client behind it must hear of it
            if len(jobs) == 1:
                if not isinstance(error, RlAvrError):
                    logger.exception("%s: failed", jobs[0].prompt.prompt_id)
                    error = RolloutError(f"{type(error).__name__}: {error}")
                jobs[0].future.set_exception(error)
            else:
                for job in jobs:
                    self._finish([job])
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
