"""Numbers drawn in blocks are the generator's own, one by one."""

import gc

import torch

from rollouts.vllm_sampler import SeedBlocks


def test_blocks_hold_the_numbers_that_single_draws_give():
    one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)
    blocks = SeedBlocks(block=7)
    drawn = [(blocks.next(one), blocks.next(other)) for _ in range(30)]
    for column, seed in enumerate((5, 6)):
        fresh = torch.Generator().manual_seed(seed)
        singles = [torch.randint(0, 2**31, (1,), generator=fresh).item() for _ in range(30)]
        assert [pair[column] for pair in drawn] == singles


def test_a_generator_that_is_gone_is_forgotten():
    blocks = SeedBlocks()
    kept, gone = torch.Generator(), torch.Generator()
    blocks.next(kept)
    blocks.next(gone)
    assert len(blocks) == 2
    del gone
    gc.collect()
    assert len(blocks) == 1
