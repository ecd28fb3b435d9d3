"""Graded groups -> token-level credit, ready to be added to trl's advantages."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from rewards import truth
from rl_avr.algo.claim_credit import JudgedClaim, claim_advantages, token_credit
from rl_avr.contracts import Completion, GradedGroup, ParsedCompletion, Puzzle


def judged_claims(parsed: ParsedCompletion, puzzle: Puzzle) -> list[JudgedClaim]:
    """Returns every claim with its truth; a repeated claim gets a key of its own.

    See `rewards.truth.judged_claims` for what cannot be judged and is left out.
    """
    seen: Counter[truth.FactKey] = Counter()
    judged = []
    for key, _, span, is_true in truth.judged_claims(parsed, puzzle):
        judged.append(JudgedClaim((*key, seen[key]), span.start, span.end, is_true))
        seen[key] += 1
    return judged


def group_token_credit(
    groups: Sequence[GradedGroup], tokenizer: Any, num_tokens: int
) -> torch.Tensor:
    """Returns (B, T) credit, rows in the order of the groups' completions, padded with 0.

    A completion whose tokens do not spell its text piece by piece gets no credit.
    """
    piece = _piece_reader(tokenizer)
    rows = []
    for group in groups:
        puzzle = group.group.prompt.puzzle
        claims_G = [judged_claims(parsed, puzzle) for parsed in group.parsed]
        advantages_G = claim_advantages(claims_G)
        for completion, claims, advantages in zip(
            group.group.completions, claims_G, advantages_G, strict=True
        ):
            ends = token_ends(completion, piece)
            credit = token_credit(claims, advantages, ends) if ends else []
            rows.append(credit + [0.0] * (num_tokens - len(credit)))
    return torch.tensor(rows, dtype=torch.float32)


def token_ends(completion: Completion, piece: Callable[[int], str]) -> list[int]:
    """Returns each token's end in the text, or [] where the pieces do not spell the text."""
    ends, spelled = [], ""
    for token_id in completion.token_ids:
        spelled += piece(token_id)
        ends.append(len(spelled))
    return ends if spelled == completion.text else []


def _piece_reader(tokenizer: Any) -> Callable[[int], str]:
    @cache
    def piece(token_id: int) -> str:
        return tokenizer.decode([token_id], skip_special_tokens=True)

    return piece
