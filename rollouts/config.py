"""Settings of the rollout engines."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import ConfigError, check_range


@dataclass(frozen=True)
class SamplingConfig:
    """How chains are sampled. Training wants the policy's own distribution: 1.0, no cut."""

    temperature: float = 1.0
    """0 is greedy."""
    max_new_tokens: int = 128
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("temperature", self.temperature, 0)
        check_range("max_new_tokens", self.max_new_tokens, 1)
        check_range("top_p", self.top_p, 0, 1, open_low=True)


@dataclass(frozen=True)
class DynamicConfig:
    """Whether groups that teach nothing are replaced by fresh puzzles before training."""

    is_on: bool = False
    """Replaces every group whose outcomes are all the same; needs `rewards.admission`
    `outcome_variance`."""
    max_rounds: int = 3
    """How often a step draws fresh puzzles; what then still teaches nothing stays."""
    max_oversampling: float = 4.0
    """Largest number of fresh puzzles drawn for one missing group. How many are drawn below it is
    1 over a moving average of the share of groups that were useful."""
    ema_decay: float = 0.9
    """What that moving average keeps of its value at each step."""
    difficulty_decay: float = 1.0
    """What the pass rates of puzzles and categories keep when they are sampled again; 1 forgets
    nothing. The rates are recorded whether or not groups are replaced."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("max_rounds", self.max_rounds, 1)
        check_range("max_oversampling", self.max_oversampling, 1)
        check_range("ema_decay", self.ema_decay, 0, 1, open_high=True)
        check_range("difficulty_decay", self.difficulty_decay, 0, 1, open_low=True)


@dataclass(frozen=True)
class ServerConfig:
    """Replicas of the engine `vllm_server`, for those who start them and those who ask them."""

    dir: str = "runs/rollout_server"
    """Folder of addresses, key, logs, and weights on their way to replicas: both sides see it
    under this path."""
    num_replicas: int = 1
    """How many `rl-avr serve-rollouts` starts."""
    host: str = "127.0.0.1"
    """Address that they listen on; on any other than loopback everybody who reaches it needs only
    the key."""
    first_port: int = 0
    """Port of the first replica, the others take the next ones; 0 takes free ones."""
    start_timeout_s: float = 900.0
    """How long a replica may take to start."""
    urls: tuple[str, ...] = ()
    """Replicas to ask, as http://HOST:PORT; empty asks those whose addresses are in `dir`."""
    weight_transfer: Literal["auto", "nccl", "folder"] = "auto"
    """How a sync reaches the replicas: from GPU to GPU over NCCL, or through `dir`. `auto` is NCCL
    where torch sees a GPU; trainer and replicas must come to the same."""
    api_key_file: str = ""
    """File that holds the API key; empty is `api_key` in `dir`, made where it is missing."""
    connect_timeout_s: float = 5.0
    """How long a connection may take."""
    request_timeout_s: float = 600.0
    """How long one puzzle's chains, or new weights, may take; then the replica is dropped."""
    health_timeout_s: float = 30.0
    """How long a replica may take to say that it is well; then it is dropped."""
    health_interval_s: float = 2.0
    """Pause between two such questions."""
    max_tries: int = 4
    """Replicas on which one prompt may fail before the run stops."""
    wait_timeout_s: float = 300.0
    """How long a run waits while no replica answers."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("num_replicas", self.num_replicas, 1)
        check_range("first_port", self.first_port, 0, 65535)
        check_range("max_tries", self.max_tries, 1)
        for name in (
            "start_timeout_s",
            "connect_timeout_s",
            "request_timeout_s",
            "health_timeout_s",
            "health_interval_s",
            "wait_timeout_s",
        ):
            check_range(name, getattr(self, name), 0, open_low=True)
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"urls: expected http://HOST:PORT, got {url!r}")


@dataclass(frozen=True)
class RolloutConfig:
    """The rollout engine of a run."""

    engine: Literal["vllm", "vllm_server", "transformers"] = "vllm"
    """`vllm_server` asks replicas that `rl-avr serve-rollouts` has started; `transformers` needs no
    vLLM, gives the same bits on a CPU every time, and is slower."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    dynamic: DynamicConfig = field(default_factory=DynamicConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    max_model_len: int = 256
    """Longest prompt plus completion, in tokens."""
    max_num_seqs: int = 256
    """Completions that are decoded at once."""
    max_images_per_prompt: int = 1
    """Most images of a prompt; vLLM keeps memory for that many."""
    tensor_parallel_size: int = 1
    """GPUs that share one copy of the policy in vLLM; 1 on a CPU."""
    sleep: bool = False
    """Let vLLM give its GPU memory to the update: after each rollout its weights go to the host's
    memory and its key-value cache is dropped. For a GPU only."""
    gpu_memory_utilization: float = 0.3
    """Share of a GPU's memory that vLLM may take; unused on a CPU."""
    cpu_kv_cache_gib: int = 1
    """Key-value cache on a CPU, GiB per rank; unused on a GPU."""
    parity_max_mean_gap: float = 1e-3
    """Largest mean |vLLM logprob - policy logprob| of sampled tokens; above it a run stops."""
    lora_sync: Literal["merged", "adapter"] = "merged"
    """How a policy with `policy.lora` reaches the engine: `merged`, as whole weights; `adapter`, in
    the engine `vllm` alone, the language model's adapters as they are and vision layers merged.
    Both agree with the policy; on a CPU vLLM samples three times slower with adapters."""
    max_truncated_share: float = 0.2
    """Share of completions cut at `sampling.max_new_tokens` above which a warning says so."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("max_model_len", self.max_model_len, 1)
        check_range("max_num_seqs", self.max_num_seqs, 1)
        check_range("max_images_per_prompt", self.max_images_per_prompt, 1)
        check_range("tensor_parallel_size", self.tensor_parallel_size, 1)
        check_range("gpu_memory_utilization", self.gpu_memory_utilization, 0, 1, open_low=True)
        check_range("cpu_kv_cache_gib", self.cpu_kv_cache_gib, 1)
        check_range("parity_max_mean_gap", self.parity_max_mean_gap, 0, open_low=True)
        check_range("max_truncated_share", self.max_truncated_share, 0, 1)
        if self.lora_sync == "adapter" and self.engine != "vllm":
            raise ConfigError(
                f"lora_sync: expected merged with engine {self.engine}, because the engine vllm "
                "alone takes adapters; got 'adapter'"
            )
        if self.dynamic.is_on and self.tensor_parallel_size > 1:
            raise ConfigError(
                "tensor_parallel_size: expected 1 with dynamic.is_on, because ranks that share an "
                "engine must sample equally often and each refills its own batch; got "
                f"{self.tensor_parallel_size}"
            )
