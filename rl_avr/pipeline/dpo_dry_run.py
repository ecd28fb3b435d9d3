"""Preference training shown before anything is trained: pairs, tokens, steps, loss, memory.

The trainer itself is built over one micro-batch of the longest pairs, which goes forward and back
once; no optimizer step follows. All that is written lies in `dry_run` in the run's folder.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.freezing import trained_parts
from rl_avr.modeling.loading import load_processor
from rl_avr.pipeline.grpo_dry_run import dry_policy
from rl_avr.pipeline.memory_use import MemoryRow, held_rows, kept_for_backward
from rl_avr.pipeline.text_table import text_table
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.train import (
    batch_size,
    chosen_pairs,
    dpo_arguments,
    make_trainer,
    set_num_steps,
)
from rl_avr.preference.train_config import PreferenceConfig
from rl_avr.reporting.explanation import visible
from rl_avr.settings import DpoSettings, save_resolved
from rl_avr.training.run_folder import prepare_run
from rl_avr.training.usage import PeakWatch

_FOLDER = "dry_run"
_GIB = 2**30


def dry_run(settings: DpoSettings) -> str:
    """Returns what a run would train on, and writes it.

    Raises:
        ConfigError, DataError: as the run itself would.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "--dry-run: expected one process; start it without accelerate's launcher: "
            "rl-avr dpo --config … --dry-run"
        )
    folder = Path(settings.run.dir) / _FOLDER
    run = replace(settings.run, dir=str(folder), wandb="disabled", resume=False)
    prepare_run(run)
    save_resolved(replace(settings, dry_run=replace(settings.dry_run, is_on=False)), folder)
    policy = dry_policy(settings.policy, folder)
    preference = replace(settings.preference, reference_cache="")
    args = dpo_arguments(run, preference, settings.trainer)
    pairs = chosen_pairs(preference)
    set_num_steps(args, len(pairs))
    processor = load_processor(policy.path)
    collator = PairCollator(processor, pairs, Path(preference.pairs), preference.counted)
    longest = sorted(range(len(pairs)), key=lambda place: -sum(map(len, collator.tokens[place])))
    trainer = make_trainer(
        run=run,
        policy=policy,
        preference=preference,
        update=settings.update,
        trainer=settings.trainer,
        pairs=[pairs[place] for place in sorted(longest[: args.train_batch_size])],
    )
    blocks = {
        "Pairs": list(_pair_lines(collator, preference)),
        "Run": list(_run_lines(args, preference, trainer)),
        "One micro-batch of the longest pairs": list(_batch_lines(trainer)),
        f"Pair {pairs[0].pair_id}, what counts before ⟧": list(_shown(collator, 0)),
    }
    lines = ["dry run: nothing is trained"]
    for title, body in blocks.items():
        lines += ["", title, *body]
    text = "\n".join(lines)
    (folder / "dry_run.txt").write_text(text + "\n", encoding="utf-8")
    return f"{text}\n\nwritten: {folder / 'dry_run.txt'}"


def _pair_lines(collator: PairCollator, preference: PreferenceConfig) -> Iterator[str]:
    pairs = collator.pairs
    questions = Counter(pair.prompt_id for pair in pairs)
    yield (
        f"  {len(pairs)} pairs of {len(questions)} questions, at most "
        f"{max(questions.values())} of one"
    )
    ways = Counter(pair.way for pair in pairs)
    yield f"  ways: {', '.join(f'{way} {num}' for way, num in sorted(ways.items()))}"
    rows = [("tokens", "median", "most", "counted")]
    for side, name in enumerate(("chosen", "rejected")):
        ids = [tokens[side] for tokens in collator.tokens]
        lengths = [len(one) for one in ids]
        counted = sum(collator.num_counted(one) for one in ids) / sum(lengths)
        rows.append((name, f"{median(lengths):g}", str(max(lengths)), f"{counted:.0%}"))
    yield text_table(rows)
    same = sum(_is_same(collator, place) for place in range(len(pairs)))
    if same:
        yield (
            f"  {same} pairs are the same up to where they count, and teach nothing: raise "
            f"preference.counted.first, {preference.counted.first} {preference.counted.unit}"
        )


def _is_same(collator: PairCollator, place: int) -> bool:
    chosen, rejected = (ids[: collator.num_counted(ids)] for ids in collator.tokens[place])
    return chosen.tolist() == rejected.tolist()


def _run_lines(args: Any, preference: PreferenceConfig, trainer: Any) -> Iterator[str]:
    loss = preference.loss.name
    kinds = f" ({', '.join(trainer.loss_types)})" if preference.loss.has_reference else ""
    yield f"  loss {loss}{kinds}, beta {args.beta:g}, learning rate {args.learning_rate:g}"
    steps = preference.stop_after_steps or args.max_steps
    yield f"  {steps} steps of {batch_size(args)} pairs, {args.train_batch_size} at once"
    parameters = list(trainer.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    yield (
        f"  {trained:,} of {sum(p.numel() for p in parameters):,} numbers are trained, in "
        f"{', '.join(sorted(trained_parts(trainer.model)))}"
    )


def _batch_lines(trainer: Any) -> Iterator[str]:
    """Goes forward and back through one micro-batch."""
    model, args = trainer.model, trainer.args
    model.train()
    rows = [{"place": place} for place in range(len(trainer.data_collator.pairs))]
    inputs = trainer.data_collator(rows)
    if args.gradient_checkpointing:
        model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs or None)
    peak = PeakWatch(args.device)
    with kept_for_backward(model) as kept, trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(model, inputs)
    loss.backward()
    yield f"  loss {loss.item():.4f}"
    yield f"  {_way(trainer)}; {_saving(inputs['pairs'])}"
    held = held_rows(trainer)
    needed = sum(row.num_bytes or 0 for row in held) + kept.num_bytes
    yield _memory_table(
        [
            *held,
            MemoryRow("kept for backward", kept.num_bytes, "measured in autograd"),
            MemoryRow("the update in all", needed, "sum of the above"),
            MemoryRow("peak of the micro-batch", peak.num_bytes(), "measured"),
        ]
    )


def _way(trainer: Any) -> str:
    if trainer.why_plain:
        return f"plain rows: {trainer.why_plain}"
    return "a question and its images are computed once for all its completions"


def _saving(batch: Any) -> str:
    lengths_B = batch.completion_mask_BC.sum(dim=1)
    sides = [batch.chosen_N, batch.rejected_N]
    plain = sum(int((batch.prompt_lengths_B[s] + lengths_B[s]).sum()) for s in sides)
    packed = sum(len(p.inputs.ids_P) - 1 for p in batch.prompts) + int(lengths_B.sum())
    return f"{packed} tokens where rows of their own have {plain}, {plain / packed:.1f} times"


def _memory_table(rows: Sequence[MemoryRow]) -> str:
    shown = [
        (row.name, "?" if row.num_bytes is None else f"{row.num_bytes / _GIB:.3f}", row.source)
        for row in rows
    ]
    return text_table([("memory", "GiB", "how known"), *shown])


def _shown(collator: PairCollator, place: int) -> Iterator[str]:
    pair, decode = collator.pairs[place], collator.processor.tokenizer.decode
    yield f"  question: {visible(pair.question[0]['content'])}".replace("\n", "\n    ")
    for name, ids in zip(("chosen", "rejected"), collator.tokens[place], strict=True):
        counted = collator.num_counted(ids)
        text = f"{visible(decode(ids[:counted]))}⟧{visible(decode(ids[counted:]))}"
        yield f"  {name}: {text}".replace("\n", "\n    ")
