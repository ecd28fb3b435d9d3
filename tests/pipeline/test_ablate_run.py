import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_avr.errors import ConfigError
from rl_avr.pipeline.ablate_plan import Job
from rl_avr.pipeline.ablate_run import (
    AblationError,
    expected_seconds,
    read_results,
    run_jobs,
)

ROOT = Path(__file__).parents[2]
# stands for training: counts to spec["steps"] in a file, goes on from it, then writes the result
TRAIN = """
import json, os, pathlib, sys, time
root, name = pathlib.Path(sys.argv[1]), sys.argv[2]
folder = root / name
job = json.loads((folder / "job.json").read_text())
with (root / "begun").open("a") as file:
    file.write(f"{name} {os.environ['OMP_NUM_THREADS']}\\n")
steps = folder / "steps"
done = int(steps.read_text()) if steps.exists() else 0
for step in range(done, job["spec"]["steps"]):
    time.sleep(job["spec"].get("pause_s", 0))
    steps.write_text(str(step + 1))
if job["spec"].get("fails"):
    sys.exit("no such policy")
result = {**job, "seconds": 2.0, "began_at": done}
(folder / "result.json").write_text(json.dumps(result))
"""


def fake(root, job):
    return [sys.executable, "-c", TRAIN, str(root), job.name]


def begun(root):
    path = root / "begun"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def jobs_of(*names, **spec):
    return [Job(name, "arm", {"steps": 2, "seed": 0, **spec}) for name in names]


def test_every_job_runs_once_and_then_none_does(tmp_path):
    jobs = jobs_of("order/a/0", "order/b/0")
    results = run_jobs(jobs, tmp_path, 1, fake)
    assert list(results) == begun(tmp_path) == ["order/a/0", "order/b/0"]
    assert run_jobs(jobs, tmp_path, 1, fake) == results
    assert len(begun(tmp_path)) == 2


def test_a_job_waits_for_what_it_needs(tmp_path):
    late = Job("order/a/0", "arm", {"steps": 1}, needs=("starts/x/0",))
    early = Job("starts/x/0", "start", {"steps": 1, "pause_s": 0.5})
    run_jobs([late, early], tmp_path, 2, fake)
    assert begun(tmp_path) == ["starts/x/0", "order/a/0"]


def test_jobs_side_by_side_share_the_cores(tmp_path):
    run_jobs(jobs_of("order/a/0", "order/b/0", pause_s=0.5), tmp_path, 2, fake)
    each = max(1, len(os.sched_getaffinity(0)) // 2)
    lines = (tmp_path / "begun").read_text().splitlines()
    assert sorted(lines) == [f"order/a/0 {each}", f"order/b/0 {each}"]


def test_a_failed_job_is_named_and_the_others_are_done(tmp_path):
    bad = Job("order/a/0", "arm", {"steps": 1, "fails": True})
    lost = Job("order/b/0", "arm", {"steps": 1}, needs=("order/a/0",))
    good = Job("order/c/0", "arm", {"steps": 1})
    with pytest.raises(AblationError, match="2 of 3 jobs") as error:
        run_jobs([bad, lost, good], tmp_path, 1, fake)
    assert "order/a/0: exit code 1: no such policy" in str(error.value)
    assert "order/b/0: needs one that failed" in str(error.value)
    assert list(read_results([bad, lost, good], tmp_path)) == ["order/c/0"]


def test_a_job_that_ends_well_without_a_result_has_failed(tmp_path):
    with pytest.raises(AblationError, match="exit code 0: it said nothing"):
        run_jobs(jobs_of("order/a/0"), tmp_path, 1, lambda root, job: [sys.executable, "-c", ""])


def test_other_settings_than_those_of_a_result_are_refused_with_the_key(tmp_path):
    run_jobs(jobs_of("order/a/0"), tmp_path, 1, fake)
    with pytest.raises(ConfigError, match="order/a/0: was done with steps 2, .* now have 9"):
        run_jobs(jobs_of("order/a/0", steps=9), tmp_path, 1, fake)
    # begun and not done: a checkpoint of other settings must not be gone on from either
    (tmp_path / "order/a/0/result.json").unlink()
    with pytest.raises(ConfigError, match="steps 2"):
        run_jobs(jobs_of("order/a/0", steps=9), tmp_path, 1, fake)


def test_expected_minutes_are_those_of_jobs_of_the_same_table():
    job = Job("order/a/1", "arm", {}, minutes=5)
    results = {
        "order/a/0": {"kind": "arm", "seconds": 100},
        "order/b/0": {"kind": "arm", "seconds": 200},
        "replay/a/0": {"kind": "arm", "seconds": 7},
    }
    assert expected_seconds(job, results) == 150
    assert expected_seconds(job, {}) == 300


KILLED = """
import pathlib, sys
from rl_avr.pipeline.ablate_plan import Job
from rl_avr.pipeline.ablate_run import run_jobs
root = pathlib.Path(sys.argv[1])
jobs = [Job(name, "arm", {"steps": 12, "seed": 0, "pause_s": 0.1}) for name in sys.argv[3:]]
run_jobs(jobs, root, 1, lambda root, job: [sys.executable, "-c", sys.argv[2], str(root), job.name])
"""


def test_killed_between_and_inside_jobs_it_goes_on_and_leaves_no_child(tmp_path):
    jobs = jobs_of("order/a/0", "order/b/0", steps=12, pause_s=0.1)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), TRAIN, *(job.name for job in jobs)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    steps = tmp_path / "order/b/0/steps"
    wait_for(lambda: steps.exists() and steps.read_text() > "")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    at = int(steps.read_text())
    time.sleep(0.3)
    assert int(steps.read_text()) == at < 12, "the child went on without its parent"
    results = run_jobs(jobs, tmp_path, 1, fake)
    assert begun(tmp_path) == ["order/a/0", "order/b/0", "order/b/0"]
    assert [result["began_at"] for result in results.values()] == [0, at]


def wait_for(condition, limit_s=30):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_result_says_what_it_is_of(tmp_path):
    (job,) = jobs_of("order/a/0")
    run_jobs([job], tmp_path, 1, fake)
    found = json.loads((tmp_path / "order/a/0/result.json").read_text())
    assert (found["name"], found["kind"], found["spec"]) == (job.name, job.kind, job.spec)
