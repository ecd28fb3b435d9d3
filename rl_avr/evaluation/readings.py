"""What the probes say: a number with its interval, a reference, and a sentence.

Probes are read against the very problems that they were made of. `accuracy` is pass@1 where
chains were sampled, else that of the greedy chain; `answer` is the greedy chain's, else the
vote of the sampled ones. A vote is itself a draw, so without a greedy chain some answers
change by chance alone. Every interval is for its own number; nothing is corrected for there
being many.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from rl_avr.evaluation.breakdown import accuracy, by_tag, chains_of, columns
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.metrics import Interval, bootstrap_difference, majority_vote
from rl_avr.evaluation.rows import ProblemRow, Reason, reason_of
from rl_avr.evaluation.statistics import interval_of


@dataclass(frozen=True)
class Reading:
    """One number of a probe.

    Args:
        probe: name of the probe.
        measure: what was measured.
        value: mean over problems with its interval.
        reference: what it is held against: chance, or no difference; None without any.
        text: what it means, in a sentence.
    """

    probe: str
    measure: str
    value: Interval
    reference: float | None
    text: str


Answer = Callable[[ProblemRow], int | None]
"""What a probe's answer is in terms of the choices of the problem itself."""
Pairs = list[tuple[ProblemRow, ProblemRow]]
"""Each row of a probe behind the row of the problem that it was made of."""


_ACCURACIES = ("pass@1", "greedy")


def base_rows(rows: Iterable[ProblemRow]) -> list[ProblemRow]:
    """Returns the rows of the problems themselves, which all other numbers are made of."""
    return [row for row in rows if not row.values("probe")]


def probe_readings(rows: Sequence[ProblemRow], config: EvalConfig, seed: int) -> list[Reading]:
    """Returns the readings of every probe that the rows have something to say about.

    Args:
        rows: those of the problems and of the probes, in any order. A probe's row whose
            problem is not among them is left out.
        config: of the intervals.
        seed: of the bootstrap.
    """
    base = {row.prompt_id: row for row in base_rows(rows)}
    by_probe: dict[str, Pairs] = {}
    for row in rows:
        for probe in row.values("probe"):
            for name in row.values("of"):
                if name in base:
                    by_probe.setdefault(probe, []).append((base[name], row))
    reader = _Reader(config, seed)
    found = []
    for probe, read in _READERS.items():
        if probe in by_probe:
            found += read(reader, by_probe[probe])
    found += _wrong_reason(reader, list(base.values()))
    found += _retention(reader, [row for row in rows if "retention" in row.values("probe")])
    found += _shifts(reader, list(base.values()))
    return [one for one in found if not isnan(one.value.value)]


@dataclass(frozen=True)
class _Reader:
    """Makes intervals."""

    config: EvalConfig
    seed: int

    def mean(self, values: Sequence[float]) -> Interval:
        array = np.array(values, dtype=float)
        return interval_of(array, self.config.num_bootstrap, self.config.confidence, self.seed)

    def difference(self, pairs: Pairs) -> Interval:
        """Returns accuracy of the probe minus accuracy of the problems, paired."""
        sides = [columns([pair[side] for pair in pairs]) for side in (0, 1)]
        unknown = np.full(len(pairs), np.nan)
        shared = [name for name in _ACCURACIES if all(name in side for side in sides)]
        before, after = (side[shared[0]] if shared else unknown for side in sides)
        size, confidence = self.config.num_bootstrap, self.config.confidence
        return bootstrap_difference(after, before, size, confidence, self.seed)


def answer_of(row: ProblemRow) -> int | None:
    """Returns the choice of the greedy chain, or that of the vote; None without an answer."""
    if row.greedy is not None:
        return row.greedy.choice
    return majority_vote([sample.choice for sample in row.samples])


def _accuracy(rows: Sequence[ProblemRow]) -> np.ndarray:
    known = accuracy(rows)
    return known[1] if known else np.full(len(rows), np.nan)


def _is_right(row: ProblemRow) -> bool:
    return row.gold is not None and answer_of(row) == row.gold


def _blind(reader: _Reader, pairs: Pairs) -> list[Reading]:
    rows = [row for _, row in pairs if row.num_choices]
    if not rows:
        return []
    value = reader.mean(_accuracy(rows).tolist())
    chance = float(np.mean([1 / row.num_choices for row in rows]))
    if value.low > chance:
        text = f"above {chance:.1%}: answers can be guessed without the context"
    elif value.high < chance:
        text = f"below {chance:.1%}: without the context the policy does worse than guessing"
    else:
        text = f"not told from {chance:.1%}, chance: the choices alone give nothing away"
    return [Reading("context_blind", "accuracy", value, chance, text)]


def _change(reader: _Reader, probe: str, variant: str, pairs: Pairs, what: str) -> Reading:
    """Returns the paired difference of accuracy."""
    value = reader.difference(pairs)
    measure = f"change of accuracy, {variant}" if variant else "change of accuracy"
    if value.low > 0:
        text = f"better with {what}: the policy depends on it"
    elif value.high < 0:
        text = f"worse with {what}: the policy depends on it"
    else:
        text = f"no difference is seen with {what}"
    return Reading(probe, measure, value, 0.0, text)


def _same(
    reader: _Reader, probe: str, variant: str, pairs: Pairs, back: Answer = answer_of
) -> list[Reading]:
    """Returns how often the same choice is made, of the problems with an answer."""
    same = [
        float(answer_of(base) == back(row)) for base, row in pairs if answer_of(base) is not None
    ]
    measure = f"same answer, {variant}" if variant else "same answer"
    text = "share of answers that stay; the rest hang on what should not matter"
    return [Reading(probe, measure, reader.mean(same), 1.0, text)] if same else []


def _permuted(reader: _Reader, pairs: Pairs) -> list[Reading]:
    def back(row: ProblemRow) -> int | None:
        choice = answer_of(row)
        (order,) = row.values("order")
        return None if choice is None else int(order.split()[choice])

    name = "choices_permuted"
    return [
        _change(reader, name, "", pairs, "the choices in another order"),
        *_same(reader, name, "", pairs, back),
    ]


def _relabelled(reader: _Reader, pairs: Pairs) -> list[Reading]:
    found = []
    for variant, part in _by_variant(pairs).items():
        found.append(_change(reader, "relabelled", variant, part, f"choices named by {variant}"))
        found += _same(reader, "relabelled", variant, part)
    return found


def _paraphrased(reader: _Reader, pairs: Pairs) -> list[Reading]:
    found = [
        _change(reader, "paraphrased", f"wording {variant}", part, "the question in other words")
        for variant, part in _by_variant(pairs).items()
    ]
    answers: dict[str, set[int | None]] = {}
    for base, row in pairs:
        answers.setdefault(base.prompt_id, {answer_of(base)}).add(answer_of(row))
    agreed = [float(len(given) == 1 and None not in given) for given in answers.values()]
    text = "share of problems with one and the same answer under every wording"
    return [*found, Reading("paraphrased", "all wordings agree", reader.mean(agreed), 1.0, text)]


def _twins(reader: _Reader, pairs: Pairs) -> list[Reading]:
    name = "perturbed_twin"
    change = reader.difference(pairs)
    if change.high < 0:
        text = "twins are solved less often: memorised in part, or the context is not read"
    else:
        text = "twins are solved no less often than the puzzles: no sign of memorising"
    found = [Reading(name, "change of accuracy", change, 0.0, text)]
    solved = [(base, row) for base, row in pairs if _is_right(base)]
    if solved:
        missed = [float(not _is_right(row)) for _, row in solved]
        kept = [float(answer_of(row) == base.gold) for base, row in solved]
        found += [
            Reading(
                name,
                "twin missed after a right answer",
                reader.mean(missed),
                None,
                "share of solved puzzles whose twin is not solved",
            ),
            Reading(
                name,
                "old answer kept",
                reader.mean(kept),
                None,
                "share of solved puzzles whose old answer is given to the twin, where it is wrong",
            ),
        ]
    return found


def _truncated(reader: _Reader, pairs: Pairs) -> list[Reading]:
    found = []
    for variant, part in _by_variant(pairs).items():
        found += _same(reader, "truncated_chain", f"{float(variant):.0%} of the chain", part)
    text = "share of answers that stand already; a chain that decides them gives few of them early"
    return [Reading(one.probe, one.measure, one.value, None, text) for one in found]


def _corrupted(reader: _Reader, pairs: Pairs) -> list[Reading]:
    followed, stayed = [], []
    for base, row in pairs:
        (expected,) = row.values("expected")
        choice = answer_of(row)
        followed.append(float(choice is not None and str(choice) in expected.split()))
        stayed.append(float(choice is not None and choice == answer_of(base)))
    name = "corrupted_chain"
    return [
        Reading(
            name,
            "follows the chain",
            reader.mean(followed),
            None,
            "share of answers that have the altered value: the chain decides them",
        ),
        Reading(
            name,
            "same answer",
            reader.mean(stayed),
            None,
            "share of answers that stay whatever the chain says: it is written for show",
        ),
    ]


_REASONS: dict[Reason, str] = {
    "perception": "share of right answers whose chain misreads a panel",
    "rule": "share of right answers whose chain reads rightly and names a wrong rule",
    "incomplete": "share of right answers whose chain says nothing wrong and leaves something out",
    "sound": "share of right answers for the right reason",
}


def _wrong_reason(reader: _Reader, rows: Sequence[ProblemRow]) -> list[Reading]:
    """Returns the shares of right answers by their reason: of each problem, then the mean."""
    judged = []
    for row in rows:
        kinds = [kind for sample in chains_of(row) if (kind := reason_of(sample))]
        if kinds:
            judged.append(kinds)
    return [
        Reading(
            "wrong_reason",
            kind,
            reader.mean([kinds.count(kind) / len(kinds) for kinds in judged]),
            1.0 if kind == "sound" else 0.0,
            text,
        )
        for kind, text in _REASONS.items()
        if judged
    ]


def _retention(reader: _Reader, rows: Sequence[ProblemRow]) -> list[Reading]:
    if not rows:
        return []
    text = "accuracy on the general set; compare it with the policy's before training"
    return [Reading("retention", "accuracy", reader.mean(_accuracy(rows).tolist()), None, text)]


def _shifts(reader: _Reader, rows: Sequence[ProblemRow]) -> list[Reading]:
    found = by_tag(rows, _accuracy(rows), "shift", reader.config, reader.seed)
    trained = found.get("in_distribution")
    reference = trained.value if trained else None
    return [
        Reading("shift", name, value, reference, f"accuracy on problems {_SHIFTS[name]}")
        for name, value in found.items()
    ]


_SHIFTS = {
    "in_distribution": "like those of training",
    "harder": "more difficult than any of training",
    "other_configuration": "of configurations that training did not have",
    "other_family": "of a family that training did not have",
}


def _by_variant(pairs: Pairs) -> dict[str, Pairs]:
    found: dict[str, Pairs] = {}
    for base, row in pairs:
        for variant in row.values("variant"):
            found.setdefault(variant, []).append((base, row))
    return dict(sorted(found.items()))


_READERS: dict[str, Callable[[_Reader, Pairs], list[Reading]]] = {
    "context_blind": _blind,
    "choices_permuted": _permuted,
    "relabelled": _relabelled,
    "paraphrased": _paraphrased,
    "perturbed_twin": _twins,
    "truncated_chain": _truncated,
    "corrupted_chain": _corrupted,
}
