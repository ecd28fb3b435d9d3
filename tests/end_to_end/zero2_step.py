"""One step of plain descent in each rank, once with shared prefixes and once with plain rows.

Started by `test_grpo_zero2.py` on every rank: FOLDER of the policy, of the puzzles, of the output.
"""

import sys
from pathlib import Path

import torch

from rl_avr.elicitation.chains import gold_chain
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import PARTS, train_only
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.training.config import DataConfig, UpdateConfig
from rl_avr.training.puzzle_data import read_prompts
from tests.training.scripted_trainer import scripted_trainer

GROUP, LEARNING_RATE = 4, 1e3
# two groups a rank and backward pass
BLOCK = {
    "gradient_accumulation_steps": 2,
    "max_steps": 1,
    "optim": "sgd",
    # the change, not the weight before it, decides how exact the weight is after it
    "learning_rate": LEARNING_RATE,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "disable_tqdm": True,
}


def script(prompt, index):
    return (gold_chain(prompt.puzzle), "### Answer: A", "### Answer:", "Size: 1")[index]


def step(policy_folder, data_folder, out, is_shared):
    """Trains one step; the first rank writes the gradient by parameter, and why rows are plain."""
    torch.manual_seed(0)
    model = load_policy(PolicyConfig(path=policy_folder))
    train_only(model, PARTS)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = scripted_trainer(
        out,
        policy_folder,
        load_processor(policy_folder),
        read_prompts(DataConfig(path=data_folder)),
        script,
        GROUP,
        BLOCK,
        model=model,
        update=UpdateConfig(shared_prefix=is_shared),
    )
    with trainer.collector:
        trainer.train()
    ranks = trainer.accelerator
    after = ranks.unwrap_model(trainer.model).named_parameters()
    slopes = {name: (before[name] - p.detach().cpu()) / LEARNING_RATE for name, p in after}
    found = {
        "slopes": slopes,
        "why_plain": trainer.why_plain,
        "stage": ranks.state.deepspeed_plugin.zero_stage,
        "num_ranks": ranks.num_processes,
        "prompt_ids": [group.group.prompt.prompt_id for group in trainer.groups],
    }
    way = "shared" if is_shared else "plain"
    torch.save(found, out / f"{way}_{ranks.process_index}.pt")


if __name__ == "__main__":
    for is_shared in (True, False):
        step(sys.argv[1], sys.argv[2], Path(sys.argv[3]), is_shared)
    # a rank that ends while the other writes can abort it
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
