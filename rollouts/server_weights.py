"""Weights on their way to replicas through a shared folder: numbered folders of safetensors."""

import fcntl
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import torch
from safetensors.torch import save_file

from rl_avr.errors import RolloutError
from rollouts.server_client import ReplicaClient

_SHARD_BYTES = 2**31
_KEEP = 2
_LOCK = "lock"


class WeightFolders:
    """A `WeightTransport`: each version goes into a folder of its own, the newest two stay.

    A sync need not bring every weight: frozen ones come once. The newest folder that
    has a weight that the current one lacks is kept too, and stands before it.

    A lock says that the run is alive; folders of runs that were killed go at the first
    write of the next one.

    Args:
        root: folder that trainer and replicas share, under the same path.
        run: name of the run.
    """

    def __init__(self, root: Path, run: str) -> None:
        self._root = root.resolve() / run
        self._lock: TextIO | None = None
        self._names: dict[Path, frozenset[str]] = {}
        self._current: tuple[Path, ...] = ()

    @property
    def current(self) -> list[str]:
        """The folders that hold all weights kept so far, in the order to load them."""
        return [str(folder) for folder in self._current]

    def keep(self, version: int, named_weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Writes what a sync brings into a folder of its own.

        Raises:
            RolloutError: the folder cannot be written.
        """
        folder = self._root / f"v{version:06d}"
        aside = folder.with_name(f".{folder.name}")
        try:
            self._claim()
            aside.mkdir()
            names = _write_shards(aside, named_weights)
            # a replica never sees half a folder
            aside.rename(folder)
        except OSError as error:
            raise RolloutError(
                f"weights of sync {version} cannot be written to {folder}: {error}; expected a "
                "folder with room for the whole policy twice: set rollouts.server.dir"
            ) from error
        self._names[folder] = names
        self._current = self._needed()
        for old in [f for f in list(self._names)[:-_KEEP] if f not in self._current]:
            shutil.rmtree(old, ignore_errors=True)
            del self._names[old]

    def give(self, client: ReplicaClient, version: str, found: str) -> None:
        """Has one replica load the folders.

        Raises:
            ReplicaFault: the replica failed.
        """
        client.take_weights(version, self.current)

    def close(self) -> None:
        """Deletes all that was written."""
        if self._lock is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def _claim(self) -> None:
        """Takes the run's lock, once, and deletes folders whose lock nobody holds."""
        if self._lock is not None:
            return
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = (self._root / _LOCK).open("a")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for other in self._root.parent.iterdir():
            if other != self._root and not _is_held(other / _LOCK):
                shutil.rmtree(other, ignore_errors=True)

    def _needed(self) -> tuple[Path, ...]:
        """Returns the fewest newest folders that hold every name, oldest first."""
        missing = frozenset().union(*self._names.values())
        needed: list[Path] = []
        for folder, names in reversed(self._names.items()):
            if missing & names:
                needed.insert(0, folder)
                missing -= names
        return tuple(needed)


def _is_held(path: Path) -> bool:
    try:
        with path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _write_shards(
    folder: Path, named_weights: Iterable[tuple[str, torch.Tensor]]
) -> frozenset[str]:
    """Writes files of at most about 2 GiB, so that a copy of no more is ever in memory."""
    names: list[str] = []
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in named_weights:
        # a copy: under ZeRO-3 the whole tensor is gone when the next one comes
        shard[name] = tensor.detach().to("cpu", copy=True).contiguous()
        size += shard[name].numel() * shard[name].element_size()
        names.append(name)
        if size >= _SHARD_BYTES:
            save_file(shard, folder / f"weights-{len(names):06d}.safetensors")
            shard, size = {}, 0
    if shard:
        save_file(shard, folder / f"weights-{len(names):06d}.safetensors")
    return frozenset(names)
