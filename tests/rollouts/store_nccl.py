"""vLLM's weight transfer without a GPU: its own classes, and a TCP store in the place of NCCL.

Everything else is what a GPU would run: the group's rendezvous, both packed loops, the
loading of what comes. `python -m tests.rollouts.store_nccl ARGUMENTS` is a replica with it.
"""

from types import SimpleNamespace
from typing import Any

import torch


class StoreGroup:
    """A group whose broadcast goes through vLLM's store of objects."""

    def __init__(self, address: str, port: int, rank: int, world_size: int, device: Any) -> None:
        from vllm.distributed.utils import StatelessProcessGroup

        self._group = StatelessProcessGroup.create(address, port, rank, world_size)
        self._rank = rank

    def broadcast(self, tensor: torch.Tensor, src: int, stream: Any = None) -> None:
        sent = self._group.broadcast_obj(tensor if self._rank == src else None, src)
        if self._rank != src:
            tensor.copy_(sent)

    def destroy(self) -> None:
        pass


def stand_in_for_nccl() -> None:
    """Replaces what needs a GPU in this process: the group, the streams, the device's number."""
    from vllm.distributed.weight_transfer import nccl_common, packed_tensor

    nccl_common.stateless_init_process_group = StoreGroup
    stream = SimpleNamespace(synchronize=lambda: None)
    packed_tensor._get_streams = lambda device, count: (stream,) * count
    torch.accelerator.current_device_index = lambda: 0


if __name__ in ("__main__", "__mp_main__"):
    from rollouts.server_replica import main, prepare

    prepare()
    stand_in_for_nccl()
    if __name__ == "__main__":
        main()
