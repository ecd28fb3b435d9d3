"""The two ways of weights from the trainer to replicas; the config chooses one.

folder   safetensors in a folder that both sides share, reloaded by vLLM
nccl     from the trainer's GPU to the replica's, by vLLM's own weight transfer
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

import torch

from rl_avr.errors import ConfigError
from rollouts.config import ServerConfig
from rollouts.server_client import ReplicaClient


class WeightTransport(Protocol):
    """Keeps the newest weights, and gives all of them to one replica after another."""

    def keep(self, version: int, named_weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Takes what a sync brings: all weights at the first, later what has changed."""

    def give(self, client: ReplicaClient, version: str, found: str) -> None:
        """Brings one replica, which has the weights `found`, to the newest ones."""

    def close(self) -> None:
        """Frees what was kept."""


def transfer_way(config: ServerConfig, on_gpu: bool) -> Literal["nccl", "folder"]:
    """Returns the way that the config names, or that fits the machine.

    Raises:
        ConfigError: NCCL without a GPU.
    """
    if config.weight_transfer == "auto":
        return "nccl" if on_gpu else "folder"
    if config.weight_transfer == "nccl" and not on_gpu:
        raise ConfigError(
            "rollouts.server.weight_transfer nccl: NCCL copies between GPUs, and torch sees none "
            "here; set folder (or auto) for trainer and replicas"
        )
    return config.weight_transfer


def make_transport(config: ServerConfig, run: str) -> WeightTransport:
    """Returns what carries the weights of a run.

    Raises:
        ConfigError: NCCL without a GPU, or without vLLM beside the trainer.
    """
    if transfer_way(config, torch.cuda.is_available()) == "nccl":
        from rollouts.server_nccl import NcclWeights

        return NcclWeights(torch.cuda.current_device())
    from rollouts.server_weights import WeightFolders

    return WeightFolders(Path(config.dir) / "weights", run)
