"""A question with what the policy answered to it: what ways of choosing choose from."""

from dataclasses import dataclass
from fractions import Fraction

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import (
    CHOICE_LETTERS,
    Completion,
    FinishReason,
    GradedGroup,
    ParsedCompletion,
    ParseStatus,
    Prompt,
    RolloutGroup,
    Score,
)
from rl_avr.elicitation.chains import direct_answer, gold_chain, has_chain
from rl_avr.errors import PuzzleError
from rl_avr.prompts import ANSWER_MARK, answer_form_of, in_tags


@dataclass(frozen=True)
class Sample:
    """One completion, graded.

    Args:
        text: without special tokens.
        num_tokens: the end token included; 0 where it is not known, as of a gold chain.
        finish_reason: why it ended.
        status: how it could be read.
        outcome: of the final answer, in [0, 1].
        perception: F1 of the claims about shown panels; None without a state.
        parts: reward parts by name.
        answer: the letter, of an open question the words; None without one answer.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason
    status: ParseStatus
    outcome: float
    perception: float | None
    parts: dict[str, float | None]
    answer: str | None

    @property
    def is_right(self) -> bool:
        """Whether its final answer is worth all there is."""
        return self.outcome == 1.0

    @property
    def is_whole(self) -> bool:
        """Whether it ended and every section is there, in order, with one answer."""
        return self.finish_reason == "stop" and self.status == "ok"

    @property
    def is_answered(self) -> bool:
        """Whether it ended and has one answer that can be read."""
        return self.finish_reason == "stop" and self.status in ("ok", "malformed")


@dataclass(frozen=True)
class Question:
    """A prompt with its graded completions.

    Args:
        prompt: what was asked.
        samples: the completions that could be judged, those that came to their end first; of
            equal texts the first alone.
        gold: the gold chain, or the gold answer alone where that is asked for, graded as the
            samples are; None where there is none that is right in its form.
        num_right: right ones among all completions.
        num_judged: completions that could be judged.
        num_completions: all completions.
        num_cut: of these, those that did not come to their end.
        num_unreadable: of these, those that ended without a single readable answer.
    """

    prompt: Prompt
    samples: tuple[Sample, ...]
    gold: Sample | None
    num_right: int
    num_judged: int
    num_completions: int
    num_cut: int
    num_unreadable: int

    @property
    def accuracy(self) -> Fraction | None:
        """Share of right answers, exactly; None where none could be judged."""
        return Fraction(self.num_right, self.num_judged) if self.num_judged else None


def question_of(graded: GradedGroup, rewards: RewardConfig) -> Question:
    """Returns a graded group as a question.

    Args:
        graded: the group, with the prompt's images.
        rewards: what it was graded by; the gold chain is graded likewise.
    """
    prompt = graded.group.prompt
    told = zip(graded.group.completions, graded.parsed, graded.scores, strict=True)
    samples = [_sample(*one) for one in told if one[2].outcome is not None]
    first: dict[str, Sample] = {}
    # of equal texts one may have been cut where only its end token was missing
    for sample in sorted(samples, key=lambda one: one.finish_reason != "stop"):
        first.setdefault(sample.text, sample)
    is_cut = [one.finish_reason != "stop" for one in graded.group.completions]
    return Question(
        prompt=prompt,
        samples=tuple(first.values()),
        gold=_gold(prompt, [sample.text for sample in samples], rewards),
        num_right=sum(sample.is_right for sample in samples),
        num_judged=len(samples),
        num_completions=len(graded.scores),
        num_cut=sum(is_cut),
        num_unreadable=sum(
            not cut and parsed.status not in ("ok", "malformed")
            for cut, parsed in zip(is_cut, graded.parsed, strict=True)
        ),
    )


def _sample(completion: Completion, parsed: ParsedCompletion, score: Score) -> Sample:
    assert score.outcome is not None
    parts = dict(score.parts)
    letter = None if parsed.choice_index is None else CHOICE_LETTERS[parsed.choice_index]
    return Sample(
        completion.text,
        len(completion.token_ids),
        completion.finish_reason,
        parsed.status,
        score.outcome,
        parts.get("perception"),
        parts,
        letter or parsed.answer,
    )


def _gold(prompt: Prompt, texts: list[str], rewards: RewardConfig) -> Sample | None:
    text = gold_text(prompt, texts)
    if text is None:
        return None
    group = RolloutGroup(prompt, (), (Completion(text, (), (), "stop", 0),))
    graded = grade(group, rewards)
    if graded.scores[0].outcome != 1.0 or graded.parsed[0].status != "ok":
        return None
    return _sample(group.completions[0], graded.parsed[0], graded.scores[0])


def gold_text(prompt: Prompt, texts: list[str]) -> str | None:
    """Returns the gold chain in the form that a prompt asks for; None where there is none.

    The sentence that names the kind of puzzle is left out where no completion has it, so that
    gold and own chains differ in what they say alone.

    Args:
        prompt: what was asked; where it wants the answer alone, that is all there is.
        texts: what was answered.
    """
    puzzle = prompt.puzzle
    is_tagged = answer_form_of(prompt.text) == "tags"
    if prompt.kind != "cot":
        answer = direct_answer(puzzle)
        return in_tags(f"{ANSWER_MARK} {answer}") if is_tagged else answer
    if not has_chain(puzzle):
        return None
    try:
        gold = gold_chain(puzzle)
        opening = gold.partition("\n")[0]
        if not any(opening in text for text in texts):
            gold = gold_chain(puzzle, prefix=False)
    except PuzzleError:
        # its rules and its state contradict each other, which no chain can explain
        return None
    return in_tags(gold) if is_tagged else gold
