"""Reads the sentences of fluent chains: every phrasing becomes a pattern.

A sentence that is no phrasing from its first to its last character makes no claim, nor
does one that speaks of a panel, an attribute, a value or a rule which the puzzle cannot
have.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from rl_avr import prompts
from rl_avr.contracts import CHOICE_LETTERS, PanelClaim, RuleClaim, Span, VerdictClaim
from rl_avr.elicitation import phrasings
from rl_avr.elicitation.fluent import capitalized, rule_clauses, where
from rl_avr.elicitation.phrasings import PHRASINGS
from rl_avr.parsing import Claims, Word, add_value
from rl_avr.prompts import ChainLine, Schema

_MOST_CHARACTERS = 2000
"""No chain has a longer sentence; some patterns take quadratic time."""

_WORD = r"[a-z0-9]+(?:[-+.][a-z0-9]+)*"
_PATTERNS = {
    "where": r"(?:the [a-z ]+ of )?panel [1-9]",
    "Where": r"(?:The [a-z ]+ of p|P)anel [1-9]",
    "number": r"[1-9](?= shapes?)",
    "slots": r"[1-9](?:\+[1-9])*",
    "attribute": "type|size|color",
    "choice": "[A-H]",
    **dict.fromkeys(("type", "size", "color", "value"), _WORD),
    **dict.fromkeys(("entities", "rule", "clauses", "verdicts"), ".+"),
}
_AROUND = {"number": ("", " shapes?"), "slots": ("slots? ", "")}
_ROW = "along row [1-9]|from panel to panel"
_FITS, _DIFFERS = "|".join(phrasings.FITS), "|".join(phrasings.DIFFERS)

_ENTITY = re.compile(rf"({_WORD}) in slot ([1-9])(?P<joint>, | and |$)")


class _Found(NamedTuple):
    """A sentence: its statement type and the words that fill its placeholders."""

    statement: str
    words: dict[str, Word]


class SentenceGrammar:
    """The sentences that chains about puzzles of one schema are made of."""

    def __init__(self, schema: Schema) -> None:
        self._line_of_noun = {line.noun: line for line in schema.lines}
        self._line_of_key = {(line.component, line.attribute): line for line in schema.lines}
        self._rule_of_clause = {
            (line.noun, clause): line.rules[line.phrases[rule]]
            for line in schema.lines
            for rule, clause in rule_clauses(line).items()
        }
        panels = [panel for row in schema.panels for panel in row]
        places = {
            where(schema, component, panel): (component, panel)
            for component in range(len(schema.parts))
            for panel in panels
        }
        self._places = places | {capitalized(place): key for place, key in places.items()}
        nouns = "|".join(map(re.escape, sorted(self._line_of_noun, key=len, reverse=True)))
        verbs = "|".join(sorted(phrasings.TRENDS, key=len, reverse=True))
        self._patterns = _PATTERNS | {
            "noun": nouns,
            "trends": rf"(?:{verbs}) (?:{_ROW})(?: and (?:{verbs}) (?:{_ROW}))*",
        }
        self._statements = [
            (statement, template, tuple(re.findall(r"\{(\w+)\}", template)))
            for statement, ways in PHRASINGS.items()
            for template in ways
        ]
        self._sentence = re.compile(
            "|".join(self._pattern(i, text) for i, (_, text, _) in enumerate(self._statements))
        )
        self._clause = re.compile(rf"the ({nouns}) is ({_WORD})(?P<joint>, | and |$)")
        self._verdict = re.compile(
            rf"the ({nouns}) is ({_WORD}), ({_FITS}|{_DIFFERS})(?P<joint>, and |, but |$)"
        )

    def __call__(self, line: str, start: int, letters: str, claims: Claims) -> list[str]:
        """Adds the claims of a line's sentences; returns their sections.

        Args:
            line: the line.
            start: its offset in the text.
            letters: the letters of the choices.
            claims: where the claims go.
        """
        sections = []
        for sentence, offset in _split(line, start):
            found = self._read(sentence, offset)
            new = Claims()
            new.slots = dict(claims.slots)
            section = found and _READERS[found.statement](self, found.words, letters, new)
            if section:
                claims.panels += sorted(new.panels, key=lambda claim: claim.span.start)
                claims.rules += new.rules
                claims.verdicts += new.verdicts
                named = {(claim.rule.component, claim.rule.attribute) for claim in new.rules}
                claims.unruled = (claims.unruled | new.unruled) - named
            sections.append(section or "other")
        return sections

    def _pattern(self, index: int, template: str) -> str:
        """Returns a phrasing's pattern; its groups carry its index."""
        pieces = re.split(r"\{(\w+)\}", template)
        pattern = re.escape(pieces[0])
        for name, literal in zip(pieces[1::2], pieces[2::2], strict=True):
            before, after = _AROUND.get(name, ("", ""))
            pattern += f"{before}(?P<{name}_{index}>{self._patterns[name]}){after}"
            pattern += re.escape(literal)
        return f"(?P<s_{index}>{pattern})"

    def _read(self, sentence: str, offset: int) -> _Found | None:
        match = self._sentence.fullmatch(sentence) if len(sentence) <= _MOST_CHARACTERS else None
        if match is None or match.lastgroup is None:
            return None
        index = int(match.lastgroup.removeprefix("s_"))
        statement, _, names = self._statements[index]
        groups = [(name, f"{name}_{index}") for name in names]
        return _Found(
            statement, {name: (match[group], offset + match.start(group)) for name, group in groups}
        )

    def _place(self, words: dict[str, Word]) -> tuple[int, str] | None:
        return self._places.get((words.get("where") or words["Where"])[0])

    def _value(self, panel: str, line: ChainLine | None, word: Word, new: Claims) -> bool:
        """Adds the claims of a value; returns False where it is none."""
        if line is None:
            return False
        if line.attribute != "position":
            return add_value(new.panels, panel, line, word, new.slots)
        text, start = word
        value = line.values.get(text.replace("+", ""))
        if value is None or "+".join(line.words[value]) != text:
            return False
        span = Span(start, start + len(text))
        new.panels.append(PanelClaim(panel, line.attribute, value, span, line.component))
        new.slots[panel, line.component] = value
        return True

    def _attributes(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        """Reads a sentence that names the value of one or more attributes of a place."""
        place = self._place(words)
        if place is None:
            return None
        component, panel = place
        named = {"slots": "position"}
        values = {named.get(n, n): w for n, w in words.items() if n not in ("where", "Where")}
        if "attribute" in values:
            values = {values["attribute"][0]: values["value"]}
        for name, word in values.items():
            if not self._value(panel, self._line_of_key.get((component, name)), word, new):
                return None
        return panel

    def _mixed(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        place = self._place(words)
        line = self._line_of_key.get((place[0], words["attribute"][0])) if place else None
        if place is None or line is None or not line.may_differ:
            return None
        for match in _items(_ENTITY, words["entities"][0]):
            value = line.values.get(match[1]) if match else None
            slot = int(match[2]) - 1 if match else 0
            if match is None or value is None or slot >= line.num_slots:
                return None
            start = words["entities"][1] + match.start(1)
            span = Span(start, start + len(match[1]))
            claim = PanelClaim(place[1], line.attribute, value, span, line.component, slot)
            new.panels.append(claim)
        return place[1]

    def _scene(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        place = self._place(words)
        if place is None:
            return None
        known = self._value(place[1], self._line_of_noun[words["noun"][0]], words["value"], new)
        return place[1] if known else None

    def _comparison(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        return "comparison"

    def _rule(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        line = self._line_of_noun[words["noun"][0]]
        clause, start = words["rule"]
        rule = self._rule_of_clause.get((line.noun, clause))
        if rule is None or not self._value("missing", line, words["value"], new):
            return None
        new.rules.append(RuleClaim(rule, Span(start, start + len(clause))))
        return line.section

    def _no_rule(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        line = self._line_of_noun[words["noun"][0]]
        if line.is_always_ruled:
            return None
        new.unruled.add((line.component, line.attribute))
        return line.section

    def _missing(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        text, start = words["clauses"]
        for match in _items(self._clause, text):
            if match is None:
                return None
            word = (match[2], start + match.start(2))
            if not self._value("missing", self._line_of_noun[match[1]], word, new):
                return None
        return "missing"

    def _choice(self, words: dict[str, Word], letters: str, new: Claims) -> str | None:
        letter = words["choice"][0]
        if letter not in letters:
            return None
        index = CHOICE_LETTERS.index(letter)
        panel = f"choice:{index}"
        text, start = words["verdicts"]
        for match in _items(self._verdict, text):
            if match is None:
                return None
            line = self._line_of_noun[match[1]]
            word = (match[2], start + match.start(2))
            is_mixed = match[2] == prompts.MIXED and line.may_differ
            if not is_mixed and not self._value(panel, line, word, new):
                return None
            span = Span(start + match.start(3), start + match.end(3))
            fits = match[3] in phrasings.FITS
            new.verdicts.append(VerdictClaim(index, line.attribute, fits, span, line.component))
        return panel


_Reader = Callable[[SentenceGrammar, dict[str, Word], str, Claims], str | None]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(("shape", "shapes", "same", "layout"), SentenceGrammar._attributes),
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


def _split(line: str, start: int) -> Iterator[tuple[str, int]]:
    """Yields the sentences of a line and their offsets."""
    for match in re.finditer(r"\S(?:[^.]|\.(?! |$))*\.?", line.rstrip()):
        yield match[0], start + match.start()


def _items(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str] | None]:
    """Yields the items of a list, each with the joint behind it; None where one is no item."""
    position = 0
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or (match["joint"] and match.end() == len(text)):
            yield None
            return
        yield match
        position = match.end()
