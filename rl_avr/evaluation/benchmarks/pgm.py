"""PGM (Procedurally Generated Matrices): one npz a problem, without a symbolic state.

    <any folders>/PGM_<regime>_<split>_<id>.npz
    image                       16 * 160 * 160 gray values in any shape, context first
    target                      index of the right choice
    relation_structure_encoded  (4, 12), may be missing: a row for each of up to four
                                (object, attribute, relation), flags in the order of
                                `_COLUMNS`

Assumed from the set's description, as no original was at hand: gray values from 0 to 255
as whole numbers, and this order of the twelve columns. `meta_target`, the union of the
rows, and the texts of `relation_structure` are never read.

Source: Barrett et al. 2018 (1807.04225), section 3 and appendix.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.common import Outcome, asked, need_folder, outcomes
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.raven import lettered_puzzle, panels_sentence
from rl_avr.evaluation.panel_images import DrawnImages, Look
from rl_avr.evaluation.problems import Problem, Tags
from rl_avr.puzzles.raven_npz import Shapes, read_arrays

_NAME = re.compile(r"PGM_([A-Za-z0-9.-]{1,40})_(train|val|test)_([0-9]{1,12})", re.ASCII)
_PIXELS: Shapes = {"image": ("iu", 16 * 160 * 160)}
_GOLD: Shapes = {"target": ("iu", 1), "relation_structure_encoded": ("iufb", (4, 12))}
_COLUMNS = (
    *("shape", "line"),
    *("color", "number", "position", "size", "type"),
    *("progression", "XOR", "OR", "AND", "consistent_union"),
)
_KINDS = ("object",) * 2 + ("attribute",) * 5 + ("rule",) * 5


def load_pgm(folder: Path, config: LoadConfig) -> Iterator[Outcome]:
    """Yields every problem under a folder, ordered by regime, split and number.

    Raises:
        DataError: at once, where there is no problem.
    """
    need_folder(folder, "PGM_<regime>_<split>_<id>.npz files")
    found = []
    for path in folder.rglob("PGM_*.npz"):
        name = _NAME.fullmatch(path.stem)
        order = (name[1], name[2], int(name[3])) if name else ("", "", 0)
        if config.split == "all" or name is None or name[2] == config.split:
            found.append((*order, path.relative_to(folder).as_posix(), path))
    if not found:
        raise DataError(f"{folder}: expected PGM_<regime>_<split>_<id>.npz files, found none")
    items = [(where, path) for *_, where, path in sorted(found)]

    def read(path: Path) -> Iterator[Problem]:
        yield _problem(path, f"pgm/{path.relative_to(folder).with_suffix('').as_posix()}", config)

    return outcomes(items, read, config.limit)


def _problem(path: Path, name: str, config: LoadConfig) -> Problem:
    found = _NAME.fullmatch(path.stem)
    if not found:
        raise DataError(f"{path}: expected a file called PGM_<regime>_<train, val or test>_<id>")
    gold = read_arrays(path, _GOLD, optional=("relation_structure_encoded",))
    target = int(gold["target"].item())
    if not 0 <= target < len(CHOICE_LETTERS):
        raise DataError(f"{path}: target: expected 0 to {len(CHOICE_LETTERS) - 1}, got {target}")
    panels = partial(_read_panels, path)
    panels()
    tags = (
        ("benchmark", "pgm"),
        ("split", found[2]),
        ("regime", found[1]),
        *_relation_tags(gold.get("relation_structure_encoded")),
    )
    look = Look(config.image, config.labels, config.panel_size_px)
    images, before = DrawnImages(panels, look), panels_sentence(config)
    puzzle = lettered_puzzle(name, found[1], target)
    return asked(puzzle, images, config, tags, config.labels, before, panels)


def _relation_tags(encoded: np.ndarray | None) -> Tags:
    if encoded is None:
        return ()
    flags = np.flatnonzero((encoded != 0).any(axis=0))
    return tuple((_KINDS[column], _COLUMNS[column]) for column in flags)


def _read_panels(path: Path) -> np.ndarray:
    image = read_arrays(path, _PIXELS)["image"]
    if image.dtype != np.uint8 and (image.min() < 0 or image.max() > 255):
        raise DataError(
            f"{path}: image: expected gray values from 0 to 255, got {image.min()} to {image.max()}"
        )
    return image.astype(np.uint8).reshape(16, 160, 160)
