"""Settings of the rollout engines."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import check_range


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
class RolloutConfig:
    """The rollout engine of a run."""

    engine: Literal["vllm"] = "vllm"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    max_model_len: int = 256
    """Longest prompt plus completion, in tokens."""
    max_num_seqs: int = 256
    """Completions that vLLM decodes at once."""
    gpu_memory_utilization: float = 0.3
    """Share of a GPU's memory that vLLM may take; unused on a CPU."""
    cpu_kv_cache_gib: int = 1
    """Key-value cache on a CPU, GiB per rank; unused on a GPU."""
    parity_max_mean_gap: float = 1e-3
    """Largest mean |vLLM logprob - policy logprob| of sampled tokens; above it a run stops."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("max_model_len", self.max_model_len, 1)
        check_range("max_num_seqs", self.max_num_seqs, 1)
        check_range("gpu_memory_utilization", self.gpu_memory_utilization, 0, 1, open_low=True)
        check_range("cpu_kv_cache_gib", self.cpu_kv_cache_gib, 1)
        check_range("parity_max_mean_gap", self.parity_max_mean_gap, 0, open_low=True)
