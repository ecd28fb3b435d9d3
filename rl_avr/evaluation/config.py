"""Settings of an evaluation."""

from dataclasses import dataclass, field

from rl_avr.errors import ConfigError, check_range
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.inference.config import Method

CHAIN_PROBE_NAMES = ("truncated_chain", "corrupted_chain")
"""Probes that are made of the policy's own chains; an engine goes on from them."""


@dataclass(frozen=True)
class EndpointConfig:
    """A policy behind an OpenAI-compatible endpoint, asked in place of a rollout engine."""

    url: str = ""
    """Up to and with the version, such as http://127.0.0.1:8000/v1; empty takes the engine."""
    model: str = ""
    """Its name there."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; where it is not set, none is sent."""
    timeout_s: float = 120.0
    """How long one answer may take."""
    max_tries: int = 5
    """How often a request is made that meets a fault which may pass."""
    backoff_s: float = 1.0
    """Pause after the first such fault; it doubles with each, up to a minute."""
    num_parallel: int = 8
    """Requests at a time."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("timeout_s", self.timeout_s, 0, open_low=True)
        check_range("max_tries", self.max_tries, 1)
        check_range("backoff_s", self.backoff_s, 0)
        check_range("num_parallel", self.num_parallel, 1)
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"url: expected http:// or https://, got {self.url!r}")
        if bool(self.url) != bool(self.model):
            raise ConfigError(
                f"url: expected url and model together, got {self.url!r} and {self.model!r}"
            )


@dataclass(frozen=True)
class VoteConfig:
    """A vote of the sampled chains in which each weighs by the policy's implicit reward."""

    reference: str = ""
    """Folder, hub name or adapters of the policy that the evaluated one was trained from; empty
    scores nothing."""
    method: Method = "weighted_softmax"
    """How scores become votes; `rl_avr.algo.voting` has the formulas."""
    temperature: float = 1.0
    """Of the scores, in nats; softmax and sigmoid read it."""

    def __post_init__(self) -> None:
        """Checks the range."""
        check_range("temperature", self.temperature, 0, open_low=True)


@dataclass(frozen=True)
class RetentionConfig:
    """A general set that is asked beside the problems: what the policy could do before."""

    benchmark: str = ""
    """As `eval.benchmark`; empty asks none."""
    path: str = ""
    """Where its files lie."""
    load: LoadConfig = field(default_factory=LoadConfig)
    """As `eval.load`; `limit` holds for this set."""

    def __post_init__(self) -> None:
        """Checks that both are there, or neither."""
        if bool(self.benchmark) != bool(self.path):
            raise ConfigError(
                f"path: expected benchmark and path together, got {self.benchmark!r} and "
                f"{self.path!r}"
            )


@dataclass(frozen=True)
class EvalConfig:
    """What is measured, and on which problems."""

    benchmark: str = ""
    """Whose problems: raven, iraven, raven_fair, pgm, marvel, puzzlevqa, algopuzzlevqa, visulogic,
    logicvista, own or columns; empty takes the set in `data`."""
    path: str = ""
    """Where the benchmark's files lie; nothing is downloaded."""
    load: LoadConfig = field(default_factory=LoadConfig)
    """How the benchmark's problems are shown; `limit` and `answer_form` give way to
    `eval.num_puzzles` and `rewards.answer_form`."""
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    trained_on: str = ""
    """Folder of puzzles whose split `train` the policy was trained on; problems are then told apart
    by how they differ from it: in distribution, harder, other configuration, other family."""
    adapter: str = ""
    """Folder of LoRA adapters of `policy.path`; they are merged into `merged` in `run.dir`."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    probes: tuple[str, ...] = ()
    """Changes of every problem that are asked beside it: context_blind, choices_permuted,
    relabelled, paraphrased, perturbed_twin; and of the policy's own chain, which it goes on from:
    truncated_chain, corrupted_chain."""
    rerank: VoteConfig = field(default_factory=VoteConfig)
    cache: str = ""
    """File in which chains are kept by policy, prompt and sampling, across runs, so that none is
    sampled twice; more samples are added to those that are there. Empty keeps none."""
    num_samples: int = 8
    """Sampled chains per problem, for mean accuracy (pass@1), pass@k and the majority vote."""
    num_puzzles: int = 0
    """How many problems, from the first on; 0 takes all."""
    batch_size: int = 50
    """Problems that are handed to the engine at once; changes no result."""
    max_failures: int = 50
    """Problems that may fail one behind the other before the evaluation stops, as then the policy
    rather than the problems is at fault."""
    num_bootstrap: int = 2000
    """Resamples of the puzzles for the intervals."""
    confidence: float = 0.95
    """Two-sided coverage of the intervals."""
    is_dry_run: bool = False
    """Shows what would be asked, and samples nothing."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_samples", self.num_samples, 1)
        check_range("num_puzzles", self.num_puzzles, 0)
        check_range("batch_size", self.batch_size, 1)
        check_range("max_failures", self.max_failures, 1)
        check_range("num_bootstrap", self.num_bootstrap, 1)
        check_range("confidence", self.confidence, 0, 1, open_low=True, open_high=True)
        chain_probes = [name for name in self.probes if name in CHAIN_PROBE_NAMES]
        if chain_probes and self.endpoint.url:
            raise ConfigError(
                f"probes: {chain_probes[0]}: expected a rollout engine, because an endpoint does "
                "not say whether it goes on from the beginning of a turn; got an endpoint"
            )
        if self.rerank.reference and self.endpoint.url:
            raise ConfigError(
                "rerank: expected no reference with an endpoint, whose policy has no logprobs here"
            )
        if self.adapter and self.endpoint.url:
            raise ConfigError("adapter: expected none with an endpoint, which has its own policy")
        if bool(self.benchmark) != bool(self.path):
            raise ConfigError(
                f"path: expected benchmark and path together, got {self.benchmark!r} and "
                f"{self.path!r}"
            )
