"""Peaks of memory: what was freed again is seen, and one peak does not hide another."""

import pytest
import torch

from rl_avr.metric_names import GROUP_MEMORY, PEAK_MEMORY
from rl_avr.training.usage import MemoryUse, PeakWatch

CPU = torch.device("cpu")
GIB = 2**30
SIZE = GIB // 4


def take_and_free(num_bytes):
    block = torch.ones(num_bytes // 4)
    del block


def test_the_peak_sees_what_was_freed_again():
    watch = PeakWatch(CPU)
    take_and_free(SIZE)
    peak = watch.num_bytes()
    assert peak is not None
    assert SIZE <= peak + 2**20 < 2 * SIZE


def test_the_peak_leaves_out_what_was_before():
    take_and_free(SIZE)
    held = torch.ones(SIZE // 4)
    peak = PeakWatch(CPU).num_bytes()
    assert peak is not None
    assert peak < SIZE // 4
    del held


def test_an_update_is_counted_for_each_of_its_groups_and_the_largest_is_kept():
    use = MemoryUse(CPU)
    for size, num_groups in ((SIZE, 2), (SIZE // 8, 1)):
        use.begin(num_groups)
        take_and_free(size)
        use.end()
    assert use.most()[GROUP_MEMORY] == pytest.approx(SIZE / GIB / 2, rel=0.1)


def test_an_update_does_not_hide_what_the_process_took_before_it():
    PeakWatch(CPU)
    use = MemoryUse(CPU)
    before = use.most()[PEAK_MEMORY]
    take_and_free(SIZE)
    # sets back the peak that the system keeps
    use.begin(1)
    use.end()
    assert use.most()[PEAK_MEMORY] >= before + 0.9 * SIZE / GIB


def test_without_an_update_there_is_no_figure_of_it():
    use = MemoryUse(CPU)
    use.end()
    assert GROUP_MEMORY not in use.most()
