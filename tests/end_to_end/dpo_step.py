"""One step of plain descent of DPO, on any number of ranks.

Started by `test_dpo_zero.py` on every rank: FOLDER of the policy, FOLDER of the pairs, FOLDER of
the output, and the ways to go.
"""

import sys
from pathlib import Path

import torch

from rl_avr.modeling.config import LoraConfig
from rl_avr.modeling.loading import load_processor
from rl_avr.preference.train_config import PairLossConfig
from tests.end_to_end.sft_step import snapshot
from tests.preference.pair_cases import PLAIN, our_trainer

LEARNING_RATE = 1e3
NUM_MICRO_BATCHES, GLOBAL_BATCH = 2, 8
WAYS = {
    "full": {},
    "plain": {"update": PLAIN},
    "lora": {"lora": LoraConfig(rank=2, alpha=4)},
    "orpo": {"loss": PairLossConfig(name="orpo")},
}


def step(policy_folder, pairs_folder, out, per_device, way):
    """Trains one step; returns the slope of the loss by parameter, and how it came about."""
    trainer = our_trainer(
        out / way,
        policy_folder,
        load_processor(policy_folder),
        Path(pairs_folder),
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=NUM_MICRO_BATCHES,
        max_steps=1,
        optim="sgd",
        # the change, not the weight before it, decides how exact the weight is after it
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        **WAYS[way],
    )
    plugin = trainer.accelerator.state.deepspeed_plugin
    before = snapshot(trainer)
    trainer.train()
    after = snapshot(trainer)
    (metrics, *_) = (entry for entry in trainer.state.log_history if "loss" in entry)
    return {
        "slopes": {name: (before[name] - after[name]) / LEARNING_RATE for name in before},
        "metrics": metrics,
        "why_plain": trainer.why_plain,
        "stage": plugin.zero_stage if plugin else 0,
        "num_ranks": trainer.accelerator.num_processes,
    }


if __name__ == "__main__":
    policy_folder, pairs_folder, out, ways = *sys.argv[1:3], Path(sys.argv[3]), sys.argv[4:]
    for way in ways:
        per_device = GLOBAL_BATCH // NUM_MICRO_BATCHES // 2
        found = step(policy_folder, pairs_folder, out, per_device, way)
        torch.save(found, out / f"{way}_{torch.distributed.get_rank()}.pt")
    # a rank that ends while the other writes can abort it
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
