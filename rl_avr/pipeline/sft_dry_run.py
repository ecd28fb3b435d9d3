"""An SFT stage shown before anything is trained: mixture, samples, tokens, steps, memory.

The trainer itself is built, its conversations are tokenised as it would, and one micro-batch
of long ones goes forward and back; no optimizer step follows. All that is written lies in
`dry_run` in the run's folder.
"""

import io
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_avr.errors import ConfigError
from rl_avr.modeling.freezing import trained_parts
from rl_avr.pipeline.grpo_dry_run import dry_policy
from rl_avr.pipeline.memory_use import MemoryRow, held_rows, kept_for_backward
from rl_avr.pipeline.sft_dry_run_text import KindTokens, Seen, dry_run_text, summary
from rl_avr.reporting.conversations import (
    ShownConversation,
    render_conversations,
    token_pieces,
)
from rl_avr.settings import SftSettings, save_resolved
from rl_avr.training.run_folder import prepare_run
from rl_avr.training.usage import PeakWatch
from sft_warmstart.config import SftConfig
from sft_warmstart.plan import streams_of
from sft_warmstart.records import conversations_per_epoch
from sft_warmstart.train import make_trainer
from sft_warmstart.validation import validation_puzzles

_FOLDER = "dry_run"


def dry_run(settings: SftSettings) -> str:
    """Returns what a stage would train on, and writes it with a page of samples.

    Raises:
        ConfigError, DataError: as the run itself would.
    """
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes > 1:
        raise ConfigError(
            f"--dry-run: expected one process; got {num_processes}. Start it without accelerate's "
            "launcher: rl-avr sft --config … --dry-run"
        )
    folder = Path(settings.run.dir) / _FOLDER
    run = replace(settings.run, dir=str(folder), wandb="disabled", resume=False)
    prepare_run(run)
    save_resolved(replace(settings, dry_run=replace(settings.dry_run, is_on=False)), folder)
    trainer = make_trainer(
        run=run,
        policy=dry_policy(settings.policy, folder),
        data=settings.data,
        sft=settings.sft,
        trainer=settings.trainer,
    )
    seen = _seen(trainer, settings)
    (folder / "dry_run.txt").write_text(dry_run_text(seen) + "\n", encoding="utf-8")
    page = folder / "samples.html"
    title = f"SFT, {seen.stage}: {len(seen.samples)} conversations"
    page.write_text(render_conversations(seen.samples, title, summary(seen)), encoding="utf-8")
    text = dry_run_text(seen, has_colour=sys.stdout.isatty())
    return f"{text}\n\nwritten: {page}, {folder / 'dry_run.txt'}"


def _seen(trainer: Any, settings: SftSettings) -> Seen:
    rows, args = trainer.train_dataset, trainer.args
    kind_N = np.array(rows.with_format(None)["kind"])
    looked_at = {kind: _spread(kind_N, kind, settings.dry_run.num_measured) for kind in set(kind_N)}
    read = {
        int(place): trainer.data_collator.conversation(rows[int(place)])
        for places in looked_at.values()
        for place in places
    }
    tokens = {
        kind: KindTokens(
            tuple(len(read[place].ids_L) for place in places),
            tuple(read[place].num_trained for place in places),
        )
        for kind, places in sorted(looked_at.items())
    }
    batch_size = args.per_device_train_batch_size * args.gradient_accumulation_steps
    steps = args.max_steps if args.max_steps > 0 else -(-len(rows) // batch_size)
    longest = sorted(read, key=lambda place: -len(read[place].ids_L))
    memory = _memory(trainer, [rows[p] for p in longest[: args.per_device_train_batch_size]])
    parameters = list(trainer.model.parameters())
    return Seen(
        stage=settings.sft.stage,
        wanted=wanted_shares(settings.sft, len(rows)),
        got=Counter(kind_N.tolist()),
        tokens=tokens,
        num_steps=settings.sft.stop_after_steps or steps,
        batch_size=batch_size,
        num_epochs=len(rows)
        / conversations_per_epoch(settings.data, settings.sft, settings.run.seed),
        num_parameters=sum(p.numel() for p in parameters),
        num_trained=sum(p.numel() for p in parameters if p.requires_grad),
        parts=sorted(trained_parts(trainer.model)),
        samples=[
            _shown(rows[place], trainer) for place in in_turn(kind_N, settings.dry_run.num_samples)
        ],
        way=f"plain rows: {trainer.why_plain}" if trainer.why_plain else "conversations are packed",
        validation=_validation(settings),
        memory=memory,
    )


def _validation(settings: SftSettings) -> str:
    """Returns what is measured during training, once its puzzles were read."""
    config = settings.sft.validation
    if not config.every_steps:
        return "none; sft.validation.every_steps turns it on"
    asked = validation_puzzles(settings.data, config)
    num = sum(len(one.questions) for one in asked)
    return (
        f"{len(asked)} chains and {num} questions of the split {config.split}, before the first "
        f"step, every {config.every_steps} steps, and after the last one"
    )


def wanted_shares(sft: SftConfig, num_conversations: int) -> dict[str, float]:
    """Returns kind -> share of all conversations of a run, as the settings ask for it."""
    shares: dict[str, float] = {}
    for stream in streams_of(sft, num_conversations):
        shares[stream.kind] = shares.get(stream.kind, 0.0) + stream.share
    return shares


def in_turn(kind_N: np.ndarray, num: int) -> list[int]:
    """Returns places of `num` conversations: the first of each kind, then the second, ….

    >>> in_turn(np.array(["a", "a", "a", "b"]), 3)
    [0, 1, 3]
    """
    times = Counter[str]()
    order = []
    for place, kind in enumerate(kind_N.tolist()):
        order.append((times[kind], place))
        times[kind] += 1
    return sorted(place for _, place in sorted(order)[:num])


def _spread(kind_N: np.ndarray, kind: str, num: int) -> list[int]:
    """Returns places of at most `num` conversations of a kind, spread evenly over the run."""
    (places,) = np.nonzero(kind_N == kind)
    picks = np.linspace(0, len(places) - 1, min(num, len(places)))
    return places[picks.round().astype(int)].tolist()


def _shown(row: dict[str, Any], trainer: Any) -> ShownConversation:
    read = trainer.data_collator.conversation(row)
    processor = trainer.processing_class
    ids, image_id = read.ids_L.tolist(), processor.image_token_id
    return ShownConversation(
        name=row["name"],
        kind=row["kind"],
        pieces=token_pieces(ids, read.trained_L.tolist(), image_id, processor.tokenizer),
        images=tuple(_png(image) for image in row["images"]),
        num_tokens=len(ids),
        num_image_tokens=ids.count(image_id),
        num_trained=read.num_trained,
    )


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _memory(trainer: Any, rows: list[dict[str, Any]]) -> list[MemoryRow]:
    """Goes forward and back through the loss of one micro-batch; returns what takes memory."""
    model, args = trainer.model, trainer.args
    model.train()
    inputs = trainer._prepare_inputs(trainer.data_collator(rows))
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs or None)
    # the first batch decides how conversations go through the policy
    trainer.compute_loss(model, inputs)
    peak = PeakWatch(args.device)
    with kept_for_backward(model) as kept, trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(model, inputs)
    loss.backward()
    held = held_rows(trainer)
    needed = sum(row.num_bytes or 0 for row in held) + kept.num_bytes
    longest = f"measured in autograd, {len(rows)} of the longest conversations looked at"
    return [
        *held,
        MemoryRow("kept for backward, a micro-batch", kept.num_bytes, longest),
        MemoryRow("the update in all", needed, "sum of the above"),
        MemoryRow(
            "peak of that micro-batch",
            peak.num_bytes(),
            "measured above what was held before, on a CPU what the process had freed among it",
        ),
    ]
