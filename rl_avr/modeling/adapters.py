"""Low-rank adapters on a policy: added, read from a folder, merged into a plain policy.

peft does the work. Adapters stand beside linear layers alone, and never beside the
output head, whose weight trl's fused logprobs read without calling the layer.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import Dtype, LoraConfig, Part, PolicyConfig
from rl_avr.modeling.freezing import part_of
from rl_avr.modeling.loading import load_policy, load_processor

_MAX_NAMED = 3


def peft_config(model: Any, lora: LoraConfig, parts: Sequence[Part]) -> Any:
    """Returns peft's config of adapters beside the linear layers of `parts`.

    Args:
        model: the plain policy.
        lora: size and targets; its rank is above 0.
        parts: the parts that are trained.

    Raises:
        ConfigError: no layer has a name that is asked for; the message has those there are.
    """
    import peft

    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=target_layers(model, lora.targets, parts),
    )


def add_adapters(model: Any, lora: LoraConfig, parts: Sequence[Part]) -> Any:
    """Returns the policy with new adapters, which change nothing yet; all else is frozen.

    Raises:
        ConfigError: as `peft_config`.
    """
    import peft

    return peft.get_peft_model(model, peft_config(model, lora, parts))


def target_layers(model: Any, targets: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """Returns the names of the linear layers of `parts`, or of those that end in a target.

    Raises:
        ConfigError: a target without a layer, or no layer at all.
    """
    head = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and part_of(name) in parts
    ]
    kinds = sorted({name.rpartition(".")[2] for name in names})
    missing = [t for t in targets if not any(_ends_in(name, t) for name in names)]
    if missing or not names:
        raise ConfigError(
            f"policy.lora.targets {', '.join(missing) or 'empty'}: {type(model).__name__} has no "
            f"such linear layer in {', '.join(parts) or 'no part'}; there are: "
            f"{', '.join(kinds) or 'none'}. Parts named in policy.freeze get no adapters"
        )
    return [name for name in names if not targets or any(_ends_in(name, t) for t in targets)]


def load_adapter(model: Any, folder: str | Path, name: str = "default") -> Any:
    """Returns the policy with the adapters of a folder, as training or peft saved them.

    Another base is seen by names and shapes alone; where just its path differs, peft warns.

    Args:
        model: the plain policy, or one with adapters of other names, which stay the active ones.
        folder: of the adapters.
        name: what they are called beside others.

    Raises:
        ConfigError: the folder holds no LoRA adapters, or those of another base.
    """
    import peft
    from safetensors import SafetensorError

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        weights = peft.utils.load_peft_weights(str(folder), device="cpu")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(
            f"adapter {folder}: expected adapter_config.json and adapter_model.safetensors, as a "
            f"run with policy.lora saves them; got: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(config, peft.LoraConfig) or config.r < 1:
        raise ConfigError(
            f"adapter {folder}: expected LoRA of rank 1 or more, got {config.peft_type} of rank "
            f"{config.to_dict().get('r', 'none')}"
        )
    trained_on = config.base_model_name_or_path
    adapted = model
    try:
        if has_adapters(model):
            model.add_adapter(name, config)
        else:
            adapted = peft.get_peft_model(model, config, adapter_name=name)
    except ValueError as error:  # no layer has the names of the targets
        raise _other_base(folder, model, trained_on, str(error)) from error
    state = peft.get_peft_model_state_dict(adapted, adapter_name=name)
    own = {key: w.shape for key, w in state.items()}
    given = {key: w.shape for key, w in weights.items()}
    wrong = sorted(key for key in own.keys() | given.keys() if own.get(key) != given.get(key))
    if wrong:
        said = ", ".join(f"{key} {_shape(given, key)}" for key in wrong[:_MAX_NAMED])
        why = f"{len(wrong)} weights do not fit, first {said}"
        raise _other_base(folder, model, trained_on, why)
    peft.set_peft_model_state_dict(adapted, weights, adapter_name=name)
    return adapted


def export_merged(base: str, adapter: str | Path, out: str | Path, dtype: Dtype) -> None:
    """Writes a policy with its adapters merged, and its processor, as any checkpoint is written.

    Args:
        base: folder or hub name of the policy that the adapters were trained on.
        adapter: folder of the adapters.
        out: folder to write.
        dtype: precision of the base in memory, and of the weights written.

    Raises:
        ConfigError: a folder that cannot be read or written, or adapters of another base.
    """
    if Path(base).is_dir() and Path(out).resolve() == Path(base).resolve():
        raise ConfigError(f"{out}: expected another folder than the base's own")
    processor = load_processor(base)
    merged = load_adapter(load_policy(PolicyConfig(path=base, dtype=dtype)), adapter)
    merged = merged.merge_and_unload()
    try:
        merged.save_pretrained(out)
        processor.save_pretrained(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error}") from error


def plain_model(model: Any) -> Any:
    """Returns the policy itself where adapters stand around it, otherwise `model`."""
    return model.get_base_model() if has_adapters(model) else model


def has_adapters(model: Any) -> bool:
    """Returns whether a policy is one of peft's."""
    from peft import PeftModel

    return isinstance(model, PeftModel)


def adapter_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yields name and layer of every layer that an active adapter stands beside.

    The name is the plain policy's. `adapter_pair` gives the two matrices of each.
    """
    from peft.tuners.lora import LoraLayer

    for name, module in plain_model(model).named_modules():
        if isinstance(module, LoraLayer) and _active(module) is not None:
            yield name, module


def adapter_pair(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns A, (rank, in), and B, (out, rank), of a layer's active adapter."""
    name = _active(layer)
    return layer.lora_A[name].weight, layer.lora_B[name].weight


def merged_weight(layer: Any) -> torch.Tensor:
    """Returns W + alpha / rank * B A in the precision of W; the layer stays as it is."""
    weight = layer.get_base_layer().weight
    return (weight + layer.get_delta_weight(_active(layer))).to(weight.dtype)


def _active(layer: Any) -> str | None:
    """Returns the adapter that the forward pass uses; one frozen beside it is a reference."""
    found = [name for name in layer.active_adapters if name in layer.lora_A]
    assert len(found) <= 1, found
    return found[0] if found else None


def _ends_in(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _shape(shapes: dict[str, torch.Size], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "(missing)"


def _other_base(folder: str | Path, model: Any, trained_on: str, why: str) -> ConfigError:
    return ConfigError(
        f"adapter {folder}: made for another base than {type(model).__name__} of "
        f"{model.name_or_path}; expected {trained_on}: {why}"
    )
