"""Pairs of which the answer alone does not say which one is chosen.

Where a policy tries choices one after the other and goes on when it has missed the right one,
wrong chains end at the last letters far more often than right ones do. Preference training then
learns that those letters are bad, and the policy shuns them even where its own chain leads there.

    most pairs such that for every answer a:   pairs that choose a = pairs that reject a

Answers are nodes and pairs are edges from chosen to rejected: a largest circulation. A missing
answer is one of its own. What is balanced is each answer, not each two of them: that A is chosen
against B more often than B against A can remain, where C makes up for it.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from rl_avr.seeding import derive_seed

Answers = tuple[Hashable, Hashable]
"""Of chosen and rejected; None without one that can be read."""


def balanced_places(answers: Sequence[Answers], ranks: Sequence[int], seed: int) -> list[int]:
    """Returns which pairs are kept, ascending: as many as can be.

    Args:
        answers: of each pair.
        ranks: of each pair; among pairs of the same two answers those of low rank are kept
            first, of equal ones a random one.
        seed: of the draws.

    >>> answers = [("A", "B"), ("A", "B"), ("B", "A"), ("C", "B"), ("D", "D")]
    >>> balanced_places(answers, ranks=[1, 0, 0, 0, 0], seed=0)
    [1, 2, 4]
    """
    places = defaultdict[Answers, list[int]](list)
    for place, both in enumerate(answers):
        places[both].append(place)
    edges = list(places)
    kept: list[int] = []
    rng = random.Random(derive_seed("pairs", seed, "balance"))
    nums = _largest_circulation(edges, [len(places[edge]) for edge in edges])
    for edge, num in zip(edges, nums, strict=True):
        mixed = rng.sample(places[edge], len(places[edge]))
        kept += sorted(mixed, key=lambda place: ranks[place])[:num]
    return sorted(kept)


def told_by_answer(answers: Sequence[Answers]) -> float:
    """Returns in what share of pairs the answer that is chosen more often is the chosen one.

    More often: in a larger share of the pairs that it is in. Equal ones count as 0.5, so balanced
    pairs come to 0.5.

    >>> told_by_answer([("A", "H"), ("B", "H"), ("A", "B")])
    1.0
    >>> told_by_answer([("A", "H"), ("H", "A")])
    0.5
    """
    chosen, rejected = (Counter(both[side] for both in answers) for side in (0, 1))
    share = {a: chosen[a] / (chosen[a] + rejected[a]) for a in chosen.keys() | rejected.keys()}
    guesses = [(1 + np.sign(share[first] - share[second])) / 2 for first, second in answers]
    return float(np.mean(guesses)) if guesses else 0.5


def _largest_circulation(edges: Sequence[Answers], most: Sequence[int]) -> list[int]:
    """Returns how much flows along each edge, at most `most`: of each node as much out as in."""
    if not edges:
        return []
    nodes = {node: row for row, node in enumerate(dict.fromkeys(n for e in edges for n in e))}
    columns = np.arange(len(edges))
    rows = np.array([[nodes[node] for node in edge] for edge in edges])
    signs = np.repeat([1.0, -1.0], len(edges))
    places = (rows.T.ravel(), np.tile(columns, 2))
    flows = csr_array((signs, places), shape=(len(nodes), len(edges)))
    # the corners of such a problem are whole numbers, and the simplex method ends at a corner
    found = linprog(
        -np.ones(len(edges)),
        A_eq=flows,
        b_eq=np.zeros(len(nodes)),
        bounds=[(0, num) for num in most],
        method="highs-ds",
    )
    assert found.success, found.message
    whole = np.round(found.x).astype(int)
    assert not (flows @ whole).any()
    return whole.tolist()
