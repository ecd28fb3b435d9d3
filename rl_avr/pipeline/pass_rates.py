"""How often puzzles are solved, as a histogram for a terminal."""

from collections.abc import Iterable

from rl_avr.pipeline.text_table import text_table

_NUM_BINS = 10
_WIDTH = 40


def pass_rate_histogram(rates: Iterable[float | None]) -> str:
    """Returns how many puzzles have which pass rate, as text.

    Never and always solved stand apart, as such groups teach nothing; what lies between falls
    into ten bins, each without its upper end.

    Args:
        rates: pass rate of each puzzle, in [0, 1]; None where it could not be judged.
    """
    labels = ["0", *(f"{k / _NUM_BINS:.1f} to {(k + 1) / _NUM_BINS:.1f}" for k in range(10)), "1"]
    counts = [0] * len(labels)
    num_unjudged = 0
    for rate in rates:
        if rate is None:
            num_unjudged += 1
        else:
            counts[_bin(rate)] += 1
    num = sum(counts) + num_unjudged
    rows = [
        (label, str(count), f"{count / num:.1%}", _bar(count, max(counts)))
        for label, count in zip(labels, counts, strict=True)
        if num
    ]
    if num_unjudged:
        rows.append(("not judged", str(num_unjudged), f"{num_unjudged / num:.1%}", ""))
    return text_table([("pass rate", "puzzles", "share", ""), *rows])


def _bin(rate: float) -> int:
    if rate <= 0:
        return 0
    # 0.3 is not below 3 / 10 in binary: a hair is added before the cut
    return _NUM_BINS + 1 if rate >= 1 else 1 + int(rate * _NUM_BINS + 1e-9)


def _bar(count: int, most: int) -> str:
    return "#" * -(-count * _WIDTH // most) if most else ""
