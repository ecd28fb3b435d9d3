"""Small SFT runs on rows made in memory, ours and trl's own."""

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.context_length import max_tokens
from rl_avr.modeling.freezing import PARTS
from rl_avr.modeling.loading import load_policy
from rl_avr.training.policy_parts import choose_trained
from rl_avr.training.run_folder import MetricsCallback
from sft_warmstart.collator import ConversationCollator
from sft_warmstart.config import LossConfig
from sft_warmstart.trainer import AvrSftTrainer

PLAIN_ROWS = LossConfig(packing=False)


def dataset(rows):
    """Returns a data set whose rows are made when read, as those of a run."""

    def render(batch):
        chosen = [rows[i] for i in batch["place"]]
        return {name: [row[name] for row in chosen] for name in rows[0]}

    return Dataset.from_dict({"place": list(range(len(rows)))}).with_transform(render)


def arguments(folder, **block):
    block = {
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "linear",
        "max_length": None,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        **block,
    }
    return SFTConfig(output_dir=str(folder / "checkpoints"), **block)


def our_trainer(
    folder,
    policy_folder,
    processor,
    rows,
    *,
    loss=None,
    parts=PARTS,
    lora=None,
    stop_after_steps=0,
    **block,
):
    """Returns a trainer whose files are in `folder`; `block` changes trl's arguments."""
    # of matrices this small two threads spend their time on each other
    torch.set_num_threads(1)
    policy = PolicyConfig(path=str(policy_folder), lora=lora or LoraConfig())
    args = arguments(folder, **block)
    model = load_policy(policy)
    return AvrSftTrainer(
        loss=loss or LossConfig(),
        stop_after_steps=stop_after_steps,
        model=model,
        peft_config=choose_trained(model, policy, parts),
        args=args,
        data_collator=ConversationCollator(processor, *max_tokens(args.max_length, model)),
        train_dataset=dataset(rows),
        processing_class=processor,
        callbacks=[MetricsCallback(folder / "metrics.jsonl")],
    )


class InOrder(SFTTrainer):
    """trl's own trainer with the rows as they are."""

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset)


def trl_trainer(folder, policy_folder, processor, rows, **block):
    torch.set_num_threads(1)
    return InOrder(
        model=load_policy(PolicyConfig(path=str(policy_folder))),
        args=arguments(folder, assistant_only_loss=True, **block),
        train_dataset=dataset(rows),
        processing_class=processor,
    )


def weights(trainer):
    """Returns a copy of the policy's weights."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]
