"""Reads the lines of compact chains: all claims of a line, or none.

A line that comes close makes no claim at all. What a line means depends on the schema and
on the lines before it alone: which attributes the text called ruled, and which slots it
called filled. So the lines of a puzzle's chains are read once, and found again where these
are the same.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache

from rl_avr import prompts
from rl_avr.contracts import CHOICE_LETTERS, PanelClaim, Passage, RuleClaim, VerdictClaim
from rl_avr.prompts import ChainLine, Schema

CHOICE_SECTIONS = tuple(f"choice:{i}" for i in range(len(CHOICE_LETTERS)))
"""The sections of the choices, which are the names of their panels."""

make = tuple.__new__
"""Makes a claim or a span from all of its fields, in half the time of its own constructor."""

_BAR = "|"
_MISSING = prompts.MISSING_LABEL[:-1]
_VERDICTS = {prompts.FITS: True, prompts.DIFFERS: False}
Slots = dict[tuple[str, int], int]
"""(panel, component) -> position that the text claims."""
Word = tuple[str, int]
"""A word and its offset."""
_MOST_LINES, _MOST_CHARACTERS = 256, 256
"""How many lines of a puzzle are kept, and how long a line that is kept may be."""


@dataclass(eq=False, slots=True)
class ReadLine(Passage):
    """What a line says wherever it stands; its claims are at offsets from its start.

    Args:
        line: the attribute of which it says whether it has a rule; None for other lines.
        slots: positions that it claims.
        slots_before: the positions claimed before it by which it was read.
        unruled_before: the attributes without a rule by which it was read; None where it
            would be the same with others.
    """

    line: ChainLine | None = None
    slots: Slots | None = None
    slots_before: Slots | None = None
    unruled_before: Set[ChainLine] | None = None


KnownLines = dict[str, ReadLine]
"""Lines as they were read once, in texts with the same schema and the same choices."""


class Claims:
    """What a text has claimed so far.

    Attributes:
        passages: what was read, each passage with its offset.
        panels: claims about panels that are in no passage yet, at offsets in the text.
        rules: such claims about rules.
        verdicts: such verdicts on choices.
        slots: positions that the text claims.
        unruled: the attributes that the text leaves without a rule.

    Args:
        letters: the letters of the choices.
        known: lines that were read before; more are added.
    """

    def __init__(self, letters: str, known: KnownLines) -> None:
        self.letters = letters
        self.known = known
        self.passages: list[tuple[int, Passage]] = []
        self.panels: list[PanelClaim] = []
        self.rules: list[RuleClaim] = []
        self.verdicts: list[VerdictClaim] = []
        self.slots: Slots = {}
        self.unruled: Set[ChainLine] = frozenset()
        self._ruled: Sequence[ChainLine] | None = None

    def say_rule(self, line: ChainLine, is_ruled: bool) -> None:
        """Notes whether the text says that a rule holds for an attribute; the last time counts."""
        if is_ruled == (line in self.unruled):
            self.unruled = self.unruled ^ {line}
            self._ruled = None

    def end_passage(self) -> None:
        """Makes a passage of the claims that are in none yet."""
        if self.panels or self.rules or self.verdicts:
            self.passages.append((0, Passage(None, self.panels, self.rules, self.verdicts)))
            self.panels, self.rules, self.verdicts = [], [], []

    def ruled(self, schema: Schema) -> Sequence[ChainLine]:
        """Returns the lines of the attributes that the text leaves with a rule."""
        if self._ruled is None:
            self._ruled = [line for line in schema.lines if line not in self.unruled]
        return self._ruled


def read_line(line: str, start: int, schema: Schema, claims: Claims) -> str | None:
    """Adds a line's claims; returns the section's name, or None where it is none.

    Args:
        line: the line.
        start: its offset in the text.
        schema: what a chain about the puzzle can say.
        claims: where the claims go.
    """
    read = claims.known.get(line)
    if read is not None and _is_as_before(read, claims):
        read.is_shared = True
    else:
        read = _read(line, schema, claims)
        if read is None:
            return None
        if len(claims.known) < _MOST_LINES and len(line) <= _MOST_CHARACTERS:
            claims.known[line] = read
    if claims.panels or claims.rules or claims.verdicts:
        claims.end_passage()
    claims.passages.append((start, read))
    if read.line is not None:
        claims.say_rule(read.line, bool(read.rules))
    if read.slots is not None:
        claims.slots.update(read.slots)
    return read.section


def _is_as_before(read: ReadLine, claims: Claims) -> bool:
    """Returns whether a line says in this text what it said where it was read."""
    slots, unruled = read.slots_before, read.unruled_before
    return (unruled is None or unruled == claims.unruled) and (
        slots is None or slots.items() <= claims.slots.items()
    )


def _read(line: str, schema: Schema, claims: Claims) -> ReadLine | None:
    """Returns what a line says behind these claims; None where it is no section."""
    label, colon, rest = line.partition(": ")
    if not colon:
        return None
    if chain_line := schema.line_of_label.get(label):
        return _attribute_section(rest, len(label) + 2, chain_line, schema, claims)
    if label == _MISSING:
        return _missing_section(rest, len(label) + 2, schema, claims)
    if schema.lines and len(label) == 1 and label in claims.letters:
        return _choice_section(claims.letters.index(label), rest, schema, claims)
    return None


def _attribute_section(
    rest: str, start: int, line: ChainLine, schema: Schema, claims: Claims
) -> ReadLine | None:
    """Reads `values | values | values -> rule -> ninth`, or `-> no rule` at the end."""
    shown, *after = rest.split(" -> ")
    new: list[PanelClaim] = []
    rules: tuple[RuleClaim, ...] = ()
    if not _add_shown(new, shown, start, line, schema, claims.slots):
        new.clear()
        if not _add_spaced(new, shown, start, line, schema, claims.slots):
            return None
    if len(after) == 2 and (rule := line.rules.get(after[0])):
        rule_start = start + len(shown) + len(" -> ")
        rule_end = rule_start + len(after[0])
        if not add_value(new, "missing", line, after[1], rule_end + len(" -> "), claims.slots):
            return None
        rules = (make(RuleClaim, (rule, rule_start, rule_end)),)
    elif after != [prompts.NO_RULE] or line.is_always_ruled:
        return None
    slots = None
    if line.attribute == "position":
        slots = {(panel, component): value for panel, _, value, _, _, component, _ in new}
    return ReadLine(
        line.section,
        new,
        rules,
        (),
        is_even="." not in rest,
        line=line,
        slots=slots,
        slots_before=_slots_before(rest, new, claims),
    )


def _slots_before(rest: str, new: Sequence[PanelClaim], claims: Claims) -> Slots | None:
    """Returns the positions that say which slots new claims are about."""
    if "." not in rest:
        return None
    keys = {(claim.panel, claim.component) for claim in new if claim.slot is not None}
    return {key: claims.slots[key] for key in keys}


def _add_shown(
    new: list[PanelClaim],
    shown: str,
    start: int,
    line: ChainLine,
    schema: Schema,
    slots: Slots,
) -> bool:
    """Adds the claims of `values | values | values`, with one space between all words.

    Returns False where it is not that.
    """
    places, words = _places(schema), shown.split(" ")
    if len(words) != len(places):
        return False
    attribute, component, value_of = line.attribute, line.component, line.values.get
    for place, word in zip(places, words, strict=True):
        end = start + len(word)
        if place is None:
            if word != _BAR:
                return False
        elif (value := value_of(word)) is not None:
            new.append(make(PanelClaim, (place, attribute, value, start, end, component, None)))
        elif not add_value(new, place, line, word, start, slots):
            return False
        start = end + 1
    return True


@cache
def _places(schema: Schema) -> tuple[str | None, ...]:
    """Returns what each word of an attribute line is about; None for the bar between rows."""
    return tuple([place for row in schema.panels for place in (*row, None)][:-1])


def _add_spaced(
    new: list[PanelClaim],
    shown: str,
    start: int,
    line: ChainLine,
    schema: Schema,
    slots: Slots,
) -> bool:
    """Does what `_add_shown` does where any white space is between the words of a row."""
    rows = shown.split(f" {_BAR} ")
    if len(rows) != len(schema.rows):
        return False
    for row, panels in zip(rows, schema.panels, strict=True):
        words = _words(row, start)
        if len(words) != len(panels):
            return False
        for panel, word in zip(panels, words, strict=True):
            if not add_value(new, panel, line, *word, slots):
                return False
        start += len(row) + len(f" {_BAR} ")
    return True


def _words(text: str, start: int) -> list[Word]:
    """Returns the words between white space."""
    words, end = [], 0
    for word in text.split():
        first = text.index(word, end)
        words.append((word, start + first))
        end = first + len(word)
    return words


def _missing_section(rest: str, start: int, schema: Schema, claims: Claims) -> ReadLine | None:
    """Reads one word per attribute, `any` exactly where the text said that no rule holds."""
    words = _words(rest, start)
    if len(words) != len(schema.lines):
        return None
    new: list[PanelClaim] = []
    for line, (word, first) in zip(schema.lines, words, strict=True):
        if line in claims.unruled:
            if word != prompts.ANY:
                return None
        elif not add_value(new, "missing", line, word, first, claims.slots):
            return None
    return ReadLine(
        "missing",
        new,
        (),
        (),
        slots_before=_slots_before(rest, new, claims),
        unruled_before=claims.unruled,
    )


def _choice_section(index: int, rest: str, schema: Schema, claims: Claims) -> ReadLine | None:
    """Reads `value yes, value no` for the ruled attributes, from the first one on."""
    tried = rest.split(", ")
    ruled = claims.ruled(schema)
    if len(tried) > len(ruled):
        return None
    new: list[PanelClaim] = []
    verdicts: list[VerdictClaim] = []
    panel, start = CHOICE_SECTIONS[index], len("A: ")
    for line, words in zip(ruled, tried, strict=False):
        attribute, component, end = line.attribute, line.component, start + len(words)
        if trial := line.trials.get(words):
            value, fits, word_end = trial
            if value is not None:
                claim = panel, attribute, value, start, start + word_end, component, None
                new.append(make(PanelClaim, claim))
        else:
            word, _, verdict = words.partition(" ")
            slots = {(panel, c.component): c.value for c in new if c.attribute == "position"}
            if verdict not in _VERDICTS or not add_value(new, panel, line, word, start, slots):
                return None
            fits, word_end = _VERDICTS[verdict], len(word)
        told = index, attribute, fits, start + word_end + 1, end, component
        verdicts.append(make(VerdictClaim, told))
        start = end + len(", ")
    return ReadLine(panel, new, (), verdicts, unruled_before=claims.unruled)


def add_value(
    new: list[PanelClaim], panel: str, line: ChainLine, word: str, start: int, slots: Slots
) -> bool:
    """Adds the claims of a value's word; returns False where it is no value.

    Args:
        new: where the claims go.
        panel: the panel spoken of.
        line: the attribute spoken of.
        word: the word.
        start: its offset.
        slots: positions claimed so far; they say which slots differing words mean.
    """
    value = line.values.get(word)
    if value is not None:
        claim = panel, line.attribute, value, start, start + len(word), line.component, None
        new.append(make(PanelClaim, claim))
        return True
    if "." not in word or not line.may_differ:
        return False
    pieces = word.split(".")
    filled = _filled(slots.get((panel, line.component), 0), line.num_slots)
    if len(filled) != len(pieces):
        return False
    attribute, component, value_of = line.attribute, line.component, line.values.get
    for slot, piece in zip(filled, pieces, strict=True):
        value = value_of(piece)
        if value is None:
            return False
        end = start + len(piece)
        new.append(make(PanelClaim, (panel, attribute, value, start, end, component, slot)))
        start = end + 1
    return True


@lru_cache(maxsize=1024)
def _filled(mask: int, num_slots: int) -> list[int]:
    return [slot for slot in range(num_slots) if mask >> slot & 1]
