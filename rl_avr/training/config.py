"""Settings of a training run that are ours; trl's own go through the `trainer` block."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range, nearest


@dataclass(frozen=True)
class RunConfig:
    """Where a run writes, and how it reports."""

    dir: str = "runs/run"
    """Folder of the run: resolved config, versions, checkpoints, metrics, rollouts."""
    seed: int = 0
    wandb: Literal["offline", "online", "disabled"] = "offline"
    wandb_project: str = "rl_avr"
    resume: bool = True
    """Go on from the newest checkpoint in the folder, where there is one; `false` begins anew, and
    GRPO puts the checkpoints that are there into `checkpoints/given_up`."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        # numpy takes no seed beyond 32 bits
        check_range("seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True)
class SourceConfig:
    """A data set of one's own: questions about images, in any columns, without a state."""

    path: str = ""
    """JSONL or Parquet file, folder, or the name of a Hugging Face data set; empty reads the set
    in `data.path` instead."""
    subset: str = ""
    """Configuration of a data set that has several."""
    split: str = "train"
    """Split of a folder or of a data set by name; a file has none."""
    image: tuple[str, ...] = ("image",)
    """Columns of the images, in the order in which they stand before the question."""
    question: str = "question"
    """Column of the question."""
    answer: str = "answer"
    """Column of the right answer: a text, a number, yes or no as true or false, or a list of which
    all are right; where there are choices, a letter, the text of a choice, or its index from 0."""
    choices: str = ""
    """Column of the choices, a list of 2 to 8 texts; empty where every question is open."""
    answer_kind: Literal[
        "exact", "letter", "yes_no", "count", "number", "anls", "name", "tuple", "set"
    ] = "exact"
    """How the answer to an open question is graded."""
    bad_rows: Literal["refuse", "skip"] = "refuse"
    """Whether rows that cannot be used end the run before it starts, or are left out."""

    def __post_init__(self) -> None:
        """Checks that every column has a name."""
        for name in ("question", "answer"):
            if not vars(self)[name]:
                raise ConfigError(f"{name}: expected the name of a column, got nothing")
        if not self.image or not all(self.image):
            raise ConfigError(f"image: expected names of columns, got {list(self.image)}")


@dataclass(frozen=True)
class DataConfig:
    """Which puzzles a run reads: a folder that `rl-avr data make` or `data import` wrote."""

    path: str = "runs/demo/data"
    split: Literal["train", "held_out", "val", "test"] = "train"
    """`data make` writes the first two, `data import` whichever the source has."""
    num_puzzles: int = 0
    """How many puzzles, from the first on; 0 takes all."""
    ask: Literal["puzzle", "perception", "yes_no", "open"] = "puzzle"
    """What GRPO and evaluation ask: `puzzle`, the puzzle itself, with a reason first; the others
    ask for an answer alone: `perception`, what is seen in the image; `yes_no`, whether a choice is
    the missing panel; `open`, what the missing panel looks like. Puzzles that cannot be asked this
    are left out: the last two need a state and a chain, `perception` a state or questions."""
    num_questions: int = 0
    """How many questions a puzzle, where `ask` is not `puzzle`, drawn by its id; 0 takes all."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """Another data set than a folder of puzzles; `path` and `split` are not read then."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_puzzles", self.num_puzzles, 0)
        check_range("num_questions", self.num_questions, 0)
        if self.source.path and self.ask != "puzzle":
            raise ConfigError(
                f"ask: expected puzzle with data.source, which has one question a row; "
                f"got {self.ask!r}"
            )


@dataclass(frozen=True)
class CreditConfig:
    """How advantages reach single tokens."""

    source: Literal["none", "claims", "implicit", "both"] = "none"
    """`none`, all tokens of a completion have its advantage, plain GRPO; `claims`, those of a claim
    also get the claim's own truth against its group; `implicit`, the advantage is spread by how
    much likelier `policy` finds a token than `reference` does; `both`, spread, and claims added."""
    claim_weight: float = 0.0
    """Weight of a claim's own truth on its tokens, with `claims` and `both`."""
    policy: str = ""
    """Folder or hub name of a policy whose taste is credit, or a folder of adapters."""
    reference: str = ""
    """What `policy` was trained from."""
    strength: float = 0.5
    """How far a token's weight is from 1 for credit of one standard deviation of its completion;
    0 is plain GRPO."""
    low: float = 0.0
    """Least weight of a token."""
    high: float = 2.0
    """Greatest weight of a token."""
    refresh_steps: int = 0
    """Steps after which the running policy takes the place of `policy` as the one whose taste is
    credit, again and again; 0 leaves it. `policy` and `reference` may then be the same."""

    def __post_init__(self) -> None:
        """Checks the ranges, and that what is chosen has what it needs."""
        check_range("claim_weight", self.claim_weight, 0)
        check_range("strength", self.strength, 0)
        check_range("low", self.low, 0, 1)
        check_range("high", self.high, 1)
        check_range("refresh_steps", self.refresh_steps, 0)
        if self.has_claims != (self.claim_weight > 0):
            raise ConfigError(
                f"claim_weight: expected a number > 0 with credit.source claims or both and 0 "
                f"otherwise, got {self.claim_weight:g} with source {self.source}"
            )
        if self.is_implicit and not (self.policy and self.reference):
            raise ConfigError(
                f"source: {self.source} needs two policies, credit.policy and credit.reference; "
                f"got {self.policy!r} and {self.reference!r}"
            )

    @property
    def has_claims(self) -> bool:
        """Whether claims are credited by their own truth."""
        return self.source in ("claims", "both")

    @property
    def is_implicit(self) -> bool:
        """Whether the advantage is spread by implicit credit."""
        return self.source in ("implicit", "both")


@dataclass(frozen=True)
class UpdateConfig:
    """How the policy's logprobs are computed."""

    shared_prefix: bool = True
    """Each prompt and each image once for all completions of its group. A policy that cannot is
    found out at the first batch, and goes the plain way, with a warning."""
    pack_tokens: int = 16384
    """Most tokens that go through the policy at once, of as many groups as fit; a group that is
    longer is cut, and its prompt computed once for each piece."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("pack_tokens", self.pack_tokens, 1)


KL_SCHEDULE_NAMES = ("constant", "grpo_d")
ADVANTAGE_TRANSFORM_NAMES = ("identity", "stcr")
PROMPT_SAMPLER_NAMES = ("uniform", "sec")
Category = Literal["kind", "configuration", "difficulty", "num_rules"]


@dataclass(frozen=True)
class KlConfig:
    """How the weight of the KL penalty changes over a run."""

    schedule: str = "constant"
    """`constant`, trainer.beta all along; `grpo_d`, a V from half-way down to b_min, up to b_max;
    or the user's own, `package.module:name`."""
    b_min: float = 0.04
    """Least weight of `grpo_d`."""
    b_max: float = 0.1
    """Weight of `grpo_d` at the end."""
    turn: float = 0.3
    """Share of the run's steps at which `grpo_d` is at b_min."""

    def __post_init__(self) -> None:
        """Checks the name and the ranges."""
        _check_method("schedule", self.schedule, KL_SCHEDULE_NAMES)
        check_range("b_min", self.b_min, 0)
        check_range("b_max", self.b_max, self.b_min)
        check_range("turn", self.turn, 0, 1, open_low=True, open_high=True)


@dataclass(frozen=True)
class TransformConfig:
    """What is done to advantages after they were normalised and weighted by difficulty."""

    transform: str = "identity"
    """`identity`, nothing; `stcr`, wrong completions that are longer than the right ones of their
    group count more; or the user's own, `package.module:name`."""
    half_length: float = 100.0
    """Extra tokens at which a wrong completion counts 1.5 times with `stcr`."""

    def __post_init__(self) -> None:
        """Checks the name and the range."""
        _check_method("transform", self.transform, ADVANTAGE_TRANSFORM_NAMES)
        check_range("half_length", self.half_length, 0, open_low=True)


@dataclass(frozen=True)
class SamplerConfig:
    """Which prompts a batch holds."""

    name: str = "uniform"
    """`uniform`, every prompt once a pass; `sec`, a bandit over categories that goes where
    advantages are largest; or the user's own, `package.module:name`."""
    alpha: float = 0.5
    """How much of a category's value the newest batch is, with `sec`."""
    temperature: float = 1.0
    """Of the draw of categories with `sec`: low goes to the best ones, high to all alike."""
    category: tuple[Category, ...] = ("configuration", "difficulty")
    """What makes two puzzles of one category; all of these must agree."""
    unsampled: Literal["decay", "keep"] = "decay"
    """What becomes of the value of a category that is not in a batch: `decay` to
    (1 - alpha) of it, as published, or `keep`."""

    def __post_init__(self) -> None:
        """Checks the name and the ranges."""
        _check_method("name", self.name, PROMPT_SAMPLER_NAMES)
        check_range("alpha", self.alpha, 0, 1, open_low=True)
        check_range("temperature", self.temperature, 0, open_low=True)
        if not self.category:
            raise ConfigError("category: expected at least one of kind, configuration, …; got none")


@dataclass(frozen=True)
class MethodsConfig:
    """The places where methods plug into GRPO; as it stands, plain GRPO bit for bit."""

    kl: KlConfig = field(default_factory=KlConfig)
    advantages: TransformConfig = field(default_factory=TransformConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)


def _check_method(field_name: str, value: str, names: tuple[str, ...]) -> None:
    """Refuses what is neither one of the names nor a path `package.module:name`."""
    module, _, name = value.partition(":")
    if value in names or (module and name):
        return
    raise ConfigError(
        f"{field_name}: expected one of {', '.join(names)} or your own as package.module:name, "
        f"got {value!r}; the nearest is {nearest(value, names, count=1)}"
    )


@dataclass(frozen=True)
class DryRunConfig:
    """A look at one group before anything is trained."""

    is_on: bool = False
    """Samples and grades one group, shows it with its advantages, tokens and memory, and ends;
    writes the folder `dry_run` in `run.dir` alone."""
    num_whole: int = 3
    """How many chains are shown whole; of the others the table has a line."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_whole", self.num_whole, 0)
