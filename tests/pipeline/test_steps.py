import json

import pytest

from rl_avr.pipeline.demo import demo_steps
from rl_avr.pipeline.steps import Step, StepError, run_steps
from rl_avr.settings import DemoSettings


def writes(name, path):
    return Step(name, name, ("-c", f"open({str(path)!r}, 'a').write({name!r} + ' ')"))


def test_steps_run_in_order_and_are_timed(tmp_path):
    log = tmp_path / "log"
    seconds = run_steps([writes("one", log), writes("two", log)], tmp_path)
    assert log.read_text() == "one two "
    assert list(seconds) == ["one", "two"]
    assert json.loads((tmp_path / "steps.json").read_text()) == seconds


def test_a_stopped_run_goes_on_with_the_step_that_failed(tmp_path):
    log = tmp_path / "log"
    broken = Step("two", "two", ("-c", "raise SystemExit(3)"))
    with pytest.raises(StepError, match="'two' failed with exit code 3"):
        run_steps([writes("one", log), broken, writes("three", log)], tmp_path)
    run_steps([writes("one", log), writes("two", log), writes("three", log)], tmp_path)
    assert log.read_text() == "one two three "


def test_a_seed_reaches_every_step_of_the_demo():
    steps = demo_steps(DemoSettings())
    assert [s.name for s in steps] == [
        "data",
        "sft_perception",
        "sft_reasoning",
        "eval_warm",
        "grpo",
        "eval_grpo",
    ]
    assert all("--run.seed" in s.command or "--puzzles.seed" in s.command for s in steps)
