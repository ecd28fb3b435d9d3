"""Credit by claim and by segment, from numbers that a test puts in."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.inference.credit import SEGMENTS, group_credit, spelling
from rl_avr.inference.implicit_reward import TokenRewards, completion_ids
from rl_avr.modeling.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
REWARDS = RewardConfig()


class Numbered:
    """Gives token t of every chain the credit t + 1, and the logprob -1."""

    processor = SimpleNamespace(tokenizer=TOKENIZER)

    def score(self, prompt, completions):
        longest = max(map(len, completions))
        lengths = torch.tensor([len(ids) for ids in completions])
        mask = torch.arange(longest) < lengths[:, None]
        policy = -1.0 * mask
        return TokenRewards(policy, policy - torch.arange(1.0, longest + 1) * mask, mask)


def graded(puzzle, *texts, finish="stop", kind="cot"):
    prompt = Prompt("p", puzzle, kind, "", ())
    done = tuple(Completion(text, (), (), finish, 0) for text in texts)
    return grade(RolloutGroup(prompt, (), done), REWARDS)


def credit_of(puzzle, *texts, **changes):
    return group_credit(Numbered(), graded(puzzle, *texts, **changes), REWARDS)


@pytest.fixture
def wrong(puzzle):
    """The gold chain with one wrong size and a wrong letter."""
    text = gold_chain(puzzle)
    assert text.endswith("C")
    start = text.index("Size: ") + len("Size: ")
    return text[:start] + str((int(text[start]) + 1) % 6) + text[start + 1 : -1] + "A"


def test_a_claim_s_credit_is_the_sum_over_its_tokens(puzzle, wrong):
    (found,) = credit_of(puzzle, wrong)
    ids, ends = spelling(TOKENIZER, Completion(wrong, (), (), "stop", 0))
    assert found.token_ends_T == ends and len(found.credit_T) == len(ids)
    starts = (0, *ends[:-1])
    mean = (len(ids) + 1) / 2
    for one in found.claims:
        span = one.claim.span
        own = [
            t
            for t, (start, end) in enumerate(zip(starts, ends, strict=True))
            if start < span.end and end > span.start
        ]
        assert own and one.tokens == (own[0], own[-1] + 1)
        assert one.credit == pytest.approx(sum(t + 1 for t in own))
        assert one.centred == pytest.approx(one.credit - mean * len(own))
        assert one.logprob == pytest.approx(-len(own))
    assert found.total == pytest.approx(sum(range(1, len(ids) + 1)))


def test_claims_have_their_truth_and_their_words(puzzle, wrong):
    (found,) = credit_of(puzzle, wrong)
    false = [one.claim for one in found.claims if not one.claim.is_true]
    assert [claim.kind for claim in false] == ["perception", "answer"]
    assert wrong[slice(*false[0].span)].strip() == wrong[wrong.index("Size: ") + 6]
    assert false[1].says == "answer: A"
    assert {one.claim.kind for one in found.claims} == set(SEGMENTS) - {"other"}
    spans = [one.claim.span for one in found.claims]
    assert spans == sorted(spans)
    (gold,) = credit_of(puzzle, gold_chain(puzzle))
    assert all(one.claim.is_true for one in gold.claims)


def test_segments_part_the_tokens(puzzle, wrong):
    for chain in credit_of(puzzle, wrong, gold_chain(puzzle), "### Answer: C", "", "words alone"):
        assert [part.name for part in chain.segments] == list(SEGMENTS)
        assert sum(part.num_tokens for part in chain.segments) == len(chain.credit_T)
        assert sum(part.credit for part in chain.segments) == pytest.approx(chain.total)
        sizes = {part.name: part.num_tokens for part in chain.segments}
        assert (sizes["answer"] > 0) == ("### Answer" in chain.text)


def test_what_nothing_can_judge_is_there_without_a_truth(puzzle):
    text = gold_chain(puzzle)
    known = {one.claim.span: one.claim for one in credit_of(puzzle, text)[0].claims}
    (found,) = credit_of(replace(puzzle, answer_index=None), text)
    assert {one.claim.span for one in found.claims} == set(known)
    for one in found.claims:
        # without a right answer predictions, verdicts and the answer hang in the air
        judged = one.claim.kind == "perception" or one.claim.says.startswith("rule of ")
        assert (one.claim.is_true is not None) == judged, one.claim
        assert known[one.claim.span].kind == one.claim.kind


def test_a_chain_that_was_cut_has_no_end_token(puzzle):
    text = gold_chain(puzzle)[:30]
    (cut,) = credit_of(puzzle, text, finish="length")
    (ended,) = credit_of(puzzle, text)
    assert len(ended.credit_T) == len(cut.credit_T) + 1
    assert ended.token_ends_T == (*cut.token_ends_T, len(text))


def test_a_puzzle_without_a_state_has_the_answer_as_its_claim(annotated):
    (right, wrong) = credit_of(annotated(), "So it is.\n### Answer: C", "### Answer: A")
    assert [(one.claim.kind, one.claim.is_true) for one in right.claims] == [("answer", True)]
    assert [(one.claim.kind, one.claim.is_true) for one in wrong.claims] == [("answer", False)]


def test_spelling_covers_the_text_and_survives_what_utf8_cannot_hold():
    text = "Type: square \ud800 é 永 ### Answer: C"
    ids, ends = spelling(TOKENIZER, Completion(text, (), (), "stop", 0))
    assert ids == completion_ids(TOKENIZER, text)
    assert len(ids) == len(ends) and ends[-1] == len(text) and list(ends) == sorted(ends)
