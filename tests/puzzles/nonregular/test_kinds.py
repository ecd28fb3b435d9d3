"""Each kind: contexts worked by hand, its words, its sampling, its pictures."""

import random
from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from rl_avr.contracts import Puzzle, Rule, Scene
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD
from rl_avr.puzzles.nonregular.kinds import KINDS, kind_called, kind_of, render_scene
from rl_avr.puzzles.nonregular.layouts import LAYOUTS
from rl_avr.puzzles.nonregular.solver import predict, solve

SHOWN_ELSEWHERE = {"Type", "Size", "Color", "Number", "Position"}


def scenes(kind_name, **words):
    """Returns scenes from the words of each attribute, row by row without separators."""
    kind = KINDS[kind_name]
    columns = []
    for attribute in kind.attributes:
        value_of = {word: value for value, word in attribute.words.items()}
        columns.append([value_of[word] for word in words[attribute.name].split()])
    names = [attribute.name for attribute in kind.attributes]
    hidden = tuple((name, 0) for name in kind.hidden)
    return tuple(
        Scene((*zip(names, values, strict=True), *hidden)) for values in zip(*columns, strict=True)
    )


WORKED = {
    "rotation growing": (
        "rotation",
        "sequence",
        {
            "pointer": "pin pin pin pin",
            "heading": "north northeast southeast west",
            "dot_side": "left right left right",
        },
        {"pointer": "constant 0 pin", "heading": "growing 1 east", "dot_side": "alternate 0 left"},
    ),
    "rotation of one figure": (
        "rotation",
        "group",
        {
            "pointer": "arrow arrow arrow arrow arrow",
            "heading": "north east south east west",
            "dot_side": "right right right right right",
        },
        {"pointer": "shared 0 arrow", "dot_side": "shared 0 right"},
    ),
    "clock": (
        "clock",
        "matrix",
        {"long_hand": "12 4 8 1 5 9 11 3", "short_hand": "3 12 9 1 10 7 5 2"},
        {"long_hand": "progression 4 7", "short_hand": "progression -3 11"},
    ),
    "reflection by two mirrors": (
        "reflection",
        "two_row",
        {
            "flag_pose": "up-right up-left down-left right-up left-up",
            "flag_tone": "white white white black black",
        },
        {"flag_pose": "mirror_pair 1 left-down", "flag_tone": "constant 0 black"},
    ),
    "reflection over a diagonal": (
        "reflection",
        "sequence",
        {
            "flag_pose": "up-right right-up up-right right-up",
            "flag_tone": "white dark black black",
        },
        {"flag_pose": "mirror 2 up-right"},
    ),
    "translation": (
        "translation",
        "sequence",
        {
            "dot_place": "top-left top top-right right",
            "ring_place": "top-left left bottom top-right",
        },
        {"dot_place": "progression 1 bottom-right", "ring_place": "growing -1 bottom-left"},
    ),
    "counting": (
        "counting",
        "two_row",
        {"item_count": "3 5 7 1 3", "item_shape": "disc box plus plus disc"},
        {"item_count": "progression 2 5", "item_shape": "distribute_three 0 box"},
    ),
    "strokes": (
        "strokes",
        "group",
        {"upright_strokes": "3 3 3 3 3", "level_strokes": "1 2 3 4 5"},
        {"upright_strokes": "shared 0 3"},
    ),
    "arithmetic": (
        "arithmetic",
        "matrix",
        {"filled_dots": "1 2 3 2 3 5 4 2", "hollow_dots": "5 3 2 6 1 5 7 3"},
        {"filled_dots": "arithmetic 1 6", "hollow_dots": "arithmetic -1 4"},
    ),
    "overlay xor": (
        "overlay",
        "two_row",
        {"lines": "12 23 13 145 1"},
        {"lines": "xor 0 45"},
    ),
    "overlay without": (
        "overlay",
        "two_row",
        {"lines": "123 36 12 456 46"},
        {"lines": "without 0 5"},
    ),
    "tiles that roll": ("tiles", "sequence", {"tiles": "14 25 36 14"}, {"tiles": "roll 0 25"}),
    "tiles that turn": (
        "tiles",
        "two_row",
        {"tiles": "12 36 89 147 123"},
        {"tiles": "quarter_turn 1 369"},
    ),
    "symmetry": (
        "symmetry",
        "sequence",
        {"axis": "upright rising level falling", "figure_tone": "white light white black"},
        {"axis": "progression 1 upright"},
    ),
    "inside": (
        "inside",
        "two_row",
        {
            "inside_dots": "1 3 4 2 3",
            "outside_dots": "5 3 1 4 2",
            "fence": "circle circle circle square square",
        },
        {
            "inside_dots": "arithmetic 1 5",
            "outside_dots": "progression -2 0",
            "fence": "constant 0 square",
        },
    ),
    "contact": (
        "contact",
        "matrix",
        {
            "contact": "apart touching inside touching inside apart inside apart",
            "large_shape": "circle circle circle square square square circle circle",
            "small_shape": "circle circle square circle diamond square square square",
        },
        {"contact": "distribute_three 0 touching", "large_shape": "constant 0 circle"},
    ),
    "contact that closes": (
        "contact",
        "sequence",
        {
            "contact": "touching crossing inside apart",
            "large_shape": "circle square circle circle",
            "small_shape": "circle square circle circle",
        },
        {"contact": "progression 1 touching"},
    ),
    "nesting": (
        "nesting",
        "sequence",
        {
            "nest_order": "circle-square-triangle triangle-circle-square "
            "square-triangle-circle circle-square-triangle",
            "core_tone": "white dark white dark",
        },
        {"nest_order": "shift 1 triangle-circle-square", "core_tone": "alternate 0 white"},
    ),
}


@pytest.mark.parametrize("case", WORKED)
def test_worked_by_hand(case):
    kind_name, layout, words, expected = WORKED[case]
    kind = KINDS[kind_name]
    rules, values = [], {}
    for name, text in expected.items():
        rule_kind, parameter, word = text.split()
        rules.append(Rule(name, rule_kind, int(parameter)))
        (values[name],) = [v for v, w in kind.attribute(name).words.items() if w == word]
    assert predict(kind, scenes(kind_name, **words), layout) == ((tuple(rules), values),)


def test_every_kind_is_worked_by_hand():
    assert {case[0] for case in WORKED.values()} == set(KINDS)


def test_a_context_with_two_explanations():
    context = scenes("counting", item_count="1 2 3 2 3", item_shape="disc box plus disc disc")
    found = predict(KINDS["counting"], context, "two_row")
    assert [(rules[0].kind, values["item_count"]) for rules, values in found] == [
        ("progression", 4),
        ("arithmetic", 5),
    ]
    choices = scenes("counting", item_count="3 4 5 6", item_shape="disc disc disc disc")
    assert solve(KINDS["counting"], context, choices, "two_row") == (1, 2)


def test_a_context_without_explanation():
    context = scenes("counting", item_count="1 5 2 8", item_shape="disc box disc disc")
    assert predict(KINDS["counting"], context, "sequence") == ()
    assert solve(KINDS["counting"], context, context, "sequence") == ()


def test_a_context_of_another_layout_is_refused():
    context = scenes("counting", item_count="1 5 2 8", item_shape="disc box disc disc")
    with pytest.raises(PuzzleError, match="expected 8 panels for the layout 'matrix', got 4"):
        predict(KINDS["counting"], context, "matrix")
    with pytest.raises(PuzzleError, match="expected one of sequence.*got 'row'"):
        predict(KINDS["counting"], context, "row")


def test_layouts_are_shared_by_kinds():
    uses = Counter(layout for kind in KINDS.values() for layout in kind.layouts)
    assert set(uses) == set(LAYOUTS)
    assert min(uses.values()) >= 2
    assert len(KINDS) >= 10


def test_names_and_labels_are_unique_over_all_kinds():
    attributes = [attribute for kind in KINDS.values() for attribute in kind.attributes]
    names = [a.name for a in attributes] + [h for kind in KINDS.values() for h in kind.hidden]
    labels = [a.label for a in attributes]
    assert len(set(names)) == len(names)
    assert len(set(labels)) == len(labels)
    assert not SHOWN_ELSEWHERE & set(labels)
    assert all(name.startswith("_") for kind in KINDS.values() for name in kind.hidden)


@pytest.mark.parametrize("name", KINDS)
def test_words_and_phrases(name):
    kind = KINDS[name]
    for attribute in kind.attributes:
        words = list(attribute.words.values())
        assert len(set(words)) == len(words)
        for word in words:
            assert word == word.lower()
            assert word.replace("-", "").isalnum()
        phrases = [p for key, p in kind.rule_phrases.items() if key[0] == attribute.name]
        assert len(set(phrases)) == len(phrases) == len(attribute.laws)
        for phrase in phrases:
            assert phrase == phrase.lower().strip()
            assert not set(">|") & set(phrase)
        for law in attribute.laws:
            sentence = kind.explanation(attribute.rule(law))
            assert sentence[0].isupper()
            assert sentence.endswith(".")


def test_explanations_say_what_happens():
    explanation = KINDS["rotation"].explanation(Rule("heading", "progression", -3))
    assert explanation == (
        "The pointer turns counterclockwise by 135 degrees from each panel to the next."
    )
    with pytest.raises(PuzzleError, match="no rule progression 7 of heading"):
        KINDS["rotation"].explanation(Rule("heading", "progression", 7))
    with pytest.raises(PuzzleError, match="expected an attribute of pointer.*got 'turn'"):
        KINDS["rotation"].explanation(Rule("turn", "progression", 1))


@pytest.mark.parametrize("name", KINDS)
def test_every_pick_can_be_the_answer(name):
    """Were some values never right, the choices would give the answer away."""
    kind = KINDS[name]
    rng = random.Random(3)
    for layout, plans in kind.plans.items():
        for plan in plans:
            for attribute, role in zip(kind.attributes, plan, strict=True):
                if role == FREE:
                    continue
                picked = {v for _ in range(60) for v in attribute.pick(rng, 2)}
                values = attribute.values if role == HOLD else sorted(picked)[:40]
                for value in values:
                    assert any(attribute.draw_rows(rng, layout, role, value) for _ in range(200)), (
                        layout,
                        attribute.name,
                        value,
                    )


@pytest.mark.parametrize("name", KINDS)
def test_picks_are_different_values_drawn_alike(name):
    rng = random.Random(11)
    for attribute in KINDS[name].attributes:
        for k in (2, 4) if any_leads_alone(name, attribute) else (2,):
            for _ in range(50):
                values = attribute.pick(rng, k)
                assert len(set(values)) == k
                assert set(values) <= set(attribute.values)


def any_leads_alone(name, attribute):
    kind = KINDS[name]
    place = kind.attributes.index(attribute)
    return any(
        plan[place] == LEAD and plan.count(LEAD) == 1
        for plans in kind.plans.values()
        for plan in plans
    )


def base_scene(kind, rng):
    values = {attribute.name: rng.choice(attribute.values) for attribute in kind.attributes}
    return values | {name: rng.randrange(count) for name, count in kind.hidden.items()}


@pytest.mark.parametrize("name", KINDS)
def test_another_value_is_another_picture(name):
    """At the smallest size in use, 48 px, ten pixels' worth of gray or more."""
    kind = KINDS[name]
    rng = random.Random(5)
    for attribute in kind.attributes:
        base = base_scene(kind, rng)
        values = rng.sample(attribute.values, min(len(attribute.values), 24))
        pictures = [
            render_scene(name, Scene(tuple((base | {attribute.name: v}).items())), 48).astype(int)
            for v in values
        ]
        for one, other in combinations(pictures, 2):
            assert np.abs(one - other).sum() / 255 >= 10


@pytest.mark.parametrize("name", KINDS)
def test_pictures(name):
    kind = KINDS[name]
    scene = Scene(tuple(base_scene(kind, random.Random(2)).items()))
    for side in (8, 47, 48, 160):
        picture = render_scene(name, scene, side)
        assert picture.shape == (side, side)
        assert picture.dtype == np.uint8
        assert not picture.flags.writeable
    # White ground, black strokes, and nothing cut off at the edge.
    assert (picture == 255).mean() > 0.2
    assert picture.min() < 40
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
    small = np.asarray(render_scene(name, scene, 40), int)
    large = np.asarray(render_scene(name, scene, 160), int)
    assert np.abs(large.reshape(40, 4, 40, 4).mean((1, 3)) - small).mean() < 12


@pytest.mark.parametrize("name", KINDS)
def test_the_corner_is_free_for_the_letter(name):
    rng = random.Random(8)
    for _ in range(30):
        scene = Scene(tuple(base_scene(KINDS[name], rng).items()))
        assert (render_scene(name, scene, 48)[:8, :8] == 255).all()
        assert (render_scene(name, scene, 160)[:24, :24] == 255).all()


def test_a_picture_of_no_kind_is_refused():
    scene = scenes("overlay", lines="12")[0]
    with pytest.raises(PuzzleError, match="nearest: overlay"):
        render_scene("overlays", scene, 48)
    with pytest.raises(PuzzleError, match="at least 8 px, got 7"):
        render_scene("overlay", scene, 7)
    with pytest.raises(PuzzleError, match="expected a scene with tiles, got lines"):
        render_scene("tiles", scene, 48)
    with pytest.raises(PuzzleError, match="lines: expected one of .* got 64"):
        render_scene("overlay", Scene((("lines", 64),)), 48)
    with pytest.raises(PuzzleError, match="_tilt: expected 0 to 3, got 4"):
        values = (("contact", 0), ("large_shape", 0), ("small_shape", 0), ("_tilt", 4))
        render_scene("contact", Scene(values), 48)


def test_figures_have_one_axis():
    """Mirrored about its own axis a figure stays; about the other three it does not."""
    mirrors = {
        "upright": lambda image: image[:, ::-1],
        "level": lambda image: image[::-1],
        "falling": lambda image: image.T,
        "rising": lambda image: image[::-1, ::-1].T,
    }
    (axis,) = [a for a in KINDS["symmetry"].attributes if a.name == "axis"]
    for figure in range(0, KINDS["symmetry"].hidden["_figure"], 3):
        for value, word in axis.words.items():
            scene = Scene((("axis", value), ("figure_tone", 3), ("_figure", figure)))
            image = render_scene("symmetry", scene, 96).astype(int)
            differences = {
                name: np.abs(image - mirror(image)).mean() for name, mirror in mirrors.items()
            }
            own = differences.pop(word)
            assert own < 4
            assert min(differences.values()) > 10


@pytest.mark.parametrize(
    ("contact", "num_ink_parts"), [("apart", 2), ("touching", 1), ("crossing", 1), ("inside", 2)]
)
def test_contact_is_what_the_picture_shows(contact, num_ink_parts):
    for large in ("circle", "square", "diamond"):
        for small in ("circle", "square", "diamond"):
            (scene,) = scenes("contact", contact=contact, large_shape=large, small_shape=small)
            ink = render_scene("contact", scene, 160) < 128
            assert num_parts(ink) == num_ink_parts, (large, small)


def test_counts_are_what_the_picture_shows():
    for count, scatter in product(range(1, 9), range(0, 32, 4)):
        values = (("item_count", count), ("item_shape", 0), ("_item_scatter", scatter))
        assert num_parts(render_scene("counting", Scene(values), 160) < 128) == count


def test_dots_are_inside_or_outside_of_the_fence():
    row, column = np.mgrid[:160, :160]
    within_every_fence = np.hypot(row - 79.5, column - 79.5) < 0.24 * 160
    for fence, scatter in product(range(3), range(32)):
        values = {"inside_dots": 5, "outside_dots": 5, "fence": fence, "_fence_scatter": scatter}
        ink = render_scene("inside", Scene(tuple(values.items())), 160) < 128
        assert num_parts(ink) == 11
        assert num_parts(ink & within_every_fence) == 5


def test_dots_are_apart():
    for scatter in range(32):
        values = (("filled_dots", 7), ("hollow_dots", 7), ("_dot_scatter", scatter))
        assert num_parts(render_scene("arithmetic", Scene(values), 160) < 128) == 14


def num_parts(ink):
    """Returns how many connected parts the ink has, by flood fill."""
    left = {(int(row), int(column)) for row, column in np.argwhere(ink)}
    count = 0
    while left:
        count += 1
        stack = [left.pop()]
        while stack:
            row, column = stack.pop()
            for spot in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if spot in left:
                    left.remove(spot)
                    stack.append(spot)
    return count


def test_kind_of_a_puzzle():
    context = scenes("overlay", lines="12 23 13 145 1")
    puzzle = Puzzle("p", "nonregular", "two_row", context, context[:4], 0, (), 1.0, 0)
    assert kind_of(puzzle) is KINDS["overlay"]
    mixed = Puzzle(
        "q", "nonregular", "two_row", context, scenes("tiles", tiles="12"), 0, (), 1.0, 0
    )
    with pytest.raises(PuzzleError, match="puzzle q: expected scenes of one kind"):
        kind_of(mixed)
    with pytest.raises(PuzzleError, match="expected scenes in all panels"):
        kind_of(Puzzle("r", "annotated", "", (), (), None, (), 0.0, 0))
    with pytest.raises(PuzzleError, match="nearest: nesting"):
        kind_called("nest")
