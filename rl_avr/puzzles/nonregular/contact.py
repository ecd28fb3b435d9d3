"""Contact of two shapes: apart, touching, crossing, one inside the other."""

from rl_avr.contracts import Scene
from rl_avr.puzzles.nonregular.drawing import BLACK, Canvas, Point, regular, turned
from rl_avr.puzzles.nonregular.kind import FREE, HOLD, LEAD, NonregularKind, SceneAttribute
from rl_avr.puzzles.nonregular.laws import Law, Text, mapping, nominal
from rl_avr.puzzles.nonregular.layouts import ORDERED
from rl_avr.puzzles.nonregular.picks import any_of

_CONTACTS = {0: "apart", 1: "touching", 2: "crossing", 3: "inside"}
_SHAPES = {0: "circle", 1: "square", 2: "diamond"}
_LARGE, _SMALL = 0.29, 0.1
"""Half the width of the shapes; each reaches that far to both sides at mid-height."""
_GAP = 0.1


def _draw(canvas: Canvas, scene: Scene) -> None:
    distance = {
        "apart": _LARGE + _SMALL + _GAP,
        "touching": _LARGE + _SMALL,
        "crossing": _LARGE,
        "inside": 0.0,
    }[_CONTACTS[scene.value("contact")]]
    # The pair as a whole is in the middle of the panel, whatever the distance.
    middle = (max(distance + _SMALL, _LARGE) - _LARGE) / 2
    # Quarter turns only: by 45 degrees a square would become a diamond.
    large, small = turned([(-middle, 0), (distance - middle, 0)], 90 * scene.value("_tilt"))
    _draw_shape(canvas, _SHAPES[scene.value("large_shape")], large, _LARGE)
    _draw_shape(canvas, _SHAPES[scene.value("small_shape")], small, _SMALL)


def _draw_shape(canvas: Canvas, shape: str, center: Point, half_width: float) -> None:
    if shape == "circle":
        canvas.ring(center, half_width)
    elif shape == "square":
        canvas.polygon(regular(4, center, half_width * 2**0.5, 45), None, BLACK)
    else:
        canvas.polygon(regular(4, center, half_width), None, BLACK)


def _stages() -> tuple[Law, ...]:
    laws = []
    for step, sentence in (
        (1, "The shapes come closer: apart, touching, crossing, inside, and apart again."),
        (-1, "The shapes move away: inside, crossing, touching, apart, and inside again."),
    ):
        phrase = "closer" if step > 0 else "farther"
        text = Text("progression", step, phrase, sentence)
        laws.append(mapping(text, {value: (value + step) % 4 for value in _CONTACTS}))
    return tuple(laws)


def _shape(name: str, size: str) -> SceneAttribute:
    noun = f"shape of the {size} figure"
    return SceneAttribute(
        name=name,
        label=f"{size.capitalize()} shape",
        noun=noun,
        words=_SHAPES,
        laws=nominal(tuple(_SHAPES), noun),
        pick=any_of(tuple(_SHAPES)),
    )


CONTACT = NonregularKind(
    name="contact",
    attributes=(
        SceneAttribute(
            name="contact",
            label="Contact",
            noun="contact of the two shapes",
            words=_CONTACTS,
            laws=(*nominal(tuple(_CONTACTS), "contact of the two shapes"), *_stages()),
            pick=any_of(tuple(_CONTACTS)),
        ),
        _shape("large_shape", "large"),
        _shape("small_shape", "small"),
    ),
    plans={
        **{
            layout: ((LEAD, FREE, FREE), (LEAD, HOLD, FREE), (LEAD, FREE, HOLD), (LEAD, LEAD, HOLD))
            for layout in ORDERED
        },
        "group": ((LEAD, FREE, FREE),),
    },
    draw=_draw,
    hidden={"_tilt": 4},
)
