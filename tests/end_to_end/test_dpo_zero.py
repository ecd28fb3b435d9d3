"""DPO under ZeRO-2 with two processes: the step is that of one process; ZeRO-3 is refused."""

from pathlib import Path

import pytest

from tests.end_to_end.dpo_step import GLOBAL_BATCH, NUM_MICRO_BATCHES, WAYS, step
from tests.end_to_end.launching import launched, written
from tests.preference.pair_cases import make_pairs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ZERO2 = ROOT / "configs" / "accelerate" / "zero2_cpu.yaml"
METRICS = (
    *("loss", "rewards/margins", "rewards/chosen", "rewards/rejected"),
    *("logps/chosen", "logps/rejected", "entropy", "num_tokens"),
)


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def found(tiny_folder, pairs_folder, tmp_path_factory):
    """Way -> what each of the two ranks wrote; all ways in one start."""
    out = tmp_path_factory.mktemp("zero2")
    launched(ZERO2, "dpo_step.py", tiny_folder, pairs_folder, out, *WAYS)
    return written(out, WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_zero2_with_two_processes_makes_the_step_of_one(
    tiny_folder, pairs_folder, tmp_path, found, way
):
    """Slopes within 1e-5 of their size, loss and metrics of the log within 1e-5."""
    per_device = GLOBAL_BATCH // NUM_MICRO_BATCHES
    expected = step(str(tiny_folder), pairs_folder, tmp_path, per_device, way)
    slopes = {n: slope for n, slope in expected["slopes"].items() if slope.norm() > 1e-6}
    assert len(slopes) > 4
    for rank in found[way]:
        assert (rank["stage"], rank["num_ranks"]) == (2, 2)
        assert (rank["why_plain"] is None) == (way != "plain")
        gaps = {n: ((rank["slopes"][n] - s).norm() / s.norm()).item() for n, s in slopes.items()}
        assert {n: gap for n, gap in gaps.items() if gap > 1e-5} == {}
        for name in METRICS:
            gap = pytest.approx(expected["metrics"][name], abs=1e-5, rel=1e-6)
            assert rank["metrics"][name] == gap, name
        assert 0 <= rank["metrics"]["rewards/accuracies"] <= 1
