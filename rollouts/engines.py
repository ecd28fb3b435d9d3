"""Every engine by the name that a config uses."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rl_avr.chat import banned_token_ids
from rl_avr.errors import ConfigError
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.vllm_adapters import AdapterShape


def make_engine(
    config: RolloutConfig,
    path: str,
    dtype: str,
    processor: Any,
    seed: int,
    adapter: AdapterShape | None = None,
) -> Engine:
    """Returns the engine that the config names, with the policy in it.

    Args:
        config: which engine, and its settings.
        path: folder or hub name of the policy.
        dtype: precision of the weights.
        processor: the policy's processor.
        seed: of the engine.
        adapter: shape of the adapters that the engine `vllm` gets apart from the weights, with
            `lora_sync` adapter.

    Raises:
        ConfigError: no engine has that name, or a setting that this machine does not have.
        RolloutError: the engine cannot be loaded; there is never a silent replacement.
    """
    make = ENGINES.get(config.engine)
    if make is None:
        raise ConfigError(
            f"rollouts.engine {config.engine!r}: expected one of {', '.join(ENGINES)}"
        )
    if adapter is not None:
        return _vllm(config, path, dtype, processor, seed, adapter)
    return make(config, path, dtype, processor, seed)


def _vllm(
    config: RolloutConfig,
    path: str,
    dtype: str,
    processor: Any,
    seed: int,
    adapter: AdapterShape | None = None,
) -> Engine:
    from rollouts.vllm_engine import VllmEngine
    from rollouts.vllm_loading import load_llm

    load = partial(load_llm, lora_rank=adapter.rank if adapter else 0)
    banned = banned_token_ids(processor)
    return VllmEngine(path, dtype, config, processor, banned, seed, load, adapter)


def _vllm_server(config: RolloutConfig, path: str, dtype: str, processor: Any, seed: int) -> Engine:
    from rollouts.server_engine import ServerEngine

    return ServerEngine(path, config, processor, banned_token_ids(processor))


def _transformers(
    config: RolloutConfig, path: str, dtype: str, processor: Any, seed: int
) -> Engine:
    from rollouts.transformers_engine import TransformersEngine

    return TransformersEngine(path, dtype, config, processor, banned_token_ids(processor))


ENGINES: dict[str, Callable[[RolloutConfig, str, str, Any, int], Engine]] = {
    "vllm": _vllm,
    "vllm_server": _vllm_server,
    "transformers": _transformers,
}
"""Name -> (config, folder, dtype, processor, seed) -> engine."""
