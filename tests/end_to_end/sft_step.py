"""One step of plain descent of SFT, on any number of ranks.

Started by `test_sft_zero.py` on every rank: FOLDER of the policy, FOLDER of the output, the
conversations of a rank's batch, and the ways to go.
"""

import sys
from pathlib import Path

import torch

from rl_avr.modeling.loading import load_processor
from sft_warmstart.config import LossConfig
from tests.modeling.conversation_cases import mixed_rows, pictures, row
from tests.sft_warmstart.trainer_cases import our_trainer

LEARNING_RATE = 1e3
NUM_MICRO_BATCHES, GLOBAL_BATCH = 2, 8
LOSSES = {
    "packed": LossConfig(),
    "plain": LossConfig(packing=False),
    "entropy": LossConfig(name="entropy", token_share=0.5, packing=False),
}


def rows():
    """Returns eight rows, the last two of text alone: the second batch of the second rank."""
    shown = pictures(4)
    alone = [row([("Say yes.", "yes yes")], [], "replay"), row([("And no.", "no")], [], "replay")]
    return [*mixed_rows(shown)[:3], *mixed_rows(shown[1:])[:3], *alone]


def step(policy_folder, out, per_device, way):
    """Trains one step; returns the slope of the loss by parameter, and how it came about."""
    trainer = our_trainer(
        out / "run",
        policy_folder,
        load_processor(policy_folder),
        rows(),
        loss=LOSSES[way],
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=NUM_MICRO_BATCHES,
        max_steps=1,
        optim="sgd",
        # the change, not the weight before it, decides how exact the weight is after it
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
    )
    plugin = trainer.accelerator.state.deepspeed_plugin
    before = snapshot(trainer)
    trainer.train()
    after = snapshot(trainer)
    (loss, *_) = (entry for entry in trainer.state.log_history if "loss" in entry)
    return {
        "slopes": {name: (before[name] - after[name]) / LEARNING_RATE for name in before},
        "metrics": loss,
        "why_plain": trainer.why_plain,
        "stage": plugin.zero_stage if plugin else 0,
        "num_ranks": trainer.accelerator.num_processes,
    }


def snapshot(trainer):
    """Returns the whole weights on this rank, however they are spread."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    parameters = dict(model.named_parameters())
    if not any(hasattr(p, "ds_id") for p in parameters.values()):
        return {name: p.detach().cpu().clone() for name, p in parameters.items()}
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(parameters.values())):
        return {name: p.detach().cpu().clone() for name, p in parameters.items()}


if __name__ == "__main__":
    policy_folder, out, ways = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    for way in ways:
        found = step(policy_folder, out, GLOBAL_BATCH // NUM_MICRO_BATCHES // 2, way)
        torch.save(found, out / f"{way}_{torch.distributed.get_rank()}.pt")
    # a rank that ends while the other writes can abort it
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
