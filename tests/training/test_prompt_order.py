"""The order of prompts over ranks: each takes its part, and all learn the same."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler
from trl.trainer.utils import RepeatSampler

from rl_avr.algo.prompt_sampler import UniformSampler
from rl_avr.training.prompt_order import PromptOrder

ROOT = Path(__file__).parents[2]


def one_of(num_ranks, rank):
    return SimpleNamespace(num_processes=num_ranks, process_index=rank)


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_a_rank_draws_the_rows_that_accelerate_would_give_it(num_ranks):
    """Of generations of 8 prompts of 3 completions, repeated twice by trl."""
    num_prompts, group = 8, 3
    theirs = BatchSampler(
        RepeatSampler(range(20), group, num_prompts, 2, seed=1),
        num_prompts * group // num_ranks,
        drop_last=False,
    )
    names = [f"p{i}" for i in range(20)]
    for rank in range(num_ranks):
        batches = list(BatchSamplerShard(theirs, num_ranks, rank))[::2]
        # every iteration over trl's sampler is one more pass
        theirs.sampler.generator.manual_seed(1)
        order = PromptOrder(UniformSampler(20, 1), names, num_prompts, one_of(num_ranks, rank))
        drawn = [[i for i in order.draw() for _ in range(group)] for _ in batches]
        assert drawn == batches and len(batches) == 2


RANK = """
import json, sys
from types import SimpleNamespace as Space
import torch
from accelerate import Accelerator
from rl_avr.algo.prompt_sampler import SecSampler
from rl_avr.training.prompt_order import PromptOrder

ranks = Accelerator(cpu=True)
sampler = SecSampler(["a"] * 8 + ["b"] * 8 + ["c"] * 8, 0, alpha=0.5, temperature=0.1)
order = PromptOrder(sampler, [str(i) for i in range(24)], 4, ranks)
drawn = []
for step in range(6):
    mine = order.draw()
    drawn.append(mine)
    groups = [Space(group=Space(prompt=Space(prompt_id=str(i)))) for i in mine]
    # what a rank sees differs: only an exchange keeps the samplers equal
    advantages = torch.tensor([0.1 * (ranks.process_index + 1) * (i // 8 + 1) for i in mine])
    order.learn(groups, torch.stack([advantages, -advantages], 1).view(-1))
print(json.dumps({"drawn": drawn, "state": sampler.state_dict()}))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_that_see_different_groups_draw_from_equal_bandits():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    first, second = (json.loads(run.communicate()[0].splitlines()[-1]) for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert first["state"] == second["state"]
    assert sum(value > 0 for value in first["state"]["values"].values()) >= 2
    for left, right in zip(first["drawn"], second["drawn"], strict=True):
        assert len(left) == len(right) == 2 and not set(left) & set(right)
