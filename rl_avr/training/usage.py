"""What an update costs beside time: images encoded, and memory."""

import resource
from collections.abc import Iterable
from typing import Any

import torch

from rl_avr.metric_names import PEAK_GPU_MEMORY, PEAK_MEMORY, VISION_ENCODINGS
from rl_avr.modeling.freezing import TOWER_NAMES

_GIB = 1 << 30
_KIB = 1 << 10


class VisionCount:
    """Counts the images that go through the vision towers of the trainer's policies.

    Where a policy cuts an image into crops (LLaVA-NeXT), every image's crops count as one
    encoding each. The engine encodes images, too, and is not counted.

    Args:
        models: the policy and its reference.
    """

    def __init__(self, models: Iterable[Any]) -> None:
        self._encoded = self._trained = 0
        for model in models:
            for tower in _towers(model):
                tower.register_forward_pre_hook(self._count, with_kwargs=True)

    def trained(self, num_puzzles: int) -> None:
        """Adds puzzles that went through the update."""
        self._trained += num_puzzles

    def take(self) -> dict[str, float]:
        """Returns encodings a puzzle since the last call, and forgets them; {} without puzzles."""
        found = {VISION_ENCODINGS: self._encoded / self._trained} if self._trained else {}
        self._encoded = self._trained = 0
        return found

    def _count(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grid = kwargs.get("grid_thw", args[1] if len(args) > 1 else None)
        images = args[0] if args else kwargs["pixel_values"]
        self._encoded += len(grid if isinstance(grid, torch.Tensor) else images)


def _towers(model: Any) -> list[Any]:
    """Returns the outermost modules that are vision towers."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in found)
        if name.rpartition(".")[2] in TOWER_NAMES and not is_inside:
            found[name] = module
    return list(found.values())


def peak_memory() -> dict[str, float]:
    """Returns the most memory that this process has held so far, and its GPU's, in GiB."""
    # Linux says kibibytes
    peak = {PEAK_MEMORY: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / _GIB}
    if torch.cuda.is_available():
        peak[PEAK_GPU_MEMORY] = torch.cuda.max_memory_allocated() / _GIB
    return peak
