"""One side of one row of the DPO benchmark, in the process that is measured.

Both sides train on the same pairs in the same order. Ours packs the completions of a question
behind its prompt and has the reference's logprobs from before; trl's trainer takes every completion
as a row of its own, through its own collator, and asks its reference at every step. The step is
collation, forward, backward and optimizer; the first one warms up and is left out. What our
reference took before training is measured apart, as its share of a step.

A completion is digits, each a token with the space before it, which both sides tokenise alike, and
its end token.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from _rollout_sides import make_policy  # first: it puts packages on the path

# isort: split
import io

import torch
from _sft_sides import PeakClock
from datasets import Dataset
from PIL import Image
from torch.utils.data import SequentialSampler
from trl import DPOConfig, DPOTrainer

from rl_avr.chat import decode_image
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.pair_record import PreferencePair, read_image, read_pairs, write_pairs
from rl_avr.preference.reference_cache import ReferenceCache
from rl_avr.preference.train_config import CountedConfig, PairLossConfig
from rl_avr.preference.trainer import AvrDpoTrainer
from rl_avr.training.config import UpdateConfig
from rl_avr.training.policy_parts import choose_trained

GIB = 2**30
TOKEN_PX = 36


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", help="ours, or trl-2: trl with micro-batches of 2 pairs")
    for name in ("--policy", "--trained", "--device"):
        parser.add_argument(name)
    for name in ("--tokens", "--prompt", "--completion", "--pairs", "--batch", "--steps"):
        parser.add_argument(name, type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, Path(folder))
    args.out.write_text(json.dumps(figures))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    lora = LoraConfig(rank=8) if args.trained == "LoRA" else LoraConfig()
    policy = PolicyConfig(path=make_policy(args.policy, args.tokens), lora=lora)
    processor, model = load_processor(policy.path), load_policy(policy)
    pairs_folder = make_pairs(args, processor, folder / "pairs")
    pairs = list(read_pairs(pairs_folder))
    collator = PairCollator(processor, pairs, pairs_folder, CountedConfig())
    lengths = [tuple(map(len, tokens)) for tokens in collator.tokens]
    assert {n for pair in lengths for n in pair} == {args.completion}, set(lengths)
    assert len(collator.question(0).inputs.ids_P) == args.prompt
    is_ours = args.side == "ours"
    micro = args.batch if is_ours else int(args.side.partition("-")[2])
    settings = {
        "model": model,
        "peft_config": choose_trained(model, policy, ("language_model",)),
        "args": trainer_arguments(args, folder, micro, is_ours),
        "processing_class": processor,
    }
    if is_ours:
        trainer: Any = Ours(
            loss=PairLossConfig(),
            update=UpdateConfig(),
            cache=ReferenceCache(folder / "reference", {}, lengths),
            data_collator=collator,
            train_dataset=Dataset.from_dict({"place": list(range(len(pairs)))}),
            **settings,
        )
    else:
        trainer = InOrder(train_dataset=trl_rows(pairs, pairs_folder), **settings)
    clock = PeakClock(trainer)
    trainer.add_callback(clock)
    trainer.train()
    return {
        "step_s": (clock.ends[-1] - clock.ends[0]) / (args.steps - 1),
        "reference_s": trainer.reference_s / args.steps if is_ours else 0.0,
        "peak_gib": None if clock.peak is None else clock.peak / GIB,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "why_plain": trainer.why_plain if is_ours else None,
    }


def make_pairs(args: argparse.Namespace, processor: Any, folder: Path) -> Path:
    """Writes the pairs of all steps: images of noise, questions and completions of one length."""
    rng = random.Random(0)
    number = args.batch * args.steps

    def completion() -> str:
        return " ".join(rng.choice("123456789") for _ in range(args.completion - 1))

    def pair(place: int) -> tuple[PreferencePair, list[bytes]]:
        question = place // args.pairs
        record = PreferencePair(
            pair_id=str(place),
            prompt_id=str(question),
            puzzle_id=str(question),
            category="noise",
            question=[{"role": "user", "content": words}],
            images=(),
            chosen=completion(),
            rejected=completion(),
            chosen_ids=None,
            rejected_ids=None,
            chosen_finish="stop",
            rejected_finish="stop",
            way="random",
            accuracy=0.5,
            chosen_scores={},
            rejected_scores={},
            chosen_choice=None,
            rejected_choice=None,
        )
        return record, [noise(args.tokens, question)]

    words = ""
    probe = write_pairs(folder.with_name("probe"), [pair(0)])
    made = PairCollator(processor, list(read_pairs(probe)), probe, CountedConfig()).question(0)
    words = "?" + " 1" * (args.prompt - len(made.inputs.ids_P) - 1)
    return write_pairs(folder, (pair(place) for place in range(number)))


def noise(tokens: int, seed: int) -> bytes:
    rows = int(tokens**0.5)
    generator = torch.Generator().manual_seed(seed)
    shape = (rows * TOKEN_PX, tokens // rows * TOKEN_PX, 3)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(png, "PNG")
    return png.getvalue()


def trl_rows(pairs: list[PreferencePair], folder: Path) -> Dataset:
    def ready(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        chosen = [pairs[i] for i in batch["place"]]
        return {
            "images": [
                [decode_image(read_image(folder, name)) for name in pair.images] for pair in chosen
            ],
            "prompt": [pair.question for pair in chosen],
            "chosen": [[{"role": "assistant", "content": pair.chosen}] for pair in chosen],
            "rejected": [[{"role": "assistant", "content": pair.rejected}] for pair in chosen],
        }

    return Dataset.from_dict({"place": list(range(len(pairs)))}).with_transform(ready)


def trainer_arguments(
    args: argparse.Namespace, folder: Path, micro: int, is_ours: bool
) -> DPOConfig:
    return DPOConfig(
        output_dir=str(folder / "run"),
        max_steps=args.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=args.batch // micro,
        precompute_ref_log_probs=is_ours,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        max_length=None,
        gradient_checkpointing=False,
        use_cpu=args.device == "cpu",
        bf16=args.device != "cpu",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


class Ours(AvrDpoTrainer):
    """Notes what the reference takes before training."""

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        began = time.perf_counter()
        found = super()._precompute_ref_logps(dataset, name, batch_size)
        self.reference_s = time.perf_counter() - began
        return found


class InOrder(DPOTrainer):
    """trl's trainer with the rows as they stand."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


if __name__ == "__main__":
    main()
