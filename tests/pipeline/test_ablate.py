import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rl_avr.cli import main
from rl_avr.evaluation.metrics import Interval
from rl_avr.pipeline.ablate import describe_ablation, make_tables, verdict, write_tables
from rl_avr.pipeline.ablate_job import write_json
from rl_avr.pipeline.ablate_plan import plan_jobs
from rl_avr.pipeline.ablate_stats import Standing
from rl_avr.settings import AblateSettings, load_settings

CONFIG = Path(__file__).parents[2] / "configs" / "ablate" / "warm_start.yaml"
NUM_PUZZLES = 50


def settings(tmp_path, *overrides):
    run = ("run.dir", str(tmp_path / "run"))
    return load_settings(AblateSettings, [CONFIG], [run, *overrides])


def finish(found, shares, seconds=240.0):
    """Writes results: in each arm of `shares` that share of the answers is right."""
    rng = np.random.default_rng(0)
    for job in plan_jobs(found):
        arm = job.name.rpartition("/")[0]
        if arm in shares:
            folder = Path(found.run.dir) / job.name
            folder.mkdir(parents=True)
            right = rng.random(NUM_PUZZLES) < shares[arm]
            result = {
                "name": job.name,
                "kind": job.kind,
                "spec": job.spec,
                "seconds": seconds,
                "trained_tokens": 1000,
                "last_loss": 0.5,
                "right": right.astype(float).tolist(),
                "chance": [0.2] * NUM_PUZZLES,
            }
            write_json(folder / "result.json", result)


def test_the_tables_say_where_ours_agrees_with_the_paper_and_where_not(tmp_path):
    found = settings(tmp_path)
    shares = {
        "order/sequential": 0.4,
        "order/base_shuffled": 0.95,
        "order/elicitation_shuffled": 0.05,
        "mixture/chains": 0.2,
    }
    finish(found, shares)
    order, mixture, replay = make_tables(found)
    assert [row.title for row in order.rows] == [
        "grid order",
        "shuffled",
        "coarse first, then shuffled",
    ]
    assert [row.verdict for row in order.rows][:2] == ["", "as in the paper"]
    assert order.rows[2].verdict.startswith("against the paper")
    assert [row.place for row in order.rows] == [2, 1, 3]
    assert [(row.is_informative, row.place) for row in mixture.rows] == [(False, None)]
    assert replay.rows == ()


def test_tables_of_every_arm_are_written_also_where_one_arm_alone_was_asked_for(tmp_path):
    found = settings(tmp_path)
    finish(found, {"order/sequential": 0.4, "order/base_shuffled": 0.9})
    only = replace(found, ablate=replace(found.ablate, only="order/sequential"))
    text = write_tables(only)
    root = Path(found.run.dir)
    assert (root / "table.md").read_text() == text
    assert "| shuffled | 1 |" in text
    assert (root / "bars.png").read_bytes().startswith(b"\x89PNG")
    assert "shuffled" in (root / "report.html").read_text()


def test_a_dry_run_lists_jobs_with_minutes_as_measured_and_writes_nothing(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert (
        main(["ablate", "warm-start", "--config", str(CONFIG), "--run.dir", run, "--dry-run"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert not (tmp_path / "run").exists()
    jobs = plan_jobs(settings(tmp_path))
    assert len(lines) == len(jobs) + 2
    assert lines[-1].startswith(f"{len(jobs)} jobs, 0 done; about ")
    finish(settings(tmp_path), {"order/sequential": 0.4}, seconds=600.0)
    text = describe_ablation(settings(tmp_path, ("ablate.num_jobs", "2")))
    (done,) = [line for line in text.splitlines() if "order/sequential/0 " in line]
    (next_,) = [line for line in text.splitlines() if "order/base_shuffled/0 " in line]
    assert done.endswith("10.0  done")
    assert next_.endswith("10.0  over 6 min")
    assert f"{len(jobs)} jobs, 2 at a time, 3 done" in text


def test_an_unknown_arm_is_refused_on_the_command_line(tmp_path, capsys):
    words = ["ablate", "warm-start", "--config", str(CONFIG), "--only", "order/sequentail"]
    assert main([*words, "--dry-run"]) == 2
    assert "nearest: order/sequential" in capsys.readouterr().err


def standing(value, low, high, *, is_informative=True, spread=0.01):
    return Standing(
        Interval(0.5, 0.4, 0.6, 3),
        0.2,
        is_informative,
        {},
        Interval(value, value - spread, value + spread, 3),
        Interval(value, low, high, 50),
    )


@pytest.mark.parametrize(
    ("own", "gain", "expected"),
    [
        (standing(0.1, 0.05, 0.15), 10, "as in the paper"),
        (standing(-0.1, -0.15, -0.05), 10, "against the paper"),
        (standing(0.1, 0.05, 0.15), None, "a difference"),
        (standing(0.1, -0.05, 0.25), 10, "no difference shown"),
        (standing(0.1, 0.05, 0.15, spread=0.5), 10, "as in the paper, in these runs: seeds differ"),
        (standing(0.1, 0.05, 0.15, is_informative=False), 10, "both at chance"),
    ],
)
def test_a_verdict(own, gain, expected):
    first = replace(own, by_seed=None, by_puzzle=None)
    assert verdict(own, first, gain) == expected


def test_results_are_what_json_holds(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
