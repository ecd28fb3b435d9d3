"""Which weights of a policy a run trains, how fast each part learns, and what the run saves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import export_merged, peft_config
from rl_avr.modeling.config import LearningRatesConfig, Part, PolicyConfig
from rl_avr.modeling.freezing import PARTS, part_of, train_only, trained_parts

_OWN_GROUPS = ("params", "model", "optimizer_dict")


def choose_trained(model: Any, policy: PolicyConfig, parts: Sequence[Part]) -> Any:
    """Freezes all but `parts`; returns trl's `peft_config`, None where the weights are trained.

    Raises:
        ConfigError: nothing would be trained, or a target of adapters that is not there.
    """
    if policy.lora.is_on:
        return peft_config(model, policy.lora, parts)
    if set(parts) != set(PARTS):
        train_only(model, parts)
    return None


def set_learning_rates(trainer: Any, rates: LearningRatesConfig) -> None:
    """Gives parts of the policy learning rates of their own; without any, changes nothing.

    Weight decay and the schedule's shape are the trainer's own. The learning rate that is
    logged is that of the parts without one of their own, or else of the first part.

    Args:
        trainer: a transformers trainer that has no optimizer yet.
        rates: learning rates by part.

    Raises:
        ConfigError: a part of which nothing is trained, or an optimizer that makes its
            own groups of parameters.
    """
    own = rates.given()
    if not own:
        return
    for part in own:
        if part not in trained_parts(trainer.model):
            raise ConfigError(
                f"policy.learning_rates.{part}: nothing of the {part} is trained; expected a part "
                "that policy.freeze does not name"
            )
    optimizer_class, arguments = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    if any(key in arguments for key in _OWN_GROUPS):
        raise ConfigError(
            f"policy.learning_rates: trainer.optim {trainer.args.optim.value} groups the "
            "parameters itself; expected another, such as adamw_torch"
        )
    groups = _parameter_groups(trainer, own)
    trainer.optimizer_cls_and_kwargs = (optimizer_class, {**arguments, "params": groups})


def save_policy(trainer: Any, policy: PolicyConfig, folder: Path) -> Path:
    """Writes the trained policy into `policy/`, a plain folder with its processor; returns it.

    Adapters also stay apart, in `adapter/`. The main process merges them into a policy
    that it loads anew, so that sharded training needs no whole one.
    """
    out = folder / "policy"
    trained = folder / "adapter" if policy.lora.is_on else out
    trainer.save_model(str(trained))
    if trainer.accelerator.is_main_process:
        if policy.lora.is_on:
            export_merged(policy.path, trained, out, policy.dtype)
        trainer.processing_class.save_pretrained(out)
    return out


def _parameter_groups(trainer: Any, own: dict[Part, float]) -> list[dict[str, Any]]:
    """Returns the trainer's groups, with and without weight decay, once for each learning rate."""
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    sets: list[tuple[float, set[Part]]] = [
        (trainer.args.learning_rate, set(PARTS) - own.keys()),
        *((rate, {part}) for part, rate in own.items()),
    ]
    groups = []
    for rate, parts in sets:
        for has_decay in (True, False):
            parameters = [
                parameter
                for name, parameter in trainer.model.named_parameters()
                if parameter.requires_grad
                and part_of(name) in parts
                and (name in decayed) is has_decay
            ]
            decay = trainer.args.weight_decay if has_decay else 0.0
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "lr": rate})
    return groups
