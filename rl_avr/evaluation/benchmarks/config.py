"""How a benchmark's problems are loaded."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import check_range
from rl_avr.training.config import SourceConfig

LabelStyle = Literal["letters", "digits", "roman"]
"""How choices are named: A B C, 1 2 3, or I II III."""


@dataclass(frozen=True)
class LoadConfig:
    """What is asked about every problem, and how it is shown."""

    prompt: Literal["chain", "direct"] = "chain"
    """Whether a reason comes before the answer; perception questions want the answer alone."""
    image: Literal["composed", "panels"] = "composed"
    """One image of all panels, or an image for each; only of benchmarks that have panels."""
    labels: LabelStyle = "letters"
    """How choices are named, where the benchmark's images do not name them already."""
    ask: Literal["puzzle", "fine", "coarse"] = "puzzle"
    """The puzzle itself, or MARVEL's questions: `fine` about a detail, `coarse` about counts."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Which split, of benchmarks whose files have splits; of a folder of our own sets the one
    file that is read, `train` for `all`."""
    limit: int = 0
    """How many problems, from the first on, refused ones not counted; 0 takes all."""
    panel_size_px: int = 160
    """Side of a panel in images that are made of panels; the files' own is 160."""
    answer_form: Literal["mark", "tags"] = "mark"
    """How a prompt asks for the answer to be marked; see `rewards.answer_form`."""

    columns: SourceConfig = field(default_factory=SourceConfig)
    """Columns of a data set for the loader `columns`; its `path` is not read."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("limit", self.limit, 0)
        check_range("panel_size_px", self.panel_size_px, 8, 1024)
