"""The final answer."""

from rewards.answers import grade_text
from rl_avr.contracts import ParsedCompletion, Puzzle


def choice(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns what the final answer is worth.

        1 where the one chosen letter is the right one, else 0;
        for an open question what `rewards.answers` gives for its kind of answer

    A truncated completion, no answer, several answers, or a letter that is no choice: 0.
    None where there is no gold answer at all.

    Source: accuracy reward; by kind of answer, VLAA-Thinking (2504.11468).
    """
    if puzzle.answer_index is not None:
        return float(parsed.status != "truncated" and parsed.choice_index == puzzle.answer_index)
    note = puzzle.annotation
    if note is None or not any(gold.strip() for gold in (note.answer, *note.accepted)):
        return None
    if parsed.status == "truncated" or parsed.answer is None:
        return 0.0
    return grade_text(parsed.answer, (note.answer, *note.accepted), note.answer_kind)
