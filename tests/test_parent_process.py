"""A process ends with its parent, through a launcher in between."""

import os
import signal
import subprocess
import sys
import time

from rl_avr.parent_process import END_WITH_PARENT

# the launcher starts a child that would sleep for an hour, says its id and waits for it
LAUNCHER = """
import subprocess, sys
from rl_avr.parent_process import end_with_parent_if_asked
end_with_parent_if_asked()
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
child.wait()
"""
CHILD = """
import os, time
from rl_avr.parent_process import end_with_parent_if_asked
end_with_parent_if_asked()
print(os.getpid(), flush=True)
time.sleep(3600)
"""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(asked):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER.format(child=CHILD)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, END_WITH_PARENT: asked},
    )
    assert launcher.stdout is not None
    return launcher, int(launcher.stdout.readline())


def wait_for_end(pid):
    for _ in range(100):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_killed_launcher_takes_its_child_along():
    launcher, child = start("1")
    assert is_alive(child)
    launcher.kill()
    launcher.wait()
    assert wait_for_end(child)


def test_a_parent_that_is_gone_already_ends_the_process():
    code = "from rl_avr.parent_process import end_with_parent; end_with_parent({})"
    orphan = subprocess.run([sys.executable, "-c", code.format(os.getpid() + 1)], check=False)
    assert orphan.returncode == -signal.SIGKILL
    child = subprocess.run([sys.executable, "-c", code.format(os.getpid())], check=False)
    assert child.returncode == 0


def test_without_being_asked_the_child_stays():
    launcher, child = start("0")
    launcher.kill()
    launcher.wait()
    try:
        time.sleep(0.3)
        assert is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
