"""SFT under ZeRO-2 and ZeRO-3 with two processes: the step is that of one process."""

from pathlib import Path

import pytest
import yaml

from rl_avr.modeling.freezing import PARTS, part_of
from tests.end_to_end.launching import launched, written
from tests.end_to_end.sft_step import GLOBAL_BATCH, NUM_MICRO_BATCHES, step

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ZERO2 = ROOT / "configs" / "accelerate" / "zero2_cpu.yaml"


def both_ranks(config, policy_folder, out, *ways):
    """Returns way -> what each of the two ranks wrote; all ways in one start."""
    launched(config, "sft_step.py", policy_folder, out, *ways)
    return written(out, ways)


@pytest.fixture(scope="module")
def alone(tiny_folder, tmp_path_factory):
    """The step of one process."""
    out = tmp_path_factory.mktemp("alone")
    return step(str(tiny_folder), out, GLOBAL_BATCH // NUM_MICRO_BATCHES, "packed")


def assert_same_step(found, expected):
    """Slopes within 1e-5 of their size, loss and metrics of the log within 1e-5."""
    slopes = expected["slopes"]
    gaps = {
        name: ((found["slopes"][name] - slope).norm() / slope.norm()).item()
        for name, slope in slopes.items()
        if slope.norm() > 1e-6
    }
    assert {part_of(name) for name in gaps} == set(PARTS)
    assert {name: gap for name, gap in gaps.items() if gap > 1e-5} == {}
    for name in ("loss", "entropy", "mean_token_accuracy", "loss/chain", "num_tokens"):
        assert found["metrics"][name] == pytest.approx(expected["metrics"][name], abs=1e-5), name


def test_zero2_with_two_processes_makes_the_step_of_one(tiny_folder, tmp_path, alone):
    """Text alone on one rank beside images on the other among the batches."""
    found = both_ranks(ZERO2, tiny_folder, tmp_path, "packed", "plain", "entropy")
    for rank in (*found["packed"], *found["plain"]):
        assert (rank["stage"], rank["num_ranks"]) == (2, 2)
        assert_same_step(rank, alone)
    assert [rank["why_plain"] for rank in found["packed"]] == [None, None]
    first, second = found["entropy"]
    assert first["metrics"]["loss"] > alone["metrics"]["loss"]
    assert all(s.equal(second["slopes"][name]) for name, s in first["slopes"].items())


def test_zero3_goes_the_plain_way_and_makes_the_same_step(tiny_folder, tmp_path, alone):
    config = yaml.safe_load(ZERO2.read_text())
    config["deepspeed_config"]["zero_stage"] = 3
    path = tmp_path / "zero3.yaml"
    path.write_text(yaml.safe_dump(config))
    found = both_ranks(path, tiny_folder, tmp_path, "packed")
    for rank in found["packed"]:
        assert (rank["stage"], rank["num_ranks"]) == (3, 2)
        assert "is partitioned by ZeRO-3" in rank["why_plain"]
        assert_same_step(rank, alone)
