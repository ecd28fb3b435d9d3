"""What each chain of a prompt is worth to a reranker, under every name of `SCORES`.

    sum          r = sum over t of r_t, r_t = log pi(y_t) - log pi_ref(y_t)
    mean         r / T
    bounded      sum over t of clip(r_t, -1, 1), in nats: no token counts for more than a factor e
    perception   the sum of r_t over the tokens of claims about panels shown and choices
    rules        over those of claims about rules and of predictions
    choices      over those of verdicts on choices
    answer       over those of the answer
    logprob      the policy's mean log pi(y_t): how sure it is, without a reference
    reference    sum over t of log pi_ref(y_t): what the chain was worth before
    proximal     bounded + reference: the policy's logprob, were no token moved by over a factor e
    agreement    see `own_perception`

`sum` is largest where one token that the reference found very unlikely became less so, which
says little about the chain. `bounded` keeps such a token small, and `proximal` keeps the chain
itself near the reference, the regularisation of best of N (RBoN, 2404.01054), as PPO's clip does
for a token (1707.06347).

A token of two kinds of claims counts for both. A chain that says nothing of a kind, or whose
tokens do not spell its text, has 0 there. T: tokens of the chain.
"""

from collections.abc import Callable, Iterator, Sequence

from rewards.segments import tokens_of
from rl_avr.contracts import Completion, ParsedCompletion, Span
from rl_avr.inference.implicit_reward import TokenRewards
from rl_avr.inference.own_perception import agreement
from rl_avr.training.credit import token_ends

_PARTS = ("perception", "rules", "choices", "answer")
_BOUND = 1.0
"""Most nats that a token adds to `bounded`, up or down."""
Columns = dict[str, list[float]]
"""Name of a score -> one number a chain."""


def reward_columns(
    rewards: TokenRewards,
    completions: Sequence[Completion],
    parsed: Sequence[ParsedCompletion],
    piece: Callable[[int], str],
) -> Columns:
    """Returns the scores that an implicit reward gives, of every chain of a prompt.

    Args:
        rewards: of the completions, in order.
        completions: with the token ids that were scored.
        parsed: what each says.
        piece: token id -> its text, empty for a special token.
    """
    # a chain without tokens has nothing to divide
    lengths = rewards.lengths.clamp(min=1)
    bounded = rewards.reward.clamp(-_BOUND, _BOUND).sum(1)
    reference = (rewards.reference * rewards.mask).sum(1)
    columns: Columns = {
        "sum": rewards.total.tolist(),
        "mean": (rewards.total / lengths).tolist(),
        "bounded": bounded.tolist(),
        "proximal": (bounded + reference).tolist(),
        "logprob": ((rewards.policy * rewards.mask).sum(1) / lengths).tolist(),
        "reference": reference.tolist(),
        **{name: [] for name in _PARTS},
    }
    for row, completion, one in zip(rewards.reward.tolist(), completions, parsed, strict=True):
        ends = token_ends(completion, piece)
        tokens: dict[str, set[int]] = {name: set() for name in _PARTS}
        for part, span in _spans(one) if ends else ():
            tokens[part] |= set(range(*tokens_of(span, ends)))
        for part, indices in tokens.items():
            columns[part].append(sum(row[t] for t in indices))
    return columns


def agreement_column(parsed: Sequence[ParsedCompletion]) -> list[float]:
    """Returns the score that needs no policy."""
    return [agreement(one) for one in parsed]


def _spans(parsed: ParsedCompletion) -> Iterator[tuple[str, Span]]:
    """Yields each claim's place with the part of the chain that it counts for."""
    for claim in parsed.panel_claims:
        yield "rules" if claim.panel == "missing" else "perception", claim.span
    for rule in parsed.rule_claims:
        yield "rules", rule.span
    for verdict in parsed.verdict_claims:
        yield "choices", verdict.span
    for name, span in zip(parsed.sections, parsed.spans, strict=True):
        if name == "answer":
            yield "answer", span
