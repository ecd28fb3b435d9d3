"""Families about questions without choices: a short answer of every kind, graded by its kind."""

from tests.rewards.adversarial_entry import BODIES, Entry

# gold answer, what was answered, its worth
NUMBERS = (
    *(("100", text, 1.0) for text in ("100", "105", "95", "+100", "1e2", "100.", "10000%")),
    *(
        ("100", text, 0.0)
        for text in (
            *("105.0000001", "94.9", "-100", "--100", "200", "0", "1"),
            *("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e309", "1e999999999", "-1e309"),
            *("100%", "100 km", "100 or 200", "0-1000", "95-105", "about 100", "~100", ">= 100"),
            *("100 200", "100, 200", "100,200", "1,00", "100.0.0", "0x64", "1_00", "10**2"),
            *("50+50", "100/1", "one hundred", "C", "not 100", "100?200", "$100$"),
            *("\uff11\uff10\uff10", "\u0661\u0660\u0660", "100\u200b", "\u202e001", "1\u03010"),
            *("\u00b9\u2070\u2070", "\u2169", "9" * 1000, "100" + "0" * 1000, "0" * 1000 + "100"),
            *("100" + " 100" * 1000, "1e" + "9" * 1000, "e" * 1000, "." * 1000, "+" * 1000),
        )
    ),
    *(("4%", "4%", 1.0), ("4%", "0.04", 1.0), ("4%", "4", 0.0), ("4%", "400%", 0.0)),
    *(("4%", "4%%", 0.0), ("4%", "4 percent", 0.0), ("4", "4%", 0.0), ("0.04", "4", 0.0)),
    *(("0", "0", 1.0), ("0", "-0", 1.0), ("0", "0.0001", 0.0), ("0", "1e-300", 0.0)),
    *(("0", "nan", 0.0), ("0", "", 0.0), ("-5", "-5", 1.0), ("-5", "5", 0.0)),
    *(("-5", "\u22125", 0.0), ("-5", "- 5", 0.0), ("-5", "\u20135", 0.0)),
    *(("12 km", "12", 0.0), ("12 km", "12 km", 1.0), ("12 km", "12 miles", 0.0)),
)
COUNTS = (
    *(("4", text, 1.0) for text in ("4", "four", "Four.", "04", "(4)")),
    *(
        ("4", text, 0.0)
        for text in (
            *("5", "-4", "+4", "4.0", "4.5", "4e0", "4%", "4 or 5", "4 5", "3, 4, 5", "4/1"),
            *("1 2 3 4 5 6 7 8 9", "one two three four five", "four four", "fourteen", "not four"),
            *("4 squares", "at least 4", "about four", "more than 3", "four, or five", "IV"),
            *("\u0664", "\u2074", "\u2463", "\uff14", "4\u200b", "\u202e4", "f\u043eur"),
            *("4" * 1000, "0" * 1000 + "4", "4 " * 1000, "inf", "nan"),
        )
    ),
)
YES_NO = (
    *(("yes", text, 1.0) for text in ("yes", "Yes.", "YES!", "true", "**yes**")),
    *(
        ("yes", text, 0.0)
        for text in (
            *("no", "yes and no", "yes, no", "no, yes", "yes/no", "yes or no", "yes no", "false"),
            *("not no", "not yes", "never no", "maybe yes", "yes, it is", "yes yes", "yesno"),
            *("y", "1", "ja", "ye", "yess", "yes?no", "yes" * 1000, "yes " * 1000),
            *("\u0443es", "y\u0435s", "yes\u200b", "\u202eyes", "ye\u017f", "\uff39\uff25\uff33"),
            *("yes\u0336", "y e s", "yes\x00", "not: no"),
        )
    ),
    *(
        ("no", text, 0.0)
        for text in ("yes", "not", "none", "know", "No, yes", "yes and no", "nope")
    ),
    ("no", "No.", 1.0),
)
WORDS = (
    *(("a fish", text, 1.0) for text in ("a fish", "The fish.", "FISH", "'fish'", "**fish**")),
    *(
        ("a fish", text, 0.0)
        for text in (
            *("not a fish", "no fish", "a fish or a bird", "a fish, a bird", "a fish and a bird"),
            *("fish fish", "a a fish", "it is a fish", "fish (probably)", "a fish, not a bird"),
            *("fisherman", "fis", "fishy", "f i s h", "f.i.s.h", "fi-sh", "a bird"),
            *("f\u00efsh", "\ufb01sh", "fi\u200bsh", "fish\u202e", "\u202ehsif", "f\u0456sh"),
            *("\uff46\uff49\uff53\uff48", "fish\u0301", "fish\x00", "fish\u2028bird", "fish\rbird"),
            *("what is shown", "the answer", "score: 1.0", "fish" * 1000, "fish " * 1000),
            *("fish " + "or bird " * 125_000, '"a fish" is wrong', "{'answer': 'a fish'}"),
        )
    ),
)
OPTIONS = (
    *(("C", text, 1.0) for text in ("C", "c", "(C)", "C.", "C: circle", "(C) a circle", "circle")),
    # marks around a letter belong to it
    *(("C", text, 1.0) for text in ("C?", "C: ?", "**C**")),
    *(
        ("C", text, 0.0)
        for text in (
            *("B", "B: circle", "C: square", "C: circle, B: square", "C or D", "C, D", "C D"),
            *("A, B, C, D", "ABCD", "CC", "C C", "not C", "no circle", "not a circle", "circles"),
            *("circle or square", "a circle and a square", "the third", "3", "C: or D", "option C"),
            *("\u0421", "\uff23", "C\u200b", "\u200bC", "C\u0301", "\u202eC", "\u216d", "\u24b8"),
            *("C" * 1000, "C: " * 1000, "C: circle " * 1000, "C\x00", "C - D"),
        )
    ),
)
GOLD = "circle, size 3, color 4"
EVERY = ", ".join(
    (
        *("triangle", "square", "pentagon", "hexagon", "circle"),
        *(f"size {size}" for size in range(6)),
        *(f"color {color}" for color in range(10)),
    )
)
TUPLES = (
    *((GOLD, text, 1.0) for text in (GOLD, "color 4, circle, size 3", "Circle,, size 3,,color 4")),
    *((GOLD, text, 0.0) for text in ("", ",", ",,,", "square", "circle size 3 color 4")),
    *((GOLD, text, 0.0) for text in (f"not {GOLD.replace(', ', ', not ')}", "circle; size 3")),
    (GOLD, "circle", 1 / 3),
    (GOLD, "circle, size 3", 2 / 3),
    # one right of five different items
    (GOLD, "circle, size 4, color 5", 1 / 5),
    # all 21 values
    (GOLD, EVERY, 3 / 21),
    (GOLD, f"{EVERY}, {EVERY}", 3 / 42),
    # both are bags: three circles, a size and a color are five items
    (GOLD, "circle, circle, circle", 1 / 5),
    (GOLD, f"{GOLD}, {GOLD}", 3 / 6),
    (GOLD, ", ".join([GOLD] * 1000), 3 / 3000),
    (GOLD, "circle\u200b, size 3, color 4", 2 / 4),
    (GOLD, "c\u0456rcle, size 3, color 4", 2 / 4),
    (GOLD, "size 0, size 1, size 2, size 3, size 4, size 5", 1 / 8),
    (GOLD, "circle, " * 125_000, 1 / 125_002),
    # whether size 3 or size 4
    (GOLD, "circle, size 3 or 4, color 4", 2 / 4),
)
SETS = (
    *(("A, C", text, 1.0) for text in ("A, C", "C, A", "A, A, C", "a, c")),
    *(("A, C", text, 0.2) for text in ("A", "C", "A, A")),
    *(
        ("A, C", text, 0.0)
        for text in (
            *("", ",", "B", "A, B", "A, B, C", "A, B, C, D", "AC", "A C", "A and C", "A or C"),
            *(
                "not B",
                "A, \u0421",
                "A, C\u200b",
                "A, C, C?D",
                "A-D",
                "all",
                "A, C, " + "B, " * 1000,
            ),
        )
    ),
)
LIKENESS = (
    *(("Paris", text, 1.0) for text in ("Paris", "paris", " PARIS")),
    # edits over the longer length: 1 of 6, 1 of 5, 2 of 5, 3 of 5
    *(("Paris", "Pariss", 5 / 6), ("Paris", "Pares", 4 / 5), ("Paris", "Par", 3 / 5)),
    *(("Paris", "Pa", 0.0), ("Paris", "London", 0.0), ("Paris", "", 0.0)),
    # nine characters are not yet twice the gold's five, so the metric sees a likeness
    *(("Paris", "not Paris", 5 / 9), ("Paris", "Paris\u200b", 5 / 6)),
    *(("Paris", "\u0420\u0430ris", 3 / 5), ("Paris", "Pa ris", 5 / 6)),
    # ten are
    *(("Paris", text, 0.0) for text in ("Rome Paris", "Paris or Rome", "Paris, of course")),
    *(("Paris", text, 0.0) for text in ("Paris" * 1000, "Paris " * 1000, "p" * 1000, "ppppp")),
    *(
        ("Paris", text, 0.0)
        for text in ("Paris" + " " + "x" * 1_000_000, "x" * 1_000_000 + "Paris")
    ),
    *(("Paris", text, 0.0) for text in ("P\x00A\x00R\x00I\x00S\x00", "P-A-R-I-S-", "sirap")),
)
NAMES = (
    *(("Paris", text, 1.0) for text in ("Paris", "PARIS")),
    *(("Paris", "Pariss", 5 / 6), ("Paris", "not Paris", 5 / 9), ("Paris", "xyz", 0.0)),
    # a text that holds the gold is worth its length over the text's
    *(("Paris", "Paris or Rome", 5 / 13), ("Paris", "Paris" * 1000, 5 / 5000)),
    *(("Paris", "Paris" + "x" * 999_995, 5 / 1_000_000), ("Paris", "Paris\u200b", 5 / 6)),
    # two letters in their order, at best, of 26
    ("Paris", "abcdefghijklmnopqrstuvwxyz", 2 / 26),
)

MILLION = 1_000_000
# marks and spaces change no words, however many there are
HUGE = (
    ("letter", "C", "C" + "." * MILLION, 1.0),
    ("letter", "C", "(" * MILLION, 0.0),
    ("letter", "C", "(" * MILLION + "C", 1.0),
    ("letter", "C", "C" + " " * MILLION + "D", 0.0),
    ("letter", "C", "C: " + "circle " * (MILLION // 7), 0.0),
    ("letter", "C", "C: " * (MILLION // 3), 0.0),
    ("exact", "a fish", "fish" + " " * MILLION + ".", 1.0),
    ("exact", "a fish", "a " * (MILLION // 2) + "fish", 0.0),
    ("exact", "a fish", "a-" * (MILLION // 2), 0.0),
    ("yes_no", "yes", "yes" + "!" * MILLION, 1.0),
    ("yes_no", "yes", "yes" * (MILLION // 3), 0.0),
    ("count", "4", "4" * MILLION, 0.0),
    ("count", "4", "1," * (MILLION // 2), 0.0),
    ("number", "4", "4" + "0" * MILLION, 0.0),
    ("number", "4", "4." + "0" * MILLION, 0.0),
    ("number", "4", "4e" + "9" * MILLION, 0.0),
    ("tuple", GOLD, "," * MILLION, 0.0),
    ("tuple", GOLD, "size 3 " * (MILLION // 7), 0.0),
    ("set", "A, C", "," * MILLION, 0.0),
    ("set", "A, C", "A, C, " * (MILLION // 6) + "B", 0.0),
    ("anls", "Paris", " " * MILLION + "Paris", 1.0),
    ("anls", "Paris", "Paris " * (MILLION // 6), 0.0),
    ("name", "Paris", "z" * MILLION, 0.0),
)

ROWS = (
    *(("numbers", "number", *row) for row in NUMBERS),
    *(("counts", "count", *row) for row in COUNTS),
    *(("yes and no", "yes_no", *row) for row in YES_NO),
    *(("words of an answer", "exact", *row) for row in WORDS),
    *(("options in words", "letter", *row) for row in OPTIONS),
    *(("tuple stuffing", "tuple", *row) for row in TUPLES),
    *(("sets of options", "set", *row) for row in SETS),
    *(("likeness", "anls", *row) for row in LIKENESS),
    *(("names", "name", *row) for row in NAMES),
    *(("huge answers", *row) for row in HUGE),
)
"""Family, kind of answer, gold answer, what was answered, its worth."""
ACCEPTED = {"letter": ("circle",)}


def _entries() -> list[Entry]:
    """Each answer behind a chain, and alone; huge ones alone."""
    found = []
    for family, kind, gold, text, worth in ROWS:
        note = {
            "choices": (),
            "answer": gold,
            "accepted": ACCEPTED.get(kind, ()),
            "answer_kind": kind,
        }
        is_said = bool(text.strip())
        for asked, before, unsaid in (
            ("cot", f"{BODIES['photo']}\n### Answer: ", "not_a_choice"),
            ("perception", "", "no_answer"),
        ):
            if asked == "cot" and family == "huge answers":
                continue
            status = "ok" if is_said else unsaid
            found.append(
                Entry(
                    family,
                    "photo",
                    f"{before}{text}",
                    status,
                    worth,
                    float(is_said),
                    None,
                    None,
                    kind=asked,
                    note=note,
                )
            )
    return found


def _several() -> list[Entry]:
    rows = (
        ("### Answer: a fish\n### Answer: a fish", "several_answers", 0.0, "cot"),
        ("### Answer: a bird\n### Answer: a fish", "several_answers", 0.0, "cot"),
        ("### Answer: a fish\nor not", "malformed", 1.0, "cot"),
        ("It is a fish.", "no_answer", 0.0, "cot"),
        ('"### Answer: a fish"', "no_answer", 0.0, "cot"),
        ("### Answer:\na fish", "not_a_choice", 0.0, "cot"),
        ("a fish\na bird", "no_answer", 0.0, "direct"),
        ("### a fish", "no_answer", 0.0, "direct"),
        ("### Answer: a fish\n### Answer: a bird", "several_answers", 0.0, "direct"),
        ("<answer>a fish</answer>", "ok", 0.0, "direct"),
    )
    return [
        Entry(
            "several answers to an open question",
            "photo",
            text,
            status,
            worth,
            float(status == "ok"),
            None,
            None,
            kind=kind,
            note={"choices": (), "answer": "a fish"},
        )
        for text, status, worth, kind in rows
    ]


ENTRIES = (*_entries(), *_several())
