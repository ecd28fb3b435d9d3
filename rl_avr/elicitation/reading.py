"""One way in for whoever grades: what a completion says about a given puzzle."""

from rl_avr.contracts import FinishReason, ParsedCompletion, PromptKind, Puzzle
from rl_avr.elicitation.schema import schema_of
from rl_avr.elicitation.sentences import sentence_grammar
from rl_avr.parsing import parse, parse_direct


def read(
    text: str, puzzle: Puzzle, finish_reason: FinishReason = "stop", kind: PromptKind = "cot"
) -> ParsedCompletion:
    """Returns what a completion says, in the compact form, in sentences, or directly.

    Args:
        text: the completion, without special tokens.
        puzzle: the puzzle that it answers.
        finish_reason: why the engine stopped.
        kind: what the prompt asked for; `direct` for the letter alone.

    Raises:
        PuzzleError: the puzzle's configuration or kind is not known; never for the text.
    """
    if kind == "direct":
        return parse_direct(text, puzzle.num_choices, finish_reason)
    schema = schema_of(puzzle)
    grammar = sentence_grammar(schema) if schema.lines else None
    return parse(text, puzzle.num_choices, finish_reason, schema, grammar)
