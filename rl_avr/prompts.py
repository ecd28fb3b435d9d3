"""Every word that a policy reads or writes, once: templates, labels and value names.

A chain of thought about a matrix puzzle has these lines, in this order:

    This is a regular puzzle.
    Type: square square square | circle circle circle | hexagon hexagon -> constant -> hexagon
    Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4
    Color: 3 4 7 | 1 1 2 | 5 2 -> arithmetic + -> 7
    Missing panel: hexagon 4 7
    A: circle no
    B: hexagon yes, 3 no
    C: hexagon yes, 4 yes, 7 yes
    ### Answer: C

An attribute line reads the eight shown panels row by row, names the rule and
predicts the ninth value. The choices are then tried one after another, each up to
its first attribute that does not fit.
"""

from rl_avr.contracts import Rule

PREFIX = "This is a regular puzzle."
ANSWER_MARK = "### Answer:"
MISSING_LABEL = "Missing panel:"
FITS, DIFFERS = "yes", "no"

COT_PROMPT = (
    "Which choice completes the matrix? Generate a reason first and then output a letter answer."
)

ATTRIBUTE_LABELS = {"type": "Type:", "size": "Size:", "color": "Color:"}
TYPE_WORDS = {"triangle": 1, "square": 2, "pentagon": 3, "hexagon": 4, "circle": 5}
_TYPE_OF_LEVEL = {level: word for word, level in TYPE_WORDS.items()}

PANEL_QUESTIONS = {
    "type": "What is the type of {panel}?",
    "size": "What is the size of {panel}, from 0 to 5?",
    "color": "What is the color of {panel}, from 0 (white) to 9 (black)?",
}
ROW_QUESTIONS = {
    "type": "How does the type change along row {row}?",
    "size": "How does the size change along row {row}?",
    "color": "How does the color change along row {row}?",
}
ROW_ANSWERS = ("it stays the same", "it goes up", "it goes down", "it goes up and down")


def value_word(attribute: str, level: int) -> str:
    """Returns the word for a level: a shape's name, or the number of a size or color.

    >>> value_word("type", 2), value_word("size", 4)
    ('square', '4')
    """
    return _TYPE_OF_LEVEL[level] if attribute == "type" else str(level)


def value_level(attribute: str, word: str) -> int | None:
    """Returns the level of a word, or None where it is no value of the attribute."""
    if attribute == "type":
        return TYPE_WORDS.get(word)
    return int(word) if len(word) == 1 and word.isdecimal() and word.isascii() else None


def rule_phrase(rule: Rule) -> str:
    """Returns a rule in words.

    >>> rule_phrase(Rule("size", "progression", -2))
    'progression -2'
    """
    if rule.kind == "progression":
        return f"progression {rule.parameter:+d}"
    if rule.kind == "arithmetic":
        return "arithmetic +" if rule.parameter > 0 else "arithmetic -"
    return rule.kind.replace("_", " ")


_RULE_OF_PHRASE = {
    rule_phrase(Rule("", kind, parameter)): (kind, parameter)
    for kind, parameters in {
        "constant": (0,),
        "progression": (-2, -1, 1, 2),
        "arithmetic": (1, -1),
        "distribute_three": (0,),
    }.items()
    for parameter in parameters
}


def rule_of_phrase(attribute: str, phrase: str) -> Rule | None:
    """Returns the rule that a phrase names, or None."""
    found = _RULE_OF_PHRASE.get(phrase)
    return Rule(attribute, *found) if found else None


def panel_name(panel: str) -> str:
    """Returns the name of a panel in a question.

    >>> panel_name("context:2"), panel_name("choice:0")
    ('panel 3', 'choice A')
    """
    kind, index = panel.split(":")
    return f"panel {int(index) + 1}" if kind == "context" else f"choice {'ABCDEFGH'[int(index)]}"


def single_token_phrases() -> tuple[str, ...]:
    """Returns the phrases that never vary, longest first.

    A tokenizer made for these templates keeps each as one token, which makes a chain
    four times shorter than its characters would.
    """
    phrases = {PREFIX, COT_PROMPT, f"\n{MISSING_LABEL}", f"\n{ANSWER_MARK}"}
    phrases |= {f"\n{label}" for label in ATTRIBUTE_LABELS.values()}
    phrases |= {f" -> {phrase}" for phrase in _RULE_OF_PHRASE} | {" ->", " |"}
    phrases |= {f"\n{letter}:" for letter in "ABCDEFGH"} | {f" {letter}" for letter in "ABCDEFGH"}
    phrases |= {f" {word}" for word in TYPE_WORDS} | {f" {digit}" for digit in range(10)}
    phrases |= {f" {FITS},", f" {FITS}", f" {DIFFERS}", *ROW_ANSWERS, *TYPE_WORDS}
    phrases |= {q.split("{")[0] for q in (*PANEL_QUESTIONS.values(), *ROW_QUESTIONS.values())}
    phrases |= {q.split("}")[1] for q in PANEL_QUESTIONS.values()}
    phrases |= {panel_name(f"{k}:{i}") for k in ("context", "choice") for i in range(8)}
    return tuple(sorted(phrases, key=lambda phrase: (-len(phrase), phrase)))
