"""Critique fine-tuning: a chain to check, and a critique of it that is exact by the state.

The chain is the gold one, or the gold one with one mistake:

    panel     what one panel shows is told wrongly
    rule      a rule is named that the panels do not follow
    letter    all is right but the last line
    choice    the whole chain leads to a wrong choice: predictions, verdicts and answer

The critique names every wrong claim that the parser finds, line by line, and nothing else,
and ends with the right answer.

Source: learning to critique noisy answers, CFT and One-shot CFT (2506.03295); theirs are
critiques of teacher models.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from rewards.state import fits_of, values_of
from rewards.truth import Judged, judged_claims
from rl_avr.contracts import CHOICE_LETTERS, PanelClaim, ParsedCompletion, Puzzle, Rule
from rl_avr.elicitation.chains import (
    answer_line,
    gold_chain,
    has_chain,
    ruled_lines,
)
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of, stated_values
from rl_avr.errors import PuzzleError
from rl_avr.prompts import ANSWER_MARK, DIRECT_REQUEST, ChainLine, panel_name, prompt_text
from rl_avr.puzzles.solver import explain

REQUESTS = (
    "Check this solution line by line, say what is wrong, and give the right answer:",
    "Which lines of this solution are wrong? Correct them and name the right choice:",
    "Is this solution right? Point out every mistake and end with the answer:",
)
PHRASINGS: dict[str, tuple[str, ...]] = {
    "panel": (
        "Line {line}, {where}: the {noun} is {right}, you wrote {said}.",
        "In line {line} the {noun} of {where} should be {right}, not {said}.",
        "Line {line} says {said} for the {noun} of {where}, but it is {right}.",
        "Look again at {where}: its {noun} is {right}, not {said} as in line {line}.",
    ),
    "rule": (
        "Line {line}: the rule of the {noun} is {right}, you wrote {said}.",
        "In line {line} the {noun} follows {right}, not {said}.",
        "Line {line} explains the {noun} by {said}, but its rule is {right}.",
    ),
    "fits": (
        "Line {line}, {where}: the {noun} {right}, you wrote {said}.",
        "In line {line} you wrote {said}, but the {noun} of {where} {right}.",
        "Line {line} says {said} where the {noun} of {where} {right}.",
    ),
    "all_right": (
        "Every line is right.",
        "I find no mistake in any line.",
        "All of it is right, from the first line to the last.",
    ),
    "wrong_answer": (
        "So the answer must be {right}, not {said}.",
        "Choice {said} is wrong; it must be {right}.",
        "You chose {said}, the right choice is {right}.",
    ),
    "right_answer": (
        "The answer {right} is right.",
        "Choice {right} is the right one.",
        "It must be {right}, as you say.",
    ),
}
"""What a critique says -> its phrasings, all with the same placeholders."""
_Maker = Callable[[Puzzle, str, ParsedCompletion, random.Random], str | None]


def critique_turn(puzzle: Puzzle, rng: random.Random, prefix: bool = True) -> tuple[str, str]:
    """Returns a chain with the request to check it, and its critique.

    Args:
        puzzle: a puzzle with a state and a gold chain.
        rng: decides what is wrong with the chain, if anything, and the words.
        prefix: whether the chain names the kind of puzzle.

    Raises:
        PuzzleError: the puzzle has no state, or no gold chain.
    """
    if not puzzle.has_state:
        raise PuzzleError(f"puzzle {puzzle.puzzle_id}: expected a state to check chains by")
    chain = candidate_chain(puzzle, rng, prefix)
    question = prompt_text(puzzle, "direct").removesuffix(DIRECT_REQUEST)
    return f"{question}{rng.choice(REQUESTS)}\n{chain}", critique(puzzle, chain, rng)


def candidate_chain(puzzle: Puzzle, rng: random.Random, prefix: bool = True) -> str:
    """Returns the gold chain, as it is or with one mistake; each kind is as likely.

    A mistake that the puzzle does not allow, such as another rule where all others hold
    too, gives way to another.
    """
    gold = gold_chain(puzzle, prefix)
    makers: list[_Maker] = [_panel_mistake, _rule_mistake, _letter_mistake, _choice_mistake]
    if rng.randrange(len(makers) + 1) == 0:
        return gold
    rng.shuffle(makers)
    parsed = read(gold, puzzle)
    return next(chain for make in makers if (chain := make(puzzle, gold, parsed, rng)) is not None)


def _panel_mistake(
    puzzle: Puzzle, gold: str, parsed: ParsedCompletion, rng: random.Random
) -> str | None:
    """Returns the chain with a value told wrongly, where possible as another panel has it.

    Where single slots are spoken of, their position must stay readable.
    """
    by_slot = {(c.panel, c.component) for c in parsed.panel_claims if c.slot is not None}
    claims = [
        claim
        for claim in parsed.panel_claims
        if claim.panel.startswith("context:")
        and (claim.attribute != "position" or (claim.panel, claim.component) not in by_slot)
    ]
    claim = rng.choice(claims)
    line = _line_of(puzzle, claim.component, claim.attribute)
    seen = {c.value for c in parsed.panel_claims if _is_alike(c, claim)} - {claim.value}
    others = sorted(seen or set(line.words) - {claim.value})
    return _spliced(gold, claim.start, claim.end, line.words[rng.choice(others)])


def _is_alike(claim: PanelClaim, other: PanelClaim) -> bool:
    return (claim.component, claim.attribute) == (other.component, other.attribute)


def _rule_mistake(
    puzzle: Puzzle, gold: str, parsed: ParsedCompletion, rng: random.Random
) -> str | None:
    """Returns the chain with a rule that the panels do not follow; None where all hold."""
    holding = _holding_rules(puzzle)
    found = []
    for claim in parsed.rule_claims:
        line = _line_of(puzzle, claim.rule.component, claim.rule.attribute)
        wrong = [phrase for phrase, rule in line.rules.items() if rule not in holding]
        found += [(claim, phrase) for phrase in wrong]
    if not found:
        return None
    claim, phrase = rng.choice(found)
    return _spliced(gold, claim.start, claim.end, phrase)


def _holding_rules(puzzle: Puzzle) -> set[Rule]:
    """Returns every rule that the panels follow, those that the puzzle was not made by too.

    A non-regular puzzle is made so that no other rule explains it.
    """
    found = set(puzzle.rules)
    if puzzle.family == "rpm":
        explained = explain(puzzle.context, puzzle.configuration)  # type: ignore[arg-type]
        found |= {e.rule for explanations in explained.values() for e in explanations}
    return found


def _letter_mistake(
    puzzle: Puzzle, gold: str, parsed: ParsedCompletion, rng: random.Random
) -> str | None:
    """Returns the chain with another letter in its last line."""
    letters = CHOICE_LETTERS[: puzzle.num_choices].replace(puzzle.answer_letter, "")
    return gold.removesuffix(puzzle.answer_letter) + rng.choice(letters)


def _choice_mistake(
    puzzle: Puzzle, gold: str, parsed: ParsedCompletion, rng: random.Random
) -> str | None:
    """Returns a chain that leads to a wrong choice; None where none can be told from the rest."""
    ruled = ruled_lines(puzzle, schema_of(puzzle))
    for index in rng.sample(range(puzzle.num_choices), k=puzzle.num_choices):
        choice, other = puzzle.choices[index], replace(puzzle, answer_index=index)
        is_plain = all(len(stated_values(choice, line)) == 1 for line in ruled)
        if index != puzzle.answer_index and is_plain and has_chain(other):
            return gold_chain(other, parsed.sections[0] == "prefix")
    return None


def critique(puzzle: Puzzle, chain: str, rng: random.Random) -> str:
    """Returns what is wrong with a chain and the right answer, one statement a line.

    Args:
        puzzle: the puzzle, whose state is known.
        chain: a chain as `candidate_chain` makes them.
        rng: chooses the words.
    """
    parsed = read(chain, puzzle)
    wrong = sorted((c for c in judged_claims(parsed, puzzle) if not c.is_true), key=_place)
    lines = [
        rng.choice(PHRASINGS[str(claim.key[0])]).format(**_statement(puzzle, chain, claim))
        for claim in wrong
    ]
    has_right_answer = parsed.choice_index == puzzle.answer_index
    if not wrong and has_right_answer:
        lines.append(rng.choice(PHRASINGS["all_right"]))
    else:
        said = chain.rpartition(ANSWER_MARK)[2].strip()
        verdict = "right_answer" if has_right_answer else "wrong_answer"
        lines.append(rng.choice(PHRASINGS[verdict]).format(right=puzzle.answer_letter, said=said))
    return "\n".join([*lines, answer_line(puzzle)])


def _place(claim: Judged) -> int:
    return claim.span.start


def _statement(puzzle: Puzzle, chain: str, claim: Judged) -> dict[str, str]:
    """Returns what fills the placeholders of a wrong claim's phrasings."""
    told = {
        "line": str(chain.count("\n", 0, claim.span.start) + 1),
        "said": chain[claim.span.start : claim.span.end],
    }
    match claim.key:
        case ("panel", str(panel), int(component), str(attribute), (int() | None) as slot):
            line = _line_of(puzzle, component, attribute)
            value = values_of(puzzle)[panel, component, attribute, slot]
            assert value is not None, claim
            place = panel_name(panel)
            where = place if slot is None else f"slot {slot + 1} of {place}"
            return told | {"noun": line.noun, "where": where, "right": line.words[value]}
        case ("rule", int(component), str(attribute)):
            line = _line_of(puzzle, component, attribute)
            (rule,) = (r for r in puzzle.rules if (r.component, r.attribute) == claim.key[1:])
            return told | {"noun": line.noun, "right": line.phrases[rule.kind, rule.parameter]}
        case ("fits", int(index), int(component), str(attribute)):
            line = _line_of(puzzle, component, attribute)
            right = "fits" if fits_of(puzzle)[index, component, attribute] else "does not fit"
            return told | {
                "noun": line.noun,
                "where": panel_name(f"choice:{index}"),
                "right": right,
            }
        case _:
            raise AssertionError(claim)


def _line_of(puzzle: Puzzle, component: int, attribute: str) -> ChainLine:
    lines = schema_of(puzzle).lines
    return next(ln for ln in lines if (ln.component, ln.attribute) == (component, attribute))


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]
