"""The sections of a completion, each with its place, its claims and their truth.

For credit token by token, and for showing a completion.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.truth import FactKey, Judged, judged_claims, panel_fact, stated_keys
from rl_avr.contracts import ParsedCompletion, Puzzle, Span


@dataclass(frozen=True, slots=True)
class Segment:
    """One section of a completion.

    Args:
        name: as among `ParsedCompletion.sections`; two segments may have the same.
        span: its characters.
        tokens: its first token and one past its last; None where tokens are not known.
        claims: its claims that can be judged, in the order of the text.
        precision: share of its claims that are true; None without any.
        recall: share of what the chain of the context states that this segment is the
            first to claim rightly; over all segments it sums to the recall of
            `perception`. None for a puzzle without a state.
    """

    name: str
    span: Span
    tokens: tuple[int, int] | None
    claims: tuple[Judged, ...]
    precision: float | None
    recall: float | None


def segments(
    parsed: ParsedCompletion, puzzle: Puzzle, token_ends_T: Sequence[int] | None = None
) -> tuple[Segment, ...]:
    """Returns the segments of a completion in the order of the text; an empty text has none.

    Args:
        parsed: what the completion says.
        puzzle: the puzzle that it answers.
        token_ends_T: for each token, one past its last character in the text; None or
            empty where the tokens do not spell it.

    Without the sections' places there are no segments.
    """
    if len(parsed.spans) != len(parsed.sections):
        return ()
    starts = [span.start for span in parsed.spans]
    claims_S: list[list[Judged]] = [[] for _ in starts]
    for claim in sorted(judged_claims(parsed, puzzle), key=lambda claim: claim.span.start):
        # every claim stands in the last section that begins before it
        if place := bisect_right(starts, claim.span.start):
            claims_S[place - 1].append(claim)
    unseen = {panel_fact(key) for key in stated_keys(puzzle)} if puzzle.has_state else set()
    num_stated = len(unseen)
    found = []
    for name, span, claims in zip(parsed.sections, parsed.spans, claims_S, strict=True):
        recall = _take(unseen, claims) / num_stated if num_stated else None
        precision = sum(claim.is_true for claim in claims) / len(claims) if claims else None
        tokens = tokens_of(span, token_ends_T) if token_ends_T else None
        found.append(Segment(name, span, tokens, tuple(claims), precision, recall))
    return tuple(found)


def _take(unseen: set[FactKey], claims: Sequence[Judged]) -> int:
    """Removes the facts that are claimed rightly; returns how many there were."""
    seen = unseen & {claim.key for claim in claims if claim.is_true}
    unseen -= seen
    return len(seen)


def tokens_of(span: Span, token_ends_T: Sequence[int]) -> tuple[int, int]:
    """Returns the first token that has a character of a span, and one past the last.

    A token that reaches over the edge of the span belongs to it; one without characters,
    such as the end token, belongs to none at the span's edges.

    >>> tokens_of(Span(2, 4), [1, 4, 6, 6])
    (1, 2)
    """
    first = bisect_right(token_ends_T, span.start)
    # a token starts where the one before it ends
    stop = 1 + bisect_left(token_ends_T, span.end)
    return first, max(first, min(stop, len(token_ends_T)))
