"""Pairs for people: what the page marks, and what a bare run says."""

from rl_avr.contracts import Prompt
from rl_avr.pipeline.pairs import spread_places
from rl_avr.pipeline.pairs_text import shown_pair
from rl_avr.preference.pair_record import PreferencePair


def pair_of(chosen, rejected, **changes):
    given = {
        "pair_id": "p/cot/random/0",
        "prompt_id": "p/cot",
        "puzzle_id": "p",
        "category": "center_single",
        "question": [],
        "images": (),
        "chosen": chosen,
        "rejected": rejected,
        "chosen_ids": None,
        "rejected_ids": None,
        "chosen_finish": "stop",
        "rejected_finish": "stop",
        "way": "random",
        "accuracy": 0.5,
        "chosen_scores": {"choice": 1.0, "rule": None},
        "rejected_scores": {},
        "chosen_choice": "C",
        "rejected_choice": None,
    }
    return PreferencePair(**given | changes)


def said_alone(side):
    """Returns what only one side says, in order, with its truth."""
    return [(side.text[s.start : s.end], s.is_true) for s in side.statements if s.is_own]


def test_what_only_one_side_says_is_its_own(puzzle, chain):
    other = chain.replace("Size: 0 1 2", "Size: 0 3 2").replace("Answer: C", "Answer: A")
    prompt = Prompt("p/cot", puzzle, "cot", "Which?", (b"\x89PNG",))
    shown = shown_pair(pair_of(chain, other), prompt)
    assert said_alone(shown.chosen) == [("1", True)]
    assert said_alone(shown.rejected) == [("3", False)]
    assert len(shown.chosen.statements) == len(shown.rejected.statements) > 30
    starts = [one.start for one in shown.chosen.statements]
    assert starts == sorted(starts)
    assert (shown.chosen.answer, shown.rejected.answer) == ("C", "no single answer")
    assert (shown.chosen.facts, shown.gold, shown.images) == ("choice 1.00", "C", (b"\x89PNG",))


def test_without_a_state_nothing_is_marked(annotated):
    prompt = Prompt("p/cot", annotated(choices=(), answer="two"), "cot", "How many?", ())
    shown = shown_pair(pair_of("### Answer: two", "### Answer: three"), prompt)
    assert shown.chosen.statements == shown.rejected.statements == ()
    assert shown.gold == "two"


def test_the_page_shows_every_way_from_all_over_the_run():
    ways = ["a", "b"] * 50
    places = spread_places(ways, 6)
    assert [ways[place] for place in places].count("a") == 3
    assert len(set(places)) == 6 and places[-1] >= 60
    assert spread_places(["a", "a", "b"], 10) == [0, 1, 2]
    assert spread_places(ways, 0) == spread_places([], 4) == []
    assert len(spread_places(["a"] * 3 + ["b"] * 3 + ["c"] * 3, 2)) == 2
