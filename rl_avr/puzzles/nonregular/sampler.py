"""Non-regular puzzles with splits that cannot overlap, and their difficulty."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from rl_avr.contracts import Puzzle, Rule, Scene
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.nonregular.kind import Draft
from rl_avr.puzzles.nonregular.kinds import kind_called
from rl_avr.puzzles.nonregular.solver import solve
from rl_avr.puzzles.splits import Split
from rl_avr.seeding import rng_for

_HELD_OUT_SHARE = 0.1
_COMBINING = frozenset({"arithmetic", "union", "intersection", "xor", "without"})
_STILL = "constant"


class Rejections(NamedTuple):
    """How many contexts were thrown away before a puzzle was found.

    Attributes:
        ambiguous: the panels shown admitted another rule, or one where none was meant.
        other_split: the context belongs to the other split.
    """

    ambiguous: int
    other_split: int


def split_of(context: Iterable[Scene]) -> Split:
    """Returns the split of a context: a hash of the values that a person can see decides.

    Puzzles with the same visible values are always in the same split, whatever their
    layout, choices, scatter or seeds.
    """
    seen = [[pair for pair in scene.values if not pair[0].startswith("_")] for scene in context]
    digest = hashlib.blake2b(repr(seen).encode(), digest_size=8).digest()
    return "held_out" if int.from_bytes(digest, "big") < _HELD_OUT_SHARE * 2**64 else "train"


def difficulty_of(rules: Iterable[Rule]) -> float:
    """Returns the number of rules that are not constant, plus 0.5 for each that combines.

    A rule combines where a panel is made of two others: arithmetic and overlay.

    >>> difficulty_of([Rule("heading", "progression", 2), Rule("pointer", "constant")])
    1.0
    >>> difficulty_of([Rule("lines", "xor")])
    1.5
    """
    moving = [rule.kind for rule in rules if rule.kind != _STILL]
    return len(moving) + 0.5 * sum(kind in _COMBINING for kind in moving)


def sample_nonregular(
    split: Split, index: int, seed: int, kind_name: str, layout: str | None = None
) -> Puzzle:
    """Returns puzzle number `index` of a split; it depends on the arguments alone.

    Exactly one choice agrees with the context, and the context admits exactly one rule
    for each attribute that has one.

    Args:
        split: the split that the context must belong to.
        index: number of the puzzle.
        seed: seed of the data set.
        kind_name: a key of `KINDS`.
        layout: one of the kind's layouts; None draws one.

    Raises:
        PuzzleError: there is no such kind or layout.
    """
    return sample_counted(split, index, seed, kind_name, layout)[0]


def sample_counted(
    split: Split, index: int, seed: int, kind_name: str, layout: str | None = None
) -> tuple[Puzzle, Rejections]:
    """Returns what `sample_nonregular` does, and what was rejected on the way.

    Raises:
        PuzzleError: there is no such kind or layout.
    """
    kind = kind_called(kind_name)
    rng = rng_for("nonregular", kind_name, layout or "any", seed, split, index)
    chosen = layout or rng.choice(kind.layouts)
    draft = kind.sample(rng, chosen, lambda context: split_of(context) == split)
    choices = [draft.answer, *draft.distractors]
    rng.shuffle(choices)
    answer_index = _only_answer(draft, solve(kind, draft.context, choices, chosen), choices)
    puzzle = Puzzle(
        puzzle_id=f"{kind_name}-{chosen}-{seed}-{split}-{index}",
        family="nonregular",
        configuration=chosen,
        context=draft.context,
        choices=tuple(choices),
        answer_index=answer_index,
        rules=draft.rules,
        difficulty=difficulty_of(draft.rules),
        seed=seed,
    )
    return puzzle, Rejections(draft.num_ambiguous, draft.num_refused)


def _only_answer(draft: Draft, solved: tuple[int, ...], choices: list[Scene]) -> int:
    answer_index = choices.index(draft.answer)
    if solved != (answer_index,):
        raise PuzzleError(
            f"expected the one consistent choice {answer_index}, got {solved}: the kind "
            "draws choices that do not differ in a ruled attribute"
        )
    return answer_index
