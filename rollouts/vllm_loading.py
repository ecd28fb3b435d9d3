"""Makes vLLM's engine: what it reads from the environment, and what fits this machine."""

import os
from typing import Any

import torch

from rl_avr.errors import ConfigError, RolloutError
from rl_avr.torchvision_compat import cover_vllm_inspection
from rollouts.config import RolloutConfig
from rollouts.vllm_adapters import lora_arguments
from rollouts.vllm_faults import check_vllm, load_error
from rollouts.vllm_names import map_saved_names
from rollouts.vllm_sampler import draw_in_blocks

_CPU_BLOCK_TOKENS = 32
_LOAD_ERRORS = (
    *(ValueError, RuntimeError, OSError, KeyError),
    # what a release of transformers that vLLM does not know ends in
    *(AttributeError, TypeError, AssertionError, ImportError),
)


def load_llm(path: str, dtype: str, config: RolloutConfig, seed: int, lora_rank: int = 0) -> Any:
    """Returns vLLM's offline engine with the policy in it.

    Args:
        path: folder or hub name of the policy.
        dtype: precision of the weights and of the key-value cache.
        config: sizes and limits.
        seed: of the engine.
        lora_rank: rank of the adapters that it will get; 0 where it gets none.

    Raises:
        ConfigError: a setting that this machine does not have.
        RolloutError: vLLM is missing or of another version, or cannot load the policy.
    """
    on_gpu = torch.cuda.is_available()
    _check_parallel(config, on_gpu)
    lora = lora_arguments(lora_rank)
    _set_environment(config)
    check_vllm(torch.__version__, on_gpu)
    try:
        from vllm import LLM

        cover_vllm_inspection()
        map_saved_names()
    except ImportError as error:
        raise RolloutError(
            f"rollouts.engine vllm: vLLM is installed and cannot be imported ({error}); install "
            "the extra `cpu` or `gpu` of this package anew, or run `make env`"
        ) from error
    try:
        llm = LLM(
            model=path,
            dtype=dtype,
            seed=seed,
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=max(4096, config.max_model_len),
            limit_mm_per_prompt={"image": config.max_images_per_prompt, "video": 0},
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            disable_log_stats=True,
            enforce_eager=not on_gpu,
            # A prompt cut into pieces makes vLLM rewind a seeded generator, which torch can
            # do on a GPU alone; max_num_batched_tokens holds any whole prompt.
            enable_chunked_prefill=on_gpu,
            # The smallest that a CPU takes; a prompt's last, unfilled block is not shared by its
            # group, and 128, vLLM's own choice, would leave prompts below that unshared.
            block_size=None if on_gpu else _CPU_BLOCK_TOKENS,
            enable_sleep_mode=config.sleep,
            tensor_parallel_size=config.tensor_parallel_size,
            **lora,
            **({"gpu_memory_utilization": config.gpu_memory_utilization} if on_gpu else {}),
            **({"distributed_executor_backend": "external_launcher"} if _world_size() > 1 else {}),
        )
    except _LOAD_ERRORS as error:
        raise load_error(error, path, dtype, config, on_gpu) from error
    llm.collective_rpc(draw_in_blocks)
    return llm


def _check_parallel(config: RolloutConfig, on_gpu: bool) -> None:
    """Refuses what a CPU does not have, and ranks that would have to share their prompts."""
    size = config.tensor_parallel_size
    if not on_gpu and size > 1:
        raise ConfigError(
            f"rollouts.tensor_parallel_size {size}: on a CPU vLLM runs whole in each rank; set 1"
        )
    if not on_gpu and config.sleep:
        raise ConfigError(
            "rollouts.sleep: vLLM sleeps on a GPU only, and torch sees none; set false"
        )
    ranks = _world_size()
    if ranks % size or (size > 1 and ranks == 1):
        raise ConfigError(
            f"rollouts.tensor_parallel_size {size}: {ranks} processes cannot share policies by "
            f"{size}; start one process a GPU, a multiple of {size}, with accelerate launch"
        )


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _set_environment(config: RolloutConfig) -> None:
    """Sets what vLLM reads from the environment at import; the user's own values win."""
    defaults = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
