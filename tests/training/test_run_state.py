"""A folder of checkpoints: what is in it is whole, and of the run that is going on."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from rl_avr.training.config import RunConfig
from rl_avr.training.run_folder import last_checkpoint
from rl_avr.training.run_state import BatchShape, RunState, put_away, written_aside


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


class OneRank:
    is_main_process = True

    def wait_for_everyone(self):
        pass


SHAPE = BatchShape(2, 4, 8, 1, 1)


def state(weights_version, num_micro_steps=6):
    return RunState(num_micro_steps, SHAPE, None, {"reward": [0.5]}, weights_version)


def test_every_rank_has_its_own_state_and_a_new_one_that_of_the_first(tmp_path):
    for rank in (0, 1):
        state(rank + 3).save(tmp_path, rank)
    loaded = [RunState.load(tmp_path, rank, SHAPE, torch.device("cpu")) for rank in (0, 1, 2)]
    assert loaded == [state(3), state(4), state(3)]


class Ranks:
    """Notes at each wait what the folder of checkpoints holds."""

    def __init__(self, folder, is_main_process=True):
        self.is_main_process = is_main_process
        self.seen = []
        self._folder = folder

    def wait_for_everyone(self):
        self.seen.append(sorted(path.name for path in self._folder.glob("*")))


def test_the_rename_waits_for_every_rank_and_the_next_step_for_the_rename(tmp_path):
    ranks = Ranks(tmp_path)
    with written_aside(tmp_path, "checkpoint-1", None, ranks) as aside:
        (Path(aside) / "checkpoint-1").mkdir()
    assert ranks.seen == [["unfinished"], ["unfinished"], ["checkpoint-1"]]


def test_another_rank_makes_and_moves_nothing(tmp_path):
    (tmp_path / "unfinished" / "checkpoint-1").mkdir(parents=True)
    ranks = Ranks(tmp_path, is_main_process=False)
    with written_aside(tmp_path, "checkpoint-1", 1, ranks):
        pass
    assert ranks.seen == [["unfinished"]] * 3


def test_nothing_of_a_killed_checkpoint_gets_into_the_next_one(tmp_path):
    (tmp_path / "unfinished" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "unfinished" / "checkpoint-1" / "torn").touch()
    with written_aside(tmp_path, "checkpoint-1", None, OneRank()) as aside:
        (Path(aside) / "checkpoint-1").mkdir()
        (Path(aside) / "checkpoint-1" / "whole").touch()
    assert [path.name for path in tmp_path.glob("*/*")] == ["whole"]


def test_a_checkpoint_is_never_replaced(tmp_path):
    """Saved twice at one step of one run, it is the same twice."""
    for content in ("first", "second"):
        with written_aside(tmp_path, "checkpoint-1", None, OneRank()) as aside:
            (Path(aside) / "checkpoint-1").mkdir()
            (Path(aside) / "checkpoint-1" / content).touch()
    assert [path.name for path in tmp_path.glob("*/*")] == ["first"]


@pytest.mark.parametrize("num_renames", range(6))
def test_no_kill_between_two_renames_loses_the_newest_checkpoint(
    tmp_path, monkeypatch, num_renames
):
    """An old run has left 1, 2 and 10; a new one starts in its folder, and saves 1 and 2."""
    checkpoints, done = tmp_path / "checkpoints", []

    def save(run, step):
        with written_aside(checkpoints, f"checkpoint-{step}", None, OneRank()) as aside:
            path = Path(aside) / f"checkpoint-{step}"
            path.mkdir()
            (path / run).touch()

    def killing(source, target):
        if len(done) == num_renames:
            raise Killed
        done.append(target)
        rename(source, target)

    def newest():
        found = last_checkpoint(RunConfig(dir=str(tmp_path)))
        return found and (Path(found).name, next(Path(found).iterdir()).name)

    for step in (1, 2, 10):
        save("old", step)
    (checkpoints / "checkpoint-last").mkdir()
    rename = os.replace
    monkeypatch.setattr(os, "replace", killing)
    with nullcontext() if num_renames == 5 else pytest.raises(Killed):
        put_away(checkpoints, 0)
        save("new", 1)
        save("new", 2)
    old, new = ("checkpoint-10", "old"), [("checkpoint-1", "new"), ("checkpoint-2", "new")]
    assert newest() == [old, old, old, None, *new][num_renames]
    monkeypatch.undo()
    put_away(checkpoints, 0)
    assert newest() is None
    save("third", 1)
    assert newest() == ("checkpoint-1", "third")


def test_a_resume_puts_nothing_away(tmp_path):
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
    put_away(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    put_away(tmp_path / "no such folder", 0)
