"""Problems in RAVEN's file format, one npz and one XML each, read and written.

    <folder of the configuration>/RAVEN_<k>_<split>.npz and .xml

A file becomes a `Puzzle` with the rules' parameters, which the files do not hold, and
the sixteen panels as pixels. What would give the answer away, `predict` in the npz and
`Modified_attributes` in I-RAVEN's XML, is never read.

Source: the released files of RAVEN (Zhang et al. 2019) and I-RAVEN (Hu et al. 2021).
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from rl_avr.contracts import Panel, Puzzle, Rule
from rl_avr.errors import DataError, PuzzleError
from rl_avr.puzzles.difficulty import difficulty_of
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.panels import render_panel, render_panels
from rl_avr.puzzles.raven_npz import RAVEN, read_arrays, write_arrays
from rl_avr.puzzles.raven_rules import infer_rules, meta_arrays, rule_names
from rl_avr.puzzles.raven_xml import (
    MAX_BYTES,
    Problem,
    check_component,
    format_problem,
    parse_problem,
)

RavenSplit = Literal["train", "val", "test"]
SPLITS: tuple[RavenSplit, ...] = ("train", "val", "test")

_NAME = re.compile(r"RAVEN_([0-9]{1,12})_(train|val|test)", re.ASCII)
_NUM_CHOICES = 8
_QUICK = {key: RAVEN[key] for key in ("image", "target", "meta_matrix")}

_FAR = 64
_MAX_FAR_SHARE = 0.02
"""Renderers differ by a few gray levels on edges; the pictures of two problems of one
configuration differ by more than 64 levels in 6 to 24% of the pixels."""


class RavenName(NamedTuple):
    """What a file's name says: its number and its split."""

    number: int
    split: RavenSplit


class RavenItem(NamedTuple):
    """One problem of a folder, or why it cannot be read.

    Args:
        path: its npz file.
        puzzle: the puzzle; None where there is an error.
        images: uint8 (16, 160, 160), the shown panels, then the choices.
        error: what is wrong.
    """

    path: Path
    puzzle: Puzzle | None
    images: np.ndarray | None
    error: DataError | None


def raven_name(path: Path | str) -> RavenName:
    """Returns number and split of a file, from its name.

    Raises:
        DataError: it is not called RAVEN_<k>_<split>.
    """
    found = _NAME.fullmatch(_stem(Path(path)).name)
    if not found:
        raise DataError(f"{path}: expected a file called RAVEN_<k>_<train, val or test>")
    return RavenName(int(found[1]), found[2])  # type: ignore[arg-type]


def read_raven(
    path: Path | str, checks: Literal["all", "quick"] = "all"
) -> tuple[Puzzle, np.ndarray]:
    """Returns a problem as a puzzle, and its panels' pixels.

    Args:
        path: the npz, the XML, or their name without an extension.
        checks: `quick` trusts nothing either, but leaves out the npz's `meta_target`,
            `structure` and `meta_structure`, which say nothing new, and compares one picture
            with its panel, the one that the file's number chooses: it tells the pictures of
            another problem in all but 4 of 1,000 cases.

    Returns:
        The puzzle, and uint8 of shape (16, 160, 160): the shown panels, then the choices;
        after `quick` checks they cannot be written to.

    Raises:
        DataError: naming the file and the key or element that is missing or wrong.
    """
    stem = _stem(Path(path))
    number, split = raven_name(stem)
    npz, xml = stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".xml")
    for file in (npz, xml):
        if not file.is_file():
            raise DataError(f"{file}: not found; a problem is an .npz and an .xml file")
    arrays = read_arrays(npz, RAVEN if checks == "all" else _QUICK)
    problem = parse_problem(_read_bytes(xml), str(xml))
    parent = stem.parent.name or stem.absolute().parent.name
    if parent in CONFIGURATIONS and parent != problem.configuration:
        raise DataError(f"{xml}: expected {parent}, its folder, got {problem.configuration}")
    target = int(arrays["target"])
    if not 0 <= target < _NUM_CHOICES:
        raise DataError(f"{npz}: target: expected 0 to {_NUM_CHOICES - 1}, got {target}")
    _check_meta(problem, arrays, npz)
    rules, num_noisy = _infer(problem, target, f"{xml}: Data/Rules")
    puzzle = Puzzle(
        puzzle_id=f"raven-{problem.configuration}-{number}-{split}",
        family="rpm",
        configuration=problem.configuration,
        context=problem.panels[:8],
        choices=problem.panels[8:],
        answer_index=target,
        rules=rules,
        difficulty=difficulty_of(rules, num_noisy),
        seed=0,
    )
    images = arrays["image"]
    if checks == "all":
        images = images.copy()
        _check_pixels(images, render_panels(puzzle), npz)
    else:
        panel = (*puzzle.context, *puzzle.choices)[number % len(images)]
        drawn = render_panel(panel, puzzle.configuration)
        _check_pixels(images[number % len(images)], drawn, npz)
    return puzzle, images


def iter_raven(folder: Path | str) -> Iterator[RavenItem]:
    """Yields every problem under a folder, ordered by folder and number.

    A problem that cannot be read is yielded with its error; the others go on.

    Raises:
        DataError: at once, where the folder holds no problem.
    """
    return (_read_item(stem) for stem in raven_stems(folder))


def raven_stems(folder: Path | str) -> list[Path]:
    """Returns the problems under a folder without an extension, ordered by folder and number.

    Raises:
        DataError: the folder holds no problem.
    """
    folder = Path(folder)
    stems = {_stem(path) for end in ("npz", "xml") for path in folder.rglob(f"RAVEN_*.{end}")}
    if not stems:
        raise DataError(f"{folder}: expected RAVEN_<k>_<split>.npz and .xml files, found none")
    return sorted(stems, key=_order)


def write_raven(
    puzzle: Puzzle, folder: Path | str, number: int, split: RavenSplit
) -> tuple[Path, Path]:
    """Writes a puzzle in RAVEN's format, under the folder of its configuration.

    Each file appears whole or not at all; the npz is the last. `predict` is -1, so
    that no one takes it for an answer.

    Args:
        puzzle: a matrix puzzle with eight choices.
        folder: root of the data set.
        number: number of the file, 0 or more.
        split: split in the file's name.

    Returns:
        The paths of npz and XML.

    Raises:
        PuzzleError: a puzzle that the format has no place for, or whose panels break
            its own rules.
        OSError: the files cannot be written; none is left half-written.
    """
    if number < 0 or split not in SPLITS:
        raise PuzzleError(
            f"expected a number from 0 on and a split of {', '.join(SPLITS)}, "
            f"got {number} and {split!r}"
        )
    problem, target = _checked_problem(puzzle)
    target_folder = Path(folder) / puzzle.configuration
    target_folder.mkdir(parents=True, exist_ok=True)
    stem = target_folder / f"RAVEN_{number}_{split}"
    npz, xml = stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".xml")
    text = format_problem(problem).encode()
    images = render_panels(puzzle)
    meta = meta_arrays(problem.configuration, problem.rule_names)
    _write_whole(xml, lambda stream: stream.write(text))
    _write_whole(npz, lambda stream: write_arrays(stream, images, target, meta))
    return npz, xml


def _stem(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".npz", ".xml") else path


def _order(stem: Path) -> tuple[str, int, str]:
    found = _NAME.fullmatch(stem.name)
    return str(stem.parent), int(found[1]) if found else 0, stem.name


def _read_item(stem: Path) -> RavenItem:
    path = stem.with_name(stem.name + ".npz")
    try:
        return RavenItem(path, *read_raven(stem), None)
    except DataError as error:
        return RavenItem(path, None, None, error)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            # one byte more than allowed tells a larger file
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _check_meta(problem: Problem, arrays: dict[str, np.ndarray], path: Path) -> None:
    for key, expected in _meta(problem, f"{path}: meta_matrix").items():
        if key in arrays and not np.array_equal(arrays[key], expected):
            raise DataError(
                f"{path}: {key}: expected {expected.tolist()}, as the XML's rules and layouts "
                f"have it, got {arrays[key].tolist()}"
            )


def _meta(problem: Problem, where: str) -> dict[str, np.ndarray]:
    try:
        return dict(meta_arrays(problem.configuration, problem.rule_names))
    except ValueError as error:
        raise DataError(f"{where}: no column for a rule's name: {error}") from None


def _infer(problem: Problem, target: int, where: str) -> tuple[tuple[Rule, ...], int]:
    """Returns the rules with their parameters, and how many attributes are noise."""
    panels = (*problem.panels[:8], problem.panels[8 + target])
    rules: tuple[Rule, ...] = ()
    num_noisy = 0
    for index, grammar in enumerate(CONFIGURATIONS[problem.configuration].components):
        parts = [panel.components[index] for panel in panels]
        try:
            found, noisy = infer_rules(problem.rule_names[index], parts, grammar, index)
        except PuzzleError as error:
            raise DataError(f"{where}/Rule_Group[{index}]: {error}") from None
        rules, num_noisy = rules + found, num_noisy + noisy
    return rules, num_noisy


def _check_pixels(images: np.ndarray, drawn: np.ndarray, path: Path) -> None:
    difference = np.abs(images.astype(np.int16) - drawn)
    share = float((difference > _FAR).mean())
    if share > _MAX_FAR_SHARE:
        raise DataError(
            f"{path}: image: expected the panels that the XML describes, got other pictures "
            f"({share:.1%} of the pixels differ by more than {_FAR} gray levels)"
        )


def _checked_problem(puzzle: Puzzle) -> tuple[Problem, int]:
    """Returns what to write, and the target; refuses what the format cannot hold."""
    where = f"puzzle {puzzle.puzzle_id}"
    panels = [p for p in (*puzzle.context, *puzzle.choices) if isinstance(p, Panel)]
    shape = (len(puzzle.context), len(puzzle.choices), len(panels))
    target = puzzle.answer_index
    is_matrix = puzzle.family == "rpm" and puzzle.configuration in CONFIGURATIONS
    is_whole = shape == (8, _NUM_CHOICES, 16)
    if not is_matrix or not is_whole or target is None or not 0 <= target < _NUM_CHOICES:
        raise PuzzleError(
            f"{where}: expected a matrix puzzle of one of RAVEN's configurations with 8 shown "
            f"panels, 8 choices and an answer, got family {puzzle.family!r}, "
            f"{puzzle.configuration!r}, {shape[0]} panels, {shape[1]} choices, answer {target}"
        )
    grammars = CONFIGURATIONS[puzzle.configuration].components
    for number, panel in enumerate(panels):
        if len(panel.components) != len(grammars):
            raise PuzzleError(f"{where}: panel {number}: expected {len(grammars)} components")
        for part, grammar in zip(panel.components, grammars, strict=True):
            try:
                check_component(part, grammar, f"{where}: panel {number}: {grammar.name}")
            except DataError as error:
                raise PuzzleError(str(error)) from None
    problem = Problem(puzzle.configuration, tuple(panels), rule_names(puzzle))
    try:
        _infer(problem, target, where)
    except DataError as error:
        raise PuzzleError(str(error)) from None
    return problem, target


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside its place and moves it there."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as stream:
            write(stream)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
