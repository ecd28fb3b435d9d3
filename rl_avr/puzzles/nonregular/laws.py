"""Laws that the values of one attribute can follow over the panels of a puzzle.

A law reads rows of values, the last one short by the missing panel, and predicts the
missing value or says that it does not hold. It also draws rows that end in a wanted
value: the choices of a puzzle come first, its context is then drawn to lead to one.

    constant          every value of a row equals the first
    shared            every value of a group is the same
    alternate         a b a b a, with a and b different
    progression s     each value is the one before plus s, around a cycle where there is one
    growing s         the steps are s, 2s, 3s, ...
    distribute_three  the same three values in every row; in a matrix in every column, too
    arithmetic +/-    the third value is the first plus or minus the second
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from rl_avr.puzzles.nonregular.layouts import ORDERED, THREE_COLUMNS

Row = tuple[int, ...]
Rows = tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Law:
    """A law with its words.

    Args:
        kind: the rule's kind.
        parameter: the rule's parameter, 0 where there is none.
        phrase: the rule in a chain: short, lower case, unique within an attribute.
        sentence: the rule explained.
        layouts: where the law makes sense.
        predict: rows with the last one short -> the missing value, or None.
        draw: (rng, last value, lengths of the complete rows) -> complete rows, or None
            where no row that follows the law ends in that value.
        is_rival: never drawn, but a context that it explains is ambiguous.
    """

    kind: str
    parameter: int
    phrase: str
    sentence: str
    layouts: tuple[str, ...]
    predict: Callable[[Rows], int | None]
    draw: Callable[[random.Random, int, tuple[int, ...]], Rows | None]
    is_rival: bool = False

    @property
    def holds_still(self) -> bool:
        """Whether nothing changes: such a law serves attributes that are not the point."""
        return self.kind in ("constant", "shared")


class Text(NamedTuple):
    """What a law is called."""

    kind: str
    parameter: int
    phrase: str
    sentence: str


class _Table(NamedTuple):
    rows: tuple[Row, ...]
    known: frozenset[Row]
    following: dict[Row, int]
    ending: dict[int, list[Row]]


def row_law(
    text: Text,
    values: Sequence[int],
    follow: Callable[[Row], int],
    *,
    num_free: int = 1,
    layouts: tuple[str, ...] = ORDERED,
    may_stand_still: bool = False,
    is_rival: bool = False,
) -> Law:
    """Returns a law that continues each row from its first values, row by row.

    Args:
        text: the law's name and words.
        values: what the attribute can be; a row that leaves them breaks off.
        follow: the beginning of a row -> its next value.
        num_free: how many values of a row are free; the rest follows.
        layouts: where the law makes sense.
        may_stand_still: accept rows whose second value equals the first.
        is_rival: see `Law`.
    """

    @cache
    def table(length: int) -> _Table:
        rows = tuple(
            row
            for start in product(values, repeat=num_free)
            if (row := _continued(start, length, frozenset(values), follow))
            and (may_stand_still or row[0] != row[1])
        )
        ending: dict[int, list[Row]] = {}
        for row in rows:
            ending.setdefault(row[-1], []).append(row)
        return _Table(rows, frozenset(rows), {row[:-1]: row[-1] for row in rows}, ending)

    def predict(rows: Rows) -> int | None:
        known = table(len(rows[-1]) + 1)
        for row in rows[:-1]:
            if row not in known.known:
                return None
        return known.following.get(rows[-1])

    def draw(rng: random.Random, last: int, lengths: tuple[int, ...]) -> Rows | None:
        known = table(lengths[-1])
        if last not in known.ending:
            return None
        above = tuple(rng.choice(known.rows) for _ in lengths[:-1])
        return (*above, rng.choice(known.ending[last]))

    return Law(*text, layouts, predict, draw, is_rival)


def _continued(
    row: Row, length: int, values: frozenset[int], follow: Callable[[Row], int]
) -> Row | None:
    while len(row) < length:
        value = follow(row)
        if value not in values:
            return None
        row = (*row, value)
    return row


def constant(values: Sequence[int], noun: str) -> Law:
    """Returns the law that every value of a row equals the first."""
    text = Text("constant", 0, "constant", f"The {noun} stays the same along each row.")
    return row_law(text, values, lambda row: row[-1], may_stand_still=True)


def shared(values: Sequence[int], noun: str) -> Law:
    """Returns the law that all panels of a group have one value."""
    text = Text("shared", 0, "shared by all", f"All panels agree in the {noun}.")
    return row_law(text, values, lambda row: row[-1], layouts=("group",), may_stand_still=True)


def alternate(values: Sequence[int], noun: str) -> Law:
    """Returns the law that two values take turns."""
    text = Text("alternate", 0, "alternating", f"The {noun} alternates between two values.")
    return row_law(text, values, lambda row: row[-2], num_free=2, layouts=("sequence",))


def mapping(
    text: Text,
    image_of: dict[int, int],
    layouts: tuple[str, ...] = ORDERED,
) -> Law:
    """Returns the law that each value is the image of the one before."""
    return row_law(text, tuple(image_of), lambda row: image_of[row[-1]], layouts=layouts)


def distribute_three(values: Sequence[int], noun: str) -> Law:
    """Returns the law that every row has the same three values."""
    sentence = f"Every row has the same three values of the {noun}, each once."

    def predict(rows: Rows) -> int | None:
        found = set(rows[0])
        if len(found) != 3 or any(set(row) != found for row in rows[1:-1]):
            return None
        rest = found - set(rows[-1])
        if len(rest) != 1 or not found >= set(rows[-1]):
            return None
        last = rest.pop()
        if len(rows) == 3:
            complete = (*rows[:-1], (*rows[-1], last))
            if any(len(set(column)) != 3 for column in zip(*complete, strict=True)):
                return None
        return last

    def draw(rng: random.Random, last: int, lengths: tuple[int, ...]) -> Rows | None:
        others = rng.sample([value for value in values if value != last], 2)
        bottom = (*others, last)
        turns = [(bottom[1], last, bottom[0]), (last, bottom[0], bottom[1])]
        rng.shuffle(turns)
        if len(lengths) == 3:
            return (*turns, bottom)
        return tuple(rng.sample(bottom, 3)), bottom

    text = Text("distribute_three", 0, "three in every row", sentence)
    return Law(*text, THREE_COLUMNS, predict, draw)


def nominal(values: Sequence[int], noun: str) -> tuple[Law, ...]:
    """Returns the laws of values without an order."""
    laws = constant(values, noun), shared(values, noun), alternate(values, noun)
    return (*laws, distribute_three(values, noun)) if len(values) >= 3 else laws


def around(
    modulus: int,
    moves: str,
    amount: Callable[[int], str],
    sizes: Sequence[int],
    may_grow: bool = True,
) -> tuple[Law, ...]:
    """Returns steps around a cycle, clockwise and counterclockwise, and growing steps.

    Args:
        modulus: length of the cycle; values run clockwise.
        moves: subject and verb of the explanation.
        amount: number of places -> its words, such as `90 degrees`.
        sizes: lengths of steps; half the cycle has no direction.
        may_grow: include steps that become longer by one place each time.
    """
    laws = []
    for size in sizes:
        for sign in (1, -1) if 2 * size != modulus else (1,):
            way = _way(sign) if 2 * size != modulus else "by"
            phrase = f"{way} {amount(size)}"
            by = phrase if way == "by" else f"{way} by {amount(size)}"
            text = Text(
                "progression", sign * size, phrase, f"{moves} {by} from each panel to the next."
            )
            laws.append(_step(text, modulus, lambda row, s=sign * size: row[-1] + s))  # type: ignore[misc]
    for sign in (1, -1) if may_grow else ():
        sentence = (
            f"{moves} {_way(sign)}, first by {amount(1)}, then by {amount(1)} more each time."
        )
        text = Text("growing", sign, f"{_way(sign)} and growing", sentence)
        laws.append(_step(text, modulus, lambda row, s=sign: row[-1] + s * len(row)))  # type: ignore[misc]
    return tuple(laws)


def _way(sign: int) -> str:
    return "clockwise" if sign > 0 else "counterclockwise"


def _step(text: Text, modulus: int, follow: Callable[[Row], int]) -> Law:
    return row_law(text, range(modulus), lambda row: follow(row) % modulus)


def count_steps(
    values: Sequence[int], noun: str, sizes: Sequence[int] = (1, 2, 3), is_rival: bool = False
) -> tuple[Law, ...]:
    """Returns the progressions of a count."""
    laws = []
    for step in [sign * size for size in sizes for sign in (1, -1)]:
        verb, word = ("grows", "plus") if step > 0 else ("falls", "minus")
        sentence = f"The {noun} {verb} by {abs(step)} from each panel to the next."
        text = Text("progression", step, f"{word} {abs(step)}", sentence)
        laws.append(
            row_law(text, values, lambda row, s=step: row[-1] + s, is_rival=is_rival)  # type: ignore[misc]
        )
    return tuple(laws)


def arithmetic(values: Sequence[int], noun: str, is_rival: bool = False) -> tuple[Law, ...]:
    """Returns the laws that two counts of a row make the third."""
    laws = []
    for sign, word, result in ((1, "plus", "sum"), (-1, "minus", "difference")):
        sentence = f"The {noun} in the third panel of a row is the {result} of the first two."
        text = Text("arithmetic", sign, f"first {word} second", sentence)
        laws.append(
            row_law(
                text,
                values,
                lambda row, s=sign: row[0] + s * row[1],  # type: ignore[misc]
                num_free=2,
                layouts=THREE_COLUMNS,
                may_stand_still=True,
                is_rival=is_rival,
            )
        )
    return tuple(laws)


def combination(text: Text, num_bits: int, combine: Callable[[int, int], int]) -> Law:
    """Returns the law that the third set of a row is made of the first two, place by place.

    Args:
        text: the law's name and words.
        num_bits: how many places a set has; bit k says that place k is filled.
        combine: two sets -> the third; acts on each bit alone.
    """
    everything = 2**num_bits - 1
    pairs = [
        [(a, b) for a, b in product((0, 1), repeat=2) if combine(a, b) & 1 == bit] for bit in (0, 1)
    ]

    def predict(rows: Rows) -> int | None:
        for first, second, third in rows[:-1]:
            if combine(first, second) & everything != third:
                return None
        first, second = rows[-1]
        return combine(first, second) & everything

    def draw_row(rng: random.Random, third: int) -> Row | None:
        for _ in range(50):
            first = second = 0
            for k in range(num_bits):
                a, b = rng.choice(pairs[third >> k & 1])
                first |= a << k
                second |= b << k
            # A set that is empty or appears twice makes the row trivial.
            if first and second and len({first, second, third}) == 3:
                return first, second, third
        return None

    def draw(rng: random.Random, last: int, lengths: tuple[int, ...]) -> Rows | None:
        thirds = [rng.randrange(1, everything) for _ in lengths[:-1]] + [last]
        rows = tuple(row for third in thirds if (row := draw_row(rng, third)))
        return rows if len(rows) == len(lengths) else None

    return Law(*text, THREE_COLUMNS, predict, draw)
