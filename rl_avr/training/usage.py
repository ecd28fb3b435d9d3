"""What an update costs beside time: images encoded, and memory."""

import re
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from rl_avr.metric_names import GROUP_MEMORY, PEAK_GPU_MEMORY, PEAK_MEMORY, VISION_ENCODINGS
from rl_avr.modeling.freezing import TOWER_NAMES

_GIB = 1 << 30
_KIB = 1 << 10


class VisionCount:
    """Counts the images that go through the vision towers of the trainer's policies.

    Where a policy cuts an image into crops (LLaVA-NeXT), every image's crops count as one
    encoding each. The engine encodes images, too, and is not counted.

    Args:
        models: the policy and its reference.
        name: of the metric.
    """

    def __init__(self, models: Iterable[Any], name: str = VISION_ENCODINGS) -> None:
        self.is_on = True
        """Images that are encoded for something else can be left out."""
        self._name = name
        self._encoded = self._trained = 0
        for model in models:
            for tower in _towers(model):
                tower.register_forward_pre_hook(self._count, with_kwargs=True)

    def trained(self, number: int) -> None:
        """Adds puzzles, or conversations, that went through the update."""
        self._trained += number

    def take(self) -> dict[str, float]:
        """Returns encodings for each of these since the last call, and forgets them; or {}."""
        found = {self._name: self._encoded / self._trained} if self._trained else {}
        self._encoded = self._trained = 0
        return found

    def _count(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.is_on:
            return
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


class PeakWatch:
    """Knows the most memory held since it was made, above what was held then.

    That is memory of a GPU's allocator, or of this process on Linux, where memory that the
    process has freed and kept is held, too. It sets the peaks back that the system keeps.

    Args:
        device: whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
        else:
            self._before = _resident("VmRSS") if _reset_resident_peak() else None

    def num_bytes(self) -> int | None:
        """Returns how much; None where this machine cannot say."""
        is_cuda = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) if is_cuda else _resident("VmHWM")
        return None if self._before is None or peak is None else max(0, peak - self._before)


def _resident(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return None
    return _KIB * int(found[1]) if found else None


def _reset_resident_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


class MemoryUse:
    """The most memory of a run so far: of its process and GPU, and of a group in the update.

    Args:
        device: that trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most: dict[str, float] = {}
        self._watch: PeakWatch | None = None
        self._num_groups = 1

    def begin(self, num_groups: int) -> None:
        """Begins the update of a micro-batch of so many groups."""
        self._note(peak_memory())  # a watch sets these back
        self._num_groups = num_groups
        self._watch = PeakWatch(self._device)

    def end(self) -> None:
        """Ends it, after its backward pass."""
        peak = self._watch.num_bytes() if self._watch else None
        self._watch = None
        if peak is not None:
            self._note({GROUP_MEMORY: peak / self._num_groups / _GIB})

    def most(self) -> dict[str, float]:
        """Returns metric -> GiB."""
        self._note(peak_memory())
        return dict(self._most)

    def _note(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._most[name] = max(value, self._most.get(name, 0.0))


def peak_memory() -> dict[str, float]:
    """Returns the most memory that this process has held, and its GPU's, in GiB."""
    # Linux says kibibytes
    peak = {PEAK_MEMORY: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / _GIB}
    if torch.cuda.is_available():
        peak[PEAK_GPU_MEMORY] = torch.cuda.max_memory_allocated() / _GIB
    return peak
