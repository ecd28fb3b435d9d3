import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rl_avr.errors import ConfigError
from rl_avr.training.config import RunConfig
from rl_avr.training.run_folder import MetricsBar, prepare_run, report_to


def test_a_run_without_wandb_goes_on(monkeypatch, tmp_path, caplog):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wandb" else real(name)
    )
    assert report_to(RunConfig(dir=str(tmp_path))) == []
    assert "metrics.jsonl" in caplog.text


def test_a_run_whose_wandb_cannot_start_goes_on(monkeypatch, tmp_path, caplog):
    import wandb

    def refuse(**_):
        raise wandb.errors.CommError("no network")

    monkeypatch.setattr(wandb, "init", refuse)
    assert report_to(RunConfig(dir=str(tmp_path), wandb="online")) == []
    assert "no network" in caplog.text


def test_wandb_can_be_left_out(tmp_path):
    assert report_to(RunConfig(dir=str(tmp_path), wandb="disabled")) == []


def test_versions_are_written(tmp_path):
    prepare_run(RunConfig(dir=str(tmp_path / "run")))
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["trl"] == "1.16.0"
    assert versions["commit"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/run"):
        prepare_run(RunConfig(dir=str(tmp_path / "file" / "run")))


def test_a_second_process_is_kept_out_of_a_run(tmp_path):
    prepare_run(RunConfig(dir=str(tmp_path)))
    # the same process may come again
    prepare_run(RunConfig(dir=str(tmp_path)))
    code = (
        "from rl_avr.training.run_folder import prepare_run\n"
        "from rl_avr.training.config import RunConfig\n"
        f"prepare_run(RunConfig(dir={str(tmp_path)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"process {os.getpid()} is at work in it" in done.stderr


def test_the_bar_keeps_what_is_logged_less_often():
    shown = []
    bar = MetricsBar("SFT", {"loss": "loss", "eval/perception_accuracy": "perception"}, 0)
    bar.training_bar = SimpleNamespace(set_postfix=shown.append)
    for logs in ({"lr": 1}, {"loss": 2.0}, {"eval/perception_accuracy": 0.25}, {"loss": 1.0}):
        bar.on_log(None, None, None, logs=logs)
    assert [dict(one) for one in shown][-1] == {"loss": "1", "perception": "0.25"}
    assert len(shown) == 3
