"""Seeded sampling of vLLM's CPU backend, without a Python draw for every row and step.

vLLM's `TopKTopPSampler.forward_cpu` draws one number a step from the generator of each
seeded request, in Python, about 30 microseconds each: with 256 rows a quarter of the
time of a small policy. Here each generator gives 128 numbers at once. torch fills a
tensor of random integers one by one, so the numbers, and every sampled token, are
those that vLLM itself would have drawn.

Source: vllm/v1/sample/ops/topk_topp_sampler.py, vLLM 0.32. A GPU has its own way.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

_BLOCK = 128
_SEED_LIMIT = 2**31  # vLLM's own range


class SeedBlocks:
    """Hands out each generator's numbers one at a time, drawn in blocks.

    The rest of a block goes with its generator, which lives as long as its request.
    """

    def __init__(self, block: int = _BLOCK) -> None:
        self._block = block
        self._streams: WeakKeyDictionary[torch.Generator, Iterator[int]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Returns how many generators are followed."""
        return len(self._streams)

    def next(self, generator: torch.Generator) -> int:
        """Returns the generator's next number, as `torch.randint(0, 2**31, (1,))` would."""
        number = next(self._streams.get(generator, iter(())), None)
        if number is None:
            numbers = torch.randint(0, _SEED_LIMIT, (self._block,), generator=generator)
            stream = self._streams[generator] = iter(numbers.tolist())
            number = next(stream)
        return number


class SeededCpuSampler:
    """Takes the place of `forward_cpu` on one sampler of vLLM.

    Args:
        sampler: vLLM's `TopKTopPSampler`; batches with a row of no seed are left to it.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._blocks = SeedBlocks()

    def __call__(
        self,
        logits: torch.Tensor,
        generators: Mapping[int, torch.Generator],
        k: torch.Tensor | None,
        p: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the sampled ids, (rows,), and the logprobs they were drawn from, (rows, V)."""
        from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

        if len(generators) < logits.shape[0]:
            return self._sampler.forward_cpu(logits, generators, k, p)
        logits = apply_top_k_top_p(logits, k, p)
        logprobs = logits.log_softmax(dim=-1, dtype=torch.float32)
        seeds = torch.tensor([self._blocks.next(generators[row]) for row in range(len(logits))])
        sampled = torch.ops._C.fused_gumbel_argmax(logits.to(dtype=torch.float32), seeds)
        return sampled, logprobs


def draw_in_blocks(worker: Any) -> bool:
    """Replaces the draw on a worker's sampler; returns whether it did.

    Only where the sampler is vLLM's own for a CPU and returns processed logprobs; any
    other keeps its way, which is slower and gives the same tokens.
    """
    sampler = getattr(getattr(worker.model_runner, "sampler", None), "topk_topp_sampler", None)
    if (
        sampler is None
        or getattr(sampler.forward, "__func__", None) is not type(sampler).forward_cpu
        or sampler.logprobs_mode != "processed_logprobs"
        or sampler.use_fp64_gumbel
    ):
        return False
    sampler.forward = SeededCpuSampler(sampler)
    return True
