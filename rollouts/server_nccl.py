"""Weights to replicas over NCCL, by vLLM's own weight transfer.

Each replica shares a group with the trainer alone: rank 0 sends, the replica's workers
receive. A replica that dies therefore breaks no other one's group, and one that returns
gets a new group and all weights, at any time. For that the newest weights stay in the
host's memory: the policy that is trained has moved on by then.

    a replica's first time   POST /shutdown_weight_transfer_engine, GET /get_world_size,
                             POST /init_weight_transfer_engine while rank 0 opens the group
    every sync               POST /start_weight_update, POST /update_weights while rank 0
                             broadcasts, POST /finish_weight_update

The two calls on which NCCL waits run aside: where the replica fails or does not answer in
time, the group is aborted and the replica is dropped.

Source: vllm/distributed/weight_transfer/nccl_engine.py, vLLM 0.32.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import torch

from rl_avr.errors import ConfigError, RolloutError
from rollouts.server_client import ReplicaClient, ReplicaFault

_POLL_S = 0.05
_GRACE_S = 2.0


class Sender(Protocol):
    """The trainer's end of one group; vLLM's `NCCLTrainerWeightTransferEngine` is one."""

    def send_weights(self) -> None:
        """Sends what its source holds and drives the replica through the update."""

    def shutdown(self) -> None:
        """Aborts the group, whatever still waits in it."""


class Calls:
    """What vLLM's sender asks of a replica, over HTTP, with the first failure."""

    def __init__(self, client: ReplicaClient) -> None:
        self._client = client
        self.error: Exception | None = None

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Has the replica join the group; returns when it has."""
        self._ask("init_weight_transfer_engine", {"init_info": init_info})

    def start_weight_update(self) -> None:
        """Has the replica make room for new weights."""
        self._ask("start_weight_update", {})

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Has the replica receive weights; returns when it has."""
        self._ask("update_weights", {"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Has the replica use the new weights; their version is named after its caches."""
        self._ask("finish_weight_update", {})

    def _ask(self, step: str, body: dict[str, Any]) -> None:
        try:
            self._client.control_transfer(step, body)
        except (ReplicaFault, RolloutError) as error:
            self.error = _not_for_nccl(self._client.url, error) or error
            raise self.error from error


class Source:
    """What one update sends; vLLM reads it twice, once without the values."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.weights: list[tuple[str, torch.Tensor]] = []

    def metadata(self) -> list[Any]:
        """Returns name, dtype and shape of every weight."""
        from vllm.distributed.weight_transfer.base import ParamMeta

        return [ParamMeta(name, w.dtype, tuple(w.shape)) for name, w in self.weights]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields name and value, on the trainer's device."""
        for name, weight in self.weights:
            yield name, weight.to(self._device, non_blocking=True)


OpenSender = Callable[[Calls, Source, str, int], Sender]
"""(calls, source, this machine's address, number of ranks) -> the trainer's end of a group."""


@dataclass
class _Group:
    """A group with one replica, and the weights that went through it last."""

    sender: Sender
    source: Source
    calls: Calls
    sent: int = 0
    reported: str = ""


class NcclWeights:
    """Keeps the newest weights in the host's memory and sends them, one replica at a time.

    A replica gets what it lacks: everything through a new group, afterwards what has
    been kept since.

    Args:
        device: the trainer's GPU.
        open_sender: opens a group with one replica.

    Raises:
        ConfigError: vLLM is not installed beside the trainer.
    """

    def __init__(self, device: int | str, open_sender: OpenSender | None = None) -> None:
        self._device = torch.device(device)
        self._open_sender = open_sender or vllm_sender()
        # name -> the sync that brought it, and its value
        self._kept: dict[str, tuple[int, torch.Tensor]] = {}
        self._version = 0
        self._groups: dict[str, _Group] = {}
        # one at a time: they share the trainer's link, and vLLM's streams of a device
        self._lock = threading.Lock()

    def keep(self, version: int, named_weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Copies what a sync brings to the host."""
        is_pinned = self._device.type == "cuda"
        for name, weight in named_weights:
            copy = torch.empty(weight.shape, dtype=weight.dtype, pin_memory=is_pinned)
            copy.copy_(weight.detach())
            self._kept[name] = (version, copy)
        # last: a replica that asks meanwhile gets these once more at the sync itself
        self._version = version

    def give(self, client: ReplicaClient, version: str, found: str) -> None:
        """Sends one replica what it lacks, and has it name the version.

        Raises:
            ReplicaFault: the replica failed, or did not answer in time.
            RolloutError: it was not started for NCCL.
        """
        with self._lock:
            group = self._groups.pop(client.url, None)
            if group is not None and group.reported != found:
                # another process by now, or one that an update has failed on
                group.sender.shutdown()
                group = None
            if group is None:
                group = self._join(client)
            sent = self._version
            group.source.weights = [
                (name, weight) for name, (since, weight) in self._kept.items() if since > group.sent
            ]
            send = group.sender.send_weights
            try:
                client.take_weights(version, send=lambda: self._aside(send, group.calls))
            except Exception:
                group.sender.shutdown()  # aborts what may still wait for the replica
                raise
            group.source.weights = []
            group.sent, group.reported = sent, version
            self._groups[client.url] = group

    def close(self) -> None:
        """Ends every group and frees the weights."""
        with self._lock:
            for group in self._groups.values():
                group.sender.shutdown()
            self._groups.clear()
            self._kept.clear()

    def _join(self, client: ReplicaClient) -> _Group:
        client.control_transfer("shutdown_weight_transfer_engine")
        calls, source = Calls(client), Source(self._device)
        address = _address_towards(client.url)
        num_ranks = 1 + client.world_size()
        sender = self._aside(lambda: self._open_sender(calls, source, address, num_ranks), calls)
        return _Group(sender, source, calls)

    def _aside(self, work: Callable[[], Any], calls: Calls) -> Any:
        """Returns what `work` returns; leaves it where the replica's side has failed."""
        outcome: Future[Any] = Future()

        def run() -> None:
            try:
                if self._device.type == "cuda":
                    torch.cuda.set_device(self._device)
                outcome.set_result(work())
            except BaseException as error:  # raised again by the thread that waits
                outcome.set_exception(error)

        # daemon: one that NCCL holds must not hold up the program's end
        threading.Thread(target=run, daemon=True).start()
        while calls.error is None and not wait([outcome], _POLL_S).done:
            pass
        # what has failed over there may come to its end here by itself
        wait([outcome], _GRACE_S)
        if calls.error is not None:
            raise calls.error
        try:
            return outcome.result(0)
        except Exception as error:
            raise ReplicaFault(f"weights over NCCL: {error!r}") from error


def _not_for_nccl(url: str, error: Exception) -> RolloutError | None:
    """Returns the error of a replica whose vLLM was not told of NCCL."""
    if "Weight transfer not configured" not in str(error):
        return None
    return RolloutError(
        f"{url} was started without NCCL for weights; start the replicas on GPUs with the same "
        "rollouts.server block, or set rollouts.server.weight_transfer folder for both sides"
    )


def vllm_sender() -> OpenSender:
    """Returns what opens a group by vLLM.

    Raises:
        ConfigError: vLLM is not installed beside the trainer.
    """
    try:
        from vllm.distributed.weight_transfer.nccl_engine import (
            NCCLTrainerInitInfo,
            NCCLTrainerWeightTransferEngine,
        )
    except ImportError as error:
        raise ConfigError(
            "rollouts.server.weight_transfer nccl: the trainer needs vLLM too, and it cannot be "
            f"imported ({error}); install it, or set folder"
        ) from error

    def open_sender(calls: Calls, source: Source, address: str, num_ranks: int) -> Sender:
        info = NCCLTrainerInitInfo(
            master_address=address, master_port=_free_port(address), world_size=num_ranks, rank=0
        )
        engine: Sender = NCCLTrainerWeightTransferEngine.trainer_init(
            info, client=calls, source=source
        )
        return engine

    return open_sender


def _address_towards(url: str) -> str:
    """Returns this machine's address on the way to a replica; nothing is sent."""
    parts = urlsplit(url)
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
