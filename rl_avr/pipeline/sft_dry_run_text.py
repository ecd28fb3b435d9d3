"""What a dry run of SFT saw, as text: mixture, samples, tokens, steps and memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from rl_avr.pipeline.memory_use import MemoryRow
from rl_avr.pipeline.text_table import text_table
from rl_avr.reporting.conversations import ShownConversation, conversation_text


class KindTokens(NamedTuple):
    """Tokens of the conversations of one kind that were tokenised.

    Args:
        total: of each conversation.
        trained: of each conversation, how many are trained on.
    """

    total: tuple[int, ...]
    trained: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """A stage before it is trained.

    Args:
        stage: its name.
        wanted: kind -> share of all conversations that the settings ask for.
        got: kind -> conversations of the run.
        tokens: kind -> what some of them take.
        num_steps: optimizer steps.
        batch_size: conversations of a step, of this process.
        num_epochs: passes over the puzzles, replay included.
        num_parameters: numbers of the policy.
        num_trained: of these, how many are trained.
        parts: the parts that are trained.
        samples: some conversations.
        way: how conversations go through the policy.
        validation: what is measured during training.
        memory: what takes memory.
    """

    stage: str
    wanted: Mapping[str, float]
    got: Mapping[str, int]
    tokens: Mapping[str, KindTokens]
    num_steps: int
    batch_size: int
    num_epochs: float
    num_parameters: int
    num_trained: int
    parts: Sequence[str]
    samples: Sequence[ShownConversation]
    way: str
    validation: str
    memory: Sequence[MemoryRow]


def dry_run_text(seen: Seen, has_colour: bool = False) -> str:
    """Returns what there is to say, for a terminal."""
    lines = ["dry run: nothing is trained"]
    blocks = {
        **summary_blocks(seen),
        "Samples, what is trained on in ⟦ ⟧": _samples(seen, has_colour),
    }
    for title, body in blocks.items():
        lines += ["", title, *body] if body else []
    return "\n".join(lines)


def summary(seen: Seen) -> str:
    """Returns the same without the samples."""
    blocks = summary_blocks(seen).items()
    return "\n\n".join("\n".join([title, *body]) for title, body in blocks if body)


def summary_blocks(seen: Seen) -> dict[str, list[str]]:
    """Returns title -> lines."""
    return {
        "Mixture": _mixture(seen),
        "Steps": list(_steps(seen)),
        "Tokens": list(_tokens(seen)),
        "Memory of this process": _memory(seen),
    }


def _mixture(seen: Seen) -> list[str]:
    num = sum(seen.got.values())
    rows = [("kind", "wanted", "got", "conversations")]
    for kind in dict.fromkeys([*seen.wanted, *seen.got]):
        count = seen.got.get(kind, 0)
        wanted = seen.wanted.get(kind, 0.0)
        rows.append((kind, f"{wanted:.1%}", f"{count / num:.1%}", f"{count:,}"))
    return [text_table(rows)]


def _steps(seen: Seen) -> Iterator[str]:
    num = sum(seen.got.values())
    yield (
        f"  {num:,} conversations in {seen.num_steps:,} steps of {seen.batch_size} on this one "
        f"process; {seen.num_epochs:.2f} passes over the puzzles"
    )
    share = seen.num_trained / seen.num_parameters
    yield (
        f"  stage {seen.stage}: {', '.join(seen.parts)} trained, {seen.num_trained:,} of "
        f"{seen.num_parameters:,} numbers ({share:.1%})"
    )
    yield f"  {seen.way}"
    yield f"  validation: {seen.validation}"


def _tokens(seen: Seen) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("kind", "looked at", "min", "median", "max", "trained, median")]
    total = trained = 0.0
    for kind, found in seen.tokens.items():
        counts = (len(found.total), min(found.total), median(found.total), max(found.total))
        rows.append((kind, *(f"{count:,.0f}" for count in counts), f"{median(found.trained):,.0f}"))
        times = seen.got[kind] / len(found.total)
        total += times * sum(found.total)
        trained += times * sum(found.trained)
    yield text_table(rows)
    is_all = all(len(found.total) == seen.got[kind] for kind, found in seen.tokens.items())
    about = "in all" if is_all else "estimate for the run:"
    yield (
        f"  {about} {total:,.0f} tokens, {trained:,.0f} of them trained on "
        f"({trained / total:.1%}); {total / seen.num_steps:,.0f} a step"
    )


def _samples(seen: Seen, has_colour: bool) -> list[str]:
    found = []
    for number, sample in enumerate(seen.samples, start=1):
        text = conversation_text(sample, has_colour).replace("\n", "\n  ")
        found.append(f"  {number}. {text}")
    return found


def _memory(seen: Seen) -> list[str]:
    rows = [
        (row.name, "—" if row.num_bytes is None else f"{row.num_bytes / 2**20:,.1f}", row.source)
        for row in seen.memory
    ]
    return [text_table([("what", "MiB", "how it is known"), *rows])]
