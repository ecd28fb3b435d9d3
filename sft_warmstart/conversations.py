"""What a puzzle gives for each kind of conversation: turns with gold answers, as plain messages.

    perception   elicitation questions, all in one conversation or each on its own
    chain        the request for a reason, and the policy's own right chain or the gold one
    direct       the request for the answer alone
    yes_no       whether a choice is the missing panel, by turns for the right and a wrong one
    open         what the missing panel looks like
    critique     a chain to check, and what is wrong with it

The image belongs before the first turn; the collator puts it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rl_avr.contracts import Puzzle
from rl_avr.elicitation.asking import AnswerStage, answer_questions
from rl_avr.elicitation.chains import direct_answer, gold_chain, has_chain
from rl_avr.elicitation.forms import Question
from rl_avr.elicitation.questions import elicitation
from rl_avr.errors import PuzzleError
from rl_avr.prompts import prompt_text
from rl_avr.seeding import rng_for
from sft_warmstart.config import ElicitationConfig, Kind, SftConfig
from sft_warmstart.critiques import critique_turn

Messages = list[dict[str, str]]
OwnChains = Mapping[str, Sequence[tuple[str, str]]]
"""Puzzle id -> prompts with the policy's own right chains."""


@dataclass(frozen=True)
class Visit:
    """One visit of a run to a puzzle.

    Args:
        kind: the kind of conversation.
        part: which question, where each has a conversation of its own.
        cycle: how often the run was here before.
        seed: seed of the run.
    """

    kind: Kind
    part: int
    cycle: int
    seed: int


def turns(*pairs: tuple[str, str]) -> Messages:
    """Returns question and answer pairs as the turns of a conversation.

    >>> turns(("How many?", "4"))[1]
    {'role': 'assistant', 'content': '4'}
    """
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def can_give(puzzle: Puzzle, kind: Kind, own: OwnChains, sft: SftConfig) -> bool:
    """Returns whether a puzzle has what a kind of conversation needs."""
    if kind == "perception":
        note = puzzle.annotation
        return note is None or bool(note.perception and sft.elicitation.num_fine)
    if kind == "direct":
        return True
    if kind == "chain" and puzzle.puzzle_id in own:
        return True
    if kind == "chain" and sft.own_chains.path and sft.own_chains.fallback == "none":
        return False
    return has_chain(puzzle) and (kind == "chain" or puzzle.has_state)


def num_parts(puzzle: Puzzle, kind: Kind, config: ElicitationConfig) -> int:
    """Returns how many conversations one visit to a puzzle is.

    A puzzle with a state is taken to have enough to ask about.
    """
    if kind != "perception" or config.conversations == "one":
        return 1
    if puzzle.annotation is not None:
        return min(config.num_fine, len(puzzle.annotation.perception))
    return config.num_coarse + config.num_fine


def puzzle_messages(puzzle: Puzzle, visit: Visit, sft: SftConfig, own: OwnChains) -> Messages:
    """Returns the conversation of a visit.

    Raises:
        PuzzleError: the puzzle cannot give this kind; `can_give` says so before.
    """
    kind = visit.kind
    if kind == "perception":
        return question_messages(puzzle, visit, sft.elicitation)
    if kind == "chain":
        if chains := own.get(puzzle.puzzle_id):
            return turns(chains[visit.cycle % len(chains)])
        return turns((prompt_text(puzzle, "cot"), gold_chain(puzzle, sft.prefix)))
    if kind == "direct":
        return turns((prompt_text(puzzle, "direct"), direct_answer(puzzle)))
    if kind == "critique":
        rng = rng_for("critique", visit.seed, puzzle.puzzle_id, visit.cycle)
        return turns(critique_turn(puzzle, rng, sft.prefix))
    return _answer_messages(puzzle, visit)


def question_messages(puzzle: Puzzle, visit: Visit, config: ElicitationConfig) -> Messages:
    """Returns a puzzle's perception questions with gold answers, or the one that a part names.

    Every cycle asks others, in another order.
    """
    rng = rng_for("questions", visit.seed, puzzle.puzzle_id, visit.cycle)
    questions: Sequence[Question] = elicitation(
        puzzle, config.num_fine, rng, config.num_coarse, config.order
    )
    if not questions:
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: has no perception questions")
    if config.conversations == "separate":
        questions = [questions[visit.part % len(questions)]]
    return turns(*((question.text, question.answer) for question in questions))


def _answer_messages(puzzle: Puzzle, visit: Visit) -> Messages:
    """Returns one of the questions for a puzzle's answer.

    The two yes-no questions come in turn: in one conversation the second answer would
    follow from the first.
    """
    stage: AnswerStage = "yes_no" if visit.kind == "yes_no" else "open"
    num = 2 if stage == "yes_no" else 1
    rng = rng_for(stage, visit.seed, puzzle.puzzle_id, visit.cycle // num)
    found = answer_questions(puzzle, stage, rng)
    if not found:
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: has no state with a chain to ask about")
    asked = found[visit.cycle % num]
    return turns((prompt_text(asked, "direct"), direct_answer(asked)))
