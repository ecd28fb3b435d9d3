"""A page of puzzles to look at: pictures, answers, rules, questions, chains; one HTML file.

Images are data URIs, the style is inline, there is no script (the filter is made of radio
buttons and style rules), and a content policy in the page forbids the browser to fetch
anything. Every text is escaped by Jinja; what other people wrote is never trusted.
"""

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw, ImageFont

from rl_avr.contracts import Puzzle, Rule
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import kind_of
from rl_avr.puzzles.render import image_size_px

_TEMPLATE = "gallery.html.j2"
_CHOICE_COLUMNS = 4
_THUMBNAIL_PX = 240
_FONT_PX = 12


@dataclass(frozen=True)
class Item:
    """One puzzle of the page.

    Args:
        puzzle: the puzzle.
        kind: what the filter calls it.
        image: the encoded image.
        prompt: what a policy is asked.
        questions: perception questions with their answers.
        chains: title and text of chains of thought.
    """

    puzzle: Puzzle
    kind: str
    image: bytes
    prompt: str
    questions: tuple[tuple[str, str], ...] = ()
    chains: tuple[tuple[str, str], ...] = ()


def render_gallery(
    title: str, summary: str, items: Sequence[Item], notes: Sequence[str] = ()
) -> str:
    """Returns the page.

    Args:
        title: heading.
        summary: one paragraph under it.
        items: the puzzles, in order.
        notes: lines between the summary and the puzzles.
    """
    counts = Counter(item.kind for item in items)
    names = {kind: f"k{number}" for number, kind in enumerate(counts)}
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(_TEMPLATE)
    return template.render(
        title=title,
        summary=summary,
        notes=notes,
        kinds=[(names[kind], kind_title(kind), count) for kind, count in counts.items()],
        items=[_shown(item, names[item.kind]) for item in items],
    )


def kind_title(kind: str) -> str:
    """Returns a kind as a person reads it.

    >>> kind_title("distribute_four"), kind_title("rotation")
    ('2x2Grid', 'rotation')
    """
    return CONFIGURATIONS[kind].title if kind in CONFIGURATIONS else kind.replace("_", " ")


def _shown(item: Item, name: str) -> dict[str, Any]:
    puzzle = item.puzzle
    return {
        "name": name,
        "kind": kind_title(item.kind),
        "puzzle": puzzle,
        "image": _uri(item.image),
        "mark": answer_box(puzzle),
        "answer": _answer(puzzle),
        "choices": puzzle.annotation.choices if puzzle.annotation else (),
        "accepted": puzzle.annotation.accepted if puzzle.annotation else (),
        "graded": _grading(puzzle),
        "rules": [rule_line(puzzle, rule) for rule in puzzle.rules],
        "prompt": item.prompt,
        "questions": item.questions,
        "chains": item.chains,
    }


def _answer(puzzle: Puzzle) -> str:
    if puzzle.answer_index is None:
        return puzzle.annotation.answer if puzzle.annotation else ""
    return puzzle.answer_letter


def _grading(puzzle: Puzzle) -> str:
    """Returns how an open answer is graded; empty where the answer is one of the choices."""
    is_open = puzzle.annotation is not None and puzzle.answer_index is None
    return puzzle.annotation.answer_kind.replace("_", " ") if is_open and puzzle.annotation else ""


def rule_line(puzzle: Puzzle, rule: Rule) -> str:
    """Returns a rule in words, with its component where the puzzle has several."""
    if puzzle.family == "nonregular":
        phrases = kind_of(puzzle).rule_phrases
        phrase = phrases[rule.attribute, rule.kind, rule.parameter]
        return f"{rule.attribute.replace('_', ' ')}: {phrase}"
    parameter = f" {rule.parameter:+d}" if rule.parameter else ""
    text = f"{rule.attribute.replace('_', ' ')}: {rule.kind.replace('_', ' ')}{parameter}"
    if puzzle.family != "rpm" or puzzle.configuration not in CONFIGURATIONS:
        return text
    components = CONFIGURATIONS[puzzle.configuration].components
    return f"{components[rule.component].name} {text}" if len(components) > 1 else text


def answer_box(puzzle: Puzzle) -> dict[str, float] | None:
    """Returns where the right choice lies, in percent of the image; None where not known.

    The picture is a grid of square cells with the choices in its last rows, four a row.
    """
    if not puzzle.has_state or puzzle.answer_index is None:
        return None
    unit = RenderConfig(panel_size_px=8)
    height, width = image_size_px(unit, puzzle)
    rows, columns = height / unit.panel_size_px, width / unit.panel_size_px
    first_row = rows - math.ceil(len(puzzle.choices) / _CHOICE_COLUMNS)
    row, column = divmod(puzzle.answer_index, _CHOICE_COLUMNS)
    return {
        "left": 100 * column / columns,
        "top": 100 * (first_row + row) / rows,
        "width": 100 / columns,
        "height": 100 / rows,
    }


def image_sheet(items: Sequence[Item], columns: int = 4) -> np.ndarray:
    """Returns pictures that are not ours to draw side by side, uint8 of (height, width, 3).

    Args:
        items: at least one.
        columns: pictures in a row.
    """
    side, strip = _THUMBNAIL_PX, 2 * (_FONT_PX + 3)
    columns = min(columns, len(items))
    rows = math.ceil(len(items) / columns)
    sheet = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + strip + 8) + 8), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for index, item in enumerate(items):
        x, y = 8 + index % columns * (side + 8), 8 + index // columns * (side + strip + 8)
        picture = Image.open(io.BytesIO(item.image)).convert("RGB")
        picture.thumbnail((side, side))
        sheet.paste(picture, (x, y))
        caption = f"{item.puzzle.puzzle_id[:34]}\nanswer {_answer(item.puzzle)[:28]}"
        # the default font has Latin letters alone
        caption = caption.encode("latin-1", "replace").decode("latin-1")
        draw.text((x, y + side), caption, fill="black", font=font, spacing=1)
    return np.asarray(sheet)


def _uri(image: bytes) -> str:
    media_type = Image.MIME.get(Image.open(io.BytesIO(image)).format or "PNG", "image/png")
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
