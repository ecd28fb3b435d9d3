"""A puzzle made by hand, sampled ones, and one tiny policy for all tests that need weights."""

import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_avr.contracts import (
    Annotation,
    Component,
    Entity,
    Panel,
    ParsedCompletion,
    Puzzle,
    Rule,
    Scene,
)
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, panel_value, single
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.nonregular.sampler import sample_nonregular
from rl_avr.puzzles.sampler import sample_puzzle, sample_puzzles

_ORIGINALS = "raven-original-280.tar.xz"
_VARIABLE = "RL_AVR_RAVEN_ORIGINALS"
_BESIDE = Path(__file__).parents[1].parent / "shared" / "data" / _ORIGINALS

TINY_POLICY = SmallPolicyConfig(
    hidden_size=32,
    num_layers=1,
    num_heads=1,
    intermediate_size=32,
    vision_hidden_size=32,
    vision_depth=1,
    vision_num_heads=2,
    vision_intermediate_size=32,
)


def _panel(type_, size, color):
    return single({"type": type_, "size": size, "color": color})


@pytest.fixture
def puzzle() -> Puzzle:
    """The puzzle whose chain stands at the head of `rl_avr.prompts`; its answer is C."""
    types = (2, 2, 2, 5, 5, 5, 4, 4)
    sizes = (0, 1, 2, 1, 2, 3, 2, 3)
    colors = (3, 4, 7, 1, 1, 2, 5, 2)
    choices = (
        (5, 4, 7),
        (4, 3, 7),
        (4, 4, 7),
        (4, 4, 2),
        (5, 3, 7),
        (5, 4, 2),
        (4, 3, 2),
        (5, 3, 2),
    )
    return Puzzle(
        puzzle_id="by-hand",
        family="rpm",
        configuration="center_single",
        context=tuple(map(_panel, types, sizes, colors)),
        choices=tuple(_panel(*levels) for levels in choices),
        answer_index=2,
        rules=(
            Rule("type", "constant"),
            Rule("size", "progression", 1),
            Rule("color", "arithmetic", 1),
        ),
        difficulty=2,
        seed=0,
    )


@pytest.fixture
def chain() -> str:
    """The gold chain of `puzzle`, written out."""
    return (
        "This is a regular puzzle.\n"
        "Type: square square square | circle circle circle | hexagon hexagon"
        " -> constant -> hexagon\n"
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n"
        "Color: 3 4 7 | 1 1 2 | 5 2 -> arithmetic + -> 7\n"
        "Missing panel: hexagon 4 7\n"
        "A: circle no\n"
        "B: hexagon yes, 3 no\n"
        "C: hexagon yes, 4 yes, 7 yes\n"
        "### Answer: C"
    )


@pytest.fixture(scope="session")
def puzzles() -> list[Puzzle]:
    """Three hundred puzzles of both splits."""
    config = PuzzleConfig(min_ruled=0)
    return [
        *sample_puzzles("train", 200, 11, config),
        *sample_puzzles("held_out", 100, 11, config),
    ]


def _grid_panel(slots, type_, size, colors):
    entities = (Entity(type_, size, color, 3, k) for k, color in zip(slots, colors, strict=True))
    return Panel((Component(tuple(entities), 0),))


@pytest.fixture
def grid() -> Puzzle:
    """A puzzle of two by two slots made by hand: the color is noise; its answer is B."""
    rows = (
        ((0, 3), 2, (0, 1, 2), (3, 5)),
        ((1,), 5, (1, 2, 3), (4,)),
        ((0, 1, 2), 4, (2, 3), (1, 2, 2)),
    )
    choices = (
        ((0, 1, 2), 4, 1, (1, 2, 2)),
        ((0, 1, 2), 4, 4, (1, 2, 2)),
        ((0, 1), 4, 4, (1, 2)),
        ((0, 1, 2), 1, 4, (1, 2, 2)),
    )
    return Puzzle(
        puzzle_id="grid-by-hand",
        family="rpm",
        configuration="distribute_four",
        context=tuple(
            _grid_panel(slots, type_, size, colors)
            for slots, type_, sizes, colors in rows
            for size in sizes
        ),
        choices=tuple(_grid_panel(*choice) for choice in choices),
        answer_index=1,
        rules=(
            Rule("position", "constant"),
            Rule("type", "constant"),
            Rule("size", "progression", 1),
        ),
        difficulty=1.5,
        seed=0,
    )


@pytest.fixture
def grid_chain() -> str:
    """The gold chain of `grid`, written out."""
    return (
        "This is a regular puzzle.\n"
        "Number: 2 2 2 | 1 1 1 | 3 3 -> no rule\n"
        "Position: 14 14 14 | 2 2 2 | 123 123 -> constant -> 123\n"
        "Type: square square square | circle circle circle | hexagon hexagon"
        " -> constant -> hexagon\n"
        "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n"
        "Color: 3.5 3.5 3.5 | 4 4 4 | 1.2.2 1.2.2 -> no rule\n"
        "Missing panel: any 123 hexagon 4 any\n"
        "A: 123 yes, hexagon yes, 1 no\n"
        "B: 123 yes, hexagon yes, 4 yes\n"
        "### Answer: B"
    )


@pytest.fixture(scope="session")
def zoo() -> list[Puzzle]:
    """Puzzles of every configuration, half of them noisy, and of every kind and layout."""
    found = []
    for name in CONFIGURATIONS:
        for is_noisy in (False, True):
            config = PuzzleConfig(
                mix={name: 1.0}, has_uniformity_noise=is_noisy, has_angle_noise=is_noisy
            )
            found += [sample_puzzle("train", index, 7, config) for index in range(5)]
    for name, kind in KINDS.items():
        for layout in kind.layouts:
            found += [sample_nonregular("train", k, 7, name, layout) for k in range(2)]
    return found


def _annotated(**changes) -> Puzzle:
    fields = {
        "question": "Which tile continues the row?",
        "choices": ("A", "B", "C", "D"),
        "answer": "C",
        "perception": (("How many tiles are shown?", "5"), ("Is the first tile red?", "No")),
        "chain": "Each tile is turned by a quarter.\nSo the next one points up.",
        "prefix": "This is a photographed puzzle.",
    } | changes
    index = "ABCDEFGH".index(fields["answer"]) if fields["choices"] else None
    note = Annotation(**fields)
    return Puzzle("photo-1", "annotated", "photo", (), (), index, (), 0, 0, note)


@pytest.fixture
def annotated() -> Callable[..., Puzzle]:
    """Makes a puzzle of someone's own; keywords change the annotation."""
    return _annotated


Claimed = tuple[Counter, Counter, Counter, int | None]


def _found_claims(parsed: ParsedCompletion) -> Claimed:
    return (
        Counter((c.panel, c.component, c.attribute, c.slot, c.value) for c in parsed.panel_claims),
        Counter(c.rule for c in parsed.rule_claims),
        Counter((v.choice_index, v.component, v.attribute, v.fits) for v in parsed.verdict_claims),
        parsed.choice_index,
    )


@pytest.fixture(scope="session")
def found_claims() -> Callable[[ParsedCompletion], Claimed]:
    """Returns what a parsed completion claims, without order and spans."""
    return _found_claims


def _state_of(puzzle: Puzzle) -> Claimed:
    panels: Counter = Counter()
    verdicts: Counter = Counter()
    for index, panel in enumerate(puzzle.context):
        for component, attribute in _seen(puzzle):
            for slot, value in _values(panel, attribute, component):
                panels[f"context:{index}", component, attribute, slot, value] += 1
    for rule in puzzle.rules:
        ((_, value),) = _values(puzzle.answer, rule.attribute, rule.component)
        # the rule's line predicts it, and the line of the missing panel again
        panels["missing", rule.component, rule.attribute, None, value] += 2
    for index in range(puzzle.answer_index + 1):
        placed = set()
        for rule in puzzle.rules:
            key = (rule.component, rule.attribute)
            values = _values(puzzle.choices[index], rule.attribute, rule.component)
            fits = values == _values(puzzle.answer, rule.attribute, rule.component)
            if len(values) == 1 or rule.component in placed:
                for slot, value in values:
                    panels[f"choice:{index}", *key, slot, value] += 1
            verdicts[index, *key, fits] += 1
            if not fits:
                break
            if rule.attribute == "position":
                placed.add(rule.component)
    return panels, Counter(puzzle.rules), verdicts, puzzle.answer_index


def _seen(puzzle: Puzzle):
    """Yields component and attribute of everything that can be seen but the angle."""
    if isinstance(puzzle.context[0], Scene):
        yield from ((0, n) for n, _ in puzzle.context[0].values if not n.startswith("_"))
        return
    for component, part in enumerate(CONFIGURATIONS[puzzle.configuration].components):
        layout = ("number", "position") if len(part.slots) > 1 else ()
        yield from ((component, attribute) for attribute in (*layout, *ATTRIBUTES))


def _values(panel: Panel | Scene, attribute: str, component: int):
    if isinstance(panel, Scene):
        return [(None, panel.value(attribute))]
    value = panel_value(panel, attribute, component)
    if value is not None:
        return [(None, value)]
    entities = panel.components[component].entities
    return sorted((e.slot, getattr(e, attribute)) for e in entities)


@pytest.fixture(scope="session")
def state_of() -> Callable[[Puzzle], Claimed]:
    """Returns what a whole chain must claim, read from the puzzle's state alone."""
    return _state_of


@pytest.fixture(scope="session")
def tiny_config() -> SmallPolicyConfig:
    return TINY_POLICY


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder with a tiny policy and its processor; read it, never write to it."""
    from rl_avr.modeling.small_policy import save_small_policy

    folder = tmp_path_factory.mktemp("tiny") / "policy"
    save_small_policy(TINY_POLICY, folder)
    return folder


@pytest.fixture(scope="session")
def processor(tiny_folder):
    from rl_avr.modeling.loading import load_processor

    return load_processor(str(tiny_folder))


@pytest.fixture
def model(tiny_folder):
    """A fresh copy of the tiny policy, in evaluation mode."""
    from rl_avr.modeling.config import PolicyConfig
    from rl_avr.modeling.loading import load_policy

    return load_policy(PolicyConfig(path=str(tiny_folder))).eval()


@pytest.fixture(scope="session")
def originals(tmp_path_factory) -> Path:
    """A folder with `raven/` and `iraven/`: 20 problems of each configuration in each."""
    archive = Path(os.environ.get(_VARIABLE, _BESIDE))
    if not archive.is_file():
        pytest.skip(
            f"the original problems are not at {archive}; "
            f"set {_VARIABLE} to the path of {_ORIGINALS}"
        )
    folder = tmp_path_factory.mktemp("originals")
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar if Path(m.name).suffix in (".npz", ".xml")]
        tar.extractall(folder, wanted, filter="data")
    return folder
