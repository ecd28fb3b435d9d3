"""Credit for the tokens of a claim by the claim's own truth, against the group.

    c_gk  = 1 where completion g makes claim k and it is true, 0 where it is false
    A_gk  = (c_gk - mean_g c_gk) / (std_g c_gk + eps)      over the completions that make it
    A_gt  = A_g + weight * sum of A_gk over the claims k whose span holds token t

A_g is the group's usual advantage, the same for every token. A claim that the whole
group gets right, or wrong, or that one completion alone makes, gives nothing. With
weight 0 the advantages are A_g, unchanged.

The state of a puzzle says which claims are true, so this is process supervision
without a judge; the group is the baseline, as in GRPO.

G: completions of a group, K: claims, T: tokens.
"""

import statistics
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

_EPS = 1e-4


@dataclass(frozen=True)
class JudgedClaim:
    """A claim of one completion.

    Args:
        key: what is claimed about; the same for every completion of the group.
        start: first character.
        end: one past the last character.
        is_true: whether the state agrees.
    """

    key: Hashable
    start: int
    end: int
    is_true: bool


def claim_advantages(claims_G: Sequence[Sequence[JudgedClaim]]) -> list[dict[Hashable, float]]:
    """Returns, per completion, each claim's advantage against the group.

    >>> right, wrong = JudgedClaim("a", 0, 1, True), JudgedClaim("a", 0, 1, False)
    >>> [round(row["a"], 2) for row in claim_advantages([[right], [wrong]])]
    [1.0, -1.0]
    >>> claim_advantages([[right], [right]])
    [{'a': 0.0}, {'a': 0.0}]
    """
    truths: Mapping[Hashable, list[float]] = defaultdict(list)
    for claims in claims_G:
        for claim in claims:
            truths[claim.key].append(float(claim.is_true))
    stats = {k: (statistics.fmean(v), statistics.pstdev(v)) for k, v in truths.items()}
    return [
        {c.key: (c.is_true - stats[c.key][0]) / (stats[c.key][1] + _EPS) for c in claims}
        if claims
        else {}
        for claims in claims_G
    ]


def token_credit(
    claims: Sequence[JudgedClaim],
    advantages: Mapping[Hashable, float],
    token_ends_T: Sequence[int],
) -> list[float]:
    """Returns one number per token: the sum over the claims that it takes part in.

    Args:
        claims: of one completion.
        advantages: of its claims, by key.
        token_ends_T: for each token, one past its last character in the text.

    >>> claim = JudgedClaim("a", 2, 4, True)
    >>> token_credit([claim], {"a": 0.5}, [1, 4, 6])
    [0.0, 0.5, 0.0]
    """
    credit = [0.0] * len(token_ends_T)
    starts = [0, *token_ends_T[:-1]] if token_ends_T else []
    for claim in claims:
        for t, (start, end) in enumerate(zip(starts, token_ends_T, strict=True)):
            if start < claim.end and end > claim.start:
                credit[t] += advantages[claim.key]
    return credit
