"""Pairs for a terminal and as a page: what was taken by which filter, and how pairs lean."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from rewards.truth import Judged, judged_claims
from rl_avr.contracts import CHOICE_LETTERS, FinishReason, Prompt, Puzzle
from rl_avr.elicitation.chains import direct_answer
from rl_avr.elicitation.reading import read
from rl_avr.pipeline.pass_rates import pass_rate_histogram
from rl_avr.pipeline.text_table import text_table
from rl_avr.preference.config import PairsConfig
from rl_avr.preference.leakage import HeldOut
from rl_avr.preference.pair_record import PreferencePair
from rl_avr.preference.pair_statistics import Statistics
from rl_avr.preference.pairs import FATE_WORDS
from rl_avr.prompts import answer_form_of
from rl_avr.reporting.preference_pairs import ShownPair, ShownSide, Statement, render_pairs

_NONE = "—"
_TOLD = 0.55
"""Share of pairs that an answer's frequency may tell before a remedy is named."""
_WIDTH = 20


def describe_pairs(statistics: Statistics, config: PairsConfig, held_out: HeldOut) -> str:
    """Returns the statistics as tables, and what was checked against held-out sets."""
    parts = [
        fates_table(statistics),
        completions_line(statistics),
        ways_table(statistics),
        answers_table(statistics),
        pass_rate_histogram(_rates(statistics)),
        categories_table(statistics),
        leak_line(statistics, config, held_out),
    ]
    return "\n\n".join(part for part in parts if part)


def no_pair_text(statistics: Statistics, config: PairsConfig) -> str:
    """Returns which filter took how many questions, where none is left."""
    taken = ", ".join(f"{FATE_WORDS[fate]}: {num}" for fate, num in statistics.fates.items())
    ways = ", ".join(statistics.ways)
    is_balance = "unbalanced" in statistics.fates
    unbalanced = (
        ". With pairs.balance none, in another run.dir, there are pairs" if is_balance else ""
    )
    return (
        f"no pair is left of {statistics.num_questions} questions ({taken}). Bounds: "
        f"pairs.min_accuracy {config.min_accuracy:g}, pairs.max_accuracy {config.max_accuracy:g}; "
        f"ways: {ways}; {completions_line(statistics)} Widen the bounds, name other pairs.ways, "
        "allow more by pairs.chosen and pairs.rejected, or sample more chains a question"
        f"{unbalanced}"
    )


def fates_table(statistics: Statistics) -> str:
    """Returns one row a filter, in the order in which they take questions."""
    num = statistics.num_questions
    rows = [(FATE_WORDS[fate], str(n), f"{n / num:.1%}") for fate, n in statistics.fates.items()]
    return text_table([("questions", "n", "share"), *rows, ("all", str(num), "100.0%")])


def completions_line(statistics: Statistics) -> str:
    """Returns what of the completions could be used, in a sentence."""
    counts = statistics.completions
    return (
        f"{counts['sampled']:,} completions, {counts['different']:,} different texts; "
        f"{counts['cut']:,} were cut off, {counts['unreadable']:,} had no single readable answer."
    )


def ways_table(statistics: Statistics) -> str:
    """Returns one row a way: how many pairs, and how chosen and rejected differ in length."""
    header = (
        *("way", "questions", "pairs", "tokens chosen", "rejected", "characters chosen"),
        *("rejected", "chosen longer", "shorter", "perception chosen", "rejected"),
    )
    rows = []
    for name, way in statistics.ways.items():
        rows.append(
            (
                name,
                str(way.questions),
                str(way.pairs),
                *_two(way.tokens, "{:.1f}"),
                *_two(way.characters if way.pairs else None, "{:.1f}"),
                f"{way.longer:.1%}" if way.pairs else _NONE,
                f"{way.shorter:.1%}" if way.pairs else _NONE,
                *_two(way.perception, "{:.3f}"),
            )
        )
    return text_table([header, *rows])


def answers_table(statistics: Statistics) -> str:
    """Returns how often each answer is chosen and rejected, and what that gives away."""
    counts, told = statistics.answers, statistics.told_by_answer
    rows = [
        (side, *(f"{both[i] / max(1, statistics.num_pairs):.1%}" for both in counts.values()))
        for i, side in enumerate(("chosen", "rejected"))
    ]
    names = [name if len(name) <= _WIDTH else f"{name[: _WIDTH - 1]}…" for name in counts]
    table = text_table([("answer", *names), *rows]) + "\n" if counts else ""
    hint = "; pairs.balance answer takes that away" if told > _TOLD else ""
    return (
        f"{table}The answer that is chosen more often is the chosen one in {told:.1%} of pairs, "
        f"by a guess in 50 %{hint}."
    )


def categories_table(statistics: Statistics) -> str:
    """Returns one row a category."""
    rows = [
        (
            name,
            str(one.questions),
            _NONE if one.accuracy is None else f"{one.accuracy:.3f}",
            str(one.kept),
            str(one.pairs),
        )
        for name, one in statistics.categories.items()
    ]
    return text_table([("category", "questions", "accuracy", "give pairs", "pairs"), *rows])


def leak_line(statistics: Statistics, config: PairsConfig, held_out: HeldOut) -> str:
    """Returns against which sets the pairs were checked."""
    if not held_out.sizes:
        return "Not checked against held-out sets: pairs.held_out and pairs.benchmarks name none."
    sets = ", ".join(f"{name} ({size:,})" for name, size in held_out.sizes.items())
    dropped = statistics.fates.get("held_out", 0)
    left_out = f"; {dropped} questions were left out" if config.on_leak == "drop" else ""
    return f"No puzzle of the pairs is in {sets}, by what they show{left_out}."


def _two(values: tuple[float, float] | None, form: str) -> tuple[str, str]:
    return (form.format(values[0]), form.format(values[1])) if values else (_NONE, _NONE)


def _rates(statistics: Statistics) -> Iterable[float | None]:
    for accuracy, num in statistics.accuracies.items():
        yield from [float(Fraction(accuracy))] * num
    yield from [None] * statistics.fates.get("unjudged", 0)


def pairs_page(
    title: str,
    pairs: Sequence[PreferencePair],
    prompts: Mapping[str, Prompt],
    statistics: Statistics,
) -> str:
    """Returns the page of some pairs as HTML."""
    tables = (fates_table(statistics), ways_table(statistics), answers_table(statistics))
    summary = "\n\n".join(table for table in tables if table)
    shown = [shown_pair(pair, prompts[pair.prompt_id]) for pair in pairs]
    return render_pairs(f"Preference pairs: {title}", summary, shown)


def shown_pair(pair: PreferencePair, prompt: Prompt) -> ShownPair:
    """Returns a pair as the page shows it, claims that the other side does not make marked."""
    puzzle = prompt.puzzle
    claims = [
        _claims(text, prompt, finish)
        for text, finish in (
            (pair.chosen, pair.chosen_finish),
            (pair.rejected, pair.rejected_finish),
        )
    ]
    made = [{(claim.key, claim.value) for claim in side} for side in claims]
    sides = [
        ShownSide(
            text=text,
            answer=answer or "no single answer",
            facts=_scores(scores),
            statements=tuple(
                Statement(*claim.span, claim.is_true, (claim.key, claim.value) not in other)
                for claim in side
            ),
        )
        for text, answer, scores, side, other in (
            (pair.chosen, pair.chosen_choice, pair.chosen_scores, claims[0], made[1]),
            (pair.rejected, pair.rejected_choice, pair.rejected_scores, claims[1], made[0]),
        )
    ]
    return ShownPair(
        name=pair.pair_id,
        way=pair.way,
        category=pair.category,
        accuracy=pair.accuracy,
        gold=_gold(puzzle),
        question=prompt.text,
        images=tuple(prompt.images),
        chosen=sides[0],
        rejected=sides[1],
    )


def _claims(text: str, prompt: Prompt, finish: FinishReason) -> list[Judged]:
    form = answer_form_of(prompt.text)
    parsed = read(text, prompt.puzzle, finish, prompt.kind, form)
    return sorted(judged_claims(parsed, prompt.puzzle), key=lambda claim: claim.span)


def _scores(scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in scores.items() if value is not None)


def _gold(puzzle: Puzzle) -> str:
    if puzzle.answer_index is not None:
        return CHOICE_LETTERS[puzzle.answer_index]
    return direct_answer(puzzle) if puzzle.annotation else _NONE
