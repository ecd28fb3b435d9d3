"""A long benchmark: rows outlive the process, limits hold, the table says what was not measured."""

import os
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


def test_without_a_gpu_its_rows_say_that_nothing_was_measured(tmp_path):
    done = subprocess.run(
        [sys.executable, "benchmarks/rollouts.py", "--device=cuda", f"--folder={tmp_path}"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()[2:]
    assert len(lines) == 8
    assert all("not measured: no run on a cuda device" in line for line in lines)
    assert not list(tmp_path.iterdir())
