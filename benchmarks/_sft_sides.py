"""One side of one row of the SFT benchmark, in the process that is measured.

Both sides train on the same conversations in the same order: questions in several turns about an
image, and chains of thought, ready in memory. Ours packs them; trl's trainer takes them through
its own collator, which pads the conversations of a micro-batch, with the same mask. The step is
collation, forward, backward and optimizer; the first one warms up and is left out, as is the
check of our first batch in it.

Peak memory is the most that the process (or the GPU's allocator) held in any step above what it
held before the first: gradients, optimizer states and, on our side, that check among it.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from _rollout_sides import DEMO, StepClock, make_policy  # first: it puts packages on the path

# isort: split
from datasets import Dataset
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import train_only
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.pipeline.data import make_data
from rl_avr.settings import DataSettings, load_settings
from rl_avr.training.config import DataConfig
from rl_avr.training.usage import PeakWatch
from sft_warmstart.collator import ConversationCollator
from sft_warmstart.config import LossConfig, SftConfig
from sft_warmstart.records import sft_rows
from sft_warmstart.trainer import AvrSftTrainer, max_tokens

GIB = 2**30
MIXTURE = {"perception": 0.5, "chain": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", help="ours, or trl-4: trl with micro-batches of 4")
    for name in ("--policy", "--tower", "--device"):
        parser.add_argument(name)
    for name in ("--tokens", "--batch", "--steps"):
        parser.add_argument(name, type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, folder)
    args.out.write_text(json.dumps(figures))


def measure(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    rows = conversations(folder, args.batch * args.steps)
    path = str(DEMO) if args.policy == "demo" else make_policy(args.policy, args.tokens)
    processor, model = load_processor(path), load_policy(PolicyConfig(path=path))
    if args.tower == "frozen":
        train_only(model, ("language_model",))
    micro = args.batch if args.side == "ours" else int(args.side.partition("-")[2])
    settings = {
        "model": model,
        "args": trainer_arguments(args, folder, micro),
        "train_dataset": as_dataset(rows),
        "processing_class": processor,
    }
    collator = ConversationCollator(processor, *max_tokens(None, model))
    if args.side == "ours":
        trainer = AvrSftTrainer(loss=LossConfig(), data_collator=collator, **settings)
    else:
        trainer = InOrder(**settings)
    clock = PeakClock(trainer)
    trainer.add_callback(clock)
    trainer.train()
    lengths = [len(c.ids_L) for c in collator(rows[args.batch :])["conversations"].conversations]
    seconds = clock.ends[-1] - clock.ends[0]
    return {
        "step_s": seconds / (args.steps - 1),
        "tokens_per_s": sum(lengths) / seconds,
        "tokens": sum(lengths) / len(lengths),
        "peak_gib": None if clock.peak is None else clock.peak / GIB,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def conversations(folder: str, count: int) -> list[dict[str, Any]]:
    """Returns rows of puzzles as the demo has them, with their images decoded."""
    size = {"puzzles.num_train": str(count), "puzzles.num_held_out": "1"}
    where = {"data.path": f"{folder}/data"}
    made = load_settings(DataSettings, ["configs/demo/data.yaml"], {**size, **where})
    make_data(made.data, made.puzzles)
    sft = SftConfig(stage="reasoning", mixture=MIXTURE)
    return list(sft_rows(DataConfig(path=f"{folder}/data"), sft, 0, count))


def as_dataset(rows: list[dict[str, Any]]) -> Dataset:
    def ready(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: [rows[i][name] for i in batch["place"]] for name in rows[0]}

    return Dataset.from_dict({"place": list(range(len(rows)))}).with_transform(ready)


def trainer_arguments(args: argparse.Namespace, folder: str, micro: int) -> SFTConfig:
    return SFTConfig(
        output_dir=folder,
        max_steps=args.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=args.batch // micro,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        max_length=None,
        assistant_only_loss=args.side != "ours",
        gradient_checkpointing=False,
        use_cpu=args.device == "cpu",
        bf16=args.device != "cpu",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


class InOrder(SFTTrainer):
    """trl's trainer with the rows as they stand."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class PeakClock(StepClock):
    """Notes when each step ends, and the most memory of all steps."""

    def __init__(self, trainer: Any) -> None:
        super().__init__()
        self._device = trainer.args.device
        self._watch: PeakWatch | None = None
        self.peak: int | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._watch is None:
            self._watch = PeakWatch(self._device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        super().on_step_end()
        self.peak = self._watch.num_bytes() if self._watch else None


if __name__ == "__main__":
    main()
