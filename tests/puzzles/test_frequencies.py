"""Rules and attributes are as frequent as RAVEN documents, and as in its own files."""

from collections import Counter

import pytest
from scipy.stats import chi2_contingency, chisquare

from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS, panel_value
from rl_avr.puzzles.raven_format import read_raven
from rl_avr.puzzles.sampler import sample_puzzles

NUM_PUZZLES = 800
# of some two hundred tests, one in a hundred is below 0.01 by chance
LEAST_P = 0.01


def puzzles_of(name):
    config = PuzzleConfig(
        mix={name: 1.0}, min_ruled=0, has_angle_noise=True, has_uniformity_noise=True
    )
    return list(sample_puzzles("train", NUM_PUZZLES, 5, config))


@pytest.fixture(scope="module")
def sampled():
    return {name: puzzles_of(name) for name in CONFIGURATIONS}


def kinds_of(puzzles, component, group):
    """Counts attribute and kind of a group's rule; noise is a constant rule of its layout."""
    names = ("number", "position") if group == "layout" else (group,)
    found = Counter()
    for puzzle in puzzles:
        rules = [r for r in puzzle.rules if r.component == component and r.attribute in names]
        found[(rules[0].attribute, rules[0].kind) if rules else (group, "constant")] += 1
    return found


def groups():
    for name, configuration in CONFIGURATIONS.items():
        for component, grammar in enumerate(configuration.components):
            for group in ("layout", "type", "size", "color")[not grammar.has_layout_rule :]:
                yield name, component, group


# Shares worked out from the grammar: an entry, then a parameter, both uniform, drawn
# again until the levels have room for it. F: of four steps and of two signs, those that do.
DOCUMENTED = {
    # 3 entries, all steps have room: 1 to 5 holds even 1, 3, 5
    ("center_single", 0, "type"): {"progression": 1, "distribute_three": 1, "constant": 1},
    # sizes 0 to 5
    ("center_single", 0, "size"): dict.fromkeys(
        ("progression", "arithmetic", "distribute_three", "constant"), 1
    ),
    # sizes 3 to 5: of four steps two, no sum, no difference
    ("in_center_single_out_center_single", 0, "size"): {
        "progression": 1 / 2,
        "distribute_three": 1,
        "constant": 1,
    },
    # sizes 2 to 5: of four steps two; 2 + 2 + 1 = 5 and back
    ("in_distribute_four_out_center_single", 1, "size"): {
        "progression": 1 / 2,
        "arithmetic": 1,
        "distribute_three": 1,
        "constant": 1,
    },
    ("in_center_single_out_center_single", 0, "color"): {"constant": 1},
}


@pytest.mark.parametrize("place", DOCUMENTED, ids=lambda place: f"{place[0]}-{place[1]}-{place[2]}")
def test_rules_have_the_documented_frequencies(sampled, place):
    name, component, group = place
    weights = DOCUMENTED[place]
    found = kinds_of(sampled[name], component, group)
    counts = [found.pop((group, kind), 0) for kind in weights]
    assert not found
    if len(weights) > 1:
        total = sum(weights.values())
        expected = [NUM_PUZZLES * weight / total for weight in weights.values()]
        assert chisquare(counts, expected).pvalue > LEAST_P, counts


@pytest.mark.parametrize("name", ["distribute_four", "distribute_nine"])
def test_layout_rules_have_the_documented_frequencies(sampled, name):
    # on four slots a step of two, either way, has no room; every other entry has
    half = 1 / 2 if name == "distribute_four" else 1
    weights = {
        ("number", "progression"): half,
        ("position", "progression"): half,
        ("number", "arithmetic"): 1,
        ("position", "arithmetic"): 1,
        ("number", "distribute_three"): 1,
        ("position", "distribute_three"): 1,
        ("position", "constant"): 1,
    }
    found = kinds_of(sampled[name], 0, "layout")
    expected = [NUM_PUZZLES * w / sum(weights.values()) for w in weights.values()]
    assert chisquare([found[key] for key in weights], expected).pvalue > LEAST_P, found


def agree(ours, theirs):
    """Returns the p value of two counts having one distribution; 1 for a single value."""
    keys = sorted(set(ours) | set(theirs))
    if len(keys) == 1:
        return 1.0
    return chi2_contingency([[ours[k] for k in keys], [theirs[k] for k in keys]]).pvalue


@pytest.fixture(scope="module")
def originals_by_name(originals):
    found = {name: [] for name in CONFIGURATIONS}
    for path in sorted(originals.rglob("*.npz")):
        puzzle, _ = read_raven(path)
        found[puzzle.configuration].append(puzzle)
    assert {len(puzzles) for puzzles in found.values()} == {40}
    return found


def test_frequencies_agree_with_the_originals(sampled, originals_by_name):
    p_values = {}
    for name, component, group in groups():
        pairs = (sampled[name], originals_by_name[name])
        p_values[name, component, group, "rule"] = agree(
            *(kinds_of(puzzles, component, group) for puzzles in pairs)
        )
        attribute = "number" if group == "layout" else group
        for place in ("first", "answer"):
            counts = []
            for puzzles in pairs:
                panels = [p.context[0] if place == "first" else p.answer for p in puzzles]
                values = [panel_value(panel, attribute, component) for panel in panels]
                counts.append(Counter(-1 if value is None else value for value in values))
            p_values[name, component, group, place] = agree(*counts)
    low = {key: p for key, p in p_values.items() if p < LEAST_P}
    assert len(p_values) > 80
    # a hundred tests: one below 0.01 is expected, five or more happen once in 300 times
    assert len(low) < 5, low
