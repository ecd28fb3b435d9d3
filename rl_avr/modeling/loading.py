"""Loads policies and processors, the same way for a small one and for a 7B checkpoint."""

from pathlib import Path
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig


def load_processor(path: str) -> Any:
    """Returns the processor of a policy.

    Raises:
        ConfigError: the folder is missing, or has no processor with an image part.
    """
    from transformers import AutoProcessor

    _check_folder(path)
    try:
        processor = AutoProcessor.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(_no_processor(path)) from error
    # without tokenizer files transformers makes an empty tokenizer that reads nothing
    if getattr(processor, "image_processor", None) is None or not _reads_text(processor):
        raise ConfigError(_no_processor(path))
    return processor


def _reads_text(processor: Any) -> bool:
    return len(processor.tokenizer("A", add_special_tokens=False).input_ids) > 0


def load_policy(config: PolicyConfig) -> Any:
    """Returns the policy, in the precision asked for.

    Raises:
        ConfigError: the folder is missing, holds no vision-language model, or not all of its
            weights; transformers would draw the missing ones at random.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    _check_folder(config.path)
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            config.path, dtype=getattr(torch, config.dtype), output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(
            f"policy.path {config.path}: expected a vision-language model with config.json and "
            f"weights in safetensors; got: {str(error).splitlines()[0]}"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(
            f"policy.path {config.path}: expected every weight of {type(model).__name__}; "
            f"{len(missing)} are missing, first {missing[0]}, and {len(info['unexpected_keys'])} "
            "have names that it does not know. The checkpoint is cut, or its names are those of "
            "another release of transformers: save it anew with the one that wrote it"
        )
    return model


def _looks_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or path.count("/") != 1 or Path(path).parent.exists()


def _check_folder(path: str) -> None:
    if not path:
        raise ConfigError("policy.path is empty: expected a model folder or a hub name")
    if _looks_local(path) and not Path(path).is_dir():
        raise ConfigError(
            f"policy.path {path}: no such folder (from {Path.cwd()}); expected a model folder with "
            "config.json, weights and a processor, or a hub name such as "
            "Qwen/Qwen2.5-VL-3B-Instruct"
        )


def _no_processor(path: str) -> str:
    return (
        f"policy.path {path}: expected a processor with an image part (processor_config.json or "
        "preprocessor_config.json, and tokenizer files) beside the weights; save it there with "
        "processor.save_pretrained(folder)"
    )
