"""Lets `import torchvision` succeed beside a CPU build of torch.

The package index carries torchvision with CUDA operators only. Beside a CPU torch its
import stops with `operator torchvision::nms does not exist`, although the image
transforms, which are all that vLLM's model registry and Qwen's processors need, are
plain Python. The hook below waits for the first import of torchvision; where torch
has no CUDA and torchvision's own extension does not load, it first declares the
missing operator names. Detection operators then exist by name and cannot be called.

It does nothing on a GPU, nothing beside a CPU build of torchvision, and costs nothing
until torchvision is imported. `rl_avr/__init__.py` installs it, so every process that
imports this package has it; no other file may.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width) -> (Tensor, Tensor)",
    "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)",
    "ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias,"
    " SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h,"
    " SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor",
    "_roi_align_backward(Tensor grad) -> Tensor",
    "_roi_pool_backward(Tensor grad) -> Tensor",
    "_ps_roi_align_backward(Tensor grad) -> Tensor",
    "_ps_roi_pool_backward(Tensor grad) -> Tensor",
    "_deform_conv2d_backward(Tensor grad) -> Tensor",
)

_library = None


class _TorchvisionFinder(importlib.abc.MetaPathFinder):
    """Declares the operators once, then steps aside and lets the real import happen."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec("torchvision")
            if spec is not None and spec.origin is not None:
                _declare_missing_operators(Path(spec.origin).parent)
        return None


def install() -> None:
    """Puts the hook in place, once a process; later calls do nothing."""
    if "torchvision" not in sys.modules and not any(
        isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _TorchvisionFinder())


def _declare_missing_operators(package: Path) -> None:
    global _library
    import torch

    if torch.cuda.is_available() or _extension_loads(package):
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _OPERATORS:
        _library.define(schema)


def _extension_loads(package: Path) -> bool:
    """Returns whether torchvision's compiled operators load into this torch."""
    import torch

    extensions = [*package.glob("_C*.so"), *package.glob("_C*.pyd")]
    if not extensions:
        return False
    try:
        torch.ops.load_library(str(extensions[0]))
    except OSError:
        return False
    return True


def cover_vllm_inspection() -> None:
    """Gives the hook to the process in which vLLM inspects a model's class.

    vLLM starts it as `python -m vllm.model_executor.models.registry`, which imports
    torchvision before any plugin of vLLM runs; the command is a variable of that
    module, meant to be changed where an interpreter needs other arguments.
    """
    from vllm.model_executor.models import registry

    registry._SUBPROCESS_COMMAND = [
        sys.executable,
        "-c",
        "import rl_avr, runpy; "
        f"runpy.run_module({registry.__name__!r}, run_name='__main__', alter_sys=True)",
    ]
