"""Questions as puzzles of their own: what a policy is asked about a puzzle's image.

    perception    questions about what is seen, with their gold answers
    yes_no        `Is choice C the missing panel?`, for the right choice and for a wrong one
    choice        the puzzle itself
    open          the missing panel in words: `type circle, size 4, color 7`

Such a puzzle shows the same image; it has a gold answer but no state, so parts of the
reward that are about the state are None for it.

Source: perception before reasoning, PeBR-R1 (2509.13031); yes-no, choice, open,
Curr-ReFT (2503.07065).
"""

import hashlib
import random
from typing import Literal

from rl_avr.contracts import CHOICE_LETTERS, Annotation, AnswerKind, Puzzle, Scene
from rl_avr.elicitation.chains import has_chain, predicted_value, ruled_lines
from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.question_words import FAMILIES, NUMBER_WORDS
from rl_avr.elicitation.questions import perception_questions
from rl_avr.elicitation.schema import schema_of
from rl_avr.prompts import ChainLine
from rl_avr.puzzles.nonregular.kinds import kind_of
from rl_avr.seeding import rng_for

AnswerStage = Literal["yes_no", "choice", "open"]
Ask = Literal["perception", "yes_no", "open"]

_COUNTED = frozenset(name for name in FAMILIES if name.startswith("num_"))
_MOST_LISTED = 12
_REGULAR_VALUES = {
    "number": "Number: how many shapes.",
    "position": "Position: the filled slots, numbered from 1 row by row, as digits without spaces.",
    "type": "Type: triangle, square, pentagon, hexagon or circle.",
    "size": "Size: from 0 to 5.",
    "color": "Color: from 0 (white) to 9 (black).",
}


def asked(puzzle: Puzzle, question: Question) -> Puzzle:
    """Returns a question about a puzzle as a puzzle of its own.

    Its id is the puzzle's and a hash of question and answer; difficulty and
    configuration stay the puzzle's own.
    """
    name = f"{question.text}\0{question.answer}".encode()
    return Puzzle(
        puzzle_id=f"{puzzle.puzzle_id}/{hashlib.blake2b(name, digest_size=6).hexdigest()}",
        family="annotated",
        configuration=puzzle.configuration,
        context=(),
        choices=(),
        answer_index=None,
        rules=(),
        difficulty=puzzle.difficulty,
        seed=puzzle.seed,
        annotation=Annotation(
            question.text,
            (),
            question.answer,
            accepted=question.accepted,
            answer_kind=_answer_kind(question),
        ),
    )


def _answer_kind(question: Question) -> AnswerKind:
    if question.form == "multiple_choice":
        return "letter"
    if question.form == "yes_no":
        return "yes_no"
    if question.family == "missing_panel":
        return "tuple"
    if question.family in _COUNTED:
        return "count"
    # whether a number that people wrote counts things or names one, only the question tells
    answer = question.answer.strip().casefold()
    is_number = answer.isdecimal() or answer in NUMBER_WORDS
    has_count = is_number and question.text.casefold().startswith("how many ")
    return "count" if has_count else "exact"


def answer_questions(puzzle: Puzzle, stage: AnswerStage, rng: random.Random) -> tuple[Puzzle, ...]:
    """Returns the question for a puzzle's answer in the form of one stage.

    Empty where there is nothing to ask: without a state and a chain that leads to the
    answer, only the puzzle itself can be asked.

    Args:
        puzzle: the puzzle.
        stage: `yes_no` gives a question for the right choice and one for a wrong choice;
            `choice` the puzzle itself; `open` its missing panel, in ruled attributes alone.
        rng: chooses the wrong choice, and which of two questions comes first.
    """
    if stage == "choice":
        return (puzzle,)
    if not puzzle.has_state or not has_chain(puzzle):
        return ()
    if stage == "open":
        return (asked(puzzle, _missing_panel(puzzle)),)
    return tuple(asked(puzzle, question) for question in _is_it_questions(puzzle, rng))


def _is_it_questions(puzzle: Puzzle, rng: random.Random) -> list[Question]:
    wrong = rng.choice([i for i in range(puzzle.num_choices) if i != puzzle.answer_index])
    text = "Is choice {} the missing panel?"
    if puzzle.configuration == "group":
        text = "Does choice {} belong with the panels shown?"
    questions = [
        Question(text.format(letter), answer, family="missing_panel", form="yes_no")
        for letter, answer in ((puzzle.answer_letter, "yes"), (CHOICE_LETTERS[wrong], "no"))
    ]
    rng.shuffle(questions)
    return questions


def _missing_panel(puzzle: Puzzle) -> Question:
    """Returns the question for the ruled attributes; noise is not determined by the context."""
    ruled = ruled_lines(puzzle, schema_of(puzzle))
    names = [_name(puzzle, line) for line in ruled]
    form = ", ".join(f"{name} _" for name in names)
    values = [line.words[predicted_value(puzzle, line)] for line in ruled]
    answer = ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
    is_group = puzzle.configuration == "group"
    which = "a panel that belongs with those shown" if is_group else "the missing panel"
    # components share the words of their attributes
    legend = dict.fromkeys(_values_sentence(puzzle, line) for line in ruled)
    text = f"What does {which} look like? Complete this line: {form}. {' '.join(legend)}"
    return Question(text, answer, family="missing_panel", level="relation", panel="missing")


def _name(puzzle: Puzzle, line: ChainLine) -> str:
    """Returns an attribute's name; the nouns of scenes are too long for a line of values."""
    return line.section if isinstance(puzzle.answer, Scene) else line.noun


def _values_sentence(puzzle: Puzzle, line: ChainLine) -> str:
    """Returns the values that an attribute can have, as words of the question."""
    if not isinstance(puzzle.answer, Scene):
        return _REGULAR_VALUES[line.attribute]
    noun = kind_of(puzzle).attribute(line.attribute).noun
    words = list(line.words.values())
    if all(word.isdecimal() for word in words) and len(words) <= _MOST_LISTED:
        numbers = sorted(int(word) for word in words)
        values = f"from {numbers[0]} to {numbers[-1]}"
    elif len(words) <= _MOST_LISTED:
        values = f"{', '.join(words[:-1])} or {words[-1]}"
    elif any(word.isdecimal() for word in words):
        values = "as digits without spaces, or none"
    else:
        parts = list(dict.fromkeys(part for word in words for part in word.split("-")))
        values = f"{', '.join(parts[:-1])} or {parts[-1]}, joined by hyphens"
    return f"{line.label}: {noun}; {values}."


def ask_puzzle(puzzle: Puzzle, about: Ask, num_questions: int = 0) -> tuple[Puzzle, ...]:
    """Returns questions about a puzzle; the puzzle's id and `about` decide which.

    Args:
        puzzle: the puzzle.
        about: what is asked about; see the head of this module.
        num_questions: how many at most; 0 for all there are.

    A question that people wrote twice is asked once.
    """
    rng = rng_for("ask", about, puzzle.puzzle_id)
    if about == "perception":
        questions = [asked(puzzle, q) for q in perception_questions(puzzle, rng)]
    else:
        questions = list(answer_questions(puzzle, about, rng))
    found = list({question.puzzle_id: question for question in questions}.values())
    if 0 < num_questions < len(found):
        found = rng.sample(found, num_questions)
    return tuple(found)
