"""Gold chains of thought in compact form, and direct answers; see `prompts` for the form."""

from collections.abc import Sequence

from rl_avr import prompts
from rl_avr.contracts import CHOICE_LETTERS, Annotation, Puzzle, Rule
from rl_avr.elicitation.schema import Stated, schema_of, stated_values
from rl_avr.errors import PuzzleError
from rl_avr.prompts import ChainLine, Schema


def gold_chain(puzzle: Puzzle, prefix: bool = True) -> str:
    """Returns the chain of thought that reads, explains, predicts and eliminates.

    The chain of an annotated puzzle is the one that people wrote, with an answer line.

    Args:
        puzzle: the puzzle.
        prefix: begin with the sentence that names the kind of puzzle.

    Raises:
        PuzzleError: the puzzle has neither a state nor a chain, or its rules and its
            state contradict each other.
    """
    if puzzle.annotation is not None:
        return annotated_chain(puzzle, puzzle.annotation, prefix)
    schema = schema_of(puzzle)
    rules = {(rule.component, rule.attribute): rule for rule in puzzle.rules}
    lines = [schema.prefix] if prefix and schema.prefix else []
    lines += [_attribute_line(puzzle, schema, line, rules) for line in schema.lines]
    ruled = ruled_lines(puzzle, schema)
    lines.append(_missing_line(puzzle, schema, ruled))
    lines += [_choice_line(puzzle, index, ruled) for index in range(answer_index(puzzle) + 1)]
    lines.append(answer_line(puzzle))
    return "\n".join(lines)


def direct_answer(puzzle: Puzzle) -> str:
    """Returns the letter of the right choice; the answer's words for an open question."""
    if puzzle.answer_index is None and puzzle.annotation is not None:
        return puzzle.annotation.answer
    return puzzle.answer_letter


def answer_line(puzzle: Puzzle) -> str:
    """Returns the line that a chain ends with."""
    return f"{prompts.ANSWER_MARK} {direct_answer(puzzle)}"


def has_chain(puzzle: Puzzle) -> bool:
    """Returns whether there is a gold chain that leads to the answer.

    A few puzzles of other generators are decided by noise, for which there is no rule: a
    chain would find several choices that fit. Without a state there is a chain where
    people wrote one.
    """
    if puzzle.annotation is not None:
        return bool(puzzle.annotation.chain)
    if not puzzle.has_state or puzzle.answer_index is None:
        return False
    ruled = ruled_lines(puzzle, schema_of(puzzle))
    fitting = [
        index
        for index in range(puzzle.num_choices)
        if all(fits for _, _, fits in tried_words(puzzle, index, ruled))
    ]
    return fitting == [puzzle.answer_index]


def annotated_chain(puzzle: Puzzle, annotation: Annotation, prefix: bool) -> str:
    """Returns people's own chain between the prefix and an answer line.

    Raises:
        PuzzleError: nobody wrote a chain.
    """
    if not annotation.chain:
        raise PuzzleError(
            f"puzzle {puzzle.puzzle_id}: expected a state or an annotated chain, found neither; "
            "ask for a direct answer instead"
        )
    lines = annotation.chain.strip().split("\n")
    # The answer comes from the annotation; a line of the chain's own would be a second one.
    lines = [line for line in lines if not line.startswith(prompts.ANSWER_MARK.split()[0])]
    if annotation.prefix:
        lines = [line for line in lines if line.strip() != annotation.prefix]
        lines = [annotation.prefix, *lines] if prefix else lines
    return "\n".join([*lines, answer_line(puzzle)])


def answer_index(puzzle: Puzzle) -> int:
    """Returns the index of the right choice.

    Raises:
        PuzzleError: the puzzle has no state, or no right choice.
    """
    if puzzle.answer_index is None or not puzzle.has_state:
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: expected a state with a right choice")
    return puzzle.answer_index


def value_words(stated: Stated, line: ChainLine) -> str:
    """Returns the word for what is stated about a panel."""
    if len(stated) == 1:
        return line.words[stated[0][1]]
    return ".".join([line.words[value] for _, value in stated])


def _attribute_line(
    puzzle: Puzzle,
    schema: Schema,
    line: ChainLine,
    rules: dict[tuple[int, str], Rule],
) -> str:
    words = [value_words(stated_values(panel, line), line) for panel in puzzle.context]
    rows, start = [], 0
    for length in schema.rows:
        rows.append(" ".join(words[start : start + length]))
        start += length
    shown = f"{line.label}: {' | '.join(rows)} -> "
    rule = rules.get((line.component, line.attribute))
    if rule is None:
        return shown + prompts.NO_RULE
    return f"{shown}{line.phrases[rule.kind, rule.parameter]} -> {_predicted(puzzle, line)}"


def _missing_line(puzzle: Puzzle, schema: Schema, ruled: Sequence[ChainLine]) -> str:
    words = [_predicted(puzzle, line) if line in ruled else prompts.ANY for line in schema.lines]
    return f"{prompts.MISSING_LABEL} {' '.join(words)}"


def _predicted(puzzle: Puzzle, line: ChainLine) -> str:
    return line.words[predicted_value(puzzle, line)]


def predicted_value(puzzle: Puzzle, line: ChainLine) -> int:
    """Returns the value of a ruled attribute in the missing panel.

    Raises:
        PuzzleError: the panel has several; such an attribute is noise and has no rule.
    """
    stated = stated_values(puzzle.answer, line)
    if len(stated) != 1:
        raise PuzzleError(
            f"puzzle {puzzle.puzzle_id}: its rules name {line.noun}, so the missing panel must "
            f"have one value of it, got {[value for _, value in stated]}; leave noise without "
            "a rule"
        )
    return stated[0][1]


def tried_words(
    puzzle: Puzzle, index: int, ruled: Sequence[ChainLine]
) -> list[tuple[ChainLine, str, bool]]:
    """Returns line, word and verdict of a choice's ruled attributes, up to the first misfit."""
    tried = []
    placed: set[int] = set()
    choice, answer = puzzle.choices[index], puzzle.answer
    for line in ruled:
        stated = stated_values(choice, line)
        fits = choice is answer or stated == stated_values(answer, line)
        # Without its position before it, a reader could not tell which slots are meant.
        is_placed = len(stated) == 1 or line.component in placed
        tried.append((line, value_words(stated, line) if is_placed else prompts.MIXED, fits))
        if not fits:
            break
        if line.attribute == "position":
            placed.add(line.component)
    return tried


def ruled_lines(puzzle: Puzzle, schema: Schema) -> list[ChainLine]:
    """Returns the lines whose attribute a rule of the puzzle is about."""
    ruled = {(rule.component, rule.attribute) for rule in puzzle.rules}
    return [line for line in schema.lines if (line.component, line.attribute) in ruled]


def _choice_line(puzzle: Puzzle, index: int, ruled: Sequence[ChainLine]) -> str:
    verdicts = [
        f"{word} {prompts.FITS if fits else prompts.DIFFERS}"
        for _, word, fits in tried_words(puzzle, index, ruled)
    ]
    return f"{CHOICE_LETTERS[index]}: {', '.join(verdicts)}"
