"""Who has a replica: one run at a time, and the replica itself knows which.

Every request of an engine carries the run's claim, in a header. The first one takes a
replica that is free, every later one renews the claim, and one of another run is
refused with the holder's name. A claim ends when the run lets go of it, when the
replica sees that the run's process is gone (a process of the same machine and the same
process namespace), or when nothing has been heard of the run for `EXPIRES_S`.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

CLAIM_HEADER = "x-rollout-claim"
"""Header of a request that names the run it is for."""
EXPIRES_S = 60.0
"""How long a run that is not heard keeps a replica; engines ask for health far more often."""
_LONGEST_COMMAND = 200


@dataclass(frozen=True)
class Claim:
    """A run and the process that speaks for it.

    Args:
        run: name of the run, new at every start.
        holder: what a person can find it by.
        place: machine and process namespace; empty where the system does not tell.
        process: process id within the place.
        started: when the process started, so that one that has its id later is another.
    """

    run: str
    holder: str
    place: str
    process: int
    started: str

    def to_header(self) -> str:
        """Returns the claim as ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_header(cls, text: str) -> "Claim":
        """Returns the claim of a header.

        Raises:
            ValueError: it is no claim.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a claim: {text[:_LONGEST_COMMAND]!r}") from error


def own_claim(run: str) -> Claim:
    """Returns the claim of this process for a run."""
    process = os.getpid()
    command = " ".join(sys.argv)[:_LONGEST_COMMAND]
    holder = f"`{command}` (process {process} on {socket.gethostname()})"
    return Claim(run, holder, _place(), process, _start_of(process))


class ClaimBook:
    """What one replica knows of its claims.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: Claim | None = None
        self._heard_at = 0.0
        self._num_running = 0
        self._over: set[str] = set()

    def refusal(self, claim: Claim) -> str:
        """Takes or renews the claim and returns an empty text, or returns why it cannot be had."""
        if claim.run in self._over:
            return "this run has let go of it"
        held = self._held
        if held is not None and held.run != claim.run and not self._is_stale(held):
            return (
                f"it is held by another run: {held.holder}, heard "
                f"{self._clock() - self._heard_at:.0f} s ago"
            )
        if held is None or held.run != claim.run:
            self._num_running = 0
        self._held, self._heard_at = claim, self._clock()
        return ""

    @contextmanager
    def running(self, claim: Claim) -> Iterator[None]:
        """Keeps the claim while a request of its run is answered, however long that takes."""
        self._num_running += 1
        try:
            yield
        finally:
            if self._held is not None and self._held.run == claim.run:
                self._num_running = max(0, self._num_running - 1)
                self._heard_at = self._clock()

    def let_go(self, run: str) -> None:
        """Ends the claim of a run; what it still asks is refused."""
        self._over.add(run)
        if self._held is not None and self._held.run == run:
            self._held, self._num_running = None, 0

    def _is_stale(self, held: Claim) -> bool:
        if held.place and held.place == _place():
            return _start_of(held.process) != held.started
        return not self._num_running and self._clock() - self._heard_at > EXPIRES_S


def _place() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _start_of(process: int) -> str:
    """Returns when a process started, in ticks since the boot; empty where there is none."""
    with suppress(OSError):
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        # the command's name comes second, in brackets, and may hold anything
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    return ""
