"""Pictures: RAVEN's pixels, cells that move with their panels, pixels that must not change."""

import dataclasses
import hashlib
import io
import random

import numpy as np
import pytest
from PIL import Image

from rl_avr.contracts import Annotation, Component, Entity, Panel, Puzzle, Scene
from rl_avr.errors import PuzzleError
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.puzzles import cells
from rl_avr.puzzles.byte_cache import ByteCache
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS, GREY_VALUES, LEVELS
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.nonregular.layouts import LAYOUTS
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.puzzles.render import (
    contact_sheet,
    image_size_px,
    render_panel,
    render_panels,
    render_png,
    render_puzzle,
)

FULL = RenderConfig(160, has_letters=False)
SMALL = RenderConfig(36)
CENTER = "center_single"
MULTI = tuple(name for name in CONFIGURATIONS if name != CENTER)


def one(entity):
    return Panel((Component((entity,)),))


def cell(image, row, column, side=160):
    return image[row * side : (row + 1) * side, column * side : (column + 1) * side]


def with_first(puzzle, entity):
    return dataclasses.replace(puzzle, context=(one(entity), *puzzle.context[1:]))


def drawn(puzzle, entity):
    """Returns the cell of one entity at full size, without its frame."""
    return cell(render_puzzle(with_first(puzzle, entity), FULL), 0, 0)[2:-2, 2:-2]


def random_panel(configuration, rng):
    parts = []
    for part in CONFIGURATIONS[configuration].components:
        slots = sorted(rng.sample(range(len(part.slots)), rng.randint(1, len(part.slots))))
        parts.append(Component(tuple(random_entity(part, slot, rng) for slot in slots)))
    return Panel(tuple(parts))


def random_entity(part, slot, rng):
    return Entity(
        rng.choice(LEVELS["type"]),
        rng.choice(part.sizes),
        rng.choice(part.colors),
        rng.randrange(8),
        slot,
    )


def random_puzzle(configuration, seed=0):
    rng = random.Random(f"{configuration}-{seed}")
    panels = [random_panel(configuration, rng) for _ in range(16)]
    return Puzzle(
        f"random-{seed}", "rpm", configuration, tuple(panels[:8]), tuple(panels[8:]), 3, (), 0, 0
    )


# --- single panels


def test_panels_are_the_original_pixels(original_items):
    num_panels = 0
    for path, puzzle, images in original_items():
        panels = render_panels(puzzle)
        assert np.array_equal(panels, images), f"{path}: other pixels"
        num_panels += len(panels)
    assert num_panels == 16 * 280


@pytest.mark.parametrize("color", range(10))
def test_the_middle_of_a_panel_s_shape_has_its_gray_value(color):
    panel = render_panel(one(Entity(5, 5, color)), CENTER)
    assert panel.dtype == np.uint8 and panel.shape == (160, 160)
    assert panel[80, 80] == GREY_VALUES[color]
    # radius int(80 * .9) = 72, and 1 px of the outline outside
    assert np.flatnonzero((panel < 255).any(0))[[0, -1]].tolist() == [80 - 73, 80 + 73]


def test_an_upright_square_by_hand():
    panel = render_panel(one(Entity(2, 0, 4)), CENTER)
    expected = np.full((160, 160), 255, np.uint8)
    half = 22  # int(40 * sqrt(2) * .4)
    expected[80 - half - 1 : 80 + half + 2, 80 - half - 1 : 80 + half + 2] = 0
    expected[80 - half + 2 : 80 + half - 1, 80 - half + 2 : 80 + half - 1] = GREY_VALUES[4]
    for y in (80 - half - 1, 80 + half + 1):
        for x in (80 - half - 1, 80 + half + 1):
            expected[y, x] = 255  # the ends of the sides are round
    assert np.array_equal(panel, expected)


def test_a_turn_by_a_quarter_turns_the_pixels():
    upright = render_panel(one(Entity(1, 3, 5, angle=3)), CENTER)
    # about pixel (80, 80): row and column 0 have no partner
    turned = render_panel(one(Entity(1, 3, 5, angle=5)), CENTER)[1:, 1:]
    assert np.array_equal(turned, np.rot90(upright[1:, 1:])), "90 degrees is counterclockwise"


def test_what_lies_below_shows_through_a_white_interior_only():
    out = Component((Entity(1, 5, 0, angle=3),))
    inside = {color: Component((Entity(5, 5, color, slot=0),)) for color in (0, 3)}
    name = "in_distribute_four_out_center_single"
    bare = render_panel(Panel((out, inside[0])), name)
    filled = render_panel(Panel((out, inside[3])), name)
    centre = (67, 67)
    assert bare[centre] == 255
    assert filled[centre] == GREY_VALUES[3]
    assert np.array_equal(bare != filled, filled == GREY_VALUES[3])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("left_center_single_right_center_single", np.s_[:, 80]),
        ("up_center_single_down_center_single", np.s_[80, :]),
    ],
)
def test_two_configurations_have_a_divider(name, line):
    panel = render_panel(random_panel(name, random.Random(0)), name)
    assert (panel[line] == 0).all()


@pytest.mark.parametrize("name", MULTI)
def test_moving_an_entity_changes_its_slot_alone(name):
    """Every slot is drawn, and nothing of it reaches into another slot's ground."""
    *others, grid = CONFIGURATIONS[name].components
    out = tuple(Component((Entity(5, part.sizes[-1], 0),)) for part in others)
    inks = [
        render_panel(Panel((*out, Component((Entity(4, 5, 6, slot=k),)))), name) == GREY_VALUES[6]
        for k in range(len(grid.slots))
    ]
    assert all(ink.any() for ink in inks)
    assert (np.sum(inks, axis=0) <= 1).all()
    for ink, slot in zip(inks, grid.slots, strict=True):
        rows, columns = np.nonzero(ink)
        assert abs(rows.mean() - int(slot[0] * 160)) < 1
        assert abs(columns.mean() - int(slot[1] * 160)) < 1


def test_order_of_entities_does_not_matter():
    name = "distribute_nine"
    panel = random_panel(name, random.Random(5))
    (part,) = panel.components
    turned = Panel((Component(part.entities[::-1], part.uniformity),))
    assert np.array_equal(render_panel(panel, name), render_panel(turned, name))


def test_another_side_is_the_same_picture_scaled():
    panel = random_panel("distribute_four", random.Random(1))
    full = render_panel(panel, "distribute_four")
    half = render_panel(panel, "distribute_four", 80)
    assert np.abs(half - full.reshape(80, 2, 80, 2).mean((1, 3))).max() < 1


# --- composed images


@pytest.mark.parametrize("color", range(10))
def test_the_middle_of_a_shape_has_its_grey_value(puzzle, color):
    image = drawn(puzzle, Entity(type=5, size=5, color=color))
    assert image[78, 78] == GREY_VALUES[color]
    assert image[2, 2] == 255


@pytest.mark.parametrize("size", range(6))
def test_circles_and_squares_have_raven_s_extent(puzzle, size):
    fraction = (4, 5, 6, 7, 8, 9)[size] / 10
    # a black shape on white: its diameter is the number of dark columns
    circle = drawn(puzzle, Entity(type=5, size=size, color=9)) < 128
    assert abs(int(circle.any(0).sum()) - 2 * int(80 * fraction)) <= 1
    square = drawn(puzzle, Entity(type=2, size=size, color=9)) < 128
    assert abs(int(square.any(0).sum()) - 2 * int(40 * 2**0.5 * fraction)) <= 1
    assert np.array_equal(square, square.T)


def test_a_triangle_points_up_and_a_half_turn_points_it_down(puzzle):
    up = drawn(puzzle, Entity(type=1, size=5, color=9)) < 128
    widths = up.sum(1)[up.any(1)]
    assert widths[0] < widths[-5]
    down = drawn(puzzle, Entity(type=1, size=5, color=9, angle=7)) < 128
    assert (down != up[::-1, ::-1]).mean() < 0.01


def test_a_square_turned_by_a_quarter_is_the_same_square(puzzle):
    upright, turned = (drawn(puzzle, Entity(2, 3, 6, angle)) for angle in (3, 5))
    assert np.abs(upright.astype(int) - turned).mean() < 1
    diagonal = drawn(puzzle, Entity(2, 3, 6, 4))
    assert np.abs(upright.astype(int) - diagonal).mean() > 5


def test_every_shape_size_and_color_looks_different_in_a_small_cell(puzzle):
    entities = [Entity(t, s, c) for t in range(1, 6) for s in range(6) for c in range(10)]
    config = RenderConfig(36, has_letters=False)
    seen = set()
    for start in range(0, len(entities), 8):
        panels = tuple(one(e) for e in entities[start : start + 8])
        image = render_puzzle(dataclasses.replace(puzzle, choices=panels), config)
        cells_ = [cell(image, 3 + i // 4, i % 4, 36).tobytes() for i in range(len(panels))]
        seen.update(cells_)
    assert len(seen) == len(entities)


def test_panels_lie_in_reading_order_and_the_missing_one_is_a_mark(puzzle):
    image = render_puzzle(puzzle, FULL)
    for index, panel in enumerate(puzzle.context):
        centre = cell(image, index // 3, index % 3)[80, 80]
        assert centre == GREY_VALUES[panel.entities[0].color]
    for index, panel in enumerate(puzzle.choices):
        centre = cell(image, 3 + index // 4, index % 4)[80, 80]
        assert centre == GREY_VALUES[panel.entities[0].color]
    other = dataclasses.replace(puzzle, answer_index=5)
    assert np.array_equal(render_puzzle(other, FULL), image), "the answer shows in the image"
    # nothing stands beside the matrix
    assert (image[: 3 * 160, 3 * 160 :] == 255).all()


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("side", [18, 36, 50])
def test_permuting_the_choices_permutes_their_cells(name, side):
    puzzle = random_puzzle(name)
    config = RenderConfig(side, has_letters=False)
    order = np.random.default_rng(0).permutation(8)
    moved = dataclasses.replace(puzzle, choices=tuple(puzzle.choices[i] for i in order))
    before, after = render_puzzle(puzzle, config), render_puzzle(moved, config)
    assert np.array_equal(before[: 3 * side], after[: 3 * side])
    for new, old in enumerate(order):
        new_cell = cell(after, 3 + new // 4, new % 4, side)
        assert np.array_equal(new_cell, cell(before, 3 + old // 4, old % 4, side))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_letters_tell_equal_choices_apart(name):
    puzzle = random_puzzle(name)
    same = dataclasses.replace(puzzle, choices=(puzzle.answer,) * 8)
    lettered = render_puzzle(same, SMALL)
    assert len({cell(lettered, 3 + i // 4, i % 4, 36).tobytes() for i in range(8)}) == 8
    plain = render_puzzle(same, RenderConfig(36, has_letters=False))
    assert len({cell(plain, 3 + i // 4, i % 4, 36).tobytes() for i in range(8)}) == 1
    assert np.array_equal(lettered[: 3 * 36], plain[: 3 * 36])


@pytest.mark.parametrize("name", MULTI)
def test_a_letter_covers_no_shape_of_any_slot(name):
    """At 48 px, the largest shapes in all slots are as dark with a letter as without."""
    parts = []
    for part in CONFIGURATIONS[name].components:
        size = part.sizes[-1]
        entities = (Entity(5, size, part.colors[-1] or 0, 3, k) for k in range(len(part.slots)))
        parts.append(Component(tuple(entities)))
    panel = Panel(tuple(parts))
    plain = cells.panel_cell(panel, name, 48)
    for letter in "ABCDEFGH":
        lettered = cells.panel_cell(panel, name, 48, letter)
        changed = (lettered != plain) & (plain < 200)
        # a letter touches the outline of a neighbour at most
        assert changed.sum() <= 6, f"{letter}: {changed.sum()} pixels of shapes"
        assert (lettered != plain).sum() >= 15


def test_composed_cells_look_like_the_panels_they_show():
    """Scaled to the same size, a cell and RAVEN's pixels differ by its frame and by edges."""
    for name in MULTI:
        panel = random_panel(name, random.Random(name))
        small = cells.panel_cell(panel, name, 160)[4:-4, 4:-4].astype(int)
        exact = render_panel(panel, name)[4:-4, 4:-4].astype(int)
        far = np.abs(small - exact) > 100
        # only outlines may differ, and those are everywhere within a pixel of dark ones
        near_outline = np.zeros_like(far)
        dark = np.pad(exact < 60, 2)
        for dy in range(5):
            for dx in range(5):
                near_outline |= dark[dy : dy + far.shape[0], dx : dx + far.shape[1]]
        assert not (far & ~near_outline).any()
        assert np.abs(small - exact).mean() < 15


def test_png_is_lossless_and_repeatable(puzzle):
    png = render_png(puzzle, SMALL)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), render_puzzle(puzzle, SMALL))
    assert render_png(puzzle, SMALL) == png


def test_a_cell_is_one_merged_patch_of_the_default_small_policy():
    policy = SmallPolicyConfig()
    config = RenderConfig(2 * policy.patch_size_px)
    assert image_size_px(config) == (policy.image_height_px, policy.image_width_px)


def center_images(side, has_letters):
    """Returns a hash of forty center images that use every level, every angle, every letter."""
    rng = random.Random(0)
    digest = hashlib.sha256()
    for index in range(40):
        panels = []
        for _ in range(16):
            levels = rng.randint(1, 5), rng.randrange(6), rng.randrange(10)
            panels.append(one(Entity(*levels, rng.randrange(8) if index % 2 else 3)))
        puzzle = Puzzle("x", "rpm", CENTER, tuple(panels[:8]), tuple(panels[8:]), 3, (), 0, 0)
        digest.update(render_puzzle(puzzle, RenderConfig(side, has_letters)).tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("side", "has_letters", "expected"),
    [
        (12, True, "7e1fe98e9e0cae43"),
        (24, True, "387f7b2c3262f0f0"),
        (28, True, "325597c008442915"),
        (36, True, "f9cbb5450b756c04"),
        (36, False, "6dbea18928aa08da"),
        (48, True, "b2ff17ea241a874f"),
        (63, False, "c42cae30045cd490"),
        (160, True, "12d23f99f3f87c03"),
    ],
)
def test_center_pixels_never_change(side, has_letters, expected):
    """A policy that is shipped was trained on these pixels, byte for byte."""
    assert center_images(side, has_letters) == expected


# --- non-regular puzzles


def nonregular(layout):
    kind = next(kind for kind in KINDS.values() if layout in kind.layouts)
    return sample_nonregular("train", 0, 0, kind.name, layout)


@pytest.mark.parametrize(
    ("layout", "rows", "columns", "missing"),
    [
        ("sequence", 2, 5, (0, 4)),
        ("two_row", 3, 4, (1, 2)),
        ("matrix", 4, 4, (2, 2)),
        ("group", 2, 6, (0, 5)),
    ],
)
def test_the_cells_of_each_layout(layout, rows, columns, missing):
    puzzle, config = nonregular(layout), RenderConfig(40)
    image = render_puzzle(puzzle, config)
    assert image.shape == image_size_px(config, puzzle) == (rows * 40, columns * 40)
    mark = cells.missing_cell(40)
    found = [
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if np.array_equal(cell(image, row, column, 40), mark)
    ]
    assert found == [missing]
    used = {(row, k) for row, length in enumerate(LAYOUTS[layout]) for k in range(length)}
    used |= {missing} | {(rows - 1, k) for k in range(4)}
    for row in range(rows):
        for column in range(columns):
            is_blank = (cell(image, row, column, 40) == 255).all()
            assert is_blank == ((row, column) not in used)


def test_permuting_nonregular_choices_permutes_their_cells():
    puzzle, config = nonregular("two_row"), RenderConfig(40, has_letters=False)
    moved = dataclasses.replace(puzzle, choices=puzzle.choices[::-1])
    before, after = render_puzzle(puzzle, config), render_puzzle(moved, config)
    assert np.array_equal(before[:80], after[:80])
    for column in range(4):
        assert np.array_equal(cell(after, 2, column, 40), cell(before, 2, 3 - column, 40))


# --- contact sheets


def test_a_contact_sheet_holds_every_image_and_says_what_it_is():
    puzzles = [random_puzzle(name) for name in list(CONFIGURATIONS)[:3]] + [nonregular("group")]
    sheet = contact_sheet(puzzles, SMALL, columns=3)
    windows = np.lib.stride_tricks.sliding_window_view
    for puzzle in puzzles:
        image = render_puzzle(puzzle, SMALL)
        rows = np.argwhere((windows(sheet, image[:1].shape)[:, :, 0] == image[0]).all(-1))
        assert any(
            np.array_equal(sheet[y : y + len(image), x : x + image.shape[1]], image)
            for y, x in rows
        )
    renamed = [dataclasses.replace(puzzles[0], puzzle_id="another"), *puzzles[1:]]
    assert not np.array_equal(contact_sheet(renamed, SMALL, 3), sheet)
    answered = [dataclasses.replace(puzzles[0], answer_index=0), *puzzles[1:]]
    assert not np.array_equal(contact_sheet(answered, SMALL, 3), sheet)


@pytest.mark.parametrize(("count", "columns"), [(0, 3), (2, 0)])
def test_an_empty_contact_sheet_is_refused(puzzle, count, columns):
    with pytest.raises(PuzzleError, match="expected a puzzle and a column"):
        contact_sheet([puzzle] * count, SMALL, columns)


# --- what cannot be drawn


def test_an_annotated_puzzle_is_not_drawn():
    annotation = Annotation("What comes next?", (), "a star")
    puzzle = Puzzle("own-1", "annotated", "free", (), (), None, (), 0, 0, annotation)
    for draw in (render_puzzle, render_png):
        with pytest.raises(PuzzleError, match="own-1.*annotated"):
            draw(puzzle, SMALL)
    with pytest.raises(PuzzleError, match="own-1.*annotated"):
        image_size_px(SMALL, puzzle)
    with pytest.raises(PuzzleError, match="own-1.*annotated"):
        render_panels(puzzle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configuration": "distribute_five"}, "distribute_five.*nearest"),
        ({"configuration": "up_center_single_down_center_single"}, "2 components"),
        ({"context": ()}, "expected 8 shown panels"),
        ({"choices": ()}, "1 to 8 choices"),
        ({"context": (one(Entity(1, 1, 1, 3, slot=1)),) * 8}, "slot from 0 to 0"),
        ({"context": (Scene((("turn", 1),)),) * 8}, "expected a panel of"),
        ({"family": "nonregular"}, "expected a layout of sequence"),
        ({"family": "nonregular", "configuration": "matrix"}, "1 to 4 choices"),
    ],
)
def test_a_broken_puzzle_is_refused(puzzle, changes, message):
    broken = dataclasses.replace(puzzle, **changes)
    with pytest.raises(PuzzleError, match=message):
        render_puzzle(broken, SMALL)
    if changes.get("context") or changes.get("configuration"):
        with pytest.raises(PuzzleError):
            render_panels(broken)


def test_two_entities_in_the_middle_are_refused(puzzle):
    twice = Panel((Component((Entity(1, 1, 1), Entity(2, 2, 2))),))
    with pytest.raises(PuzzleError, match="one entity"):
        render_puzzle(dataclasses.replace(puzzle, context=(twice,) * 8), SMALL)


# --- caches


def test_the_cache_forgets_the_oldest_and_counts_its_bytes():
    calls = []

    def make(key, size):
        calls.append(key)
        return key, np.zeros(size, np.uint8)

    cache = ByteCache(make, 3000)
    for key in "abc":
        cache(key, 1000)
    assert len(cache) == 2 and cache.num_bytes <= 3000
    assert cache("c", 1000)[0] == "c" and calls == ["a", "b", "c"]
    cache("a", 1000)
    assert calls == ["a", "b", "c", "a"]
    cache("huge", 10_000)
    assert len(cache) == 1, "one entry is kept, however large"
    with pytest.raises(ValueError, match="read-only"):
        cache("huge", 10_000)[1][0] = 1


def test_images_are_the_caller_s_own():
    puzzle = random_puzzle("distribute_four")
    first = render_puzzle(puzzle, SMALL)
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(render_puzzle(puzzle, SMALL), expected)
    panels = render_panels(puzzle)
    expected = panels.copy()
    panels[:] = 0
    assert np.array_equal(render_panels(puzzle), expected)
