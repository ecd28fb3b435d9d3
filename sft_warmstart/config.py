"""Settings of the two SFT stages."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range, nearest

Stage = Literal["perception", "reasoning"]
Kind = Literal["perception", "chain", "direct", "yes_no", "open", "critique", "replay"]
MIXED: tuple[Kind, ...] = ("perception", "chain", "direct", "yes_no", "open", "critique")
"""What puzzles give; `replay` comes from another data set."""


@dataclass(frozen=True)
class ElicitationConfig:
    """How a puzzle is asked about."""

    num_coarse: int = 3
    """Questions about rows and the whole, which come first; 0 asks for details at once."""
    num_fine: int = 8
    """Questions about single panels."""
    order: Literal["elicitation_shuffled", "base_shuffled", "sequential"] = "elicitation_shuffled"
    """`elicitation_shuffled`, coarse before fine, fine ones shuffled; `base_shuffled`, all of them
    shuffled; `sequential`, in the order of the grid, the control that LLaVA-AVR warns of."""
    conversations: Literal["one", "separate"] = "one"
    """All questions of a puzzle as the turns of one conversation, or each as one of its own, in an
    order without meaning."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_coarse", self.num_coarse, 0)
        check_range("num_fine", self.num_fine, 0)
        if self.num_coarse + self.num_fine == 0:
            raise ConfigError("num_fine: expected at least one question, coarse or fine; got none")


@dataclass(frozen=True)
class ReplayConfig:
    """General data, so that the policy keeps what it could do before."""

    path: str = ""
    """JSON or JSONL file, of conversations in LLaVA's layout or of columns, or a folder of such
    files; Parquet file, or the name of a Hugging Face data set; empty for none."""
    share: float = 0.1
    """Of all conversations of the stage."""
    image_folder: str = ""
    """Where the file names of images begin; empty for the folder of the file."""
    split: str = "train"
    image: str = "image"
    """Column of the image; of a LLaVA layout, the key."""
    question: str = "question"
    answer: str = "answer"
    prompt: Literal["as_is", "chain", "direct"] = "as_is"
    """What is added to a question: nothing, or the request for a chain or a direct answer."""

    def __post_init__(self) -> None:
        """Checks the range."""
        check_range("share", self.share, 0, 1, open_high=True)


@dataclass(frozen=True)
class OwnChainsConfig:
    """The policy's own chains that led to the right answer, from recorded rollouts (STaR)."""

    path: str = ""
    """File that `rl-avr rollout` wrote over the same puzzles; empty for gold chains."""
    min_perception: float = 0.0
    """Least perception reward of a chain that is kept."""
    num_chains: int = 1
    """Most chains a puzzle: different texts, of which a puzzle gives another each time it comes."""
    fallback: Literal["gold", "none"] = "gold"
    """What a puzzle without a kept chain gives: its gold chain, or no chain conversation."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("min_perception", self.min_perception, 0, 1)
        check_range("num_chains", self.num_chains, 1)


@dataclass(frozen=True)
class LossConfig:
    """What is minimised, and how conversations go through the policy."""

    name: Literal["plain", "entropy"] = "plain"
    """`plain`, the mean cross-entropy of trained tokens; `entropy`, of the share of them whose
    cross-entropy minus `entropy_weight` times entropy is largest, to keep entropy (Light-IF)."""
    entropy_weight: float = 0.8
    token_share: float = 0.8
    packing: bool = True
    """Several conversations a sequence, with exact masks, each image once. A policy that cannot is
    found out at the first batch, and goes the plain way, with a warning."""
    pack_tokens: int = 16384
    """Most tokens that go through the policy at once."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("entropy_weight", self.entropy_weight, 0)
        check_range("token_share", self.token_share, 0, 1, open_low=True)
        check_range("pack_tokens", self.pack_tokens, 1)


@dataclass(frozen=True)
class ValidationConfig:
    """Accuracies during training, measured by generation on puzzles that are not trained on."""

    every_steps: int = 0
    """0 for never; the last step is always measured where it is not 0."""
    split: Literal["held_out", "val", "test", "train"] = "held_out"
    num_puzzles: int = 64
    num_questions: int = 4
    """Fine questions asked of each puzzle, each on its own."""
    max_new_tokens: int = 512
    patience: int = 2
    """Measurements in a row with falling perception before a warning."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("every_steps", self.every_steps, 0)
        for name in ("num_puzzles", "num_questions", "max_new_tokens", "patience"):
            check_range(name, vars(self)[name], 1)


@dataclass(frozen=True)
class SftConfig:
    """One stage of the warm start.

    `perception` trains the vision tower and the connector on questions alone; `reasoning`
    trains everything on a mixture. Either has a share of general data where there is any.
    """

    stage: Stage = "perception"
    mixture: dict[str, float] = field(
        default_factory=lambda: {"perception": 0.2, "chain": 0.8},
    )
    """Weights of the kinds of conversation in the reasoning stage: perception, chain, direct,
    yes_no, open, critique."""
    mixture_end: dict[str, float] = field(default_factory=dict)
    """Weights at the end of the run, reached in a straight line; empty for a constant mixture."""
    curriculum: tuple[Kind, ...] = ()
    """Kinds that come one after the other, in equal portions of the run, such as yes_no, direct,
    open (Curr-ReFT): the one whose turn it is has the weights of all of them, and kinds that are
    not named stay mixed in. Empty for none."""
    elicitation: ElicitationConfig = field(default_factory=ElicitationConfig)
    prefix: bool = True
    """Begin every chain with "This is a regular puzzle" or "This is a non-regular puzzle"."""
    num_format_samples: int = 0
    """Conversations beside the mixture, half direct and half chains, spread evenly over the run,
    that only show how answers are written (LLaVA-Reasoner's format alignment)."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    own_chains: OwnChainsConfig = field(default_factory=OwnChainsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    stop_after_steps: int = 0
    """Stop here, early in the schedule that `trainer.max_steps` shapes; 0 runs all of it."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("stop_after_steps", self.stop_after_steps, 0)
        check_range("num_format_samples", self.num_format_samples, 0)
        _check_weights("mixture", self.mixture)
        if self.mixture_end:
            _check_weights("mixture_end", self.mixture_end)
        for kind in self.curriculum:
            if not self.mixture.get(kind):
                raise ConfigError(f"curriculum: {kind} has no weight in sft.mixture")
        if len(set(self.curriculum)) < len(self.curriculum):
            raise ConfigError(f"curriculum: expected every kind once, got {self.curriculum}")
        if self.curriculum and self.mixture_end:
            raise ConfigError("curriculum: expected no sft.mixture_end beside it; leave one out")
        if self.num_format_samples and self.stage == "perception":
            raise ConfigError("num_format_samples: expected 0 in the perception stage")


def _check_weights(name: str, weights: dict[str, float]) -> None:
    for kind, weight in weights.items():
        if kind not in MIXED:
            raise ConfigError(
                f"{name}: expected kinds of {', '.join(MIXED)}; got {kind!r}, "
                f"the nearest is {nearest(kind, MIXED, count=1)}"
            )
        check_range(f"{name}.{kind}", weight, 0)
    if not any(weights.values()):
        raise ConfigError(f"{name}: expected a weight above 0, got {weights}")
