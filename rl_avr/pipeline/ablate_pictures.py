"""A simple general task: one shape, or a few alike, in a small picture, and a question.

The same pictures are written twice: as a set of annotated puzzles, to train on and to
measure on, and as conversations in LLaVA's layout, to be replayed.
"""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from rl_avr.contracts import Annotation, Component, Entity, Panel, Puzzle
from rl_avr.prompts import value_word
from rl_avr.puzzles.grammar import LEVELS
from rl_avr.puzzles.panels import render_panel
from rl_avr.seeding import rng_for
from rl_avr.training.puzzle_files import puzzle_row, write_rows

REPLAY_FILE = "pictures.json"
_SIDE_PX = 36
_COUNTED_SHARE = 0.25
_COUNTED_PLACES = 9
_QUESTIONS = {
    "type": "What is the type of the shape?",
    "size": "What is the size of the shape, from 0 to 5?",
    "color": "What is the color of the shape, from 0 (white) to 9 (black)?",
}
_COUNT_QUESTION = "How many shapes are there?"


def write_pictures(folder: Path, num_train: int, num_held_out: int) -> None:
    """Writes both splits as a set of puzzles, and the training one in LLaVA's layout too."""
    for split, count in (("train", num_train), ("held_out", num_held_out)):
        rows = (puzzle_row(puzzle, image) for puzzle, image in pictures(split, count))
        write_rows(rows, folder / f"{split}.parquet")
    (folder / "images").mkdir(exist_ok=True)
    records = []
    for puzzle, image in pictures("train", num_train):
        name = f"images/{puzzle.puzzle_id}.png"
        (folder / name).write_bytes(image)
        assert puzzle.annotation is not None
        turns = [turn for asked in puzzle.annotation.perception for turn in _turns(*asked)]
        turns[0] = ("human", f"<image>\n{turns[0][1]}")
        conversations = [{"from": who, "value": text} for who, text in turns]
        records.append({"id": puzzle.puzzle_id, "image": name, "conversations": conversations})
    (folder / REPLAY_FILE).write_text(json.dumps(records) + "\n", encoding="utf-8")


def _turns(question: str, answer: str) -> list[tuple[str, str]]:
    return [("human", question), ("gpt", answer)]


def pictures(split: str, count: int) -> Iterator[tuple[Puzzle, bytes]]:
    """Yields pictures as annotated puzzles with their PNG; number k depends on split and k alone.

    Three in four show one shape, and its type, size and color are asked; the others show one to
    nine alike, and their number is asked.
    """
    for index in range(count):
        rng = rng_for("picture", split, index)
        picture = _counted if rng.random() < _COUNTED_SHARE else _named
        asked, image = picture(rng)
        rng.shuffle(asked)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        puzzle = Puzzle(
            puzzle_id=f"picture-{split}-{index}",
            family="annotated",
            configuration="picture",
            context=(),
            choices=(),
            answer_index=None,
            rules=(),
            difficulty=0.0,
            seed=0,
            annotation=Annotation(asked[0][0], (), asked[0][1], tuple(asked)),
        )
        yield puzzle, buffer.getvalue()


Asked = list[tuple[str, str]]
"""Questions with their answers."""


def _named(rng: random.Random) -> tuple[Asked, Image.Image]:
    """Returns what is asked about one shape, and its picture."""
    levels = _levels(rng)
    panel = Panel((Component((Entity(**levels),)),))
    image = Image.fromarray(render_panel(panel, "center_single", _SIDE_PX))
    return [(text, value_word(name, levels[name])) for name, text in _QUESTIONS.items()], image


def _counted(rng: random.Random) -> tuple[Asked, Image.Image]:
    """Returns what is asked about shapes to count, and their picture."""
    slots = sorted(rng.sample(range(_COUNTED_PLACES), rng.randint(1, _COUNTED_PLACES)))
    levels = _levels(rng)
    panel = Panel((Component(tuple(Entity(**levels, slot=slot) for slot in slots)),))
    image = Image.fromarray(render_panel(panel, "distribute_nine", 2 * _SIDE_PX))
    return [(_COUNT_QUESTION, str(len(slots)))], image


def _levels(rng: random.Random) -> dict[str, int]:
    return {name: rng.choice(LEVELS[name]) for name in _QUESTIONS}
