"""RAVEN, I-RAVEN and RAVEN-FAIR: an npz and an XML for each problem, or an npz alone.

    <any folders>/RAVEN_<k>_<split>.npz and .xml

With the XML the symbolic state is known, and what a policy says of the panels can be
graded; an npz alone gives the images, the answer, the configuration and the names of the
rules. The images show the file's own pixels; `rl-avr data import --format raven` draws
the state anew instead. The split follows from the number, 0-5 train, 6-7 val, 8-9 test by
its last digit, and a name that says otherwise is refused. What would give the answer
away, `predict` and `Modified_attributes`, is never read.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rl_avr.contracts import CHOICE_LETTERS, Annotation, Puzzle
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import Outcome, asked, need_folder, outcomes
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.labels import LABELS
from rl_avr.evaluation.panel_images import NUM_SHOWN, DrawnImages, Look
from rl_avr.evaluation.problems import Problem, Tags
from rl_avr.prompts import MATRIX_QUESTION
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.raven_format import raven_name, raven_stems, read_raven
from rl_avr.puzzles.raven_npz import Shapes, read_arrays

_IMAGE: Shapes = {"image": ("u1", (16, 160, 160))}
_KINDS = ("constant", "progression", "arithmetic", "distribute_three")
_ATTRIBUTES = ("number", "position", "type", "size", "color")


def load_raven(folder: Path, config: LoadConfig, benchmark: str = "raven") -> Iterator[Outcome]:
    """Yields every problem under a folder, ordered by folder and number.

    Args:
        folder: where the files lie.
        config: what is asked, and how it is shown.
        benchmark: name of the set, for tags and ids.

    Raises:
        DataError: at once, where there is no problem.
    """
    need_folder(folder, "RAVEN_<k>_<split>.npz and .xml files")
    items = [(stem.relative_to(folder).as_posix(), stem) for stem in raven_stems(folder)]
    if config.split != "all":
        items = [item for item in items if item[0].endswith(f"_{config.split}")]
        if not items:
            raise DataError(f"{folder}: no problem of the split {config.split!r}")

    def read(stem: Path) -> Iterator[Problem]:
        name = f"{benchmark}/{stem.relative_to(folder).as_posix()}"
        yield _problem(stem, name, config, benchmark)

    return outcomes(items, read, config.limit)


def split_of(number: int) -> str:
    """Returns the split of a file by its number.

    >>> [split_of(number) for number in (0, 15, 7, 128)]
    ['train', 'train', 'val', 'test']
    """
    last = number % 10
    return "train" if last < 6 else "val" if last < 8 else "test"


def _problem(stem: Path, name: str, config: LoadConfig, benchmark: str) -> Problem:
    number, split = raven_name(stem)
    if split != split_of(number):
        raise DataError(f"{stem}: number {number} is of the split {split_of(number)}, not {split}")
    npz = stem.with_name(stem.name + ".npz")
    if os.path.exists(f"{stem}.xml"):
        puzzle, _ = read_raven(stem, checks="quick")
        puzzle = _renamed(puzzle, name)
        pairs = [(rule.kind, rule.attribute) for rule in puzzle.rules]
        more: Tags = (("difficulty", f"{puzzle.difficulty:g}"),)
    else:
        puzzle, pairs = _without_state(npz, name)
        more = ()
    tags = (
        ("benchmark", benchmark),
        ("split", split),
        ("configuration", puzzle.configuration),
        *rule_tags(pairs),
        *more,
    )
    panels = partial(_read_panels, npz)
    look = Look(config.image, config.labels, config.panel_size_px, puzzle.configuration)
    before = panels_sentence(config)
    images = DrawnImages(panels, look)
    return asked(puzzle, images, config, tags, config.labels, before, panels)


def rule_tags(pairs: Sequence[tuple[str, str]]) -> Tags:
    """Returns a tag for each kind of rule that is not constant, and for each of its attributes.

    >>> rule_tags([("progression", "size"), ("constant", "type"), ("progression", "color")])
    (('rule', 'progression'), ('attribute', 'size'), ('attribute', 'color'))
    """
    ruled = [pair for pair in pairs if pair[0] != "constant"]
    kinds = dict.fromkeys(("rule", kind) for kind, _ in ruled)
    return (*kinds, *dict.fromkeys(("attribute", attribute) for _, attribute in ruled))


def panels_sentence(config: LoadConfig) -> str:
    """Returns what is said before the question where every panel is an image of its own."""
    if config.image == "composed":
        return ""
    first, last = LABELS[config.labels][0], LABELS[config.labels][NUM_SHOWN - 1]
    return (
        "The first 8 images are the panels of a 3 by 3 matrix, row by row, without the last "
        f"one; the other 8 are the choices {first} to {last}. "
    )


def _renamed(puzzle: Puzzle, name: str) -> Puzzle:
    # what `dataclasses.replace` does, many times faster
    fields = dict(vars(puzzle))
    return Puzzle(**{**fields, "puzzle_id": name})


def _read_panels(npz: Path) -> np.ndarray:
    return read_arrays(npz, _IMAGE)["image"].copy()


def _without_state(npz: Path, name: str) -> tuple[Puzzle, list[tuple[str, str]]]:
    """Returns a puzzle of an npz alone, and kind and attribute of each of its rules."""
    arrays = read_arrays(npz)
    target, tree = int(arrays["target"]), arrays["structure"].tolist()
    if not 0 <= target < len(CHOICE_LETTERS):
        raise DataError(f"{npz}: target: expected 0 to {len(CHOICE_LETTERS) - 1}, got {target}")
    puzzle = lettered_puzzle(name, _configuration(tree, npz), target)
    pairs = [
        (_KINDS[kind], attribute)
        for row in arrays["meta_matrix"]
        for kind in np.flatnonzero(row[: len(_KINDS)])
        for attribute, flag in zip(_ATTRIBUTES, row[len(_KINDS) :], strict=True)
        if flag
    ]
    return puzzle, pairs


def lettered_puzzle(name: str, configuration: str, target: int) -> Puzzle:
    """Returns a matrix puzzle whose state is not known, with eight choices."""
    choices = tuple(CHOICE_LETTERS)
    note = Annotation(MATRIX_QUESTION, choices, CHOICE_LETTERS[target])
    return Puzzle(name, "annotated", configuration, (), (), target, (), 0, 0, note)


def _configuration(tree: list[str], npz: Path) -> str:
    for grammar in CONFIGURATIONS.values():
        nodes = {grammar.structure, *(part.layout for part in grammar.components)}
        if nodes <= set(tree):
            return grammar.folder
    raise DataError(f"{npz}: structure: expected that of a configuration of RAVEN's, got {tree}")
