"""A long benchmark: rows outlive the process, limits hold, the table says what was not measured."""

import os
import re
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_rows():
    spec = spec_from_file_location("_rows", ROOT / "benchmarks/_rows.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rows = load_rows()


def script(tmp_path, body):
    path = tmp_path / "side.py"
    path.write_text("import json, subprocess, sys, time\nfrom pathlib import Path\n" + body)
    return [str(path)]


def test_a_side_returns_what_its_process_wrote(tmp_path):
    command = script(tmp_path, "Path(sys.argv[-1]).write_text(json.dumps({'a': sys.argv[1]}))")
    side = rows.measured([*command, "word"], 60)
    assert side["a"] == "word"
    assert set(side) == {"a", "others_share"}


def test_a_process_that_fails_says_how(tmp_path):
    side = rows.measured(script(tmp_path, "raise ValueError('no such policy')"), 60)
    assert set(side) == {"failed"}
    assert "exit 1" in side["failed"] and "no such policy" in side["failed"]


def test_a_process_that_writes_nothing_has_failed(tmp_path):
    assert set(rows.measured(script(tmp_path, "pass"), 60)) == {"failed"}


def test_at_the_limit_the_side_and_what_it_started_are_killed(tmp_path):
    note = tmp_path / "pid"
    child = "child = subprocess.Popen(['sleep', '600'])\n"
    command = script(
        tmp_path, f"{child}Path({str(note)!r}).write_text(str(child.pid))\nchild.wait()"
    )
    assert rows.measured(command, 3.0) == {"timed_out_s": 3.0}
    assert is_gone(int(note.read_text()))


def test_a_killed_benchmark_leaves_no_side_behind(tmp_path):
    note = tmp_path / "pid"
    body = f"import os\nPath({str(note)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    command = script(tmp_path, body)
    call = f"from _rows import measured\nmeasured({command!r}, 600)"
    benchmark = subprocess.Popen(
        [sys.executable, "-c", call],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}"},
    )
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    benchmark.kill()
    benchmark.wait()
    assert is_gone(int(note.read_text()))


def is_gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_share_of_others_leaves_our_children_and_idle_time_out():
    # 100 core-seconds went by: 30 ours, 50 busy in all
    assert rows.others_share((0.0, 10.0, 100.0), (30.0, 60.0, 200.0)) == 0.2
    assert rows.others_share((5.0, 10.0, 100.0), (55.0, 60.0, 200.0)) == 0.0
    assert rows.others_share((), ()) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc/stat")
def test_seconds_of_an_ended_child_count_as_ours():
    then = rows.core_seconds()
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    own, all_busy, whole = (b - a for a, b in zip(then, rows.core_seconds(), strict=True))
    assert own >= 0.5
    assert own - 0.1 <= all_busy <= whole + 0.1


def test_a_row_is_there_for_the_next_process(tmp_path):
    path = tmp_path / "bench" / "rows.jsonl"
    first = rows.RowFile(path)
    assert first.find("a", {"group": 32}) is None
    first.add("a", {"group": 32}, {"ours": {"speed": 2.0}})
    assert rows.RowFile(path).find("a", {"group": 32})["ours"] == {"speed": 2.0}


def test_a_row_of_other_settings_is_not_taken(tmp_path):
    file = rows.RowFile(tmp_path / "rows.jsonl")
    file.add("a", {"group": 32}, {"ours": {"speed": 2.0}})
    file.add("a", {"group": 4}, {"ours": {"speed": 9.0}})
    assert file.find("a", {"group": 32})["ours"] == {"speed": 2.0}
    assert file.find("a", {"group": 8}) is None


def test_the_newest_row_counts(tmp_path):
    file = rows.RowFile(tmp_path / "rows.jsonl")
    for speed in (1.0, 2.0):
        file.add("a", {}, {"ours": {"speed": speed}})
    assert file.find("a", {})["ours"] == {"speed": 2.0}


def test_a_side_out_of_time_is_kept_and_a_failed_one_is_not(tmp_path):
    file = rows.RowFile(tmp_path / "rows.jsonl")
    file.add("slow", {}, {"ours": {"speed": 1.0}, "theirs": {"timed_out_s": 300.0}})
    file.add("broken", {}, {"ours": {"failed": "exit 1"}})
    assert file.find("slow", {})["theirs"] == {"timed_out_s": 300.0}
    assert file.find("broken", {}) is None


def test_a_line_torn_by_a_killed_process_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows.RowFile(path).add("a", {}, {"ours": {"speed": 1.0}})
    with path.open("a") as stream:
        stream.write('{"name": "b", "ca')
    again = rows.RowFile(path)
    assert again.find("a", {})["ours"] == {"speed": 1.0}
    again.add("b", {}, {"ours": {"speed": 3.0}})
    assert again.find("b", {})["ours"] == {"speed": 3.0}


@pytest.mark.parametrize(
    ("name", "num_rows"),
    [("rollouts", 8), ("shared_prefix", 6), ("grpo", 5), ("sft", 3), ("dpo", 4)],
)
def test_without_a_gpu_its_rows_say_that_nothing_was_measured(tmp_path, name, num_rows):
    lines = run(name, "--device=cuda", tmp_path).splitlines()[2:]
    assert len(lines) == num_rows
    assert all("not measured: no run on a cuda device" in line for line in lines)
    assert not list(tmp_path.iterdir())


def run(name, option, folder):
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", option, f"--folder={folder}"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_a_row_of_updates_is_measured_once(tmp_path):
    out = run("shared_prefix", "--quick", tmp_path)
    lines = out.splitlines()[2:]
    assert [line[22:37].strip() for line in lines] == [
        "tower trained",
        "tower frozen",
        "features given",
    ]
    assert all(re.search(r" trl: [14] at once, all timed", line) for line in lines)
    (path,) = tmp_path.iterdir()
    kept = path.read_bytes()
    assert run("shared_prefix", "--quick", tmp_path) == out
    assert path.read_bytes() == kept


@pytest.mark.slow
def test_a_row_of_steps_is_measured(tmp_path):
    row, phases = run("grpo", "--quick", tmp_path).splitlines()[2:]
    assert re.search(r"\d+\.\d\dx  trl-8; others", row)
    assert re.search(r"ours: rollout [\d.]+, reward [\d.]+, update [\d.]+, sync [\d.]+;", phases)


@pytest.fixture
def load(monkeypatch):
    """Returns benchmark -> its module; its folder is on the path for as long as a test runs."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load_one(name):
        spec = spec_from_file_location(f"benchmark_{name}", ROOT / f"benchmarks/{name}.py")
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load_one


def side(seconds, peak=1.0, mean_logprobs=(-6.0,), timed=4, of=4):
    state = {"s": seconds, "peak_gib": peak, "timed": timed, "of": of}
    return {
        **{name: state for name in ("trained", "frozen", "given")},
        "mean_logprobs": list(mean_logprobs),
        "operations_ratio": 5.0,
        "gradients_gib": 0.5,
        "others_share": 0.0,
    }


LONGEST = ("12M", 1000, 150, "cpu")


def test_updates_are_compared_with_the_fastest_micro_batch(load):
    bench = load("shared_prefix")
    row = {"ours": side(2.0), "trl-1": side(30.0), "trl-4": side(25.0, timed=2, of=8)}
    trained, frozen, given = bench.row_lines(bench.Case(*LONGEST), row)
    assert "2.00     25.00   12.50x  trl: 4 at once, 2 of 8 timed; others 0% / 0%" in trained
    assert "12.50x  trl" in frozen
    assert "250%  of ideal 5.00x" in given


def test_missed_bars_are_marked_where_they_apply(load):
    bench = load("shared_prefix")
    row = {"ours": side(2.0), "trl-1": side(8.0)}
    trained, frozen, given = bench.row_lines(bench.Case(*LONGEST), row)
    assert "4.00x! trl" in trained and "4.00x! trl" in frozen
    assert "4.00x  trl" in given and "80%! of ideal" in given
    shorter, *_ = bench.row_lines(bench.Case("12M", 250, 64, "cpu"), row)
    assert "4.00x  trl" in shorter


def test_sides_that_computed_something_else_are_not_compared(load):
    bench = load("shared_prefix")
    row = {"ours": side(2.0, mean_logprobs=[-6.0, -6.1]), "trl-1": side(9.0, mean_logprobs=[-6.2])}
    (line,) = bench.row_lines(bench.Case(*LONGEST), row)
    assert "nothing to compare: the sides' logprobs differ by 2.0e-01" in line


def test_a_micro_batch_that_would_not_fit_is_not_started(load, monkeypatch):
    bench = load("shared_prefix")
    started = []
    peaks = {"trl-1": 2.0, "trl-4": 6.5}

    def measured(command, limit_s):
        started.append(command[1])
        return side(2.0, peak=peaks.get(command[1], 1.0))

    monkeypatch.setattr(bench, "measured", measured)
    monkeypatch.setattr(bench, "free_gib", lambda device: 12.0)
    case = bench.Case(*LONGEST)
    sides = bench.run_case(case, 60.0)
    assert started == ["ours", "dense", "trl-1", "trl-4"]
    # by the one before: half a GiB of gradients, and six of activations for each four
    assert sides["trl-8"] == {"too_large": "needs 12.5 GiB of 12.0 free"}
    assert sides["trl-32"] == {"too_large": "needs 48.5 GiB of 12.0 free"}
    lines = list(bench.row_lines(case, sides))
    assert "trl-32 not measured: needs 48.5 GiB of 12.0 free" in lines[1]
    *_, last = bench.memory_lines(case, sides, "trained")
    assert "one group at once: not measured: needs 48.5 GiB" in last


def test_memory_at_equal_peak_and_with_the_group_at_once(load):
    bench = load("shared_prefix")
    row = {
        "ours": side(2.0, peak=3.0),
        "trl-1": side(30.0, peak=1.0),
        "trl-4": side(28.0, peak=2.5),
        "trl-8": side(20.0, peak=5.0),
        "trl-32": side(25.0, peak=8.0),
    }
    case = bench.Case(*LONGEST)
    lines = list(bench.memory_lines(case, row, "trained"))
    assert len(lines) == 1 + 5 + 2
    assert lines[-2].endswith("at equal peak memory, trl with 4 at once: 14.00x")
    assert lines[-1].endswith("ours needs 0.38! of trl's peak")
    row["ours"] = side(2.0, peak=0.8)
    *_, equal, share = bench.memory_lines(case, row, "trained")
    assert equal.endswith("trl with 1 at once, which needs more than ours: 15.00x")
    assert share.endswith("ours needs 0.10  of trl's peak")


def test_steps_are_compared_with_the_fastest_and_show_where_ours_go(load):
    bench = load("grpo")
    case = bench.Case("12M", "frozen", 250, 1, 64, 3, "4,32", "cpu")
    phases = {"rollout": 1.0, "reward": 0.1, "update": 2.0, "sync": 0.05}
    figures = {"steps_timed": 2, "tokens": 64.0, "others_share": 0.0}
    row = {
        "ours": {**figures, "step_s": 4.0, "phases": phases},
        "trl-4": {**figures, "step_s": 12.0},
        "trl-32": {"timed_out_s": 600.0},
    }
    missing, step, spent = bench.row_lines(case, row)
    assert "trl-32 not measured: not finished in 600 s" in missing
    assert "4.00    12.00   3.00x  trl-4" in step
    assert "rollout 1.00, reward 0.10, update 2.00, sync 0.05; tokens 64 / 64" in spent
