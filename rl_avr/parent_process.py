"""Ends a process when its parent is gone, so that a killed run leaves no trainer behind.

The parent of a training process is often a launcher that forwards nothing when it is
killed. A trainer left alone would go on writing checkpoints into a folder in which the
same command, started again, writes its own.
"""

import ctypes
import os
import signal
import sys

END_WITH_PARENT = "RL_AVR_END_WITH_PARENT"
"""Environment variable that makes the command `rl-avr` end with its parent."""

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """Has the kernel kill this process when its parent ends; does nothing outside Linux.

    Fit for `preexec_fn`: no import, no lock.

    Args:
        parent: process id of the parent; where another one has this process by now, the
            parent went before the kernel was asked, and this process ends at once.
    """
    if sys.platform.startswith("linux"):
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent_if_asked() -> None:
    """Calls `end_with_parent` where `END_WITH_PARENT` is set."""
    if os.environ.get(END_WITH_PARENT) == "1":
        end_with_parent()


_loaded: list[ctypes.CDLL] = []


def _libc() -> ctypes.CDLL:
    if not _loaded:
        _loaded.append(ctypes.CDLL(None))
    return _loaded[0]


if sys.platform.startswith("linux"):
    _libc()
