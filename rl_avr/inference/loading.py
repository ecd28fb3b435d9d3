"""Loads what a reranker works with: an engine with the policy, and policy and reference."""

from pathlib import Path

from rl_avr.inference.config import Side
from rl_avr.inference.implicit_reward import ImplicitReward, load_pair
from rl_avr.modeling.adapters import load_adapter
from rl_avr.modeling.config import Dtype, PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.weights import named_weights
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.engines import make_engine


def load_parts(
    model: str,
    reference: str,
    rollouts: RolloutConfig,
    dtype: Dtype,
    seed: int,
    sample_from: Side = "policy",
) -> tuple[Engine, ImplicitReward | None]:
    """Returns an engine that samples chains, and what scores them.

    Adapters reach the engine merged, as training syncs them.

    Args:
        model: folder or hub name of the policy, or a folder of adapters.
        reference: the same; empty for no scorer.
        rollouts: the engine and its sizes.
        dtype: precision of the weights.
        seed: of the engine.
        sample_from: which of the two samples; a reference that samples is also loaded to score.

    Raises:
        ConfigError: policies that cannot be loaded or do not belong together.
        RolloutError: the engine cannot be loaded.
    """
    scorer = load_pair(model, reference, dtype=dtype) if reference else None
    sampled = reference if sample_from == "reference" else model
    base = _base_of(sampled)
    processor = scorer.processor if scorer else load_processor(base or sampled)
    engine = make_engine(rollouts, base or sampled, dtype, processor, seed)
    if base is not None:
        if scorer is None:
            adapted = load_adapter(load_policy(PolicyConfig(path=base, dtype=dtype)), sampled)
            engine.sync_weights(named_weights(adapted))
        else:
            side = scorer.reference if sample_from == "reference" else scorer.policy
            with side.asked():
                engine.sync_weights(named_weights(side.model))
    return engine, scorer


def _base_of(path: str) -> str | None:
    """Returns what the adapters in a folder were trained on; None where it holds none."""
    if not (Path(path) / "adapter_config.json").is_file():
        return None
    import peft

    return peft.PeftConfig.from_pretrained(path).base_model_name_or_path
