"""The metrics file: what is written is read, and what a killed process leaves is survived."""

import json

import numpy as np
import pytest

from rl_avr.errors import DataError
from rl_avr.reporting.sinks import MetricsFile, read_metrics


def _without_time(rows):
    return [{k: v for k, v in row.items() if k != "time"} for row in rows]


def test_a_line_is_on_disk_before_the_file_is_closed(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    sink = MetricsFile(path)
    sink.write(1, {"reward": 0.5, "phase": "train"})
    assert _without_time(read_metrics(path)) == [{"step": 1, "reward": 0.5, "phase": "train"}]
    sink.close()
    sink.close()


def test_not_a_number_becomes_null_and_numpy_becomes_a_number(tmp_path):
    metrics = {
        "nan": float("nan"),
        "inf": -np.inf,
        "none": None,
        "flag": True,
        "float32": np.float32(0.25),
        "count": np.int64(7),
    }
    with MetricsFile(tmp_path / "m.jsonl") as sink:
        sink.write(0, metrics)
    (row,) = _without_time(read_metrics(tmp_path / "m.jsonl"))
    expected = {"nan": None, "inf": None, "none": None, "flag": True, "float32": 0.25, "count": 7}
    assert row == {"step": 0, **expected}


def test_step_and_time_are_the_files_own(tmp_path):
    with MetricsFile(tmp_path / "m.jsonl") as sink:
        sink.write(3, {"step": 99, "time": "never", "loss": 1.0})
    (row,) = read_metrics(tmp_path / "m.jsonl")
    assert row["step"] == 3
    assert row["time"] > 1e9


def test_a_repeated_step_keeps_the_newest_value_of_each_name(tmp_path):
    path = tmp_path / "m.jsonl"
    with MetricsFile(path) as sink:
        for step in (1, 2, 3):
            sink.write(step, {"reward": step / 10})
    with MetricsFile(path) as resumed:
        resumed.write(2, {"reward": 0.9})
        resumed.write(3, {"runtime_s": 5.0})
    assert _without_time(read_metrics(path)) == [
        {"step": 1, "reward": 0.1},
        {"step": 2, "reward": 0.9},
        {"step": 3, "reward": 0.3, "runtime_s": 5.0},
    ]


@pytest.mark.parametrize("torn", [b'{"step": 2, "rew', b"{", b'{"step": 2, "w": "\xc3'])
def test_a_torn_last_line_is_left_out_and_a_resumed_run_goes_on(tmp_path, torn):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1, "reward": 0.5}\n' + torn)
    assert read_metrics(path) == [{"step": 1, "reward": 0.5}]
    with MetricsFile(path) as sink:
        sink.write(2, {"reward": 0.75})
    assert [row["reward"] for row in read_metrics(path)] == [0.5, 0.75]


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1, "reward": 0.5}')
    with MetricsFile(path) as sink:
        sink.write(2, {"reward": 0.75})
    assert [row["reward"] for row in read_metrics(path)] == [0.5, 0.75]


def test_a_file_with_nothing_but_a_torn_line_starts_again(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"st')
    assert read_metrics(path) == []
    with MetricsFile(path) as sink:
        sink.write(1, {"reward": 1.0})
    assert json.loads(path.read_text())["reward"] == 1.0


@pytest.mark.parametrize("broken", ['{"step": 2,', "[1]", '{"reward": 1.0}', '{"step": "2"}'])
def test_a_broken_line_in_the_middle_names_file_and_line(tmp_path, broken):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n' + broken + '\n{"step": 3}\n')
    with pytest.raises(DataError, match=r"m\.jsonl, line 2"):
        read_metrics(path)


def test_a_missing_file_is_named_and_an_empty_one_is_empty(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_metrics(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").touch()
    assert read_metrics(tmp_path / "empty.jsonl") == []


def test_rows_beyond_a_checkpoint_and_ends_of_runs_are_taken_out(tmp_path):
    path = tmp_path / "m.jsonl"
    with MetricsFile(path) as sink:
        for step in (1, 2, 3):
            sink.write(step, {"reward": step / 10})
        sink.write(3, {"train_runtime": 1.0})
        before = path.stat().st_ino
        sink.drop_after(4)
        assert path.stat().st_ino != before
        sink.drop_after(2)
        sink.write(3, {"reward": 0.7})
        unchanged = path.stat().st_ino
        sink.drop_after(3)
        assert path.stat().st_ino == unchanged
    rows = _without_time(read_metrics(path))
    assert rows == [{"step": n, "reward": reward} for n, reward in ((1, 0.1), (2, 0.2), (3, 0.7))]
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]
