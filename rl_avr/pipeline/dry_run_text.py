"""What a dry run saw, as text: the prompt, the chains, their grades, tokens and memory."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rl_avr.chat import decode_image
from rl_avr.contracts import CHOICE_LETTERS, GradedGroup, ParsedCompletion
from rl_avr.pipeline.memory_use import MemoryRow
from rl_avr.pipeline.text_table import text_table
from rl_avr.reporting.explanation import number, visible

_WIDTH = 100
_LONGEST_ANSWER = 24


@dataclass(frozen=True)
class Seen:
    """One group and what its update took.

    Args:
        graded: the group.
        weights: part -> weight.
        rendered: the prompt as the engine saw it.
        num_image_tokens: how many of its tokens are images'.
        advantages: one a completion, as the trainer computed it.
        is_by_token: whether these are means over tokens that differ.
        parity_gap: mean |engine logprob - policy logprob|, in nats.
        loss: of the group.
        gradient_norm: of the loss, over all trained weights, before any cut.
        max_new_tokens: most tokens of a completion.
        num_prompts: prompts of the data set.
        groups_a_step: groups that one optimizer step of this rank takes.
        why_plain: why prompts are computed once for every completion; None where once a group.
        memory: what takes memory.
    """

    graded: GradedGroup
    weights: Mapping[str, float]
    rendered: str
    num_image_tokens: int
    advantages: tuple[float, ...]
    is_by_token: bool
    parity_gap: float
    loss: float
    gradient_norm: float
    max_new_tokens: int
    num_prompts: int
    groups_a_step: int
    why_plain: str | None
    memory: Sequence[MemoryRow]


def dry_run_text(seen: Seen, num_whole: int) -> str:
    """Returns a page for a terminal; `num_whole` chains stand on it in full."""
    blocks = (
        ("Prompt", _prompt_lines(seen)),
        (f"The first {num_whole} chains", _chain_lines(seen, num_whole)),
        ("Every chain", _reward_lines(seen)),
        ("Advantages", _advantage_lines(seen)),
        ("Tokens", _token_lines(seen)),
        ("Memory of this rank", _memory_lines(seen)),
    )
    lines = ["dry run: one group, nothing is trained"]
    for title, body in blocks:
        listed = list(body)
        lines += ["", title, *listed] if listed else []
    return "\n".join(lines)


def _prompt_lines(seen: Seen) -> Iterator[str]:
    prompt = seen.graded.group.prompt
    sizes = [decode_image(image, prompt.prompt_id).size for image in prompt.images]
    shown = ", ".join(f"{width} x {height} px" for width, height in sizes) or "none"
    puzzle = prompt.puzzle
    right = puzzle.annotation.answer if puzzle.annotation else puzzle.answer_letter
    yield f"  {prompt.prompt_id}, the first of {seen.num_prompts}; right is {visible(right)}"
    yield f"  images: {shown}, in {seen.num_image_tokens} tokens"
    yield "  as the engine saw it:"
    for line in seen.rendered.split("\n"):
        yield from _wrapped(line)


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(
        visible(line),
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        drop_whitespace=False,
        replace_whitespace=False,
    ) or ["    "]


def _chain_lines(seen: Seen, num_whole: int) -> Iterator[str]:
    graded = seen.graded
    rows = zip(graded.group.completions, graded.parsed, graded.scores, strict=True)
    for index, (completion, parsed, score) in list(enumerate(rows))[:num_whole]:
        total = number(score.total)
        yield f"  chain {index}: {parsed.status}, answer {_answer(parsed)}, total {total}"
        for line in completion.text.split("\n"):
            yield from _wrapped(line)


def _answer(parsed: ParsedCompletion) -> str:
    if parsed.choice_index is not None:
        return CHOICE_LETTERS[parsed.choice_index]
    text = visible(parsed.answer or "—").replace("\n", " ")
    return text if len(text) <= _LONGEST_ANSWER else f"{text[: _LONGEST_ANSWER - 1]}…"


def _reward_lines(seen: Seen) -> Iterator[str]:
    graded = seen.graded
    names = [name for name, _ in graded.scores[0].parts]
    judged = [n for n in names if any(score.part(n) is not None for score in graded.scores)]
    rows = [("chain", "status", "answer", "tokens", "total", *judged, "advantage")]
    for index, (completion, parsed, score, advantage) in enumerate(
        zip(graded.group.completions, graded.parsed, graded.scores, seen.advantages, strict=True)
    ):
        rows.append(
            (
                str(index),
                parsed.status,
                _answer(parsed),
                str(len(completion.token_ids)),
                number(score.total),
                *(number(score.part(name)) for name in judged),
                f"{advantage:+.3f}",
            )
        )
    yield text_table(rows)
    weighted = [f"{name} {seen.weights[name]:g}" for name in judged if seen.weights[name]]
    yield f"  weights: {', '.join(weighted)}; all others 0"
    left_out = [name for name in names if name not in judged]
    if left_out:
        yield f"  not judged here, so in no total: {', '.join(left_out)}"


def _advantage_lines(seen: Seen) -> Iterator[str]:
    totals = [score.total for score in seen.graded.scores]
    count = Counter(score.outcome for score in seen.graded.scores)
    outcomes = ", ".join(f"{times} x {number(value)}" for value, times in count.most_common())
    yield f"  outcomes: {outcomes}; mean total {sum(totals) / len(totals):.3f}"
    if seen.is_by_token:
        yield "  of each chain the mean over its tokens, their own credit among it"
    if not any(seen.advantages):
        reason = "are worth the same" if len(set(totals)) == 1 else "end alike"
        yield f"  all 0: the chains of this group {reason}, and nothing is learned from it"
    yield f"  loss {seen.loss:.4g}, norm of its gradient {seen.gradient_norm:.4g}"
    yield f"  mean |engine logprob - policy logprob|: {seen.parity_gap:.1e}"


def _token_lines(seen: Seen) -> Iterator[str]:
    group = seen.graded.group
    lengths = [len(completion.token_ids) for completion in group.completions]
    cut = sum(completion.finish_reason == "length" for completion in group.completions)
    prompt, size, total = len(group.prompt_token_ids), len(lengths), sum(lengths)
    layout = prompt + total if seen.why_plain is None else size * prompt + total
    yield f"  in: {prompt} a prompt, {seen.num_image_tokens} of them images'"
    yield (
        f"  out: {total:,} in {size} chains, {min(lengths)} to {max(lengths)} each, at most "
        f"{seen.max_new_tokens}; cut there: {cut}"
    )
    yield f"  through the policy in an update of this group: {layout:,}"
    if seen.why_plain is not None:
        yield f"  each chain with a copy of its prompt, because {seen.why_plain}"
    yield (
        f"  groups in a step of this rank: {seen.groups_a_step}; at this length about "
        f"{seen.groups_a_step * total:,} new tokens, at most "
        f"{seen.groups_a_step * size * seen.max_new_tokens:,}"
    )


def _memory_lines(seen: Seen) -> Iterator[str]:
    rows = [(row.name, _size(row.num_bytes), row.source) for row in seen.memory]
    yield text_table([("what", "MiB", "how it is known"), *rows])


def _size(num_bytes: float | None) -> str:
    return "—" if num_bytes is None else f"{num_bytes / 2**20:,.1f}"
