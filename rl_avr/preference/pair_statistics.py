"""What becomes of every question, a line of questions.jsonl each, and sums over all of them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, get_args

from rl_avr.errors import DataError
from rl_avr.preference.balance import balanced_places, told_by_answer
from rl_avr.preference.pairs import FATE_WORDS, Fate, category_of
from rl_avr.preference.questions import Question
from rl_avr.preference.ways import Candidate

_MOST_ANSWERS = 12
"""Different ones that are counted each; with more, as of open questions, the counts say little."""


@dataclass(frozen=True)
class PairFacts:
    """What statistics need of a pair.

    Args:
        way: how it was chosen.
        tokens: of chosen and rejected; None where one is not known, as of a gold chain.
        characters: of chosen and rejected.
        perception: F1 of chosen and rejected; None where one is not known.
        answers: of chosen and rejected; None without one that can be read.
    """

    way: str
    tokens: tuple[int, int] | None
    characters: tuple[int, int]
    perception: tuple[float, float] | None
    answers: tuple[str | None, str | None]


@dataclass(frozen=True)
class QuestionRow:
    """What became of one question.

    Args:
        prompt_id: its name.
        puzzle_id: of its puzzle.
        category: kind of puzzle and of prompt.
        keys: what its puzzle is recognised by; see `leakage`.
        fate: gives pairs, or the filter that took it.
        num_right: right completions.
        num_judged: completions that could be judged.
        num_completions: all of them.
        num_different: different texts among those that could be judged.
        num_cut: completions that did not come to their end.
        num_unreadable: those that ended without a single readable answer.
        pairs: its pairs, in order.
    """

    prompt_id: str
    puzzle_id: str
    category: str
    keys: tuple[str, ...]
    fate: Fate
    num_right: int
    num_judged: int
    num_completions: int
    num_different: int
    num_cut: int
    num_unreadable: int
    pairs: tuple[PairFacts, ...]

    @property
    def accuracy(self) -> Fraction | None:
        """Share of right answers; None where none could be judged."""
        return Fraction(self.num_right, self.num_judged) if self.num_judged else None

    def to_json(self) -> str:
        """Returns the row as one line, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "QuestionRow":
        """Reads what `to_json` wrote; raises DataError that says where it stands."""
        try:
            raw = json.loads(text)
            facts = [PairFacts(one["way"], *_both(one)) for one in raw["pairs"]]
            if raw["fate"] not in get_args(Fate):
                raise ValueError(f"fate {raw['fate']!r}")
            return cls(**{**raw, "keys": tuple(raw["keys"]), "pairs": tuple(facts)})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where}: expected what became of a question; got: {error!r}"
            ) from error


def _both(raw: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    # rows of earlier versions have no answers
    answers = raw.get("answers", (None, None))
    values = (raw["tokens"], raw["characters"], raw["perception"], answers)
    first, second, third, fourth = (value if value is None else tuple(value) for value in values)
    return first, second, third, fourth


def question_row(
    question: Question, fate: Fate, keys: Sequence[str], pairs: Iterable[tuple[str, Candidate]]
) -> QuestionRow:
    """Returns the row of a question; `pairs` are way and pair."""
    return QuestionRow(
        prompt_id=question.prompt.prompt_id,
        puzzle_id=question.prompt.puzzle.puzzle_id,
        category=category_of(question.prompt),
        keys=tuple(keys),
        fate=fate,
        num_right=question.num_right,
        num_judged=question.num_judged,
        num_completions=question.num_completions,
        num_different=len(question.samples),
        num_cut=question.num_cut,
        num_unreadable=question.num_unreadable,
        pairs=tuple(_facts(way, pair) for way, pair in pairs),
    )


def _facts(way: str, pair: Candidate) -> PairFacts:
    chosen, rejected = pair
    has_tokens = chosen.num_tokens and rejected.num_tokens
    seen = chosen.perception, rejected.perception
    return PairFacts(
        way,
        (chosen.num_tokens, rejected.num_tokens) if has_tokens else None,
        (len(chosen.text), len(rejected.text)),
        None if seen[0] is None or seen[1] is None else (seen[0], seen[1]),
        (chosen.answer, rejected.answer),
    )


def balanced_rows(rows: Sequence[QuestionRow], seed: int) -> tuple[list[QuestionRow], list[int]]:
    """Returns the rows with the pairs alone that balance keeps, and these pairs' places.

    Args:
        rows: of all questions; pairs are counted from the first one's first on.
        seed: of the draws.
    """
    facts = [pair for row in rows for pair in row.pairs]
    # within its question and way, or those of the first way would all be kept first
    ranks = [
        sum(p.way == one.way for p in r.pairs[:k]) for r in rows for k, one in enumerate(r.pairs)
    ]
    kept = balanced_places([pair.answers for pair in facts], ranks, seed)
    left, place, found = set(kept), 0, []
    for row in rows:
        pairs = tuple(pair for k, pair in enumerate(row.pairs, start=place) if k in left)
        place += len(row.pairs)
        fate = "unbalanced" if row.pairs and not pairs else row.fate
        found.append(replace(row, pairs=pairs, fate=fate))
    return found, kept


@dataclass(frozen=True)
class WayStatistics:
    """The pairs of one way.

    Args:
        questions: that give such pairs.
        pairs: how many.
        tokens: mean of chosen and of rejected, over the pairs where both are known.
        characters: means of chosen and of rejected.
        longer: share of pairs whose chosen text has more characters.
        shorter: share of pairs whose chosen text has fewer.
        perception: mean F1 of chosen and of rejected, where both are known.
    """

    questions: int
    pairs: int
    tokens: tuple[float, float] | None
    characters: tuple[float, float]
    longer: float
    shorter: float
    perception: tuple[float, float] | None


@dataclass(frozen=True)
class CategoryStatistics:
    """The questions of one category; `accuracy` is the mean over those that could be judged."""

    questions: int
    kept: int
    pairs: int
    accuracy: float | None


@dataclass(frozen=True)
class Statistics:
    """Sums over all questions.

    Args:
        fates: what became of questions -> how many, with those that are 0 left out.
        completions: what was sampled, in how many different texts, cut, unreadable.
        accuracies: accuracy as a fraction, such as 8/32 -> questions; ascending.
        ways: name -> its pairs.
        categories: name -> its questions.
        answers: answer -> how often it is chosen and rejected; empty where there are many.
        told_by_answer: see `balance.told_by_answer`; 0.5 is a guess.
    """

    fates: dict[Fate, int]
    completions: dict[str, int]
    accuracies: dict[str, int]
    ways: dict[str, WayStatistics]
    categories: dict[str, CategoryStatistics]
    answers: dict[str, tuple[int, int]]
    told_by_answer: float

    @property
    def num_questions(self) -> int:
        """All questions."""
        return sum(self.fates.values())

    @property
    def num_pairs(self) -> int:
        """All pairs."""
        return sum(way.pairs for way in self.ways.values())


def statistics_of(rows: Sequence[QuestionRow], way_names: Iterable[str]) -> Statistics:
    """Returns sums over rows; ways that found nothing stand there too."""
    fates = Counter(row.fate for row in rows)
    answers = [pair.answers for row in rows for pair in row.pairs]
    return Statistics(
        fates={fate: fates[fate] for fate in FATE_WORDS if fates[fate]},
        completions={
            "sampled": sum(row.num_completions for row in rows),
            "different": sum(row.num_different for row in rows),
            "cut": sum(row.num_cut for row in rows),
            "unreadable": sum(row.num_unreadable for row in rows),
        },
        accuracies=_accuracies(rows),
        ways={name: _way(rows, name) for name in way_names},
        categories={name: _category(rows, name) for name in sorted({r.category for r in rows})},
        answers=_answers(answers),
        told_by_answer=told_by_answer(answers),
    )


def _answers(pairs: Sequence[tuple[str | None, str | None]]) -> dict[str, tuple[int, int]]:
    chosen, rejected = (Counter(both[side] for both in pairs) for side in (0, 1))
    names = sorted(name for name in chosen.keys() | rejected.keys() if name is not None)
    if len(names) > _MOST_ANSWERS:
        return {}
    # a lone surrogate, which UTF-8 cannot hold, becomes its escape
    return {
        name.encode("utf-8", "backslashreplace").decode(): (chosen[name], rejected[name])
        for name in names
    }


def _accuracies(rows: Sequence[QuestionRow]) -> dict[str, int]:
    judged = [row for row in rows if row.num_judged]
    counts = Counter((row.accuracy, row.num_right, row.num_judged) for row in judged)
    return {f"{right}/{of}": num for (_, right, of), num in sorted(counts.items())}


def _way(rows: Sequence[QuestionRow], name: str) -> WayStatistics:
    pairs = [pair for row in rows for pair in row.pairs if pair.way == name]
    lengths = [pair.characters for pair in pairs]
    return WayStatistics(
        questions=sum(any(pair.way == name for pair in row.pairs) for row in rows),
        pairs=len(pairs),
        tokens=_means([pair.tokens for pair in pairs if pair.tokens]),
        characters=_means(lengths) or (0.0, 0.0),
        longer=_share(chosen > rejected for chosen, rejected in lengths),
        shorter=_share(chosen < rejected for chosen, rejected in lengths),
        perception=_means([pair.perception for pair in pairs if pair.perception]),
    )


def _category(rows: Sequence[QuestionRow], name: str) -> CategoryStatistics:
    ours = [row for row in rows if row.category == name]
    rates = [float(row.accuracy) for row in ours if row.accuracy is not None]
    return CategoryStatistics(
        questions=len(ours),
        kept=sum(row.fate == "kept" for row in ours),
        pairs=sum(len(row.pairs) for row in ours),
        accuracy=sum(rates) / len(rates) if rates else None,
    )


def _means(values: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not values:
        return None
    first, second = zip(*values, strict=True)
    return sum(first) / len(values), sum(second) / len(values)


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 0.0
