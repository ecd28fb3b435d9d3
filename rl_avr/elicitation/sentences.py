"""Reads the sentences of fluent chains: every phrasing becomes a pattern.

A sentence that is no phrasing from its first to its last character makes no claim, nor
does one that speaks of a panel, an attribute, a value or a rule which the puzzle cannot
have.

A sentence's first word says which phrasings it can have. In no pattern can two parts share
their characters in several ways, so the time is linear in the text's length.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from rl_avr import prompts
from rl_avr.chain_lines import Claims, Slots, Word, add_value, make
from rl_avr.contracts import CHOICE_LETTERS, PanelClaim, RuleClaim, Span, VerdictClaim
from rl_avr.elicitation import phrasings
from rl_avr.elicitation.fluent import capitalized, rule_clauses, spoken, where
from rl_avr.elicitation.phrasings import PHRASINGS
from rl_avr.prompts import ChainLine, Schema

_MOST_CHARACTERS = 2000
"""No chain has a longer sentence."""

_SENTENCE = re.compile(r"\S[^.]*+(?:\.(?! |$)[^.]*+)*+\.?")
_WORD = r"([a-z0-9]+(?:[-+.][a-z0-9]+)*)"
_PATTERNS = {
    "number": "([1-9]) shapes?",
    "slots": r"slots? ([1-9](?:\+[1-9])*)",
    "attribute": "(type|size|color)",
    "choice": "([A-H])",
    **dict.fromkeys(("type", "size", "color", "value"), _WORD),
    **dict.fromkeys(("entities", "rule", "clauses", "verdicts"), "(.+)"),
}
_SLOTS = {str(k + 1): k for k in range(9)}
_ROW = "along row [1-9]|from panel to panel"
_JOINT = re.compile(", | and ")
_FITS = dict.fromkeys(phrasings.FITS, True) | dict.fromkeys(phrasings.DIFFERS, False)
_ATTRIBUTES = {"number": "number", "slots": "position"} | {
    name: name for name in prompts.ATTRIBUTE_LABELS
}
"""Placeholder -> the attribute of which it is a value."""


class _Way(NamedTuple):
    """A phrasing.

    Attributes:
        read: what reads its sentences.
        groups: placeholder -> its group in the pattern.
        values: the attributes whose values have a placeholder, with their groups.
    """

    read: "_Reader"
    groups: dict[str, int]
    values: tuple[tuple[str, int], ...]


class SentenceGrammar:
    """The sentences that chains about puzzles of one schema are made of."""

    def __init__(self, schema: Schema) -> None:
        self._line_of_noun = {line.noun: line for line in schema.lines}
        self._line_of_key = {(line.component, line.attribute): line for line in schema.lines}
        self._line_of_clause = {f"the {line.noun} is": line for line in schema.lines}
        self._line_of_later_clause = {
            f"{joint} {clause}": line
            for joint in ("and", "but")
            for clause, line in self._line_of_clause.items()
        }
        self._rule_of_clause = {
            (line.noun, clause): line.rules[line.phrases[rule]]
            for line in schema.lines
            for rule, clause in rule_clauses(line).items()
        }
        self._spoken = {
            line: {spoken(line, word): value for value, word in line.words.items()}
            for line in schema.lines
            if line.attribute == "position"
        }
        panels = [panel for row in schema.panels for panel in row]
        places = {
            where(schema, component, panel): (component, panel)
            for component in range(len(schema.parts))
            for panel in panels
        }
        self._places = places | {capitalized(place): key for place, key in places.items()}
        self._phrasings = self._compiled(_place_pattern(schema), _nouns_pattern(schema))

    def __call__(self, line: str, start: int, claims: Claims) -> list[tuple[str, Span]]:
        """Adds the claims of a line's sentences; returns their sections and places.

        Args:
            line: the line.
            start: its offset in the text.
            claims: where the claims go.
        """
        sections = []
        for sentence in _SENTENCE.finditer(line.rstrip()):
            first, end = sentence.span()
            section = None
            known = self._phrasings.get(sentence[0].partition(" ")[0])
            if known and end - first <= _MOST_CHARACTERS:
                match = known[0].fullmatch(line, first, end)
                if match and match.lastindex:
                    way = known[1][match.lastindex]
                    num_panels, num_verdicts = len(claims.panels), len(claims.verdicts)
                    section = way.read(self, match, way, start, claims)
                    if section is None:
                        # what came before the part that is wrong claims nothing either
                        del claims.panels[num_panels:], claims.verdicts[num_verdicts:]
            sections.append((section or "other", make(Span, (start + first, start + end))))
        return sections

    def _compiled(
        self, place: str, nouns: str
    ) -> dict[str, tuple[re.Pattern[str], dict[int, _Way]]]:
        """Returns first word -> the pattern of its phrasings, and each one by its last group."""
        verbs = "|".join(sorted(phrasings.TRENDS, key=len, reverse=True))
        trend = f"(?:{verbs}) (?:{_ROW})"
        patterns = _PATTERNS | {
            "where": f"({place})",
            "Where": f"({capitalized(place)})",
            "noun": f"({nouns})",
            "trends": f"({trend}(?: and {trend})*)",
        }
        pieces: dict[str, list[str]] = {}
        ways: dict[str, dict[int, _Way]] = {}
        for statement, templates in PHRASINGS.items():
            for template in templates:
                first = template.replace("{Where}", capitalized(place)).split(" ")[0]
                known = ways.setdefault(first, {})
                names = re.findall(r"\{(\w+)\}", template)
                before = max(known, default=0)
                groups = {name.lower(): before + k for k, name in enumerate(names, 1)}
                values = tuple((_ATTRIBUTES[n], k) for n, k in groups.items() if n in _ATTRIBUTES)
                # the empty group at the end is the last one that matched
                known[before + len(names) + 1] = _Way(_READERS[statement], groups, values)
                pieces.setdefault(first, []).append(_pattern(template, patterns) + "()")
        return {first: (re.compile("|".join(pieces[first])), ways[first]) for first in ways}

    def _add(
        self, panels: list[PanelClaim], panel: str, line: ChainLine, word: Word, slots: Slots
    ) -> bool:
        """Adds the claims of a value; returns False where it is none."""
        text, start = word
        if line.attribute != "position":
            return add_value(panels, panel, line, text, start, slots)
        value = self._spoken[line].get(text)
        if value is None:
            return False
        claim = panel, line.attribute, value, start, start + len(text), line.component, None
        panels.append(make(PanelClaim, claim))
        return True

    def _shapes(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        """Reads a sentence that names the values of several attributes of a place."""
        place = self._places.get(match[way.groups["where"]])
        if place is None:
            return None
        component, panel = place
        for attribute, group in way.values:
            line = self._line_of_key.get((component, attribute))
            word = match[group], start + match.start(group)
            if line is None or not self._add(claims.panels, panel, line, word, claims.slots):
                return None
        return panel

    def _same(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        panel, line = self._named(match, way)
        value = _word(match, way, "value", start)
        if line is None or not self._add(claims.panels, panel, line, value, claims.slots):
            return None
        return panel

    def _mixed(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        panel, line = self._named(match, way)
        if line is None or not line.may_differ:
            return None
        attribute, component, value_of = line.attribute, line.component, line.values.get
        for item, first in _items(*_word(match, way, "entities", start)):
            word, _, slot_word = item.partition(" in slot ")
            value, slot = value_of(word), _SLOTS.get(slot_word, line.num_slots)
            if value is None or slot >= line.num_slots:
                return None
            claim = panel, attribute, value, first, first + len(word), component, slot
            claims.panels.append(make(PanelClaim, claim))
        return panel

    def _named(self, match: re.Match[str], way: _Way) -> tuple[str, ChainLine | None]:
        """Returns the panel and the attribute that a sentence names."""
        component, panel = self._places.get(match[way.groups["where"]], (-1, ""))
        return panel, self._line_of_key.get((component, match[way.groups["attribute"]]))

    def _scene(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        place = self._places.get(match[way.groups["where"]])
        line = self._line_of_noun[match[way.groups["noun"]]]
        value = _word(match, way, "value", start)
        if place is None or not self._add(claims.panels, place[1], line, value, claims.slots):
            return None
        return place[1]

    def _comparison(
        self, match: re.Match[str], way: _Way, start: int, claims: Claims
    ) -> str | None:
        return "comparison"

    def _rule(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        line = self._line_of_noun[match[way.groups["noun"]]]
        clause, first = _word(match, way, "rule", start)
        rule = self._rule_of_clause.get((line.noun, clause))
        value = _word(match, way, "value", start)
        if rule is None or not self._add(claims.panels, "missing", line, value, claims.slots):
            return None
        claims.rules.append(RuleClaim(rule, first, first + len(clause)))
        claims.say_rule(line, True)
        return line.section

    def _no_rule(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        line = self._line_of_noun[match[way.groups["noun"]]]
        if line.is_always_ruled:
            return None
        claims.say_rule(line, False)
        return line.section

    def _missing(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        slots = dict(claims.slots)
        for clause, first in _items(*_word(match, way, "clauses", start)):
            noun, _, word = clause.rpartition(" ")
            line = self._line_of_clause.get(noun)
            value = word, first + len(noun) + 1
            if line is None or not self._add(claims.panels, "missing", line, value, slots):
                return None
            if line.attribute == "position":
                slots["missing", line.component] = claims.panels[-1].value
        return "missing"

    def _choice(self, match: re.Match[str], way: _Way, start: int, claims: Claims) -> str | None:
        letter = match[way.groups["choice"]]
        text, first = _word(match, way, "verdicts", start)
        pieces = text.split(", ")
        if letter not in claims.letters or len(pieces) % 2:
            return None
        index = CHOICE_LETTERS.index(letter)
        panel = f"choice:{index}"
        slots = dict(claims.slots)
        line_of = self._line_of_clause
        for clause, verdict in zip(pieces[::2], pieces[1::2], strict=True):
            noun, _, word = clause.rpartition(" ")
            line, fits = line_of.get(noun), _FITS.get(verdict)
            if line is None or fits is None:
                return None
            is_mixed = word == prompts.MIXED and line.may_differ
            value = word, first + len(noun) + 1
            if not is_mixed and not self._add(claims.panels, panel, line, value, slots):
                return None
            if line.attribute == "position":
                slots[panel, line.component] = claims.panels[-1].value
            first += len(clause) + len(", ")
            told = index, line.attribute, fits, first, first + len(verdict), line.component
            claims.verdicts.append(make(VerdictClaim, told))
            first += len(verdict) + len(", ")
            line_of = self._line_of_later_clause
        return panel


_Reader = Callable[[SentenceGrammar, re.Match[str], _Way, int, Claims], str | None]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(("shape", "shapes", "layout"), SentenceGrammar._shapes),
    "same": SentenceGrammar._same,
    "mixed": SentenceGrammar._mixed,
    "scene": SentenceGrammar._scene,
    "comparison": SentenceGrammar._comparison,
    "rule": SentenceGrammar._rule,
    "no_rule": SentenceGrammar._no_rule,
    "missing": SentenceGrammar._missing,
    "verdict": SentenceGrammar._choice,
}


@cache
def sentence_grammar(schema: Schema) -> SentenceGrammar:
    """Returns the grammar of a schema's sentences, made once."""
    return SentenceGrammar(schema)


def _place_pattern(schema: Schema) -> str:
    parts = "|".join(re.escape(part) for part in schema.parts if part)
    return f"the (?:{parts}) of panel [1-9]" if parts else "panel [1-9]"


def _nouns_pattern(schema: Schema) -> str:
    nouns = sorted((line.noun for line in schema.lines), key=len, reverse=True)
    return "|".join(map(re.escape, nouns))


def _pattern(template: str, patterns: dict[str, str]) -> str:
    """Returns a phrasing's pattern."""
    literal, *rest = re.split(r"\{(\w+)\}", template)
    pattern = re.escape(literal)
    for name, literal in zip(rest[::2], rest[1::2], strict=True):
        pattern += patterns[name] + re.escape(literal)
    return pattern


def _word(match: re.Match[str], way: _Way, name: str, start: int) -> Word:
    """Returns the words of a placeholder and their offset, where the line's is `start`."""
    group = way.groups[name]
    return match[group], start + match.start(group)


def _items(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yields the items of `a, b and c` with their offsets."""
    end = 0
    for joint in _JOINT.finditer(text):
        yield text[end : joint.start()], start + end
        end = joint.end()
    yield text[end:], start + end
