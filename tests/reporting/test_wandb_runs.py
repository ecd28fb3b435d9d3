"""Offline runs of wandb: a file made by hand, and one that wandb itself made."""

import json
import struct
import zlib

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from rl_avr.errors import DataError
from rl_avr.reporting.wandb_runs import read_wandb

BLOCK = 1 << 15


def history(**values):
    record = Record()
    for name, value in values.items():
        item = record.history.item.add()
        item.nested_key.append(name)
        item.value_json = json.dumps(value)
    return record.SerializeToString()


def logged(records):
    """Returns the bytes of a log, records cut where a block ends."""
    raw = b":W&B\xe1\xbe\x00"
    for record in records:
        is_first = True
        while True:
            left = BLOCK - len(raw) % BLOCK
            if left < 7:
                raw += bytes(left)
                continue
            piece, record = record[: left - 7], record[left - 7 :]
            kind = {(True, False): 1, (True, True): 2, (False, True): 3, (False, False): 4}[
                is_first, bool(record)
            ]
            checksum = zlib.crc32(bytes([kind]) + piece)
            raw += struct.pack("<IHB", checksum, len(piece), kind) + piece
            is_first = False
            if not record:
                break
    return raw


RECORDS = [
    history(**{"train/global_step": 1, "train/reward": 0.25, "_timestamp": 5.0}),
    history(**{"profiling/x": 1.0, "_step": 1}),
    history(**{"train/global_step": 2, "train/long": "x" * 100_000, "train/reward": 0.5}),
    history(**{"train/global_step": 2, "train/rewards/choice/mean": 0.75}),
]


def test_rows_are_those_of_metrics_jsonl(tmp_path):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(logged(RECORDS))
    first, second = read_wandb(path)
    assert first == {"step": 1, "time": 5.0, "reward": 0.25}
    assert second.pop("long") == "x" * 100_000
    assert second == {"step": 2, "time": None, "reward": 0.5, "rewards/choice/mean": 0.75}


def test_a_run_that_was_killed_loses_its_last_record_alone(tmp_path):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(logged(RECORDS[:1] + RECORDS[3:])[:-3])
    assert [row["step"] for row in read_wandb(path)] == [1]


def test_what_is_broken_or_no_run_is_refused(tmp_path):
    path = tmp_path / "run-x.wandb"
    raw = bytearray(logged(RECORDS))
    raw[20] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="byte 14: expected the checksum"):
        read_wandb(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="expected a file of wandb"):
        read_wandb(path)
    with pytest.raises(DataError, match="expected an offline run"):
        read_wandb(tmp_path / "none.wandb")


@pytest.mark.slow
def test_a_run_that_wandb_wrote(tmp_path):
    import wandb

    with wandb.init(project="rl_avr", dir=tmp_path, mode="offline") as run:
        for step in (1, 2):
            run.log({"train/global_step": step, "train/reward": step / 4})
    # the file is whole when wandb's own process has ended
    wandb.teardown()
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert [(row["step"], row["reward"]) for row in read_wandb(path)] == [(1, 0.25), (2, 0.5)]
