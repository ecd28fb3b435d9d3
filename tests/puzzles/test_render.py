"""Images: grey values and radii by hand, cells that move with their panels."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from rl_avr.contracts import Entity, Panel
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import GREY_VALUES
from rl_avr.puzzles.render import image_size_px, render_png, render_puzzle

FULL = RenderConfig(160, has_letters=False)
SMALL = RenderConfig(36)


def cell(image, row, column, side=160):
    return image[row * side : (row + 1) * side, column * side : (column + 1) * side]


def with_first(puzzle, entity):
    return dataclasses.replace(puzzle, context=(Panel((entity,)), *puzzle.context[1:]))


def drawn(puzzle, entity):
    """Returns the cell of one entity at full size, without its frame."""
    return cell(render_puzzle(with_first(puzzle, entity), FULL), 0, 0)[2:-2, 2:-2]


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
        panels = tuple(Panel((e,)) for e in entities[start : start + 8])
        image = render_puzzle(dataclasses.replace(puzzle, choices=panels), config)
        cells = [cell(image, 3 + i // 4, i % 4, 36).tobytes() for i in range(len(panels))]
        seen.update(cells)
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


@pytest.mark.parametrize("side", [18, 36, 50])
def test_permuting_the_choices_permutes_their_cells(puzzle, side):
    config = RenderConfig(side, has_letters=False)
    order = np.random.default_rng(0).permutation(8)
    moved = dataclasses.replace(puzzle, choices=tuple(puzzle.choices[i] for i in order))
    before, after = render_puzzle(puzzle, config), render_puzzle(moved, config)
    assert np.array_equal(before[: 3 * side], after[: 3 * side])
    for new, old in enumerate(order):
        new_cell = cell(after, 3 + new // 4, new % 4, side)
        assert np.array_equal(new_cell, cell(before, 3 + old // 4, old % 4, side))


def test_letters_tell_equal_choices_apart(puzzle):
    same = dataclasses.replace(puzzle, choices=(puzzle.answer,) * 8)
    lettered = render_puzzle(same, SMALL)
    assert len({cell(lettered, 3 + i // 4, i % 4, 36).tobytes() for i in range(8)}) == 8
    plain = render_puzzle(same, RenderConfig(36, has_letters=False))
    assert len({cell(plain, 3 + i // 4, i % 4, 36).tobytes() for i in range(8)}) == 1


def test_png_is_lossless_and_repeatable(puzzle):
    png = render_png(puzzle, SMALL)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), render_puzzle(puzzle, SMALL))
    assert render_png(puzzle, SMALL) == png


def test_a_cell_is_one_merged_patch_of_the_default_small_policy():
    policy = SmallPolicyConfig()
    config = RenderConfig(2 * policy.patch_size_px)
    assert image_size_px(config) == (policy.image_height_px, policy.image_width_px)
