"""Images composed of a file's panels: where each stands, and what is drawn on it."""

from dataclasses import replace

import numpy as np
import pytest

from rl_avr.chat import decode_image
from rl_avr.evaluation.panel_images import DrawnImages, Look, draw_images
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_puzzle

PLACES = {
    **{index: divmod(index, 3) for index in range(8)},
    **{8 + index: (3 + index // 4, index % 4) for index in range(8)},
}


@pytest.fixture
def panels():
    """Sixteen white panels, each with a gray square of its own in the middle."""
    pixels = np.full((16, 160, 160), 255, np.uint8)
    for index, panel in enumerate(pixels):
        panel[60:100, 60:100] = 10 * index + 5
    return pixels


def gray(raw):
    return np.asarray(decode_image(raw))[..., 0]


@pytest.mark.parametrize("side", [160, 40])
def test_every_panel_stands_in_its_cell(panels, side):
    (raw,) = draw_images(panels, Look(panel_size_px=side, configuration="center_single"))
    image = gray(raw)
    assert image.shape == (5 * side, 4 * side)
    for index, (row, column) in PLACES.items():
        middle = image[row * side + side // 2, column * side + side // 2]
        assert middle == 10 * index + 5
    assert (image[:, 3 * side :][: 3 * side] == 255).all(), "nothing beside the matrix"


def test_separate_images_are_the_cells_of_the_composed_one(panels):
    look = Look(configuration="distribute_four", labels="digits")
    whole = gray(draw_images(panels, look)[0])
    images = draw_images(panels, replace(look, image="panels"))
    assert len(images) == 16
    for index, (row, column) in PLACES.items():
        cell = whole[row * 160 : (row + 1) * 160, column * 160 : (column + 1) * 160]
        assert np.array_equal(gray(images[index]), cell)


def test_the_layout_is_that_of_our_own_puzzles(puzzle):
    """Frames, names and the missing panel agree with what a policy was trained on."""
    white = np.full((16, 160, 160), 255, np.uint8)
    ours = render_puzzle(puzzle, RenderConfig())
    drawn = gray(draw_images(white, Look(configuration="center_single"))[0])
    assert drawn.shape == ours.shape
    is_shape = drawn != ours
    # the shapes of our panels lie inside the cells, away from names and frames
    for row in range(5):
        for column in range(4):
            cell = is_shape[row * 160 : (row + 1) * 160, column * 160 : (column + 1) * 160]
            assert not cell[:28, :22].any() and not cell[:4].any() and not cell[:, :4].any()


@pytest.mark.parametrize("labels", ["letters", "digits", "roman"])
@pytest.mark.parametrize("configuration", ["", "center_single", "distribute_nine"])
def test_choices_alone_carry_names_and_each_its_own(labels, configuration):
    white = np.full((16, 160, 160), 255, np.uint8)
    look = Look("panels", labels, 160, configuration)
    cells = [gray(raw)[4:-4, 4:-4] for raw in draw_images(white, look)]
    assert all((cell == 255).all() for cell in cells[:8])
    names = [cell.tobytes() for cell in cells[8:]]
    assert len(set(names)) == 8 and all((cell < 100).any() for cell in cells[8:])
    others = Look("panels", "roman" if labels == "digits" else "digits", 160, configuration)
    other = gray(draw_images(white, others)[8])[4:-4, 4:-4].tobytes()
    assert other not in names


def test_where_no_place_is_free_the_name_stands_beside_the_picture():
    black = np.zeros((16, 160, 160), np.uint8)
    cell = gray(draw_images(black, Look("panels"))[8])
    assert (cell[24:156, 24:156] == 0).all()
    assert (cell[4:24, 4:24] < 100).any() and (cell[4:24, 30:150] == 255).all()


def test_images_are_drawn_when_read_and_the_same_each_time(panels):
    calls = []

    def read():
        calls.append(1)
        return panels

    images = DrawnImages(read, Look(configuration="center_single"))
    assert len(images) == 1 and not calls
    first = images[0]
    assert tuple(images) == (first,) == images[:1] and len(calls) == 3
    assert images == (first,) and images == DrawnImages(read, images.look)
    assert hash(images) == hash((first,))
    other = DrawnImages(lambda: 255 - panels, images.look)
    sources = [images.source(), other.source(), replace(images, look=Look()).source()]
    assert len(set(sources)) == 3 and DrawnImages(panels.copy, images.look).source() == sources[0]
    assert images != (b"other",) and images != [first]
    assert len(replace(images, look=replace(images.look, image="panels"))) == 16
