"""Steps of a longer run: each a command of its own, done once, timed, resumable.

A step's time is written to `steps.json` only when its command succeeded, so a run that
was stopped goes on with the step it stopped in.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rl_avr.errors import RlAvrError
from rl_avr.parent_process import END_WITH_PARENT, end_with_parent

# What the libraries say at every start hides the progress bars; errors still show.
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
    "ACCELERATE_LOG_LEVEL": "ERROR",
}


class StepError(RlAvrError, RuntimeError):
    """A step's command failed; its own message stands above."""


@dataclass(frozen=True)
class Step:
    """One command of a run.

    Args:
        name: key of its time in `steps.json`.
        title: what a reader sees.
        command: arguments after the interpreter.
    """

    name: str
    title: str
    command: tuple[str, ...]


def run_steps(steps: Sequence[Step], folder: Path) -> dict[str, float]:
    """Runs the steps that are not done; returns seconds by step.

    Raises:
        StepError: a command failed; the steps before it stay done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "steps.json"
    seconds: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    for number, step in enumerate(steps, start=1):
        heading = f"[{number}/{len(steps)}] {step.title}"
        if step.name in seconds:
            print(f"{heading}: done before, in {seconds[step.name]:.0f} s", flush=True)
            continue
        print(f"\n{heading}\n    {_readable(step.command)}", flush=True)
        started = time.monotonic()
        code = subprocess.run(
            _with_python(step.command),
            env=child_environment(),
            check=False,
            preexec_fn=partial(end_with_parent, os.getpid()),
        ).returncode
        if code != 0:
            raise StepError(
                f"step {step.name!r} failed with exit code {code}; its message stands above. The "
                "steps before it are done: the same command goes on from here"
            )
        seconds[step.name] = round(time.monotonic() - started, 1)
        _write(path, seconds)
    return seconds


def _with_python(command: Sequence[str]) -> list[str]:
    return [sys.executable, *command]


def _readable(command: Sequence[str]) -> str:
    """Returns the command as a user would type it."""
    words = list(command)
    if words[:2] == ["-m", "rl_avr.cli"]:
        words = ["rl-avr", *words[2:]]
    elif words[:2] == ["-m", "accelerate.commands.launch"]:
        words = ["accelerate", "launch", *words[2:]]
    return shlex.join(words)


def child_environment() -> dict[str, str]:
    """Returns the environment of a step: quiet libraries, our tools, an end with its parent."""
    tools = str(Path(sys.executable).parent)
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**_QUIET, **os.environ, "PATH": path, END_WITH_PARENT: "1"}


def _write(path: Path, seconds: dict[str, float]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(seconds, indent=1) + "\n")
    partial.rename(path)
