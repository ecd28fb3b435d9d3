"""The adversarial set scores what each completion states, and nothing scores above the floor.

The floor is 0: an empty completion, the prompt copied back and garbage earn nothing in any
part, with the gate and without. A right letter counts as a right letter wherever it comes
from; the parts about the chain do not come with it.
"""

import pytest

from rewards.composition import parts_of, score
from rewards.config import PARTS, RewardConfig
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.prompts import prompt_text
from tests.rewards.adversarial import ENTRIES, FAMILIES
from tests.rewards.adversarial_claims import ALL_FIVE, ALL_WRONG, BORROWED
from tests.rewards.adversarial_entry import (
    BODIES,
    CENTER,
    FLUENT,
    LETTERS,
    NUM_STATED,
    PAIR,
    SCENES,
    SIZE,
    STATE,
    f1,
)
from tests.rewards.adversarial_texts import GARBAGE

WAYS = [(gate, mode) for gate in ("choice", "none") for mode in ("separate", "implicit", "and")]
KINDS = ("cot", "direct", "perception")
FORMS = ("mark", "tags")


@pytest.fixture
def make_puzzle(puzzle, grid, annotated):
    """Returns the puzzle of a key, the photo with changes to its annotation."""
    known = {"center": puzzle, "grid": grid, "pair": PAIR, "scenes": SCENES}

    def make(key, **changes):
        return annotated(**changes) if key == "photo" else known[key]

    return make


def judged(entry, puzzle):
    """Returns the parsed entry and its score for each gate and format mode."""
    parsed = read(entry.text, puzzle, entry.finish, entry.kind, entry.answer_form)
    ways = WAYS if len(entry.text) < 100_000 else (WAYS[0], WAYS[3])
    return parsed, {
        (gate, mode): score(parsed, puzzle, RewardConfig(gate=gate, format_mode=mode), entry.kind)
        for gate, mode in ways
    }


def test_the_set_is_large_and_has_no_entry_twice():
    assert len(FAMILIES) >= 20
    assert len(ENTRIES) >= 300
    assert min(FAMILIES.values()) >= 4
    assert len({repr(entry) + entry.text for entry in ENTRIES}) == len(ENTRIES)


def test_the_chains_written_out_are_the_gold_chains(make_puzzle, found_claims):
    for key, body in BODIES.items():
        assert gold_chain(make_puzzle(key)) == f"{body}\n### Answer: {LETTERS[key]}"
    center = make_puzzle("center")
    fluent, compact = (read(f"{body}\n### Answer: C", center) for body in (FLUENT, CENTER))
    assert found_claims(fluent) == found_claims(compact)
    for key in STATE:
        shown = [
            c for c in read(BODIES[key], make_puzzle(key)).panel_claims if "context" in c.panel
        ]
        assert len(shown) == NUM_STATED[key]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_completion_scores_what_it_states(make_puzzle, family):
    for number, entry in enumerate(e for e in ENTRIES if e.family == family):
        where = (number, entry.puzzle, entry.kind, entry.text[:80], entry.text[-80:])
        parsed, scores = judged(entry, make_puzzle(entry.puzzle, **entry.note))
        parts = dict(scores["none", "separate"].parts)
        stated = (entry.choice, entry.form, entry.perception, entry.rule)
        assert parsed.status == entry.status, where
        assert tuple(parts[name] for name in ("choice", "format", "perception", "rule")) == (
            pytest.approx(stated)
        ), where
        for way, found in scores.items():
            assert found.total == pytest.approx(entry.total(*way)), (way, where)
        assert all(value is None or 0.0 <= value <= 1.0 for value in parts.values()), where


GOLD_RULES = ("constant", "progression +1", "arithmetic +")


# the gold chain of `center` has 24 claims about panels shown, 3 predictions, each told twice,
# 3 rules, 6 values of choices and 6 verdicts: 42; what it has to say are the first 30
@pytest.mark.parametrize(
    ("text", "consistency", "detail", "knowledge"),
    [
        (f"{CENTER}\n### Answer: C", 1.0, 1.0, 1.0),
        # it predicts C, whatever it chooses then
        (f"{CENTER}\n### Answer: A", 0.0, 1.0, 1.0),
        (f"{CENTER}\n### Answer: C or A", 0.0, 1.0, 1.0),
        ("### Answer: C", 0.0, 0.0, 0.0),
        ("", 0.0, 0.0, 0.0),
        # no choice is square 5 9; three rules and six verdicts are right
        (ALL_WRONG.format(*GOLD_RULES), 0.0, 1 / 2, f1(9, 42, 3, 30)),
        # hexagon 3 2 is choice G; 6 of 24 values, a type, a rule and two verdicts are right
        (f"{BORROWED}C", 0.0, (6 / 24 + 1 / 3) / 2, f1(10, 36, 8, 30)),
        (f"{BORROWED}G", 1.0, (6 / 24 + 1 / 3) / 2, f1(10, 36, 8, 30)),
        # three more, wrong predictions, with which no choice agrees
        (f"{CENTER}\nMissing panel: circle 0 0\n### Answer: C", 0.0, 1.0, f1(42, 45, 30, 30)),
        # 8 of 24 values are told rightly and wrongly; a rule and a prediction are wrong, too
        (f"{CENTER}\n{ALL_FIVE}\n### Answer: C", 0.0, (16 / 24 + 2 / 3) / 2, f1(42, 52, 30, 30)),
        # size 4 alone fits A, C, D and F; 8 sizes, a rule and a prediction are right among
        # 8000 values, 1000 rules and 1000 equal predictions, one of which is free
        (f"{SIZE}\n" * 1000 + "### Answer: C", 1 / 4, (8 / 24) / 2, f1(10, 9999, 10, 30)),
    ],
    ids=range(11),
)  # fmt: skip
def test_the_other_parts_by_hand(puzzle, text, consistency, detail, knowledge):
    weights = dict.fromkeys(PARTS, 1.0) | {"length": 0.0}
    parts = parts_of(read(text, puzzle), puzzle, RewardConfig(**weights))
    found = (parts["consistency"], parts["detail"], parts["knowledge"])
    assert found == pytest.approx((consistency, detail, knowledge))


def worth(text, puzzle, kind, form):
    """Returns every part that judges a text, with a limit far above its length."""
    config = RewardConfig(length_limit=10_000, answer_form=form)
    parsed = read(text, puzzle, "stop", kind, form, 100)
    parts = {n: v for n, v in parts_of(parsed, puzzle, config, kind).items() if v is not None}
    totals = [
        score(
            parsed,
            puzzle,
            RewardConfig(gate=gate, format_mode=mode, answer_form=form, length_limit=10_000),
            kind,
        ).total
        for gate, mode in WAYS
    ]
    return parts, totals


def asked_prompts(puzzle):
    """Yields every prompt about a puzzle: text, puzzle asked, kind and form of the answer."""
    for form in FORMS:
        for kind in KINDS:
            yield prompt_text(puzzle, kind, form), puzzle, kind, form
        for about in ("perception", "yes_no", "open"):
            for one in ask_puzzle(puzzle, about, 12):
                for kind in ("perception", "cot"):
                    yield prompt_text(one, kind, form), one, kind, form


def test_the_prompt_copied_back_is_worth_nothing(zoo, annotated):
    num_prompts = 0
    for puzzle in [*zoo[::6], annotated(), annotated(choices=(), answer="a fish")]:
        for text, asked, kind, form in asked_prompts(puzzle):
            for copied in (text, f"{text}\n{text}", f"{text}\n", f"user\n{text}\nassistant\n"):
                parts, totals = worth(copied, asked, kind, form)
                # one line is a well-formed answer to an open question, and a wrong one
                assert parts.pop("format") == 0.0 or asked.num_choices == 0, copied
                assert parts.pop("length") == 0.0 or asked.num_choices == 0, copied
                assert set(parts.values()) == {0.0}, copied
                assert set(totals[:3]) == {0.0}, copied
            num_prompts += 1
    assert num_prompts > 500


def test_garbage_is_worth_nothing(zoo, annotated):
    for puzzle in [*zoo[::5], annotated()]:
        for text in GARBAGE:
            for form in FORMS:
                for kind in KINDS:
                    parts, totals = worth(text, puzzle, kind, form)
                    assert set(parts.values()) == {0.0}, text
                    assert set(totals) == {0.0}, text


def test_a_lucky_letter_is_worth_its_letter_alone(zoo):
    for puzzle in zoo:
        for letter in "ABCDEFGH":
            parts, totals = worth(f"### Answer: {letter}", puzzle, "cot", "mark")
            right = float(letter == puzzle.answer_letter)
            assert parts == dict.fromkeys(parts, 0.0) | {"choice": right}
            # the and-gate wants the form, too
            shares = (1 / 1.4, 1 / 1.3, 0.0)
            assert totals == pytest.approx([right * share for share in (*shares, *shares)])
