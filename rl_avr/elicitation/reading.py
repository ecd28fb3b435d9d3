"""One way in for whoever grades: what a completion says about a given puzzle."""

from dataclasses import replace

from rl_avr.chain_lines import KnownLines
from rl_avr.contracts import FinishReason, ParsedCompletion, PromptKind, Puzzle
from rl_avr.elicitation.schema import schema_of
from rl_avr.elicitation.sentences import sentence_grammar
from rl_avr.parsing import parse, parse_direct
from rl_avr.prompts import AnswerForm
from rl_avr.puzzles.puzzle_cache import MOST_GROUPS, PuzzleCache


def _no_lines(puzzle: Puzzle) -> KnownLines:
    return {}


_known_lines = PuzzleCache(_no_lines, MOST_GROUPS)


def read(
    text: str,
    puzzle: Puzzle,
    finish_reason: FinishReason = "stop",
    kind: PromptKind = "cot",
    answer_form: AnswerForm = "mark",
    num_tokens: int | None = None,
) -> ParsedCompletion:
    """Returns what a completion says, in the compact form, in sentences, or directly.

    Args:
        text: the completion, without special tokens.
        puzzle: the puzzle that it answers.
        finish_reason: why the engine stopped.
        kind: what the prompt asked for; all but `cot` ask for the answer alone.
        answer_form: how the answer is marked.
        num_tokens: length of the completion, where it is known.

    Raises:
        PuzzleError: the puzzle's configuration or kind is not known; never for the text.
    """
    if kind != "cot":
        parsed = parse_direct(text, puzzle.num_choices, finish_reason, answer_form)
        return replace(parsed, num_tokens=num_tokens)
    schema = schema_of(puzzle)
    grammar = sentence_grammar(schema) if schema.lines else None
    return parse(
        text,
        puzzle.num_choices,
        finish_reason,
        schema,
        grammar,
        answer_form,
        num_tokens,
        _known_lines(puzzle),
    )
