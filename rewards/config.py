"""Settings of the rewards: weights, composition, and the user's own functions."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rl_avr.errors import ConfigError, check_range

PARTS = (
    "choice",
    "format",
    "perception",
    "rule",
    "consistency",
    "length",
    "detail",
    "knowledge",
)
"""Every part that has a weight of its own in `RewardConfig`."""


@dataclass(frozen=True)
class OwnConfig:
    """How the user's own reward functions are run."""

    time_limit_s: float = 10.0
    """Longest time for one completion; a batch gets this for each of its completions."""
    num_workers: int = 2
    """Processes in which the functions run."""
    max_failed_share: float = 0.1
    """Largest share of completions without a score, of one function and one call."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("time_limit_s", self.time_limit_s, 0, open_low=True)
        check_range("num_workers", self.num_workers, 1)
        check_range("max_failed_share", self.max_failed_share, 0, 1)


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the parts and how they become one number, in [0, 1].

    With `gate: choice` the other parts count only where the final answer is right, so a
    group of wrong answers has equal rewards and no advantage.
    """

    choice: float = 1.0
    """The final answer."""
    format: float = 0.1
    """The form of the completion, as a term of its own; see `format_mode`."""
    perception: float = 0.2
    """F1 of the claims about the shown panels."""
    rule: float = 0.1
    """Share of attributes whose rule is named rightly."""
    consistency: float = 0.0
    """The chosen letter is the panel that the chain itself predicts."""
    length: float = 0.0
    """1 up to `length_limit` less `length_buffer` tokens, falling to 0 at the limit."""
    detail: float = 0.0
    """Half for what is seen, half for the rules, as RewardMap has it."""
    knowledge: float = 0.0
    """F1 of all facts stated, as KGRPO has it."""
    format_mode: Literal["separate", "implicit", "and", "graded", "added"] = "separate"
    """What the form is worth. `separate`: a term with the weight `format`. `and`: besides, a
    right answer in a wrong form is wrong. `implicit`: no term; what cannot be parsed is wrong.
    `graded`: the answer is worth 0.9, the form alone 0.1. `added`: the answer plus half the
    form, divided by 1.5. The last three have no term of their own."""
    gate: Literal["choice", "none", "stream"] = "choice"
    """`choice`: the other parts count only where the answer is right; `none`: always;
    `stream`: perception, rule, detail and knowledge are normalised apart from the answer."""
    stream_weight: float = 0.5
    """Weight of the perception stream's advantage; only with `gate: stream`."""
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Whether the weighted parts are summed before the group normalises them or after."""
    admission: Literal["outcome_variance", "none"] = "outcome_variance"
    """`outcome_variance`: a group whose final answers are all worth the same gets no advantage
    from the other parts; `none`: it may."""
    stage: Literal["reasoning", "perception"] = "reasoning"
    """`perception`: the claims about the shown panels are the outcome, and the choice is left
    out; for a first stage that learns to see."""
    difficulty_slope: float = 0.0
    """The advantages of a puzzle are multiplied by 1 + slope * its difficulty."""
    difficulty_on: Literal["advantage", "reward"] = "advantage"
    """Only `advantage` can be used; a weight on the reward cancels in the group's normalisation."""
    answer_form: Literal["mark", "tags"] = "mark"
    """How prompts ask for the answer and how it is read: `### Answer: C`, or in tags."""
    length_limit: int = 0
    """Tokens at which the length part is 0; 0 leaves the part out."""
    length_buffer: int = 0
    """Tokens before the limit over which the length part falls from 1 to 0."""
    own: dict[str, float] = field(default_factory=dict)
    """The user's functions, `package.module:name` or `file.py:name`, and their weights."""
    own_limits: OwnConfig = field(default_factory=OwnConfig)

    def __post_init__(self) -> None:
        """Checks ranges and combinations."""
        for name in (*PARTS, "stream_weight", "difficulty_slope"):
            check_range(name, getattr(self, name), 0)
        for path, weight in self.own.items():
            check_range(f"own.{path}", weight, 0)
        check_range("choice and the other weights: their sum", sum(self.weights().values()))
        check_range("length_limit", self.length_limit, 0)
        check_range("length_buffer", self.length_buffer, 0, self.length_limit)
        if not any((*self.weights().values(), *self.own.values())):
            raise ConfigError(
                f"{', '.join(PARTS)}: expected at least one weight above 0, got all 0; every "
                "reward would be 0 and nothing would be learned"
            )
        if self.difficulty_on == "reward":
            raise ConfigError(
                "difficulty_on: a weight on the reward is the same for a whole group, so it "
                "cancels where the group is divided by its standard deviation, A(w r) = A(r), "
                "and is a weight on the advantage where it is not; expected 'advantage'"
            )
        if self.length and not self.length_limit:
            raise ConfigError(
                "length_limit: expected the number of tokens at which the length part is 0, "
                "because the weight length is above 0; got 0"
            )

    def weights(self) -> dict[str, float]:
        """Returns part -> weight, of the parts that are not the user's own."""
        return {name: getattr(self, name) for name in PARTS}

    @cached_property
    def weights_with_own(self) -> dict[str, float]:
        """Part -> weight, the user's own parts among them under their functions' names."""
        return self.weights() | {part_name(path): weight for path, weight in self.own.items()}


def part_name(path: str) -> str:
    """Returns the name of a user's own part: that of its function.

    >>> part_name("my_rewards.py:brevity")
    'brevity'
    """
    return path.rpartition(":")[2]
