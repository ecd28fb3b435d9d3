"""Which replicas may sample: each is watched, dropped, brought up to date and taken back.

    up      healthy, with the current weights: gets requests
    stale   healthy, with other weights: is being brought up to date
    down    does not answer, or answered wrongly

A request holds a `Lease`. When its replica goes down the lease is void at once: whoever
waits for the answer asks another replica and ignores what may still come.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import RolloutError
from rollouts.server_client import FIRST_VERSION, ReplicaClient, ReplicaFault
from rollouts.server_transport import WeightTransport

logger = logging.getLogger(__name__)

ReplicaState = Literal["up", "stale", "down"]


@dataclass(eq=False)
class Replica:
    """What is known of one replica.

    Args:
        client: HTTP to it.
        state: see the head of this file.
        problem: why it is not up.
        load: requests it has now.
        served: requests it has answered.
        tries: how often it was asked for its health since it was up.
        epoch: counts how often it went out of service.
        error: what no waiting would mend, such as a wrong key.
        lock: held while it is looked at.
    """

    client: ReplicaClient
    state: ReplicaState = "down"
    problem: str = "not asked yet"
    load: int = 0
    served: int = 0
    tries: int = 0
    epoch: int = 0
    error: RolloutError | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, eq=False)
class Lease:
    """The right to ask a replica once; void when the replica has gone out of service since."""

    replica: Replica
    epoch: int

    @property
    def is_valid(self) -> bool:
        """Whether the replica has been up since the lease was given."""
        return self.replica.epoch == self.epoch


class ReplicaPool:
    """Watches replicas, each from a thread of its own.

    Args:
        clients: of the replicas.
        path: the policy that version 0 is; a replica started with another is given this one.
        interval_s: between two looks at a replica.
        transport: brings stale replicas up to date; None where another rank does.
    """

    def __init__(
        self,
        clients: Sequence[ReplicaClient],
        path: str,
        interval_s: float,
        transport: WeightTransport | None,
    ) -> None:
        self.replicas = [Replica(client) for client in clients]
        self._path = path
        self._interval_s = interval_s
        self._transport = transport
        self._version = ""
        self._is_first = True
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def version(self) -> str:
        """The version that a replica must report to get requests."""
        return self._version

    def start(self, version: str) -> None:
        """Names the weights of `path` and begins to watch."""
        self._version = version
        for replica in self.replicas:
            threading.Thread(target=self._watch, args=(replica,), daemon=True).start()

    def update(self, version: str) -> None:
        """Brings every replica that answers to new weights; returns when all have been tried."""
        with self._lock:
            self._version, self._is_first = version, False
            for replica in self.replicas:
                if replica.state == "up":
                    self._out(replica, "stale", f"has not got weights {version} yet")
        with ThreadPoolExecutor(len(self.replicas)) as threads:
            list(threads.map(self._look, self.replicas))

    def lease(self, max_load: int) -> Lease | None:
        """Returns a lease on the replica with the least to do; None where all are full or gone."""
        with self._lock:
            free = [r for r in self.replicas if r.state == "up" and r.load < max_load]
            if not free:
                return None
            replica = min(free, key=lambda r: (r.load, r.served))
            replica.load += 1
            return Lease(replica, replica.epoch)

    def give_back(self, lease: Lease) -> None:
        """Ends a lease whose request was answered."""
        with self._lock:
            if lease.is_valid:
                lease.replica.load -= 1
                lease.replica.served += 1

    def drop(self, lease: Lease, problem: str) -> None:
        """Takes a replica out of service, which makes every lease on it void."""
        if lease.is_valid:
            self._retire(lease.replica, "down", problem)

    def has_up(self) -> bool:
        """Returns whether any replica is in service.

        Raises:
            RolloutError: each has a problem that no waiting would mend, such as a wrong key.
        """
        if any(replica.state == "up" for replica in self.replicas):
            return True
        errors = [replica.error for replica in self.replicas if replica.error is not None]
        if len(errors) == len(self.replicas):
            raise errors[0]
        return False

    def wait_for_any(self, timeout_s: float, what_for: str) -> None:
        """Returns when a replica is up.

        Raises:
            RolloutError: none was in time; with each one's address, tries and problem.
        """
        started = time.monotonic()
        while not self.has_up():
            if time.monotonic() - started > timeout_s:
                raise self.nobody(time.monotonic() - started, what_for)
            self._closed.wait(0.05)

    def nobody(self, waited_s: float, what_for: str) -> RolloutError:
        """Returns the error of a pool in which no replica is up."""
        lines = [
            f"\n  {r.client.url}: {r.state} after {r.tries} tries: {r.problem}"
            for r in self.replicas
        ]
        return RolloutError(
            f"no rollout server answers: waited {waited_s:.0f} s {what_for}, for "
            f"{len(self.replicas)} replicas:{''.join(lines)}\n  Start them with `rl-avr "
            "serve-rollouts` and the same rollouts.server block; its folder has their logs"
        )

    def close(self) -> None:
        """Stops watching and leaves the replicas, which go on running, to other runs."""
        self._closed.set()
        for replica in self.replicas:
            if self._transport is not None and replica.state != "down":
                replica.client.let_go()
            replica.client.close()

    def _watch(self, replica: Replica) -> None:
        while not self._closed.is_set():
            self._look(replica)
            self._closed.wait(self._interval_s)

    def _look(self, replica: Replica) -> None:
        """Asks one replica how it is and moves it to the state that follows."""
        with replica.lock:
            version, epoch = self._version, replica.epoch
            replica.tries += 1
            try:
                found = replica.client.weights_version()
                if found != version:
                    self._retire(replica, "stale", f"it has weights {found!r}")
                    epoch = replica.epoch
                    if self._transport is None:
                        return
                    self._bring_up_to_date(replica, self._transport, version, found)
            except ReplicaFault as fault:
                replica.error = None
                self._retire(replica, "down", str(fault))
            except RolloutError as error:
                replica.error = error
                self._retire(replica, "down", str(error))
            else:
                self._admit(replica, version, epoch)

    def _bring_up_to_date(
        self, replica: Replica, transport: WeightTransport, version: str, found: str
    ) -> None:
        """Gives a replica the current weights; those that it was started with may be them."""
        client = replica.client
        if not self._is_first:
            transport.give(client, version, found)
        elif found == FIRST_VERSION and client.loaded_path() == self._path:
            client.take_weights(version)
        else:
            client.take_weights(version, [self._path])
        reported = client.weights_version()
        if reported != version:
            raise ReplicaFault(f"it has weights {reported!r} after a sync, expected {version!r}")

    def _admit(self, replica: Replica, version: str, epoch: int) -> None:
        with self._lock:
            # weights may have changed, or a request failed, while the replica was asked
            if version != self._version or epoch != replica.epoch:
                return
            was, replica.state = replica.state, "up"
            replica.problem, replica.tries, replica.error = "", 0, None
        if was != "up":
            logger.info("%s is up with weights %s", replica.client.url, version)

    def _retire(self, replica: Replica, state: ReplicaState, problem: str) -> None:
        with self._lock:
            was = replica.state
            self._out(replica, state, problem)
        if was == "up" and not self._closed.is_set():
            logger.warning("%s is %s: %s", replica.client.url, state, problem)

    def _out(self, replica: Replica, state: ReplicaState, problem: str) -> None:
        if replica.state == "up":
            replica.epoch += 1
            replica.load = 0
        replica.state, replica.problem = state, problem
