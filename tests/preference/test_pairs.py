"""Pairs of a question: bounds, what may be chosen, reuse, seeds, and every way by hand."""

import random
from collections import Counter
from itertools import product
from typing import get_args

import pytest

from rl_avr.errors import ConfigError
from rl_avr.preference.config import WAY_NAMES, PairsConfig
from rl_avr.preference.pairs import FATE_WORDS, Fate, least_used, make_pairs
from rl_avr.preference.ways import WAYS, ways_of

WIDE = {"min_accuracy": 0.0, "max_accuracy": 1.0}


def pairs_of(question, seed=0, **changes):
    """Returns what became of a question, and texts and way of its pairs."""
    config = PairsConfig(**WIDE | changes)
    fate, found = make_pairs(question, config, ways_of(config), seed, ("images/x.png",))
    return fate, [(pair.chosen, pair.rejected, pair.way) for pair, _ in found]


@pytest.fixture
def mixed(sample, question):
    """Makes a question of right answers r0, r1, … and wrong ones w0, w1, …."""

    def made(rights, wrongs, **changes):
        right = [sample(f"r{k}") for k in range(rights)]
        wrong = [sample(f"w{k}", outcome=0.0, answer="A") for k in range(wrongs)]
        return question(*right, *wrong, **changes)

    return made


@pytest.mark.parametrize(
    ("num_right", "num_judged", "bounds", "expected"),
    [
        (8, 32, (0.25, 0.85), "kept"),
        (7, 32, (0.25, 0.85), "too_hard"),
        (5, 20, (0.25, 0.85), "kept"),
        (17, 20, (0.25, 0.85), "kept"),
        (18, 20, (0.25, 0.85), "too_easy"),
        # none of these decimals is a binary fraction
        (3, 10, (0.3, 0.7), "kept"),
        (7, 10, (0.3, 0.7), "kept"),
        (700_001, 1_000_000, (0.3, 0.7), "too_easy"),
        (299_999, 1_000_000, (0.3, 0.7), "too_hard"),
        (0, 32, (0.0, 0.85), "kept"),
        (32, 32, (0.25, 1.0), "kept"),
        (0, 0, (0.25, 0.85), "unjudged"),
    ],
)
def test_bounds_are_inclusive_and_exact(mixed, num_right, num_judged, bounds, expected):
    question = mixed(2, 2, num_right=num_right, num_judged=num_judged)
    fate, pairs = pairs_of(question, min_accuracy=bounds[0], max_accuracy=bounds[1])
    assert fate == expected
    assert bool(pairs) == (expected == "kept")


@pytest.mark.parametrize(
    ("num_right", "num_wrong", "num_pairs", "uses"),
    [(3, 3, 3, 1), (5, 9, 3, 1), (1, 5, 3, 3), (2, 2, 3, 2), (1, 1, 1, 1), (3, 0, 0, 0)],
)
def test_completions_come_twice_only_where_they_must(mixed, num_right, num_wrong, num_pairs, uses):
    fate, pairs = pairs_of(mixed(num_right, num_wrong))
    assert len(pairs) == len(set(pairs)) == num_pairs
    assert fate == ("kept" if num_pairs else "no_pair")
    assert all(chosen[0] == "r" and rejected[0] == "w" for chosen, rejected, _ in pairs)
    counts = Counter(text for pair in pairs for text in pair[:2])
    assert max(counts.values(), default=0) == uses


def test_the_draw_is_of_the_seed_the_prompt_and_the_way_alone(mixed):
    draws = {name: pairs_of(mixed(8, 8, prompt_id=name))[1] for name in ("p/cot", "q/cot")}
    assert pairs_of(mixed(8, 8))[1] == draws["p/cot"] != draws["q/cot"]
    assert pairs_of(mixed(8, 8), seed=1)[1] != draws["p/cot"]
    both = pairs_of(mixed(8, 8), ways={"length_matched": 2, "random": 3})[1]
    assert both[:3] == draws["p/cot"]


def test_every_pair_is_drawn_about_as_often(mixed):
    drawn = Counter(
        pairs_of(mixed(3, 3, prompt_id=f"p{k}"), ways={"random": 1})[1][0][:2] for k in range(900)
    )
    assert set(drawn) == set(product(["r0", "r1", "r2"], ["w0", "w1", "w2"]))
    assert min(drawn.values()) >= 60 and max(drawn.values()) <= 140


def test_all_ways_keep_the_rules_for_any_completions(sample, question):
    rng = random.Random(3)
    statuses = ("ok", "malformed", "no_answer", "several_answers", "not_a_choice")
    seen = Counter()
    for number in range(150):
        samples = [
            sample(
                f"t{k}",
                status="truncated" if (is_cut := rng.random() < 0.2) else rng.choice(statuses),
                finish_reason="length" if is_cut else "stop",
                outcome=float(rng.random() < 0.5),
                perception=rng.choice([None, 0.3, 0.85, 0.95, 1.0]),
                num_tokens=rng.randint(90, 100),
            )
            for k in range(12)
        ]
        asked = question(*samples, prompt_id=f"p{number}", gold=sample("gold"))
        rejected_rule = ("answered", "finished", "any")[number % 3]
        config = PairsConfig(**WIDE, ways=dict.fromkeys(WAY_NAMES, 2), rejected=rejected_rule)
        _, found = make_pairs(asked, config, ways_of(config), seed=0)
        texts = [(pair.chosen, pair.rejected) for pair, _ in found]
        assert len(set(texts)) == len(texts)
        assert max(Counter(pair.way for pair, _ in found).values(), default=0) <= 2
        for pair, (chosen, rejected) in found:
            assert (chosen.finish_reason, chosen.status) == ("stop", "ok")
            assert chosen.text != rejected.text
            assert rejected_rule == "any" or rejected.finish_reason == "stop"
            assert rejected_rule != "answered" or rejected.status in ("ok", "malformed")
            seen[pair.way, rejected_rule, rejected.status] += 1
    assert {way for way, _, _ in seen} == set(WAY_NAMES)
    for way in ("random", "gold_vs_own_error"):
        assert seen[way, "any", "truncated"] and seen[way, "finished", "no_answer"]


def test_a_right_answer_in_a_broken_form_is_chosen_only_where_that_is_asked_for(sample, question):
    asked = question(sample("r", status="malformed"), sample("w", outcome=0.0))
    assert pairs_of(asked) == ("no_pair", [])
    assert pairs_of(asked, chosen="answered") == ("kept", [("r", "w", "random")])


def test_hard_choice_sees_rightly_and_answers_wrongly(sample, question):
    asked = question(
        sample("good", perception=0.96),
        sample("lucky", perception=0.94),
        sample("near", outcome=0.0, perception=0.95),
        sample("blind", outcome=0.0, perception=0.94),
        sample("open", outcome=0.0, perception=None),
    )
    assert pairs_of(asked, ways={"hard_choice": 9})[1] == [("good", "near", "hard_choice")]


def test_hard_perception_answers_rightly_and_sees_wrongly(sample, question):
    asked = question(
        sample("good", perception=0.95),
        sample("nearly", perception=0.9),
        sample("lucky", perception=0.89),
        sample("open", perception=None),
        sample("blind", outcome=0.0, perception=0.1),
    )
    expected = [("good", "lucky", "hard_perception")]
    # without a wrong answer all are right
    assert pairs_of(asked, ways={"hard_perception": 9})[1] == expected


def test_matched_lengths_are_the_closest_and_within_the_gap(sample, question):
    asked = question(
        sample("a", num_tokens=100),
        sample("b", num_tokens=58),
        sample("x", outcome=0.0, num_tokens=95),
        sample("y", outcome=0.0, num_tokens=57),
        sample("z", outcome=0.0, num_tokens=93),
    )
    ways = {"length_matched": 9}
    expected = [("b", "y", "length_matched"), ("a", "x", "length_matched")]
    assert pairs_of(asked, ways=ways)[1] == expected
    wider = pairs_of(asked, ways=ways, length_gap=0.07)[1]
    assert wider == [*expected, ("a", "z", "length_matched")]


def test_lengths_are_in_characters_where_one_in_tokens_is_not_known(sample, question):
    asked = question(
        sample("a" * 50, num_tokens=10),
        sample("b" * 50, outcome=0.0, num_tokens=0),
        sample("c" * 80, outcome=0.0, num_tokens=10),
    )
    pairs = pairs_of(asked, ways={"length_matched": 9})[1]
    assert pairs == [("a" * 50, "b" * 50, "length_matched")]


def test_graded_perception_has_equal_outcomes_and_a_margin(sample, question):
    asked = question(
        sample("r9", perception=0.9),
        sample("r8", perception=0.8),
        sample("w5", outcome=0.0, perception=0.5),
        sample("w7", outcome=0.0, perception=0.7),
        sample("w?", outcome=0.0, perception=None),
    )
    pairs = {pair[:2] for pair in pairs_of(asked, ways={"perception_graded": 9})[1]}
    assert pairs == {("r9", "r8"), ("w7", "w5")}
    farther = pairs_of(asked, ways={"perception_graded": 9}, perception_margin=0.11)[1]
    assert {pair[:2] for pair in farther} == {("w7", "w5")}


def test_gold_stands_against_own_errors(sample, question):
    asked = question(
        sample("r"),
        sample("w0", outcome=0.0),
        sample("w1", outcome=0.0),
        gold=sample("gold", num_tokens=0),
    )
    pairs = pairs_of(asked, ways={"gold_vs_own_error": 9})[1]
    assert sorted(pairs) == [("gold", f"w{k}", "gold_vs_own_error") for k in (0, 1)]
    assert pairs_of(question(sample("w", outcome=0.0)), ways={"gold_vs_own_error": 1})[1] == []


def test_a_pair_that_two_ways_want_is_taken_once(sample, question):
    asked = question(sample("r"), sample("w", outcome=0.0))
    ways = {"length_matched": 2, "hard_choice": 2, "random": 2}
    assert pairs_of(asked, ways=ways)[1] == [("r", "w", "random")]


def test_least_used_takes_an_unused_pair_before_a_used_one(sample):
    a, b, x, y = map(sample, "abxy")
    assert least_used([(a, x), (a, y), (b, x), (b, y)], 3) == [(a, x), (b, y), (a, y)]
    assert least_used([(a, x), (a, x)], 2) == [(a, x)]


def test_a_record_holds_what_training_needs(sample, question):
    config = PairsConfig(**WIDE, rejected="any")
    asked = question(
        sample("r", answer="B"),
        sample("w", outcome=0.0, answer=None, finish_reason="length", status="truncated"),
    )
    ((pair, _),) = make_pairs(asked, config, ways_of(config), 0, ("images/x.png",))[1]
    assert pair.pair_id == "p/cot/random/0" and pair.puzzle_id == "by-hand"
    assert pair.question == [{"role": "user", "content": "Which?"}]
    assert (pair.images, pair.category, pair.accuracy) == (
        ("images/x.png",),
        "center_single",
        0.5,
    )
    assert (pair.chosen_choice, pair.rejected_choice) == ("B", None)
    assert (pair.chosen_finish, pair.rejected_finish) == ("stop", "length")
    assert pair.rejected_scores == {"choice": 0.0, "perception": 1.0}


def test_a_way_of_the_user_s_own_keeps_the_rules(sample, question, monkeypatch, tmp_path):
    (tmp_path / "own_ways.py").write_text(
        "def shortest(question, config, rng):\n"
        "    ranked = sorted(question.samples, key=lambda one: len(one.text))\n"
        "    return [(one, other) for one in ranked for other in ranked]\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = question(sample("x", status="no_answer"), sample("yy"), sample("zzz"))
    pairs = pairs_of(asked, ways={"random": 0, "own_ways:shortest": 1})[1]
    assert pairs == [("yy", "zzz", "own_ways:shortest")]


def test_ways_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match="got 'randon', the nearest is random"):
        PairsConfig(ways={"randon": 1})
    with pytest.raises(ConfigError, match="a number above 0"):
        PairsConfig(ways={"random": 0})
    with pytest.raises(ConfigError, match="no_such_module:way.*importing it failed"):
        ways_of(PairsConfig(ways={"no_such_module:way": 1}))
    with pytest.raises(ConfigError, match="expected a function .*, got str"):
        ways_of(PairsConfig(ways={"string:digits": 1}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"min_accuracy": 0.9, "max_accuracy": 0.5}, "max_accuracy"),
        ({"held_out": ("runs/demo/data",)}, "expected folder:split"),
        ({"rollouts": ("a", "a")}, "different folders"),
        ({"wrong_perception": 0.99}, "wrong_perception"),
        ({"perception_margin": 0.0}, "perception_margin"),
    ],
)
def test_settings_outside_their_range_are_refused(change, expected):
    with pytest.raises(ConfigError, match=expected):
        PairsConfig(**change)


def test_the_tables_agree():
    assert tuple(WAYS) == WAY_NAMES
    config = PairsConfig(ways={"length_matched": 1, "random": 1, "hard_choice": 0})
    assert list(ways_of(config)) == ["random", "length_matched"]
    assert tuple(FATE_WORDS) == get_args(Fate)
