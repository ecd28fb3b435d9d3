"""Every engine by the name that a config uses."""

from typing import Any

from rl_avr.chat import banned_token_ids
from rl_avr.errors import ConfigError
from rollouts.config import RolloutConfig
from rollouts.engine import Engine


def make_engine(config: RolloutConfig, path: str, dtype: str, processor: Any, seed: int) -> Engine:
    """Returns the engine that the config names, with the policy in it.

    Raises:
        ConfigError: no engine has that name.
        RolloutError: the engine cannot be loaded; there is never a silent replacement.
    """
    if config.engine == "vllm":
        from rollouts.vllm_engine import VllmEngine

        return VllmEngine(path, dtype, config, processor, banned_token_ids(processor), seed)
    raise ConfigError(f"rollouts.engine {config.engine!r}: expected 'vllm'")
