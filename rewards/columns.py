"""Columns of another framework's batch -> what a reward needs of each completion.

    puzzle          JSON that `Puzzle.to_json` wrote, or a `Puzzle`; or instead of it
    answer          the gold answer: a letter where there are choices, else words or a number
    choices         texts of two to eight choices, or their letters; left out: an open question
    accepted        other right answers to an open question
    answer_kind     how an open question's answer is graded; see `contracts.AnswerKind`
    question        the question, where an error or the user's own functions should name it
    prompt_kind     `cot`, `perception` or `direct`; `cot` where it is left out
    finish_reason   `stop`, `length` or `abort`; `stop` where it is left out
    num_tokens      length of the completion in tokens

A row may have None for whatever it does not have. Other columns are not read. What a
model wrote is never refused; a column that cannot be used is, with its row.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast, get_args

from rewards.parts.choice import choice
from rl_avr.contracts import (
    CHOICE_LETTERS,
    Annotation,
    AnswerKind,
    FinishReason,
    PromptKind,
    Puzzle,
)
from rl_avr.elicitation.chains import answer_line
from rl_avr.elicitation.reading import read
from rl_avr.errors import PuzzleError, RewardError

COLUMNS = (
    "puzzle",
    "answer",
    "choices",
    "accepted",
    "answer_kind",
    "question",
    "prompt_kind",
    "finish_reason",
    "num_tokens",
)
_PUZZLES_KEPT = 4096


class Row(NamedTuple):
    """One completion and what it is graded by."""

    prompt: str
    text: str
    puzzle: Puzzle
    kind: PromptKind
    finish_reason: FinishReason
    num_tokens: int | None


def rows_of(
    prompts: Sequence[Any] | None,
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None,
    columns: Mapping[str, Any],
) -> list[Row]:
    """Returns one row a completion.

    Args:
        prompts: texts or lists of messages; only the user's own functions read them.
        completions: texts or lists of messages.
        completion_ids: the tokens of each completion.
        columns: name -> one entry a completion.

    Raises:
        RewardError: a column is missing, has another length, or holds something else.
    """
    size = len(completions)
    used = {name: columns[name] for name in COLUMNS if columns.get(name) is not None}
    listed = {"prompts": prompts, "completion_ids": completion_ids} | used
    for name, column in listed.items():
        if column is not None and (isinstance(column, str) or _length(column) != size):
            raise RewardError(
                f"column {name!r}: expected a list with one entry for each of {size} "
                f"completions, got {_shown(column)}"
            )
    if "puzzle" not in used and "answer" not in used:
        raise RewardError(
            "expected a column 'puzzle' (JSON of this package's puzzles) or 'answer' (the gold "
            f"answer); got {', '.join(sorted(columns)) or 'no column'}"
        )
    return [
        _row(
            i,
            "" if prompts is None else prompt_text(prompts[i]),
            completions[i],
            None if completion_ids is None else len(completion_ids[i]),
            {name: column[i] for name, column in used.items() if column[i] is not None},
        )
        for i in range(size)
    ]


def _row(
    index: int, prompt: str, completion: Any, num_ids: int | None, cells: dict[str, Any]
) -> Row:
    try:
        return Row(
            prompt,
            completion_text(completion),
            _puzzle(cells),
            _one_of(cells, "prompt_kind", "cot", get_args(PromptKind)),
            _one_of(cells, "finish_reason", "stop", get_args(FinishReason)),
            _num_tokens(cells.get("num_tokens", num_ids)),
        )
    except (RewardError, PuzzleError) as error:
        raise RewardError(f"row {index}: {error}") from error


def completion_text(completion: Any) -> str:
    """Returns the words of a completion: a text, or what the assistant says in messages.

    The content of a message is a text or a list of typed parts, of which the texts count.
    Several messages of the assistant are joined by line ends; no content is no words.

    Raises:
        RewardError: neither a text nor messages, which no model can cause.
    """
    if isinstance(completion, str):
        return completion
    if completion is None:
        return ""
    messages = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, list | tuple) or not all(isinstance(m, Mapping) for m in messages):
        raise RewardError(
            f"completions: expected a text or a list of messages, got {_shown(completion)}"
        )
    said = [m for m in messages if m.get("role", "assistant") == "assistant"]
    return "\n".join(_content(message) for message in said)


def prompt_text(prompt: Any) -> str:
    """Returns the words of a prompt, of all its messages; images and the rest are left out."""
    if isinstance(prompt, str):
        return prompt
    messages = prompt if isinstance(prompt, list | tuple) else [prompt]
    return "\n".join(_content(m) for m in messages if isinstance(m, Mapping))


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else []
    texts = [p if isinstance(p, str) else p.get("text") for p in parts if _has_text(p)]
    return "".join(text for text in texts if isinstance(text, str))


def _has_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and part.get("type") == "text")


def _puzzle(cells: Mapping[str, Any]) -> Puzzle:
    given = cells.get("puzzle")
    if isinstance(given, Puzzle):
        return given
    if isinstance(given, str):
        return _read_puzzle(given)
    if given is not None:
        raise RewardError(f"column 'puzzle': expected JSON or a Puzzle, got {_shown(given)}")
    if "answer" not in cells:
        raise RewardError("expected 'puzzle' or 'answer', got neither")
    return _annotated(
        _answer(cells["answer"]),
        _texts(cells, "choices"),
        _texts(cells, "accepted"),
        _one_of(cells, "answer_kind", None, get_args(AnswerKind)),
        str(cells.get("question", "")),
    )


@lru_cache(_PUZZLES_KEPT)
def _read_puzzle(text: str) -> Puzzle:
    """Reads a puzzle and makes sure that completions about it can be read."""
    try:
        puzzle = Puzzle.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RewardError(
            f"column 'puzzle': expected what Puzzle.to_json wrote, got {_shown(text)}: {error!r}"
        ) from error
    read("", puzzle)
    return puzzle


def _answer(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # 4.0 of a column of floats is the count 4
        value = repr(int(value) if float(value).is_integer() else value)
    if not isinstance(value, str) or not value.strip():
        raise RewardError(f"column 'answer': expected a text, got {_shown(value)}")
    return value.strip()


def _texts(cells: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = cells.get(name, ())
    items = () if isinstance(value, str) or _length(value) is None else tuple(value)
    if _length(value) != len(items) or not all(isinstance(i, str) and i.strip() for i in items):
        raise RewardError(f"column {name!r}: expected a list of texts, got {_shown(value)}")
    return items


@lru_cache(_PUZZLES_KEPT)
def _annotated(
    answer: str,
    choices: tuple[str, ...],
    accepted: tuple[str, ...],
    answer_kind: AnswerKind | None,
    question: str,
) -> Puzzle:
    """Returns a puzzle without a state; the right answer is checked to be worth 1."""
    index = None
    if choices:
        if accepted or answer_kind:
            raise RewardError(
                "columns 'accepted' and 'answer_kind' are for open questions, and this row has "
                "'choices'; expected None in one or the other"
            )
        index = _choice_index(answer, choices)
        answer = CHOICE_LETTERS[index]
    note = Annotation(
        question, choices, answer, accepted=accepted, answer_kind=answer_kind or "exact"
    )
    puzzle = Puzzle("annotated", "annotated", "annotated", (), (), index, (), 0.0, 0, note)
    if choice(read(answer_line(puzzle), puzzle), puzzle) != 1.0:
        raise RewardError(
            f"column 'answer': expected one line that can be written after an answer mark, got "
            f"{_shown(answer)}, which would never be graded as right"
        )
    return puzzle


def _choice_index(answer: str, choices: tuple[str, ...]) -> int:
    """Returns the index of the choice that a letter, or else a text found once, names."""
    letters = CHOICE_LETTERS[: len(choices)]
    if not 2 <= len(choices) <= len(CHOICE_LETTERS):
        raise RewardError(
            f"column 'choices': expected 2 to {len(CHOICE_LETTERS)} choices, got {len(choices)}"
        )
    if len(answer) == 1 and answer in letters:
        return letters.index(answer)
    stripped = [choice.strip() for choice in choices]
    if stripped.count(answer) == 1:
        return stripped.index(answer)
    raise RewardError(
        f"column 'answer': expected a letter of {letters[0]} to {letters[-1]} or the text of one "
        f"choice, got {answer!r}"
    )


def _one_of(cells: Mapping[str, Any], name: str, default: Any, allowed: Sequence[str]) -> Any:
    value = cells.get(name, default)
    if value is not default and value not in allowed:
        raise RewardError(
            f"column {name!r}: expected one of {', '.join(allowed)}, got {_shown(value)}"
        )
    return value


def _num_tokens(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0 or number != value:
        raise RewardError(f"column 'num_tokens': expected a whole number >= 0, got {_shown(value)}")
    return number


def gold_columns(ground_truth: Any) -> dict[str, Any]:
    """Returns what one gold value of verl or EasyR1 stands for, as cells of one row.

    A puzzle's JSON, or a JSON object of the columns of this module (`{"answer": "B",
    "choices": ["2", "3"]}`), or the gold answer itself.
    """
    if not isinstance(ground_truth, str) or not ground_truth.lstrip().startswith("{"):
        return {"puzzle" if isinstance(ground_truth, Puzzle) else "answer": ground_truth}
    try:
        found = cast(dict[str, Any], json.loads(ground_truth))
    except (ValueError, RecursionError):
        return {"answer": ground_truth}
    return {"puzzle": ground_truth} if "puzzle_id" in found else found


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except TypeError:
        return None


def _shown(value: Any) -> str:
    length = "" if isinstance(value, str) or _length(value) is None else f" of {len(value)}"
    text = repr(value)
    return f"{type(value).__name__}{length}: {text if len(text) <= 60 else text[:57] + '...'}"
