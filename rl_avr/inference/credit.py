"""Credit of a chain: which of its tokens and claims a policy likes more than its reference does.

    r_t = log pi(y_t) - log pi_ref(y_t)          summed over claims and over segments

A claim's tokens are those that have a character of it. Segments part the tokens: the answer,
what is claimed of shown panels (perception), of rules and the missing panel (rules), verdicts
about choices (choices), and all that makes no claim (other).

The text is scored as the tokenizer spells it. Recorded chains have no token ids, and ids that
were sampled seldom spell a text in another way.

T: tokens of a chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from rewards.config import RewardConfig, part_name
from rewards.explain import Explanation, explain
from rewards.segments import Segment, segments, tokens_of
from rl_avr.algo.token_credit import centred, span_sums
from rl_avr.contracts import (
    Completion,
    GradedGroup,
    PanelClaim,
    ParsedCompletion,
    Prompt,
    Puzzle,
    Score,
    Span,
)
from rl_avr.inference.implicit_reward import ImplicitReward, tokenizable

ClaimKind = Literal["perception", "rules", "choices", "answer"]
SEGMENTS = ("perception", "rules", "choices", "answer", "other")


class Claimed(NamedTuple):
    """A statement of a chain and where it stands.

    Args:
        kind: what it is about.
        says: in words.
        span: its characters.
        is_true: whether the state or the gold answer agrees; None where neither can say.
    """

    kind: ClaimKind
    says: str
    span: Span
    is_true: bool | None


@dataclass(frozen=True)
class ClaimCredit:
    """A claim with the credit of its tokens.

    Args:
        claim: what is claimed.
        tokens: its first token and one past its last.
        credit: sum of r_t.
        centred: sum of r_t less the chain's mean.
        logprob: sum of the policy's logprobs, in nats.
    """

    claim: Claimed
    tokens: tuple[int, int]
    credit: float
    centred: float
    logprob: float

    @property
    def num_tokens(self) -> int:
        """How many tokens it has; at least 1 unless the chain was cut before its end."""
        return self.tokens[1] - self.tokens[0]


@dataclass(frozen=True)
class SegmentCredit:
    """One of `SEGMENTS` with the credit of its tokens; those of a chain part its tokens."""

    name: str
    num_tokens: int
    credit: float


@dataclass(frozen=True, eq=False)
class ChainCredit:
    """A chain with its credit.

    Args:
        text: the chain.
        token_ends_T: for each token, one past its last character; the end token's is the text's.
        credit_T: r_t, float32.
        centred_T: r_t less its mean.
        logprobs_T: of the policy, in nats.
        claims: in the order of the text.
        segments: in the order of `SEGMENTS`.
        explanation: how it is graded.
        is_ended: whether the last token is the end token.
    """

    text: str
    token_ends_T: tuple[int, ...]
    credit_T: torch.Tensor
    centred_T: torch.Tensor
    logprobs_T: torch.Tensor
    claims: tuple[ClaimCredit, ...]
    segments: tuple[SegmentCredit, ...]
    explanation: Explanation
    is_ended: bool

    @property
    def total(self) -> float:
        """The sum of r_t: the chain's implicit reward."""
        return float(self.credit_T.double().sum())


def group_credit(
    reward: ImplicitReward, graded: GradedGroup, rewards: RewardConfig
) -> list[ChainCredit]:
    """Returns the credit of each chain of a graded group, whose prompt has its images.

    Args:
        reward: what scores tokens.
        graded: the chains.
        rewards: what they were graded by.

    Raises:
        DataError: as `ImplicitReward.score`.
    """
    prompt, tokenizer = graded.group.prompt, reward.processor.tokenizer
    spelled = [spelling(tokenizer, one) for one in graded.group.completions]
    scored = reward.score(prompt, [ids for ids, _ in spelled])
    told = zip(graded.group.completions, graded.parsed, graded.scores, spelled, strict=True)
    return [
        _chain(prompt, one, parsed, score, rewards, ends, credit[: len(ids)], logprobs[: len(ids)])
        for (one, parsed, score, (ids, ends)), credit, logprobs in zip(
            told, scored.reward, scored.policy, strict=True
        )
    ]


def spelling(tokenizer: Any, completion: Completion) -> tuple[list[int], tuple[int, ...]]:
    """Returns a completion's ids as its tokenizer spells the text, and each token's end in it.

    The end token is there unless the completion was cut. Its end is the text's.
    """
    text = completion.text
    made = tokenizer(tokenizable(text), add_special_tokens=False, return_offsets_mapping=True)
    ids, ends = list(made.input_ids), [end for _, end in made.offset_mapping]
    if completion.finish_reason == "stop":
        ids, ends = [*ids, tokenizer.eos_token_id], [*ends, len(text)]
    return ids, tuple(ends)


def claims_of(
    explanation: Explanation, parsed: ParsedCompletion, puzzle: Puzzle
) -> tuple[Claimed, ...]:
    """Returns every claim of a chain in the order of the text, the answer among them.

    Args:
        explanation: how the chain is graded.
        parsed: what it says.
        puzzle: the puzzle that it answers.
    """
    found = list(_judged(explanation, segments(parsed, puzzle)))
    known = {claim.span for claim in found}
    unjudged: list[tuple[ClaimKind, Span]] = [
        *((_kind_of(c), c.span) for c in parsed.panel_claims),
        *(("choices", c.span) for c in parsed.verdict_claims),
        *(("rules", c.span) for c in parsed.rule_claims),
        *(
            ("answer", span)
            for name, span in zip(parsed.sections, parsed.spans, strict=False)
            if name == "answer"
        ),
    ]
    text = explanation.text
    found += [
        Claimed(kind, text[span.start : span.end], span, None)
        for kind, span in unjudged
        if span not in known
    ]
    return tuple(sorted(found, key=lambda claim: (claim.span, claim.kind)))


def _judged(explanation: Explanation, parts: Sequence[Segment]) -> list[Claimed]:
    """Returns the claims that can be judged, with the words that the explanation has for them."""
    found = []
    for part, section in zip(parts, explanation.sections, strict=True):
        kinds = [_kind_of_key(judged.key) for judged in part.claims]
        # behind those of the state stands the answer, where there is a gold one
        for kind, claim in zip([*kinds, "answer"], section.claims, strict=False):
            found.append(Claimed(kind, claim.says, claim.span, claim.is_true))
    return found


def _kind_of_key(key: Sequence[object]) -> ClaimKind:
    if key[0] == "fits":
        return "choices"
    return "rules" if key[0] == "rule" or key[1] == "missing" else "perception"


def _kind_of(claim: PanelClaim) -> ClaimKind:
    return "rules" if claim.panel == "missing" else "perception"


def _chain(
    prompt: Prompt,
    completion: Completion,
    parsed: ParsedCompletion,
    score: Score,
    rewards: RewardConfig,
    ends_T: tuple[int, ...],
    credit_T: torch.Tensor,
    logprobs_T: torch.Tensor,
) -> ChainCredit:
    own = {part_name(path): score.part(part_name(path)) for path in rewards.own}
    explanation = explain(completion.text, parsed, prompt.puzzle, rewards, prompt.kind, own)
    centred_T = centred(credit_T[None], torch.ones_like(credit_T)[None])[0]
    claims = claims_of(explanation, parsed, prompt.puzzle)
    spans = [tokens_of(claim.span, ends_T) if ends_T else (0, 0) for claim in claims]
    sums = (span_sums(values, spans) for values in (credit_T, centred_T, logprobs_T))
    return ChainCredit(
        completion.text,
        ends_T,
        credit_T,
        centred_T,
        logprobs_T,
        tuple(map(ClaimCredit, claims, spans, *sums)),
        _segments(claims, spans, credit_T),
        explanation,
        completion.finish_reason == "stop",
    )


def _segments(
    claims: Sequence[Claimed], spans: Sequence[tuple[int, int]], credit_T: torch.Tensor
) -> tuple[SegmentCredit, ...]:
    """Parts the tokens; a token of several claims goes with the first of them."""
    names_T = ["other"] * len(credit_T)
    for claim, (first, stop) in zip(claims, spans, strict=True):
        for t in range(first, stop):
            if names_T[t] == "other":
                names_T[t] = claim.kind
    values_T = credit_T.double().tolist()
    found = []
    for name in SEGMENTS:
        own = [value for value, its in zip(values_T, names_T, strict=True) if its == name]
        found.append(SegmentCredit(name, len(own), sum(own)))
    return tuple(found)
