"""Gold chains of thought, written from a puzzle's state. See `prompts` for the form."""

from rl_avr import prompts
from rl_avr.contracts import CHOICE_LETTERS, Puzzle
from rl_avr.puzzles.grammar import ATTRIBUTES, level


def gold_chain(puzzle: Puzzle, prefix: bool = True) -> str:
    """Returns the chain of thought that reads, explains, predicts and eliminates.

    Args:
        puzzle: a matrix puzzle with one entity a panel.
        prefix: begin with the sentence that names the kind of puzzle.
    """
    lines = [prompts.PREFIX] if prefix else []
    lines += [_attribute_line(puzzle, name) for name in ATTRIBUTES]
    predicted = " ".join(prompts.value_word(n, level(puzzle.answer, n)) for n in ATTRIBUTES)
    lines.append(f"{prompts.MISSING_LABEL} {predicted}")
    lines += [_choice_line(puzzle, index) for index in range(puzzle.answer_index + 1)]
    lines.append(f"{prompts.ANSWER_MARK} {puzzle.answer_letter}")
    return "\n".join(lines)


def _attribute_line(puzzle: Puzzle, attribute: str) -> str:
    words = [prompts.value_word(attribute, level(panel, attribute)) for panel in puzzle.context]
    rows = " | ".join(" ".join(words[start : start + 3]) for start in (0, 3, 6))
    rule = next(rule for rule in puzzle.rules if rule.attribute == attribute)
    ninth = prompts.value_word(attribute, level(puzzle.answer, attribute))
    label = prompts.ATTRIBUTE_LABELS[attribute]
    return f"{label} {rows} -> {prompts.rule_phrase(rule)} -> {ninth}"


def _choice_line(puzzle: Puzzle, index: int) -> str:
    verdicts = []
    for name in ATTRIBUTES:
        value = level(puzzle.choices[index], name)
        fits = value == level(puzzle.answer, name)
        word = prompts.value_word(name, value)
        verdicts.append(f"{word} {prompts.FITS if fits else prompts.DIFFERS}")
        if not fits:
            break
    return f"{CHOICE_LETTERS[index]}: {', '.join(verdicts)}"
