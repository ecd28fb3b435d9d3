"""Loading RAVEN's files for an evaluation, in problems per second of one core.

Ours, from npz and XML to a problem: every element and number checked against the grammar,
the rules' steps inferred from the panels, the flags of the npz compared with the XML's, one
picture of sixteen compared with its panel; prompt and tags written. The images are not part
of it: they are drawn and encoded when they are read, and stand in a row of their own.

"Theirs" is the plain way on the same files: `np.load` with pickles allowed, an element tree,
and the levels of every entity; nothing is checked. Its image is the same layout, without
frames and names, encoded alike; a run that goes on would have to draw it to know whether it
is the one that was asked, where ours hashes the panels.
"""

import io
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _harness import Row, report
from PIL import Image

from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.benchmarks.raven import load_raven
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.results import prompt_digest
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.raven_format import write_raven
from rl_avr.puzzles.sampler import sample_puzzles

NUM_PROBLEMS, NUM_REPEATS = 280, 5
LEVELS = ("Type", "Size", "Color", "Angle")


def main() -> None:
    config = PuzzleConfig(
        mix=dict.fromkeys(CONFIGURATIONS, 1.0), has_angle_noise=True, has_uniformity_noise=True
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, puzzle in enumerate(sample_puzzles("train", NUM_PROBLEMS, 0, config)):
            write_raven(puzzle, folder, 10 * number, "train")
        ours = rate(partial(load, folder, LoadConfig()))
        theirs = rate(partial(plain, folder))
        rows = [row("npz and XML -> problem, no image", ours, theirs)]
        for xml in folder.rglob("*.xml"):
            xml.rename(xml.with_suffix(".aside"))
        ours = rate(partial(load, folder, LoadConfig()))
        theirs = rate(partial(plain, folder))
        rows.append(row("npz alone -> problem, no image", ours, theirs))
        problems, arrays = load(folder, LoadConfig()), plain(folder)
        ours, theirs = rate(partial(draw, problems)), rate(partial(plain_draw, arrays))
        rows.append(row("one PNG of 800 by 640, file read again", ours, theirs))
        ours = rate(partial(digests, problems))
        rows.append(row("digest of a problem, for a run that goes on", ours, theirs))
    report("eval_loading", rows)


def row(name: str, ours: float, theirs: float) -> Row:
    return Row(name, ours, theirs, ours / theirs, "/s a core")


def rate(function: Callable[[], object]) -> float:
    """Returns problems per second of one core in the best of some passes, after one to warm up."""
    best = 0.0
    for repeat in range(1 + NUM_REPEATS):
        started = time.process_time()
        function()
        if repeat:
            best = max(best, NUM_PROBLEMS / (time.process_time() - started))
    return best


def load(folder: Path, config: LoadConfig) -> list[Problem]:
    found = [item for item in load_raven(folder, config) if isinstance(item, Problem)]
    assert len(found) == NUM_PROBLEMS
    return found


def draw(problems: list[Problem]) -> int:
    return sum(len(problem.prompt.images[0]) for problem in problems)


def digests(problems: list[Problem]) -> list[str]:
    return [prompt_digest(problem.prompt) for problem in problems]


def plain(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path, allow_pickle=True) as archive:
            item: dict[str, Any] = {key: archive[key] for key in archive.files}
        xml = path.with_suffix(".xml")
        if xml.is_file():
            root = ET.parse(xml).getroot()
            item["panels"] = [
                [[int(entity.attrib[name]) for name in LEVELS] for entity in panel.iter("Entity")]
                for panel in root.iter("Panel")
            ]
            item["rules"] = [dict(rule.attrib) for rule in root.iter("Rule")]
        found.append(item)
    return found


def plain_draw(items: list[dict[str, Any]]) -> int:
    size = 0
    for item in items:
        canvas = Image.new("L", (640, 800), 255)
        for index, panel in enumerate(item["image"]):
            row, column = divmod(index, 3) if index < 8 else divmod(index + 4, 4)
            canvas.paste(Image.fromarray(panel), (160 * column, 160 * row))
        buffer = io.BytesIO()
        canvas.save(buffer, "PNG", compress_level=3)
        size += len(buffer.getvalue())
    return size


if __name__ == "__main__":
    main()
