"""What a trained policy gets right on held-out puzzles, puzzle by puzzle, and blind guessing.

Blind guessing at a question is the commonest right answer to questions of its sort on these
very puzzles, the best that one answer can do; at a puzzle, one over the number of choices.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from rewards.parts.choice import choice
from rl_avr.contracts import Prompt
from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.grading import grade_answer
from rl_avr.elicitation.questions import elicitation
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.pipeline.ablate_plan import Measure
from rl_avr.seeding import rng_for
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from sft_warmstart.validation import GreedyWriter

_NUM_COARSE = 2
_NUM_EXAMPLES = 20


class Asked(NamedTuple):
    """A question about a held-out puzzle."""

    puzzle: int
    prompt: Prompt
    question: Question


class Measured(NamedTuple):
    """What came out.

    Args:
        right_P: share of right answers to each puzzle.
        chance_P: share that blind answers get right.
        examples: what was asked and answered, the first few.
    """

    right_P: np.ndarray
    chance_P: np.ndarray
    examples: list[dict[str, Any]]


def measure_policy(policy: Path, measure: Measure, data: Path) -> Measured:
    """Loads a policy and measures it.

    Raises:
        ConfigError: it cannot be loaded.
        DataError: the puzzles cannot be read, or one cannot be asked.
    """
    prompts = read_prompts(DataConfig(str(data), "held_out", measure.num_puzzles))
    model = load_policy(PolicyConfig(path=str(policy))).eval()
    with tqdm(desc="measuring", unit="answer") as bar:
        writer = GreedyWriter(model, load_processor(str(policy)), measure.batch_size, bar)
        ask = _chains if measure.ask == "chain" else _questions
        return ask(writer, prompts, measure)


def _chains(writer: GreedyWriter, prompts: Sequence[Prompt], measure: Measure) -> Measured:
    answers = list(writer.answers(prompts, measure.max_new_tokens))
    right = [
        choice(read(text, prompt.puzzle, reason), prompt.puzzle) == 1.0
        for prompt, (text, reason) in zip(prompts, answers, strict=True)
    ]
    chance = [1 / prompt.puzzle.num_choices for prompt in prompts]
    shown = [
        {"id": prompt.puzzle.puzzle_id, "answer": text, "is_right": is_right}
        for prompt, (text, _), is_right in zip(prompts, answers, right, strict=True)
    ]
    return Measured(np.array(right, float), np.array(chance), shown[:_NUM_EXAMPLES])


def _questions(writer: GreedyWriter, prompts: Sequence[Prompt], measure: Measure) -> Measured:
    asked = questions_of(prompts, measure.num_questions)
    texts = [replace(a.prompt, kind="perception", text=a.question.text) for a in asked]
    answers = [text for text, _ in writer.answers(texts, measure.max_new_tokens)]
    right = [grade_answer(one.question, text) for one, text in zip(asked, answers, strict=True)]
    commonest = commonest_answers([one.question for one in asked])
    blind = [grade_answer(one.question, commonest[sort_of(one.question)]) for one in asked]
    shown = [
        {
            "id": a.prompt.puzzle.puzzle_id,
            "question": a.question.text,
            "answer": text,
            "is_right": r,
        }
        for a, text, r in zip(asked, answers, right, strict=True)
    ]
    puzzles = [one.puzzle for one in asked]
    return Measured(per_puzzle(puzzles, right), per_puzzle(puzzles, blind), shown[:_NUM_EXAMPLES])


def questions_of(prompts: Sequence[Prompt], num_questions: int) -> list[Asked]:
    """Returns the questions, coarse and fine; the puzzle's id alone decides which.

    Raises:
        DataError: a puzzle that cannot be asked about.
    """
    asked = []
    for index, prompt in enumerate(prompts):
        rng = rng_for("measured", prompt.puzzle.puzzle_id)
        fine = max(num_questions - _NUM_COARSE, 1)
        found = elicitation(prompt.puzzle, fine, rng, min(_NUM_COARSE, num_questions - fine))
        if not found:
            raise DataError(
                f"puzzle {prompt.puzzle.puzzle_id}: expected one with a state or with questions "
                "that people wrote; measure on other puzzles"
            )
        asked += [Asked(index, prompt, question) for question in found]
    return asked


def commonest_answers(questions: Sequence[Question]) -> dict[str, str]:
    """Returns sort of question -> its commonest right answer."""
    counts: dict[str, Counter[str]] = {}
    for question in questions:
        counts.setdefault(sort_of(question), Counter())[question.answer] += 1
    return {sort: counter.most_common(1)[0][0] for sort, counter in counts.items()}


def sort_of(question: Question) -> str:
    """Returns what is asked, whichever panel it is asked about."""
    if question.key is None:
        return question.text
    return f"{question.family} {question.form} {question.key.attribute}"


def per_puzzle(puzzles: Sequence[int], values: Sequence[bool]) -> np.ndarray:
    """Returns (P,) the mean of each puzzle's values; puzzles are numbered from 0 without a gap.

    >>> per_puzzle([0, 0, 1], [True, False, True])
    array([0.5, 1. ])
    """
    return np.bincount(puzzles, np.array(values, float)) / np.bincount(puzzles)
