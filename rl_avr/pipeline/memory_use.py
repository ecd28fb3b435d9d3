"""How much memory an update needs: what is known, what was measured, what is estimated."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from trl import GRPOConfig

from rl_avr.contracts import GradedGroup
from rl_avr.settings import GrpoSettings

_GIB = 2**30
_PROBE_SIDE = 128
"""Side of the matrix from which the size of an optimizer's states is known."""
_SUM = "sum: weights, gradients, states, reference, a micro-batch"


class MemoryRow(NamedTuple):
    """One thing that takes memory.

    Args:
        name: what it is.
        num_bytes: how much; None where it cannot be told.
        source: how that is known.
    """

    name: str
    num_bytes: float | None
    source: str


@dataclass(frozen=True)
class Measured:
    """What one forward and backward pass of one group took.

    Args:
        kept: bytes kept for the backward pass, in the tensors that autograd saved.
        peak: most bytes held above what was held before; None where this machine cannot say.
    """

    kept: int
    peak: int | None


@dataclass
class Count:
    """A number of bytes that is there when its context ends."""

    num_bytes: int = 0


@contextmanager
def kept_for_backward(model: Any) -> Iterator[Count]:
    """Counts what autograd saves within the context, each storage once, weights left out.

    What gradient checkpointing computes again is not saved, and so not counted.
    """
    known = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    count = Count()

    def saved(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        yield count
    count.num_bytes = sum(sizes.values())


def memory_rows(
    trainer: Any,
    settings: GrpoSettings,
    whole: GRPOConfig,
    graded: GradedGroup,
    measured: Measured,
) -> list[MemoryRow]:
    """Returns what takes memory on this rank, after a backward pass of one group.

    Args:
        trainer: whose policy has its gradients.
        settings: of the run.
        whole: trl's arguments of the run, not of the one group.
        graded: the group.
        measured: what its passes took.
    """
    groups = whole.per_device_train_batch_size // whole.num_generations
    beside = f"estimate: {groups} x one group" if groups > 1 else "one group is a micro-batch"
    rows = [
        *held_rows(trainer),
        _reference_row(trainer),
        MemoryRow("kept for backward, one group", measured.kept, "measured in autograd"),
        MemoryRow("kept for backward, a micro-batch", groups * measured.kept, beside),
    ]
    needed = sum(row.num_bytes or 0 for row in (*rows[:4], rows[5]))
    peak = "measured over forward and backward, above what was held before"
    rows += [
        MemoryRow("the update in all", needed, _SUM),
        MemoryRow("peak of one group's update", measured.peak, peak),
    ]
    return [*rows, *_engine_rows(trainer, settings, graded, rows[0].num_bytes)]


def held_rows(trainer: Any) -> list[MemoryRow]:
    """Returns what weights, gradients and the optimizer take, after a backward pass."""
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    return [
        MemoryRow("weights of the policy", _bytes(trainer.model.parameters()), "counted"),
        MemoryRow("gradients", _bytes(p.grad for p in trained if p.grad is not None), "measured"),
        _optimizer_row(trainer, trained),
    ]


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _optimizer_row(trainer: Any, trained: list[torch.Tensor]) -> MemoryRow:
    """Estimates the optimizer's states from those that it makes for one matrix."""
    name = "optimizer's states"
    if not trained:
        return MemoryRow(name, 0, "nothing is trained")
    made, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    probe = torch.nn.Parameter(
        torch.zeros(_PROBE_SIDE, _PROBE_SIDE, dtype=trained[0].dtype, device=trained[0].device)
    )
    probe.grad = torch.zeros_like(probe)
    optimizer = made([probe], **options)
    optimizer.step()
    states = [v for v in optimizer.state[probe].values() if isinstance(v, torch.Tensor)]
    a_number = _bytes(s for s in states if s.numel() > 1) / probe.numel()
    size = a_number * sum(p.numel() for p in trained)
    source = f"estimate: {a_number:g} bytes a trained number ({trainer.args.optim.value})"
    return MemoryRow(name, size, source)


def _reference_row(trainer: Any) -> MemoryRow:
    name = "reference policy"
    if trainer.ref_model is not None:
        return MemoryRow(name, _bytes(trainer.ref_model.parameters()), "counted")
    none = "trainer.beta 0" if trainer.beta == 0 else "the policy with its adapters off"
    return MemoryRow(name, 0, f"none: {none}")


def _engine_rows(
    trainer: Any, settings: GrpoSettings, graded: GradedGroup, weights: float | None
) -> list[MemoryRow]:
    rollouts, group = settings.rollouts, graded.group
    longest = settings.rollouts.sampling.max_new_tokens
    tokens = len(group.prompt_token_ids) + longest * len(group.completions)
    cache = MemoryRow(
        "rollouts: key-value cache, one group",
        tokens * _cache_bytes_a_token(trainer.model),
        f"estimate: {tokens:,} tokens, every chain as long as it may be",
    )
    if rollouts.engine == "vllm_server":
        return [cache, MemoryRow("rollouts: weights", 0, "on the servers")]
    if rollouts.engine == "transformers":
        return [cache, MemoryRow("rollouts: weights", weights, "a copy of the policy's")]
    if trainer.args.device.type == "cuda":
        share = rollouts.gpu_memory_utilization
        total = torch.cuda.get_device_properties(trainer.args.device).total_memory
        source = f"rollouts.gpu_memory_utilization {share:g}"
        return [cache, MemoryRow("rollouts: vLLM, with all of its cache", share * total, source)]
    reserved = rollouts.cpu_kv_cache_gib * _GIB
    return [
        cache,
        MemoryRow("rollouts: vLLM's whole cache", reserved, "rollouts.cpu_kv_cache_gib"),
        MemoryRow("rollouts: weights", weights, "a copy of the policy's"),
    ]


def _cache_bytes_a_token(model: Any) -> int:
    """Returns what a token's keys and values take in all layers of the language model."""
    text = model.config.get_text_config().to_dict()
    heads = text["num_attention_heads"]
    head_size = text.get("head_dim") or text["hidden_size"] // heads
    size = next(model.parameters()).element_size()
    return (
        2
        * text["num_hidden_layers"]
        * (text.get("num_key_value_heads") or heads)
        * (head_size * size)
    )
