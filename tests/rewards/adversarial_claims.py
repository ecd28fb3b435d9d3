"""Families about what is claimed, and how often, beside a right or a wrong letter."""

from rl_avr.prompts import RULE_PHRASES, TYPE_WORDS
from tests.rewards.adversarial_entry import (
    BODIES,
    CENTER,
    COLOR,
    FIRST,
    FLUENT,
    LETTERS,
    MISSING,
    PREFIX,
    SIZE,
    STATE,
    TRIED,
    TYPE,
    Entry,
    f1,
    with_answer,
)

SIZE_RULE = (
    "The rule for the size is this: it goes up by 1 from each panel to the next; so the missing "
    "panel has 4."
)
ALL_FIVE = "Size: 5 5 5 | 5 5 5 | 5 5 -> constant -> 5"


def _negated_afterwards() -> list[Entry]:
    """A claim counts as it stands; the sentence that takes it back is another sentence."""
    share = f1(3, 3, 3)
    texts = (
        f"{FIRST} That is false.",
        f"No. {FIRST}",
        f"{FIRST}\nThe opposite is true.",
        f"I say what is wrong. {FIRST}",
    )
    return with_answer("negated claims", "center", ((text, share, 0.0) for text in texts))


def _contradictions() -> list[Entry]:
    rows = (
        (f"{FIRST} Panel 1 shows a circle of size 1 and color 4.", f1(3, 6, 3), 0.0),
        (f"Panel 1 shows a circle of size 0 and color 3. {FIRST}", f1(3, 6, 3), 0.0),
        (f"{SIZE}\n{ALL_FIVE}", f1(8, 16, 8), 0.0),
        (f"{ALL_FIVE}\n{SIZE}", f1(8, 16, 8), 0.0),
        (f"{CENTER}\n{ALL_FIVE}", f1(30, 38, 24), 2 / 3),
        (f"{ALL_FIVE}\n{CENTER}", f1(30, 38, 24), 2 / 3),
        (f"{CENTER}\nC: hexagon no", f1(30, 31, 24), 1.0),
        (f"{CENTER}\nA: hexagon yes", f1(30, 31, 24), 1.0),
        (f"{CENTER}\nMissing panel: circle 0 0", 1.0, 1.0),
        (f"{CENTER}\n{SIZE.replace('progression +1', 'constant')}", f1(30, 38, 24), 2 / 3),
        (f"{FLUENT}\n{SIZE_RULE.replace('up by 1', 'down by 1')}", 1.0, 2 / 3),
        (f"{SIZE_RULE} {SIZE_RULE.replace('up by 1', 'up by 2')}", 0.0, 0.0),
    )
    return with_answer("contradictory claims", "center", rows)


def _repetitions() -> list[Entry]:
    rows = (
        (f"{SIZE}\n" * 1000, f1(8, 8000, 8), 0.0),
        (f"{CENTER}\n" + f"{SIZE}\n" * 1000, f1(30, 8030, 24), 2 / 3),
        (f"{FIRST}\n" * 1000, f1(3, 3000, 3), 0.0),
        (f"{FIRST} " * 1000, f1(3, 3000, 3), 0.0),
        ("A: circle no\n" * 1000, 0.0, 0.0),
        (f"{CENTER}\n" + "A: circle no\n" * 1000, f1(30, 1030, 24), 1.0),
        (f"{CENTER}\n" + f"{MISSING}\n" * 1000, 1.0, 1.0),
        (f"{PREFIX}\n" * 1000 + CENTER, 1.0, 1.0),
        (f"{CENTER}\n" * 1000, f1(30, 30_000, 24), 0.0),
        (f"{SIZE_RULE}\n" * 1000, 0.0, 0.0),
        (f"{FLUENT}\n" + f"{SIZE_RULE}\n" * 1000, 1.0, 2 / 3),
    )
    whole = f"{CENTER}\n### Answer: C\n" * 1000
    return [
        *with_answer("claims repeated a thousand times", "center", rows),
        Entry(
            "claims repeated a thousand times",
            "center",
            whole,
            "several_answers",
            0.0,
            0.0,
            f1(30, 30_000, 24),
            0.0,
        ),
    ]


def _everything() -> list[Entry]:
    """Naming every value or every rule, so that the right one is among them."""
    sizes = "\n".join(
        f"Size: {s} {s} {s} | {s} {s} {s} | {s} {s} -> constant -> 0" for s in range(6)
    )
    rules = "\n".join(SIZE.replace("progression +1", phrase) for phrase in RULE_PHRASES.values())
    sentences = " ".join(
        f"Panel 1 shows a {kind} of size {size} and color {color}."
        for kind in TYPE_WORDS
        for size in range(6)
        for color in range(10)
    )
    tried = "\n".join(f"{c}: {kind} no" for c in "ABCDEFGH" for kind in TYPE_WORDS)
    rows = (
        (sizes, f1(8, 48, 8), 0.0),
        (f"{CENTER}\n{sizes}", f1(30, 78, 24), 2 / 3),
        # eight rules, each with the eight right sizes
        (rules, f1(8, 64, 8), 0.0),
        (f"{CENTER}\n{rules}", f1(30, 94, 24), 2 / 3),
        (sentences, f1(3, 900, 3), 0.0),
        # of five types for eight choices eight are right, three of which the chain named before
        (f"{CENTER}\n{tried}", f1(35, 70, 24), 1.0),
        (tried, 0.0, 0.0),
    )
    eager = BODIES["grid"].replace("3 3 -> no rule", "3 3 -> constant -> 3")
    eager = eager.replace("1.2.2 -> no rule", "1.2.2 -> constant -> 1.2.2")
    # the choices begin with the number then, which they do not say
    return [
        *with_answer("every value and every rule", "center", rows),
        *with_answer("every value and every rule", "grid", [(eager, 1.0, 3 / 5)]),
    ]


# a chain of `center`'s form with every value wrong
ALL_WRONG = (
    f"{PREFIX}\n"
    "Type: circle circle circle | square square square | square square -> {0} -> square\n"
    "Size: 5 5 5 | 5 5 5 | 5 5 -> {1} -> 5\n"
    "Color: 9 9 9 | 9 9 9 | 9 9 -> {2} -> 9\n"
    "Missing panel: square 5 9\n"
    "A: square no\n"
    "B: square yes, 5 no\n"
    "C: square yes, 5 yes, 9 yes\n"
    "### Answer: C"
)
SCENES_WRONG = (
    "This is a non-regular puzzle.\n"
    "Item count: 4 3 2 1 -> {0}\n"
    "Item shape: plus plus plus disc -> no rule\n"
    "Missing panel: {1}\n"
    "A: {2}\n"
    "### Answer: B"
)


def _wrong_perception() -> list[Entry]:
    family = "right letter, wrong perception"
    right_rules = ("constant", "progression +1", "arithmetic +")
    wrong_rules = ("distribute three", "constant", "arithmetic -")
    whole = (
        ("center", ALL_WRONG.format(*right_rules), 1.0),
        ("center", ALL_WRONG.format(*wrong_rules), 0.0),
        ("center", ALL_WRONG.format("constant", "progression -1", "constant"), 1 / 3),
        ("scenes", SCENES_WRONG.format("plus 1 -> 8", "8 any", "8 yes"), 1.0),
        ("scenes", SCENES_WRONG.format("minus 1 -> 8", "8 any", "8 yes"), 0.0),
    )
    # the halves exchanged: a type, three sizes and no color agree, in each half
    swapped = BODIES["pair"].replace("Left", "?").replace("Right", "Left").replace("?", "Right")
    lines = "\n".join(swapped.split("\n")[1:7])
    # mirrored slots: the counts stay right, eight positions are wrong
    moved = (
        "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule\n"
        "Position: 23 23 23 | 1 1 1 | 234 234 -> constant -> 234"
    )
    # colors for slots 2 3, for the whole panel, and for slots 2 3 4, where 2 in slot 3 is right
    colors = "Color: 3.5 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule"
    # shifted by one panel: of the types 2 2 2 5 5 5 4 4 six agree with 4 2 2 2 5 5 5 4
    shifted = TYPE.replace("square square square | circle", "hexagon square square | square")
    shifted = shifted.replace("circle circle | hexagon", "circle circle | circle")
    return [
        *(Entry(family, puzzle, text, "ok", 1.0, 1.0, 0.0, rule) for puzzle, text, rule in whole),
        *with_answer(family, "pair", [(lines, f1(8, 48, 8, 48), 0.0)]),
        *with_answer(
            family,
            "grid",
            [(moved, f1(8, 16, 8, 47), 1 / 3), (f"{moved}\n{colors}", f1(13, 31, 13, 47), 1 / 3)],
        ),
        *with_answer(family, "center", [(shifted, f1(5, 8, 5), 1 / 3)]),
        *with_answer(family, "center", [(f"{ALL_FIVE}\n{ALL_FIVE}", 0.0, 0.0)]),
    ]


def _wrong_letter() -> list[Entry]:
    family = "right perception, wrong letter"
    found = []
    for puzzle in STATE:
        for letter in "ABCDEFGH":
            if letter == LETTERS[puzzle]:
                continue
            is_there = letter in "ABCD" or puzzle == "center"
            found.append(
                Entry(
                    family,
                    puzzle,
                    f"{BODIES[puzzle]}\n### Answer: {letter}",
                    "ok" if is_there else "not_a_choice",
                    0.0,
                    float(is_there),
                    1.0,
                    1.0,
                )
            )
    found += [
        Entry(family, "center", f"{FLUENT}\n### Answer: {letter}", "ok", 0.0, 1.0, 1.0, 1.0)
        for letter in "ABDEFGH"
    ]
    return found


def _foreign_chains() -> list[Entry]:
    """The chain of one puzzle as an answer to another, with the right letter."""
    # center and grid share their types and sizes; grid's colors are center's no more
    shared = {
        ("center", "grid"): (f1(16, 16, 16), 2 / 3),
        # color is named in vain there, and position is not named
        ("grid", "center"): (f1(16, 24, 16, 47), 2 / 4),
    }
    return [
        entry
        for reader in STATE
        for writer in BODIES
        if reader != writer
        for entry in with_answer(
            "another puzzle's words",
            reader,
            [(BODIES[writer], *shared.get((reader, writer), (0.0, 0.0)))],
        )
    ]


# the chain of another puzzle of `center`'s form: 2 types, no size and 4 colors of the 24
# agree, none of 3 values of choice A; one rule does
BORROWED = (
    f"{PREFIX}\n"
    "Type: circle circle circle | square square square | hexagon hexagon -> constant -> hexagon\n"
    "Size: 3 2 1 | 4 3 2 | 5 4 -> progression -1 -> 3\n"
    "Color: 3 3 3 | 1 1 1 | 2 2 -> constant -> 2\n"
    "Missing panel: hexagon 3 2\n"
    "A: hexagon yes, 3 yes, 2 yes\n"
    "### Answer: "
)


def _borrowed() -> list[Entry]:
    """The whole chain of another puzzle of the same configuration."""
    # 3 counts and no shape agree of 8, and the count of choice A; no rule does
    scenes = (
        "This is a non-regular puzzle.\n"
        "Item count: 1 2 3 3 -> constant -> 3\n"
        "Item shape: box disc box disc -> alternating -> box\n"
        "Missing panel: 3 box\n"
        "A: 3 yes, box yes\n"
        "### Answer: "
    )
    family = "another puzzle's chain"
    share, few = f1(6, 27, 6), f1(4, 10, 3, 8)
    return [
        Entry(family, "center", f"{BORROWED}C", "ok", 1.0, 1.0, share, 1 / 3),
        Entry(family, "center", f"{BORROWED}A", "ok", 0.0, 1.0, share, 1 / 3),
        # one rule too many beside the wrong one
        Entry(family, "scenes", f"{scenes}B", "ok", 1.0, 1.0, few, 0.0),
        Entry(family, "scenes", f"{scenes}A", "ok", 0.0, 1.0, few, 0.0),
    ]


def _eliminations() -> list[Entry]:
    family = "the right choice eliminated"
    shown = "\n".join((PREFIX, TYPE, SIZE, COLOR, MISSING))
    # tried, right claims, claims; 24 about the shown panels are right
    rows = (
        ("A: circle no\nB: hexagon yes, 3 no\nC: hexagon yes, 3 no", 28, 29),
        ("A: circle no\nB: hexagon yes, 3 no\nC: circle no", 27, 28),
        ("A: circle no\nB: hexagon yes, 3 no\nC: hexagon no, 4 no, 7 no", 30, 30),
        ("A: circle no\nB: hexagon yes, 3 no\nC: hexagon yes, 4 yes, 7 no", 30, 30),
        ("A: circle no\nB: hexagon yes, 3 no", 27, 27),
        ("A: hexagon yes, 4 yes, 7 yes", 26, 27),
        (
            "A: hexagon yes, 4 yes, 7 yes\nB: hexagon yes, 4 yes, 7 yes\n"
            "C: hexagon yes, 4 yes, 7 yes",
            31,
            33,
        ),
        ("A: circle yes\nB: hexagon yes, 3 yes\nC: hexagon yes", 28, 28),
    )
    found = [
        Entry(
            family,
            "center",
            f"{shown}\n{tried}\n### Answer: C",
            "ok",
            1.0,
            1.0,
            f1(right, claims, 24),
            1.0,
        )
        for tried, right, claims in rows
    ]
    found += with_answer(
        family,
        "center",
        [
            (shown, 1.0, 1.0),
            (f"{shown}\n{TRIED[2]}", 1.0, 1.0),
            (f"{shown}\n{TRIED[2]}\n{TRIED[0]}", 1.0, 1.0),
            (f"{shown}\nA: circle no\nC: hexagon yes, 4 yes, 7 yes", 1.0, 1.0),
        ],
    )
    return found


ENTRIES = (
    *_negated_afterwards(),
    *_contradictions(),
    *_repetitions(),
    *_everything(),
    *_wrong_perception(),
    *_wrong_letter(),
    *_foreign_chains(),
    *_borrowed(),
    *_eliminations(),
)
