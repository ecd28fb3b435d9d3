"""Settings of training on preference pairs."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range


@dataclass(frozen=True)
class PairLossConfig:
    """What is minimised over pairs."""

    name: Literal["dpo", "orpo", "simpo", "aft"] = "dpo"
    """`dpo`, whatever `trainer.loss_type` and `trainer.loss_weights` say (sigmoid, ipo, sft, …),
    against a reference; the others need no reference. `trainer.beta` is the scale of dpo and simpo,
    and the weight of orpo's odds ratio."""
    simpo_gamma: float = 0.5
    """Margin that SimPO aims at, after the scale."""
    aft_alignment: Literal["plain", "detached", "boundary"] = "boundary"
    """`plain` may push what is rejected down without an end; `detached` never pushes it;
    `boundary` pushes it down to `aft_boundary` below what is chosen."""
    aft_boundary: float = 0.5
    """In nats a token."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("simpo_gamma", self.simpo_gamma, 0)
        check_range("aft_boundary", self.aft_boundary, 0, open_low=True)

    @property
    def has_reference(self) -> bool:
        """Whether the loss is against a reference policy."""
        return self.name == "dpo"


@dataclass(frozen=True)
class CountedConfig:
    """Which tokens of a completion count in the loss, and how much."""

    first: int = 0
    """So many units from its start on; 0 counts all. What is cut off is not computed either."""
    unit: Literal["words", "tokens"] = "words"
    """Of `first`. Words are what stands between spaces, as in LLaVA-Reasoner's code: a line feed
    ends none, and the space before a word belongs to it."""
    weights: Literal["even", "cosine", "linear"] = "even"
    """From 1 at the first token that counts towards 0 behind the last one, or 1 all along."""

    def __post_init__(self) -> None:
        """Checks the range."""
        check_range("first", self.first, 0)


@dataclass(frozen=True)
class PreferenceConfig:
    """Which pairs are trained on, and how."""

    pairs: str = "runs/demo/pairs"
    """Folder that `rl-avr pairs` wrote."""
    num_pairs: int = 0
    """How many, from the first on; 0 takes all."""
    loss: PairLossConfig = field(default_factory=PairLossConfig)
    counted: CountedConfig = field(default_factory=CountedConfig)
    keep_together: bool = True
    """The pairs of a question in one micro-batch, where they fit, so that its prompt and image are
    computed once for all of them; false shuffles pair by pair."""
    reference_cache: str = ""
    """Folder of the reference's logprobs, which runs may share; empty for the run's own. Those of
    another policy, other pairs or another template are never taken for these."""
    stop_after_steps: int = 0
    """Stop here, early in the schedule that `trainer.max_steps` shapes; 0 runs all of it."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_pairs", self.num_pairs, 0)
        check_range("stop_after_steps", self.stop_after_steps, 0)


@dataclass(frozen=True)
class PairDryRunConfig:
    """A look at pairs before anything is trained."""

    is_on: bool = False
    """Says what would be trained on, with tokens, steps and memory, takes one micro-batch forward
    and back, and ends; writes the folder `dry_run` in `run.dir` alone."""


@dataclass(frozen=True)
class RoundsConfig:
    """Rollouts, pairs and preference training, one after the other, several times."""

    num_rounds: int = 3
    policy: str = "assets/warm_policy"
    """The policy that the first round samples from; every later one begins with what the one
    before it trained, which is its reference, too."""
    rollout: tuple[str, ...] = ("configs/demo/rollout.yaml",)
    """Config files of `rl-avr rollout`; a later one is laid over an earlier one."""
    pairs: tuple[str, ...] = ("configs/demo/pairs.yaml",)
    """Of `rl-avr pairs`."""
    dpo: tuple[str, ...] = ("configs/demo/dpo.yaml",)
    """Of `rl-avr dpo`."""
    accelerate: str = ""
    """Config file of accelerate, by which the training is launched; empty for one process."""

    def __post_init__(self) -> None:
        """Checks the range, and that every step has a config."""
        check_range("num_rounds", self.num_rounds, 1)
        for name in ("rollout", "pairs", "dpo"):
            if not vars(self)[name]:
                raise ConfigError(f"{name}: expected a config file, got none")
