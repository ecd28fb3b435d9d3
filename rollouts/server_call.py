"""One call of `generate` on replicas: hands prompts out, asks again after a fault, keeps groups.

A prompt is asked on one replica at a time. Its answer counts if the lease under which it
was asked is still known here; a replica that went out of service has lost its leases,
its prompts are asked elsewhere, and what it may still say is thrown away.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rl_avr.contracts import RolloutGroup
from rl_avr.errors import RolloutError
from rollouts.config import ServerConfig
from rollouts.server_client import ReplicaClient, ReplicaFault
from rollouts.server_pool import Lease, ReplicaPool

_POLL_S = 0.1


@dataclass(frozen=True)
class _Asked:
    """A request that is out: which prompt, on which lease, since when."""

    index: int
    lease: Lease
    since: float


@dataclass(frozen=True)
class _Answer:
    """What came back for a request: a group, a replica's fault, or what ends the call."""

    ticket: int
    group: RolloutGroup | None = None
    fault: str = ""
    error: Exception | None = None


class ServerCall:
    """Collects one group for each prompt.

    Args:
        pool: the replicas.
        config: limits.
        prompt_ids: names of the prompts, for messages.
        ask: (place of a prompt, replica) -> its group; raises ReplicaFault where another
            replica may do better, anything else where none would.
        max_load: requests that a replica has at once.
    """

    def __init__(
        self,
        pool: ReplicaPool,
        config: ServerConfig,
        prompt_ids: Sequence[str],
        ask: Callable[[int, ReplicaClient], RolloutGroup],
        max_load: int,
    ) -> None:
        self._pool, self._config = pool, config
        self._prompt_ids, self._ask, self._max_load = prompt_ids, ask, max_load
        self._waiting = deque(range(len(prompt_ids)))
        self._asked: dict[int, _Asked] = {}
        self._kept: dict[int, RolloutGroup] = {}
        self._faults = [0] * len(prompt_ids)
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._num_tickets = 0

    def run(self) -> list[RolloutGroup]:
        """Returns the groups in the order of the prompts.

        Raises:
            RolloutError: a prompt failed too often, or no replica answers for too long.
        """
        count, last_up = len(self._prompt_ids), time.monotonic()
        while len(self._kept) < count:
            self._hand_out()
            with suppress(queue.Empty):
                self._settle(self._answers.get(timeout=_POLL_S))
            self._drop_late()
            self._take_back()
            if self._pool.has_up():
                last_up = time.monotonic()
            elif (waited := time.monotonic() - last_up) > self._config.wait_timeout_s:
                what_for = f"with {len(self._kept)} of {count} groups sampled"
                raise self._pool.nobody(waited, what_for)
        return [self._kept[index] for index in range(count)]

    def _hand_out(self) -> None:
        while self._waiting and (lease := self._pool.lease(self._max_load)):
            ticket, index = self._num_tickets, self._waiting.popleft()
            self._num_tickets += 1
            self._asked[ticket] = _Asked(index, lease, time.monotonic())
            # daemon: one that waits for a hung replica must not hold up the program's end
            threading.Thread(target=self._work, args=(ticket, index, lease), daemon=True).start()

    def _work(self, ticket: int, index: int, lease: Lease) -> None:
        try:
            answer = _Answer(ticket, self._ask(index, lease.replica.client))
        except ReplicaFault as fault:
            answer = _Answer(ticket, fault=str(fault))
        except Exception as error:  # raised again by the thread that waits
            answer = _Answer(ticket, error=error)
        self._answers.put(answer)

    def _settle(self, answer: _Answer) -> None:
        asked = self._asked.pop(answer.ticket, None)
        if asked is None:
            return
        if answer.error is not None:
            raise answer.error
        if answer.group is None:
            self._pool.drop(asked.lease, answer.fault)
            self._again(asked, answer.fault)
            return
        self._pool.give_back(asked.lease)
        self._kept[asked.index] = answer.group

    def _drop_late(self) -> None:
        limit = self._config.request_timeout_s
        for asked in self._asked.values():
            if time.monotonic() - asked.since > limit:
                self._pool.drop(asked.lease, f"no answer within {limit:g} s")

    def _take_back(self) -> None:
        """Takes back every prompt whose replica has gone out of service."""
        for ticket in [t for t, asked in self._asked.items() if not asked.lease.is_valid]:
            asked = self._asked.pop(ticket)
            self._again(asked, asked.lease.replica.problem)

    def _again(self, asked: _Asked, problem: str) -> None:
        self._faults[asked.index] += 1
        tries = self._faults[asked.index]
        if tries >= self._config.max_tries:
            raise RolloutError(
                f"prompt {self._prompt_ids[asked.index]} failed on {tries} tries "
                f"(rollouts.server.max_tries), the last on {asked.lease.replica.client.url} after "
                f"{time.monotonic() - asked.since:.0f} s: {problem}"
            )
        self._waiting.appendleft(asked.index)
