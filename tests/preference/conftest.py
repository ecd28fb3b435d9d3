"""Questions made by hand: what was answered, without anything being sampled."""

import pytest

from rl_avr.contracts import Prompt
from rl_avr.preference.questions import Question, Sample


@pytest.fixture
def sample():
    """Makes a sample; keywords change a right one with perfect perception."""

    def made(text, **changes):
        given = {
            "num_tokens": len(text),
            "finish_reason": "stop",
            "status": "ok",
            "outcome": 1.0,
            "perception": 1.0,
            "answer": "C",
        } | changes
        parts = {"choice": given["outcome"], "perception": given["perception"]}
        return Sample(text, parts=parts, **given)

    return made


@pytest.fixture
def question(puzzle):
    """Makes a question of samples."""

    def made(*samples, prompt_id="p/cot", gold=None, num_right=None, num_judged=None):
        rights = sum(one.is_right for one in samples)
        return Question(
            prompt=Prompt(prompt_id, puzzle, "cot", "Which?", (b"\x89PNG",)),
            samples=samples,
            gold=gold,
            num_right=rights if num_right is None else num_right,
            num_judged=len(samples) if num_judged is None else num_judged,
            num_completions=len(samples),
            num_cut=0,
            num_unreadable=0,
        )

    return made
