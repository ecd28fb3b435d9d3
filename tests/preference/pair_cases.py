"""Small preference runs on pairs of made-up chains, ours and trl's own."""

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from trl import DPOConfig, DPOTrainer

from rl_avr.chat import decode_image
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.loading import load_policy
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.pair_record import PreferencePair, read_image, read_pairs, write_pairs
from rl_avr.preference.reference_cache import ReferenceCache
from rl_avr.preference.train_config import CountedConfig, PairLossConfig
from rl_avr.preference.trainer import AvrDpoTrainer
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.config import UpdateConfig
from rl_avr.training.policy_parts import choose_trained
from rl_avr.training.run_folder import MetricsCallback

PLAIN = UpdateConfig(shared_prefix=False)
TEXTS = (
    "Type: circle circle circle | square square square\n### Answer: C",
    "Size: 0 1 2 | 1 2 3\n### Answer: A",
    "### Answer: B",
    "Color: 3 4 7 and some more words that only bytes can say\n### Answer: D",
    "Missing panel: hexagon 4 7\nA: circle no\nB: hexagon yes\n### Answer: H",
)


def make_pair(number, question, chosen, rejected, /, **changes):
    fields = {
        "pair_id": f"pair-{number}",
        "prompt_id": f"question-{question}",
        "puzzle_id": f"puzzle-{question}",
        "category": "center_single",
        "question": [{"role": "user", "content": f"Solve it. {'A ' * question}"}],
        "images": (),
        "chosen": TEXTS[chosen],
        "rejected": TEXTS[rejected],
        "chosen_ids": None,
        "rejected_ids": None,
        "chosen_finish": "stop",
        "rejected_finish": "stop",
        "way": "random",
        "accuracy": 0.5,
        "chosen_scores": {"choice": 1.0},
        "rejected_scores": {"choice": 0.0},
        "chosen_choice": "C",
        "rejected_choice": "A",
        **changes,
    }
    return PreferencePair(**fields)


LAYOUT = ((0, 0, 1), (0, 0, 2), (0, 3, 4), (1, 4, 0), (2, 1, 3), (2, 2, 4), (3, 0, 3), (3, 1, 2))
"""Question, chosen and rejected: three pairs that share a completion, one alone, twice two."""


def make_pairs(folder, layout=LAYOUT, blind=(), **changes):
    """Writes pairs of questions about drawn puzzles, some shown none; returns the folder."""
    puzzles = sample_puzzles("train", 1 + max(row[0] for row in layout), 0, PuzzleConfig())
    images = [render_png(puzzle, RenderConfig(36)) for puzzle in puzzles]
    return write_pairs(
        folder,
        (
            (make_pair(number, *row, **changes), [images[row[0]]] * (row[0] not in blind))
            for number, row in enumerate(layout)
        ),
    )


def arguments(folder, **block):
    block = {
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "max_steps": 2,
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
    return DPOConfig(output_dir=str(folder / "checkpoints"), **block)


def our_trainer(
    folder,
    policy_folder,
    processor,
    pairs_folder,
    *,
    loss=None,
    update=None,
    counted=None,
    order=None,
    parts=("language_model",),
    lora=None,
    cache_folder=None,
    stop_after_steps=0,
    **block,
):
    """Returns a trainer whose files are in `folder`; `block` changes trl's arguments."""
    # of matrices this small two threads spend their time on each other
    torch.set_num_threads(1)
    loss = loss or PairLossConfig()
    policy = PolicyConfig(path=str(policy_folder), lora=lora or LoraConfig())
    model = load_policy(policy)
    pairs = list(read_pairs(pairs_folder))
    collator = PairCollator(processor, pairs, pairs_folder, counted or CountedConfig())
    lengths = [tuple(map(len, tokens)) for tokens in collator.tokens]
    cache = ReferenceCache(cache_folder or folder / "reference", {"policy": "tiny"}, lengths, 3)
    places = list(range(len(pairs))) if order is None else order
    return AvrDpoTrainer(
        loss=loss,
        update=update or UpdateConfig(),
        cache=cache if loss.has_reference else None,
        stop_after_steps=stop_after_steps,
        model=model,
        peft_config=choose_trained(model, policy, parts),
        args=arguments(folder, precompute_ref_log_probs=True, **block),
        data_collator=collator,
        train_dataset=Dataset.from_dict({"place": places}),
        processing_class=processor,
        callbacks=[MetricsCallback(folder / "metrics.jsonl")],
    )


class InOrder(DPOTrainer):
    """trl's own trainer with the rows as they are."""

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset)


def shown(pairs_folder, pair):
    return [decode_image(read_image(pairs_folder, name)) for name in pair.images]


def trl_dataset(pairs_folder):
    """Returns the pairs as trl's own collator takes them."""
    pairs = list(read_pairs(pairs_folder))

    def render(batch):
        chosen = [pairs[i] for i in batch["place"]]
        return {
            "images": [
                [decode_image(read_image(pairs_folder, n)) for n in p.images] for p in chosen
            ],
            "prompt": [p.question for p in chosen],
            "chosen": [[{"role": "assistant", "content": p.chosen}] for p in chosen],
            "rejected": [[{"role": "assistant", "content": p.rejected}] for p in chosen],
        }

    return Dataset.from_dict({"place": list(range(len(pairs)))}).with_transform(render)


def trl_trainer(
    folder, policy_folder, processor, pairs_folder, parts=("language_model",), lora=None, **block
):
    torch.set_num_threads(1)
    policy = PolicyConfig(path=str(policy_folder), lora=lora or LoraConfig())
    model = load_policy(policy)
    return InOrder(
        model=model,
        peft_config=choose_trained(model, policy, parts),
        args=arguments(folder, **block),
        train_dataset=trl_dataset(pairs_folder),
        processing_class=processor,
    )


def weights(trainer):
    """Returns a copy of the policy's weights."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]
