"""Shared prefixes under ZeRO-2 with two processes: the gradient is that of plain rows."""

import pytest

from rl_avr.modeling.freezing import PARTS, part_of
from tests.end_to_end.launching import launched, written

pytestmark = pytest.mark.slow

ZERO2 = "configs/accelerate/zero2_cpu.yaml"


@pytest.fixture(scope="module")
def ranks(tiny_folder, puzzle_folder, tmp_path_factory):
    """Way -> what each of the two ranks wrote; both ways in one start."""
    out = tmp_path_factory.mktemp("zero2")
    launched(ZERO2, "zero2_step.py", tiny_folder, puzzle_folder, out)
    return written(out, ("shared", "plain"))


def test_both_ways_are_what_they_say(ranks):
    assert [rank["why_plain"] for rank in ranks["shared"]] == [None, None]
    assert {rank["why_plain"] for rank in ranks["plain"]} == {"update.shared_prefix is false"}
    for way in ranks.values():
        assert [(rank["stage"], rank["num_ranks"]) for rank in way] == [(2, 2)] * 2
        first, second = (rank["prompt_ids"] for rank in way)
        assert len(first) == len(second) == 4 and not set(first) & set(second)


def test_the_gradients_agree(ranks):
    shared, plain = (ranks[way][0]["slopes"] for way in ("shared", "plain"))
    gaps = {
        name: ((shared[name] - slope).norm() / slope.norm()).item()
        for name, slope in plain.items()
        if slope.norm() > 0
    }
    assert {part_of(name) for name in gaps} == set(PARTS)
    assert {name: gap for name, gap in gaps.items() if gap > 1e-4} == {}
    # what is 0 in one way is in the other
    assert all(not shared[name].any() for name in plain.keys() - gaps.keys())


def test_all_ranks_make_the_same_step(ranks):
    for first, second in ranks.values():
        assert all(s.equal(second["slopes"][name]) for name, s in first["slopes"].items())
