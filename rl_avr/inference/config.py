"""Settings of the reranker and of its server."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from rl_avr.errors import ConfigError, check_range, nearest

Method = Literal[
    "best_of_n",
    "self_consistency",
    "weighted_softmax",
    "weighted_sigmoid",
    "weighted_rank",
    "weighted_raw",
]
Stop = Literal["none", "exact", "bayes"]
Side = Literal["policy", "reference"]
REWARD_SCORES = (
    "sum",
    "mean",
    "bounded",
    "proximal",
    "perception",
    "rules",
    "choices",
    "answer",
    "logprob",
    "reference",
)
"""Scores that need a policy and its reference in memory."""
SCORES = (*REWARD_SCORES, "agreement")


@dataclass(frozen=True)
class RerankConfig:
    """How many chains are sampled, how each is scored and how they vote."""

    reference: str = ""
    """Policy that `policy.path` was trained from: a folder, a hub name or a folder of adapters.
    Empty leaves `self_consistency`, and methods with the score `agreement` alone."""
    sample_from: Side = "policy"
    """Whose chains are sampled: `reference` leaves the policy to judge, as LLaVA-Reasoner-DPO's
    verifier does."""
    num_chains: int = 16
    """N, the chains of a puzzle; with `stop` the most."""
    method: Method = "weighted_softmax"
    """Which answer wins: that of the best chain; the most frequent one; or the one with the most
    votes, each weighed by softmax(score / temperature), sigmoid(score / temperature), the score's
    rank, or the raw score, which is flawed: below 0 a chain votes against its own answer."""
    scores: dict[str, float] = field(default_factory=lambda: {"sum": 1.0})
    """Score -> weight. Of the implicit reward r: `sum`, `mean` over tokens, `bounded`, the sum with
    each token held in [-1, 1], or the sum over what the chain says of `perception`, `rules` or
    `choices` or in its `answer`; `logprob`, the policy's mean logprob; `reference`, the logprob
    that its reference gives the chain; `proximal`, bounded + reference; `agreement`, whether the
    chain's own prediction leads to its choice. Several are normalised over the puzzle's chains
    first."""
    temperature: float = 1.0
    """Of softmax and sigmoid, in units of the score; high tends to the most frequent answer. For
    `sum` by a policy that DPO trained with beta, 1 / beta is a first guess; for `bounded` and
    `proximal`, 1."""
    stop: Stop = "none"
    """When sampling ends before N: `exact`, once no chain that is left can change the answer, for
    `self_consistency`; `bayes`, once the second answer is really ahead with a chance below
    `alpha`; for votes."""
    alpha: float = 0.05
    """Level of `bayes`, at each look."""
    round_size: int = 4
    """Chains that are sampled between two looks."""
    image: str = ""
    """One picture to answer, instead of the set in `data`."""
    question: str = ""
    """What is asked about it; empty asks for the missing panel of a matrix, with a reason."""
    num_choices: int = 8
    """How many letters are choices in the picture; 0 for an open question."""
    configuration: str = ""
    """Which of RAVEN's configurations the picture shows, so that what a chain says of panels can
    be read; empty reads the answer alone, of a matrix a single shape in each panel."""
    batch_size: int = 8
    """Puzzles of a set that are handed to the engine at once; the chains do not depend on it."""

    def __post_init__(self) -> None:
        """Checks names and ranges, and that the method can stop early if it is to."""
        check_range("num_chains", self.num_chains, 1)
        check_range("temperature", self.temperature, 0, open_low=True)
        check_range("alpha", self.alpha, 0, 0.5, open_low=True)
        check_range("round_size", self.round_size, 1)
        check_range("num_choices", self.num_choices, 0, 8)
        check_range("batch_size", self.batch_size, 1)
        # a client of the server writes these, too
        _check_name("sample_from", self.sample_from, get_args(Side))
        _check_name("method", self.method, get_args(Method))
        _check_name("stop", self.stop, get_args(Stop))
        if not self.scores:
            raise ConfigError("scores: expected at least one with its weight, got none")
        for name, weight in self.scores.items():
            if name not in SCORES:
                raise ConfigError(
                    f"scores: expected some of {', '.join(SCORES)}, got {name!r}; the nearest is "
                    f"{nearest(name, SCORES, count=1)}"
                )
            check_range("scores", weight)
        able = {"exact": ("self_consistency",), "bayes": _VOTES}.get(self.stop, (self.method,))
        if self.method not in able:
            raise ConfigError(
                f"stop {self.stop}: expected method {' or '.join(able)}, whose answer further "
                f"chains change by their votes alone; got {self.method}"
            )


def _check_name(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


_VOTES = ("self_consistency", "weighted_softmax", "weighted_sigmoid", "weighted_rank")


@dataclass(frozen=True)
class ServeConfig:
    """The OpenAI-compatible endpoint of `rl-avr serve`, and what it takes from a client."""

    host: str = "127.0.0.1"
    """Address that it listens on; on any other than loopback everybody who reaches it needs only
    the key, and nothing is encrypted."""
    port: int = 8000
    """0 takes a free one, which is printed."""
    api_key_env: str = "RL_AVR_API_KEY"
    """Environment variable that holds the key that clients send; where it is not set, a key is
    made and printed once."""
    model_name: str = ""
    """What clients call the policy; empty takes the last part of `policy.path`."""
    max_requests: int = 64
    """Requests at a time, waiting or at work; one more is told to come again later."""
    max_batch: int = 8
    """Requests of the same sampling that are handed to the engine at once."""
    timeout_s: float = 120.0
    """How long a request may take, from its first byte on."""
    max_body_mb: float = 20.0
    """Largest body of a request, 10^6 bytes."""
    max_pixels: int = 16_000_000
    """Largest image, checked before it is decoded."""
    max_chains: int = 64
    """Most chains of a request."""
    seed: int = 0
    """Of the chains; a request without a seed of its own gets other ones each time."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("port", self.port, 0, 65535)
        check_range("max_requests", self.max_requests, 1)
        check_range("max_batch", self.max_batch, 1)
        check_range("timeout_s", self.timeout_s, 0, open_low=True)
        check_range("max_body_mb", self.max_body_mb, 0, open_low=True)
        check_range("max_pixels", self.max_pixels, 1)
        check_range("max_chains", self.max_chains, 1)
