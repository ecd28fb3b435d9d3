"""Graders of short answers: by hand, for every kind, and what cannot be gained by tricks."""

import random

import pytest

from rewards.answers import GRADERS, grade_text
from rl_avr.errors import RewardError

KINDS = tuple(GRADERS)
GOLDS = {
    "exact": ("a fish", "fishes"),
    "letter": ("C", "C: circle", "circle"),
    "yes_no": ("yes",),
    "count": ("4",),
    "number": ("12.5",),
    "anls": ("main street", "main st."),
    "name": ("Ångström", "Angstrom"),
    "tuple": ("circle, size 4, color 7",),
    "set": ("A, C, D",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_gold_answer_is_worth_one_in_whatever_case_and_spaces(kind):
    golds = GOLDS[kind]
    for gold in golds:
        for text in (gold, gold.upper(), gold.lower(), f"  {gold}\n"):
            assert grade_text(text, golds, kind) == 1.0, text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u2003"])
def test_an_empty_answer_is_worth_nothing(kind, text):
    assert grade_text(text, GOLDS[kind], kind) == 0.0
    assert grade_text(text, (text,), kind) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_gold_answer_nothing_is_right(kind):
    for golds in ((), ("",), (" ", "")):
        assert grade_text("4", golds, kind) == 0.0


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("anls", "name")])
@pytest.mark.parametrize(
    "trick",
    [
        "{gold} or not",
        "not {gold}",
        "{gold}\u200b",
        "\u200b{gold}",
        "{gold}\x00",
        "{gold} {gold}",
        "{gold}" + 200_000 * " {gold}",
        "I think it is {gold}",
        "x" * 200_000,
        "." * 200_000,
        "4" * 200_000,
        "\\d+|.*",
        "nan",
        "inf",
        "None",
    ],
)
def test_nothing_beside_the_answer_and_no_trick_is_worth_anything(kind, trick):
    gold = GOLDS[kind][0]
    # right items of a list may stand beside wrong ones, for a share
    most = 2 / 3 if kind == "tuple" else 0.0
    assert grade_text(trick.replace("{gold}", gold), GOLDS[kind], kind) <= most


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_in_range_for_any_text(kind):
    rng = random.Random(0)
    alphabet = "0123456789.,%+-eE ABCabc:()yesno\u200b\u0660\uff14\u212aſß\n'\"/"
    for _ in range(2000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        gold = "".join(rng.choices(alphabet, k=rng.randrange(1, 12)))
        assert 0.0 <= grade_text(text, (gold,), kind) <= 1.0
        if gold.strip():
            assert grade_text(gold, (gold,), kind) == (1.0 if _has_items(gold, kind) else 0.0)


def _has_items(gold, kind):
    return kind not in ("tuple", "set") or bool(gold.replace(",", "").strip())


def test_a_kind_that_does_not_exist_is_refused_by_name():
    with pytest.raises(RewardError, match="answer_kind.*exact.*got 'numbr'.*number"):
        grade_text("4", ("4",), "numbr")


def grades(kind, golds, texts):
    return {text: grade_text(text, golds, kind) for text in texts}


def all_worth(value, kind, golds, *texts):
    found = grades(kind, golds, texts)
    assert found == dict.fromkeys(texts, value)


def test_exact():
    all_worth(1.0, "exact", ("a fish", "a trout"), "Fish.", "the fish", "TROUT", "**fish**")
    all_worth(0.0, "exact", ("a fish", "a trout"), "fishes", "fish trout", "fi sh", "f\u0456sh")
    # a decimal point is no punctuation
    all_worth(1.0, "exact", ("1.5",), "1.5", "1.5.")
    all_worth(0.0, "exact", ("1.5",), "1 5", "1,5", "1:5", "15")
    # nothing but punctuation has no words
    all_worth(1.0, "exact", ("?",), "?")
    all_worth(0.0, "exact", ("?",), "!", "??", "")


@pytest.mark.parametrize(
    ("gold", "alike"),
    [
        ("kelvin", "\u212aelvin"),
        ("size", "\u017fize"),
        ("find", "\ufb01nd"),
        ("4", "\uff14"),
        ("4", "\u0664"),
        ("circle", "circl\u0435"),
        ("-2", "\u22122"),
        ("a b", "a\u200bb"),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "count", "number", "tuple", "set"])
def test_a_character_that_looks_alike_is_another_one(kind, gold, alike):
    assert grade_text(gold, (gold,), kind) == 1.0
    assert grade_text(alike, (gold,), kind) == 0.0


def test_letter():
    golds = ("C", "C: circle", "circle")
    right = ("C", "c", "C.", "(C)", "C: circle", "(C) a circle", "circle", "A circle", "c) Circle")
    all_worth(1.0, "letter", golds, *right, "**C**", "[C] circle", "**C:** circle", "C - circle")
    all_worth(0.0, "letter", golds, "A", "B: circle", "C: square", "B or C", "BC", "C, D", "C D")
    # an A before the words is an article only where nothing sets it apart
    options = ("A: circle", "A, circle", "a) circle", "**A**: circle", "A - circle", "A C: circle")
    all_worth(0.0, "letter", golds, *options, "A. C", "a c")
    # a gold answer that is no letter is a text
    assert grade_text("circle", ("circle",), "letter") == 1.0


def test_yes_no():
    all_worth(1.0, "yes_no", ("yes",), "Yes", "YES.", "true", "True!")
    all_worth(0.0, "yes_no", ("yes",), "no", "False", "y", "yes and no", "yes, no", "yesterday")
    all_worth(1.0, "yes_no", ("False",), "no", "false")
    all_worth(0.0, "yes_no", ("No",), "yes", "not", "none", "0")


def test_count():
    all_worth(1.0, "count", ("4",), "4", "four", "Four.", "FOUR", "(4)", "**4**", "4.", "04")
    wrong = ("4 or 5", "4, 5", "4.0", "4.5", "-4", "+4", "14", "44", "4 tiles", "3", "fourteen")
    all_worth(0.0, "count", ("4",), *wrong, "4/1", "4e0", "IV", "about 4", "four five")
    all_worth(1.0, "count", ("twenty",), "20", "Twenty")
    all_worth(1.0, "count", ("1200",), "1,200", "1200")
    all_worth(0.0, "count", ("1200",), "1 200", "12,00", "1.200", "1,2,00")
    all_worth(1.0, "count", ("0",), "0", "zero")
    # no number: the same words
    assert grade_text("Many", ("many",), "count") == 1.0
    all_worth(0.0, "count", ("4",), "many", 41 * "0" + "4")


def test_number_within_five_percent_of_the_gold_one():
    all_worth(1.0, "number", ("100",), "100", "95", "105", "1e2", "100.0", "105.000", "+100")
    all_worth(0.0, "number", ("100",), "94.99", "105.01", "-100", "1000", "nan", "inf", "1e999")
    # exactly at the bound, where binary fractions would be a little above it
    all_worth(1.0, "number", ("1",), "1.05", "0.95")
    all_worth(1.0, "number", ("-20",), "-21", "-19")
    all_worth(1.0, "number", ("0",), "0", "0.0", "-0")
    all_worth(0.0, "number", ("0",), "0.0001", "zero", "")


def test_number_percent_thousands_and_units():
    all_worth(1.0, "number", ("12%",), "12%", "12 %", "0.12", "12.5%", "12%.")
    all_worth(0.0, "number", ("12%",), "12", "1200", "12 percent")
    all_worth(1.0, "number", ("12,000",), "12000", "12,100", "12,000.0", "11400")
    all_worth(0.0, "number", ("12000",), "12,00", "12 000", "12.000,0", "1,2000")
    all_worth(1.0, "number", ("12 km",), "12 km", "12 KM.")
    all_worth(0.0, "number", ("12 km",), "12", "12.1 km", "12 m")
    all_worth(0.0, "number", ("12",), "12 km", "$12", "12 or 13", "10, 12", "1 2", "twelve")
    # several: the nearest counts
    all_worth(1.0, "number", ("10", "20"), "10.5", "19.5")
    all_worth(0.0, "number", ("10", "20"), "15", "10 20")


def test_anls_by_hand():
    golds = ("main street",)
    # 11 characters
    assert grade_text("Main  Street", golds, "anls") == 1.0
    assert grade_text("main strete", golds, "anls") == pytest.approx(1 - 2 / 11)
    assert grade_text("main streets", golds, "anls") == pytest.approx(1 - 1 / 12)
    # 5 edits of 11 are below one half, 6 are not
    assert grade_text("main s", golds, "anls") == pytest.approx(1 - 5 / 11)
    assert grade_text("main", golds, "anls") == 0.0
    # one half itself is 0
    assert grade_text("abxx", ("abcd",), "anls") == 0.0
    assert grade_text("abcx", ("abcd", "abcxyz"), "anls") == pytest.approx(3 / 4)


def test_anls_of_an_answer_twice_as_long_is_zero_whatever_it_holds():
    rng = random.Random(1)
    for _ in range(300):
        gold = "".join(rng.choices("ab c", k=rng.randrange(1, 8))).strip() or "a"
        longer = (gold + "".join(rng.choices("abc", k=2 * len(gold)))).strip()
        assert grade_text(longer, (gold,), "anls") == 0.0


def test_name_by_hand():
    assert grade_text("LONDON", ("London",), "name") == 1.0
    assert grade_text("Londno", ("London",), "name") == pytest.approx(1 - 2 / 6)
    assert grade_text("Paris", ("London", "Pariss"), "name") == pytest.approx(5 / 6)
    assert grade_text("xyz", ("London",), "name") == 0.0
    # at most |gold| / |answer|
    assert grade_text("london " * 10_000, ("London",), "name") == pytest.approx(6 / 69_999)


def test_tuple_by_hand():
    golds = ("circle, size 4, color 7",)
    assert grade_text("color 7, Circle, size 4.", golds, "tuple") == 1.0
    assert grade_text("(circle, size 4, color 7)", golds, "tuple") == 1.0
    assert grade_text("circle, size 4", golds, "tuple") == pytest.approx(2 / 3)
    assert grade_text("circle, size 4, color 6", golds, "tuple") == pytest.approx(2 / 4)
    assert grade_text("circle, size 4, color 7, color 6", golds, "tuple") == pytest.approx(3 / 4)
    assert grade_text("4, 7", golds, "tuple") == 0.0
    every = ", ".join(["circle", *(f"size {k}" for k in range(6)), *(f"color {k}" for k in "0789")])
    assert grade_text(every, golds, "tuple") == pytest.approx(3 / 11)


def test_repeating_an_item_of_a_tuple_never_pays():
    golds = ("circle, size 4", "circle, circle, square")
    assert grade_text("circle, circle, size 4", golds[:1], "tuple") == pytest.approx(2 / 3)
    assert grade_text("circle," * 1000, golds[:1], "tuple") == pytest.approx(1 / 1001)
    # what is there twice has to be said twice
    assert grade_text("circle, square, circle", golds[1:], "tuple") == 1.0
    assert grade_text("circle, square", golds[1:], "tuple") == pytest.approx(2 / 3)


def test_set_by_hand():
    all_worth(1.0, "set", ("A, C",), "A, C", "c,a", "C, A.", "A, C, A")
    all_worth(0.2, "set", ("A, C",), "A", "C", "A, A")
    all_worth(0.0, "set", ("A, C",), "B", "A, B", "A, B, C", "A C", "AC", ",", "")
    all_worth(1.0, "set", ("A",), "A")
    all_worth(1.0, "set", ("A, C", "black, white"), "White, black")
    all_worth(0.0, "set", ("A, C", "black, white"), "A, black")


@pytest.mark.parametrize("kind", KINDS)
def test_a_million_characters_are_graded_like_any_wrong_answer(kind):
    for piece in ("x", "4", " .", ",", "a b ", "(", "C"):
        text = piece * (1_000_000 // len(piece))
        assert grade_text(text, GOLDS[kind], kind) <= 1e-4
