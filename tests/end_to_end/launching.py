"""A script of this folder started by accelerate, and what its ranks wrote."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def launched(config, script, *arguments):
    """Runs a script with one thread a rank; fails with its last words.

    Args:
        config: of accelerate.
        script: its name in this folder.
        arguments: of the script.
    """
    # any free port: another test may be at the default one
    launch = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
    process = subprocess.run(
        [
            sys.executable,
            *launch,
            "--config_file",
            str(config),
            f"tests/end_to_end/{script}",
            *map(str, arguments),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0, process.stdout[-6000:]


def written(out, ways):
    """Returns way -> what each of two ranks wrote in a folder."""
    return {way: [torch.load(out / f"{way}_{rank}.pt") for rank in (0, 1)] for way in ways}
