"""A puzzle made by hand, sampled ones, and one tiny policy for all tests that need weights."""

import pytest

from rl_avr.contracts import Puzzle, Rule
from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import single
from rl_avr.puzzles.sampler import sample_puzzles

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
    config = PuzzleConfig(min_difficulty=0)
    return [
        *sample_puzzles("train", 200, 11, config),
        *sample_puzzles("held_out", 100, 11, config),
    ]


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
