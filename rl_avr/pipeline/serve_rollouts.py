"""Starts the replicas of the engine `vllm_server` and keeps them running.

Each is vLLM's own server in processes of its own, on a port of its own. One that dies or
no longer answers is started again; all end with this process.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

import httpx

from rl_avr.errors import ConfigError, RolloutError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.parent_process import end_with_parent
from rollouts.config import RolloutConfig, ServerConfig
from rollouts.server_address import forget_urls, key_file, make_key, write_urls
from rollouts.server_launch import (
    devices_by_replica,
    dialled,
    free_ports,
    num_gpus,
    policy_path,
    replica_arguments,
    replica_environment,
)
from rollouts.vllm_faults import check_vllm

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POLL_S = 0.5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_END_S = 15.0
_HEALTH_FAILURES = 3
_TAIL_LINES = 15


def serve_rollouts(policy: PolicyConfig, rollouts: RolloutConfig) -> None:
    """Starts the replicas and returns when it is told to stop by SIGINT or SIGTERM.

    Raises:
        ConfigError: a setting, a folder or a port that cannot be used.
        RolloutError: vLLM is missing or of another version; a replica did not start, with
            the end of its log.
    """
    path, server, found = policy_path(policy.path), rollouts.server, num_gpus()
    with _only_one(server):
        check_vllm(distribution_version("torch"), found > 0)
        signal.signal(signal.SIGTERM, _interrupt)
        key = make_key(server)
        devices = devices_by_replica(rollouts, found)
        replicas = []
        try:
            for index, port in enumerate(free_ports(server)):
                arguments = replica_arguments(path, policy.dtype, rollouts, port, found > 0)
                environment = replica_environment(rollouts, key, devices[index])
                replicas.append(_Replica(index, server, port, arguments, environment))
            for replica in replicas:
                replica.start()
            print(
                f"starting {len(replicas)} replicas of {path}; logs: {Path(server.dir) / 'logs'}",
                flush=True,
            )
            _wait_for_all(replicas, server)
            write_urls(server, [replica.url for replica in replicas])
            _say_ready(replicas, server)
            while True:
                for replica in replicas:
                    replica.look()
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            print("stopping the replicas", flush=True)
        finally:
            forget_urls(server)
            for replica in replicas:
                replica.end()


@dataclass
class _Replica:
    """One replica: its process, and when it last answered."""

    index: int
    server: ServerConfig
    port: int
    arguments: list[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    has_answered: bool = False
    failures: int = 0
    pause_s: float = _FIRST_PAUSE_S
    start_at: float = 0.0
    ask_at: float = 0.0

    @property
    def url(self) -> str:
        """Address for engines."""
        host = self.server.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def log(self) -> Path:
        """File of what it prints."""
        return Path(self.server.dir) / "logs" / f"replica{self.index}.log"

    def start(self) -> None:
        """Starts the process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.has_answered, self.failures = False, 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rollouts.server_replica", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )

    def ended(self) -> int | None:
        """Returns the exit code of a process that has ended."""
        return self.process.poll() if self.process else None

    def answers(self) -> bool:
        """Returns whether the server says that it and its engine are well."""
        try:
            response = httpx.get(
                f"http://{dialled(self.server.host)}:{self.port}/health",
                timeout=self.server.health_timeout_s,
                trust_env=False,
            )
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    def look(self) -> None:
        """Starts a replica again that has ended, and ends one that no longer answers."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.start_at:
                print(f"replica {self.index}: starting again", flush=True)
                self.start()
        elif (code := self.ended()) is not None:
            self._plan_restart(f"ended with code {code}")
        elif now >= self.ask_at:
            self.ask_at = now + self.server.health_interval_s
            if self.answers():
                if not self.has_answered:
                    print(f"replica {self.index}: ready at {self.url}", flush=True)
                self.has_answered, self.failures, self.pause_s = True, 0, _FIRST_PAUSE_S
            elif self.has_answered:
                self.failures += 1
                if self.failures >= _HEALTH_FAILURES:
                    self._plan_restart(f"has not answered {self.failures} times")

    def end(self) -> None:
        """Ends the process and all that it has started."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            # the group: vLLM's engine is a process of its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        self.process = None

    def tail(self) -> str:
        """Returns the end of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _plan_restart(self, why: str) -> None:
        self.end()
        self.start_at = time.monotonic() + self.pause_s
        print(
            f"replica {self.index} {why}; it is started again in {self.pause_s:g} s; "
            f"log: {self.log}",
            flush=True,
        )
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)


def _wait_for_all(replicas: list[_Replica], server: ServerConfig) -> None:
    """Returns when every replica answers; one that ends before is not started again."""
    started = time.monotonic()
    while left := [replica for replica in replicas if not replica.has_answered]:
        waited = time.monotonic() - started
        for replica in left:
            code = replica.ended()
            if code is not None or waited > server.start_timeout_s:
                why = "did not start" if code is None else f"ended with code {code}"
                raise RolloutError(
                    f"replica {replica.index} {why} after {waited:.0f} s; the end of "
                    f"{replica.log}:\n{replica.tail()}"
                )
            if replica.answers():
                replica.has_answered = True
                print(f"replica {replica.index}: ready at {replica.url}", flush=True)
        time.sleep(_POLL_S)


def _say_ready(replicas: list[_Replica], server: ServerConfig) -> None:
    urls = ", ".join(replica.url for replica in replicas)
    print(f"ready: {urls}\nAPI key: {key_file(server)}", flush=True)
    print(
        "use them: rollouts.engine vllm_server"
        + (f" and rollouts.server.dir {server.dir}" if server.dir != ServerConfig().dir else "")
        + "; stop them: Ctrl-C",
        flush=True,
    )
    if server.host not in _LOOPBACK:
        print(
            f"warning: {server.host} is open to other machines: who has the key can replace the "
            "weights and run vLLM's development calls, and nothing is encrypted",
            flush=True,
        )


@contextmanager
def _only_one(server: ServerConfig) -> Iterator[None]:
    """Refuses a folder in which another command serves."""
    path = Path(server.dir) / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise ConfigError(
            f"rollouts.server.dir {server.dir}: cannot be written: {error}"
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"rollouts.server.dir {server.dir}: another `rl-avr serve-rollouts` runs there; "
                "stop it, or set another folder"
            ) from error
        yield


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
