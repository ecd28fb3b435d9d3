"""Does the chain decide the answer? The policy goes on from its own chain, cut or altered.

    truncated_chain  the first lines of the chain, then the mark that an answer follows:
                     where the answer is already the final one, the rest did not decide it
    corrupted_chain  one predicted value is replaced by that of another choice and the chain
                     ends behind that statement: a policy that uses its chain now chooses a choice
                     with that value

Both begin the policy's turn with text of ours. Of the engine this asks one thing: that it
appends the ids of `prefill` to those of the rendered prompt before it samples, and that the
text to be read is `prefill` with the sampled text behind it (`Prefilled.whole`).

Source: Measuring Faithfulness in Chain-of-Thought Reasoning (Lanham et al. 2023), early
answering and adding mistakes.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from rewards.state import value_of
from rl_avr.contracts import PanelClaim, Puzzle
from rl_avr.elicitation.fluent import spoken
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.errors import DataError
from rl_avr.evaluation.probes import marked
from rl_avr.evaluation.problems import Problem
from rl_avr.prompts import ANSWER_MARK, ChainLine, answer_form_of

_STATEMENT_END = re.compile(r"\n|\.(?= )")
"""A line's end, or a sentence's."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Prefilled:
    """A problem whose answer has begun.

    Args:
        problem: what is asked.
        prefill: how the policy's turn begins.
    """

    problem: Problem
    prefill: str

    def whole(self, sampled: str) -> str:
        """Returns the text that is read and graded."""
        return self.prefill + sampled


def truncated_chains(
    problem: Problem, text: str, shares: Sequence[float] = SHARES
) -> list[Prefilled]:
    """Returns the problem with the first lines of a chain and the mark of an answer.

    Args:
        problem: the problem that the chain is about.
        text: what the policy said to it.
        shares: of the chain's lines, in [0, 1], rounded down; 0 asks for the answer at once,
            1 gives the whole chain.

    Returns:
        One for each share; none where the text has no chain before its answer.

    Raises:
        DataError: a share that is not in [0, 1].
    """
    if any(not 0 <= share <= 1 for share in shares):
        raise DataError(f"expected shares of a chain in [0, 1], got {list(shares)}")
    lines = _chain_lines(problem, text)
    if not lines:
        return []
    return [
        Prefilled(
            marked(problem, "truncated_chain", f"{share:g}"),
            _asks_now(problem, lines[: floor(share * len(lines))]),
        )
        for share in shares
    ]


def corrupted_chain(problem: Problem, text: str, rng: random.Random) -> Prefilled | None:
    """Returns the problem with a chain whose prediction is that of another choice.

    One ruled attribute of the missing panel is picked by lot among those that a wrong choice
    has another value of, and that value by lot, too. The tag `expected` has the indices of
    the choices with that value.

    Args:
        problem: the problem that the chain is about; it must have a state.
        text: what the policy said to it.
        rng: picks attribute and value.

    Returns:
        None where the chain predicts nothing that could be replaced.
    """
    prompt = problem.prompt
    puzzle = prompt.puzzle
    if not puzzle.has_state or puzzle.answer_index is None or prompt.kind != "cot":
        return None
    parsed = read(text, puzzle, answer_form=answer_form_of(prompt.text))
    options = _options(puzzle, parsed.panel_claims)
    if not options:
        return None
    claim, line = rng.choice(options)
    values = _other_values(puzzle, claim)
    value = rng.choice(sorted(values))
    end = _STATEMENT_END.search(text, claim.end)
    rest = text[claim.end : end.end() if end else len(text)]
    is_compact = text[claim.start : claim.end] == line.words[claim.value]
    word = line.words[value] if is_compact else spoken(line, line.words[value])
    prefill = f"{text[: claim.start]}{word}{rest}"
    expected = " ".join(map(str, values[value]))
    return Prefilled(
        marked(problem, "corrupted_chain", changed=claim.attribute, expected=expected), prefill
    )


def _options(puzzle: Puzzle, claims: Sequence[PanelClaim]) -> list[tuple[PanelClaim, ChainLine]]:
    """Returns the first prediction of each attribute that can be replaced, with its line."""
    lines = {(line.component, line.attribute): line for line in schema_of(puzzle).lines}
    first: dict[tuple[int, str], PanelClaim] = {}
    for claim in claims:
        if claim.panel == "missing" and claim.slot is None:
            first.setdefault((claim.component, claim.attribute), claim)
    return [(claim, lines[key]) for key, claim in first.items() if _other_values(puzzle, claim)]


def _other_values(puzzle: Puzzle, claim: PanelClaim) -> dict[int, list[int]]:
    """Returns value -> wrong choices that have it; neither the claimed nor the right one."""
    key = claim.attribute, claim.component
    right = value_of(puzzle.answer, *key)
    found: dict[int, list[int]] = {}
    for index, choice in enumerate(puzzle.choices):
        value = value_of(choice, *key)
        if value is not None and value not in (claim.value, right):
            found.setdefault(value, []).append(index)
    return found


def _chain_lines(problem: Problem, text: str) -> list[str]:
    """Returns the lines of a chain that stand before its answer, empty ones left out."""
    is_tagged = answer_form_of(problem.prompt.text) == "tags"
    chain, mark, _ = text.partition("</think>" if is_tagged else ANSWER_MARK)
    if not mark or problem.prompt.kind != "cot":
        return []
    lines = chain.removeprefix("<think>").split("\n")
    return [line for line in lines if line.strip()]


def _asks_now(problem: Problem, lines: Sequence[str]) -> str:
    chain = "".join(f"{line}\n" for line in lines)
    if answer_form_of(problem.prompt.text) == "tags":
        return f"<think>\n{chain}</think>\n<answer>"
    return f"{chain}{ANSWER_MARK}"
