"""Does the chain decide the answer? The policy goes on from its own chain, cut or altered.

    truncated_chain  the first lines of the chain, then the mark that an answer follows:
                     where the answer is already the final one, the rest did not decide it
    corrupted_chain  one predicted value is replaced by that of another choice and the chain
                     ends behind that statement: a policy that uses its chain now chooses a choice
                     with that value

Both are made of what the policy said greedily to the problem itself, and begin its turn with
that (`Prompt.prefill`); what is read and graded is the beginning with the completion behind it.

Source: Measuring Faithfulness in Chain-of-Thought Reasoning (Lanham et al. 2023), early
answering and adding mistakes.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor

from rewards.state import value_of
from rl_avr.contracts import PanelClaim, Puzzle
from rl_avr.elicitation.fluent import spoken
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.errors import DataError
from rl_avr.evaluation.probes import marked
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.prompts import ANSWER_MARK, ChainLine, answer_form_of
from rl_avr.seeding import rng_for

_STATEMENT_END = re.compile(r"\n|\.(?= )")
"""A line's end, or a sentence's."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class ChainProbe:
    """A change of a problem and of the policy's chain.

    Args:
        make: problem, chain and seed -> what is asked instead; nothing where it cannot be made.
        needs: what a problem and its chain must have.
    """

    make: Callable[[Problem, str, int], list[Problem]]
    needs: str


def chain_probed(
    problems: Iterable[Problem], chains: Mapping[str, str], names: Sequence[str], seed: int
) -> Iterator[Problem | Refused]:
    """Yields what every chain probe makes of each problem.

    Args:
        problems: what is evaluated; those that other probes made are passed over.
        chains: prompt id -> what the policy said to it; a problem without any is passed over.
        names: keys of `CHAIN_PROBES`; others are passed over.
        seed: of what is altered; of a problem it hangs on its id alone.

    Yields:
        Problems; a `Refused` names each problem that a probe cannot be applied to.
    """
    for problem in problems:
        name = problem.prompt.prompt_id
        if problem.values("probe") or name not in chains:
            continue
        for probe in (one for one in names if one in CHAIN_PROBES):
            found = CHAIN_PROBES[probe].make(problem, chains[name], seed)
            yield from found
            if not found:
                reason = f"the probe needs {CHAIN_PROBES[probe].needs}"
                yield Refused(f"{name}, probe {probe}", reason)


def truncated_chains(
    problem: Problem, text: str, shares: Sequence[float] = SHARES
) -> list[Problem]:
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
        _begun(
            marked(problem, "truncated_chain", f"{share:g}"),
            _asks_now(problem, lines[: floor(share * len(lines))]),
        )
        for share in shares
    ]


def corrupted_chain(problem: Problem, text: str, rng: random.Random) -> Problem | None:
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
    is_asked_so = prompt.kind == "cot" and problem.labels == "letters"
    if not (is_asked_so and puzzle.has_state and puzzle.answer_index is not None):
        return None
    parsed = read(text, puzzle, answer_form=answer_form_of(prompt.text))
    options = _options(puzzle, parsed.panel_claims)
    if not options:
        return None
    claim, line = rng.choice(options)
    values = _other_values(puzzle, claim)
    value = rng.choice(sorted(values))
    end = _STATEMENT_END.search(text, claim.end)
    # a line's end is left to the policy: in many vocabularies it is one token with what follows
    rest = text[claim.end : end.end() if end else len(text)].removesuffix("\n")
    is_compact = text[claim.start : claim.end] == line.words[claim.value]
    word = line.words[value] if is_compact else spoken(line, line.words[value])
    prefill = f"{text[: claim.start]}{word}{rest}"
    expected = " ".join(map(str, values[value]))
    changed = marked(problem, "corrupted_chain", changed=claim.attribute, expected=expected)
    return _begun(changed, prefill)


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
    # what was said is kept with letters
    if not mark or problem.prompt.kind != "cot" or problem.labels != "letters":
        return []
    lines = chain.removeprefix("<think>").split("\n")
    return [line for line in lines if line.strip()]


def _asks_now(problem: Problem, lines: Sequence[str]) -> str:
    chain = "".join(f"{line}\n" for line in lines)
    if answer_form_of(problem.prompt.text) == "tags":
        return f"<think>\n{chain}</think>\n<answer>"
    return f"{chain}{ANSWER_MARK}"


def _begun(problem: Problem, prefill: str) -> Problem:
    return replace(problem, prompt=replace(problem.prompt, prefill=prefill))


def _corrupted(problem: Problem, text: str, seed: int) -> list[Problem]:
    rng = rng_for("corrupted_chain", seed, problem.prompt.prompt_id)
    found = corrupted_chain(problem, text, rng)
    return [] if found is None else [found]


CHAIN_PROBES: dict[str, ChainProbe] = {
    "truncated_chain": ChainProbe(
        lambda problem, text, _: truncated_chains(problem, text),
        "a chain before its answer, and choices named by letters",
    ),
    "corrupted_chain": ChainProbe(
        _corrupted,
        "a state, choices named by letters, and a chain that predicts a value which a wrong "
        "choice has otherwise",
    ),
}
