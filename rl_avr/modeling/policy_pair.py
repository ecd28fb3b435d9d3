"""A policy and its reference, loaded to be asked for logprobs: of one base, never trained.

Each is a plain folder or hub name, or a folder of adapters. Two that stand on one base share
its weights in memory; the adapters that are asked are then the active ones.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import has_adapters, load_adapter
from rl_avr.modeling.config import Dtype, PolicyConfig
from rl_avr.modeling.digest import policy_digest
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.packed_pass import base_of
from rl_avr.modeling.shared_prefix_check import evaluating

_LOG = logging.getLogger(__name__)
_POLICY, _REFERENCE = "default", "reference"
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, eq=False)
class AskedPolicy:
    """A policy that is asked for logprobs.

    Args:
        model: of transformers, or one with peft's adapters around it.
        adapter: name of the adapters to be asked; empty asks the policy without any, and None
            asks the model as it is.
    """

    model: Any
    adapter: str | None = None

    @contextmanager
    def asked(self) -> Iterator[Any]:
        """Gives the model without adapters around it, ready to be asked, without gradients."""
        base = base_of(self.model)
        off = self.model.disable_adapter() if self.adapter == "" else nullcontext()
        before = self.model.active_adapter if self.adapter else None
        if self.adapter:
            self.model.set_adapter(self.adapter)
        try:
            with torch.no_grad(), evaluating(base), off:
                yield base
        finally:
            if before is not None:
                self.model.set_adapter(before)


@dataclass(frozen=True, eq=False)
class PolicyPair:
    """A policy, its reference and the processor of both."""

    policy: AskedPolicy
    reference: AskedPolicy
    processor: Any


def load_policy_pair(
    policy: str,
    reference: str,
    dtype: Dtype = "float32",
    device: str | None = None,
    *,
    may_be_equal: bool = False,
) -> PolicyPair:
    """Returns a policy and its reference, with the policy's processor.

    Args:
        policy: folder or hub name of a policy, or a folder of adapters.
        reference: the same; where both are of one base, the base is in memory once.
        dtype: precision of the weights in memory.
        device: where they are; None takes a GPU where there is one.
        may_be_equal: whether a policy that is its reference is let pass, as one that will change.

    Raises:
        ConfigError: a folder that cannot be loaded, adapters of another base, two tokenizers or
            chat templates that differ, or two policies that are the same.
    """
    bases = {name: _base_of_adapters(name) for name in (policy, reference)}
    _check_one_base(bases, policy, reference)
    digests = policy_digest(Path(policy)), policy_digest(Path(reference))
    if not may_be_equal and (policy == reference or digests[0] == digests[1] != ""):
        raise _same(policy, reference)
    processor = load_processor(_processor_folder(policy, bases))
    other = load_processor(_processor_folder(reference, bases))
    check_processors(processor, other, policy, reference)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    sides = _load_sides(policy, reference, bases, dtype)
    for side in sides:
        side.model.requires_grad_(False).eval().to(device)
    if not may_be_equal and _are_equal(*sides):
        raise _same(policy, reference)
    return PolicyPair(*sides, processor)


def _load_sides(
    policy: str, reference: str, bases: Mapping[str, str | None], dtype: Dtype
) -> tuple[AskedPolicy, AskedPolicy]:
    adapted = [name for name in (policy, reference) if bases[name] is not None]
    if not adapted:
        one, two = (load_policy(PolicyConfig(path=p, dtype=dtype)) for p in (policy, reference))
        return AskedPolicy(one), AskedPolicy(two)
    plain = reference if bases[reference] is None else policy
    base = bases[policy] if len(adapted) == 2 else plain
    assert base is not None
    model = load_adapter(load_policy(PolicyConfig(path=base, dtype=dtype)), adapted[0], _POLICY)
    if len(adapted) == 2:
        load_adapter(model, reference, _REFERENCE)
        return AskedPolicy(model, _POLICY), AskedPolicy(model, _REFERENCE)
    sides = AskedPolicy(model, _POLICY), AskedPolicy(model, "")
    return sides if adapted == [policy] else (sides[1], sides[0])


def _base_of_adapters(path: str) -> str | None:
    """Returns what adapters were trained on; None for a folder that holds none."""
    file = Path(path) / "adapter_config.json"
    if not file.is_file():
        return None
    try:
        base = json.loads(file.read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file}: expected peft's config with base_model_name_or_path; got: {error!r}"
        ) from error
    return str(base)


def _check_one_base(bases: Mapping[str, str | None], policy: str, reference: str) -> None:
    """Refuses adapters of a base that is not the other's; folders are compared by their files."""
    if not any(bases.values()):
        return
    one, two = (bases[name] or name for name in (policy, reference))
    if one == two or Path(one).resolve() == Path(two).resolve():
        return
    digests = policy_digest(Path(one)), policy_digest(Path(two))
    if digests[0] == digests[1] != "":
        return
    if "" in digests and None in bases.values():
        # a base that has another place now: names and shapes will tell as the adapters are loaded
        _LOG.warning(
            "whether the bases %s and %s are the same cannot be seen by their files", one, two
        )
        return
    raise ConfigError(
        f"{policy} and {reference} are not of one base, but of {one} and {two}; expected a policy "
        "and a reference of which one stands on the other, or both on a third. For another pair "
        "merge the adapters first: rl-avr export"
    )


def _processor_folder(path: str, bases: Mapping[str, str | None]) -> str:
    """Returns where a policy's processor is: adapters may be saved without one."""
    base = bases[path]
    if base is None or any((Path(path) / name).is_file() for name in _PROCESSOR_FILES):
        return path
    if Path(base).is_dir():
        return base
    plain = [name for name, other in bases.items() if other is None]
    return plain[0] if plain else base


def check_processors(one: Any, two: Any, policy: str, reference: str) -> None:
    """Refuses two tokenizers that read texts in different ways, or chat templates that differ.

    Args:
        one: a processor.
        two: another.
        policy: what the first is called in the message.
        reference: what the second is.

    Raises:
        ConfigError: with what differs.
    """
    different = [
        what
        for what, read in (("tokenizer", _tokenizer_state), ("chat template", _chat_template))
        if read(one) != read(two)
    ]
    if different:
        raise ConfigError(
            f"{policy} and {reference} have different {' and '.join(different)}s: their logprobs "
            "are of different tokens; expected two policies of one base"
        )


def _tokenizer_state(processor: Any) -> Any:
    """Returns what decides the ids of a text."""
    tokenizer = processor.tokenizer
    special = tokenizer.eos_token_id, sorted(tokenizer.all_special_ids)
    backend = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {}
    parts = {name: backend.get(name) for name in ("normalizer", "pre_tokenizer", "model")}
    return tokenizer.get_vocab(), special, parts


def _chat_template(processor: Any) -> Any:
    return processor.chat_template or processor.tokenizer.chat_template


def _are_equal(one: AskedPolicy, two: AskedPolicy) -> bool:
    if one.model is not two.model:
        if has_adapters(one.model) or has_adapters(two.model):
            return False
        given = dict(two.model.named_parameters())
        own = dict(one.model.named_parameters())
        return own.keys() == given.keys() and all(
            weight.shape == given[name].shape and torch.equal(weight, given[name])
            for name, weight in own.items()
        )
    from peft import get_peft_model_state_dict

    states = [
        get_peft_model_state_dict(side.model, adapter_name=side.adapter)
        for side in (one, two)
        if side.adapter
    ]
    if len(states) == 1:
        # such adapters change nothing
        return not any(weight.any() for key, weight in states[0].items() if ".lora_B." in key)
    return states[0].keys() == states[1].keys() and all(
        torch.equal(weight, states[1][key]) for key, weight in states[0].items()
    )


def _same(policy: str, reference: str) -> ConfigError:
    return ConfigError(
        f"policy {policy} and reference {reference} are the same policy, so every reward would be "
        "0; expected a trained policy and the one that it was trained from"
    )
