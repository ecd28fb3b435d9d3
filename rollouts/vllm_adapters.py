"""Low-rank adapters in vLLM's engine: written to a folder in memory, and read at each sync.

vLLM keeps one adapter and computes it beside every layer it stands at. A reload of weights
drops it, so each sync brings it whole, or brings none and means weights alone. vLLM takes
those of the language model; the adapters of vision layers are merged by the policy before
they come (`rl_avr.modeling.weights`).

On a CPU merging everything is the better way: vLLM's torch code copies both matrices
for every token. For the shipped policy with adapters of rank 8 on every linear layer of
its language model, 8 puzzles x 32 chains on two busy cores, after a first call: 4,200 to
5,100 tokens a second merged, 1,100 to 1,700 with adapters. A merged sync takes 0.09 s,
writing and loading the adapters 0.05 s; the gaps to the policy are the same.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rl_avr.errors import ConfigError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Sizes that vLLM 0.32 takes for its buffers."""
_MARKS = (".lora_A.weight", ".lora_B.weight")
_PEFT_PREFIX = "base_model.model."
_IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class AdapterShape:
    """What vLLM must know of adapters before the first ones come.

    Args:
        rank: inner size.
        alpha: their output is multiplied by alpha / rank.
    """

    rank: int
    alpha: float


def lora_arguments(rank: int) -> dict[str, Any]:
    """Returns what `vllm.LLM` takes in order to hold one adapter; nothing for rank 0.

    Raises:
        ConfigError: the rank is above vLLM's largest.

    >>> lora_arguments(12)["max_lora_rank"]
    16
    """
    if rank == 0:
        return {}
    size = next((size for size in _RANKS if size >= rank), None)
    if size is None:
        raise ConfigError(
            f"policy.lora.rank {rank}: vLLM takes adapters of at most rank {_RANKS[-1]}; lower it, "
            "or set rollouts.lora_sync to merged"
        )
    return {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": size}


class AdapterSlot:
    """The one adapter of an engine.

    Args:
        shape: of the adapters that will come.
    """

    def __init__(self, shape: AdapterShape) -> None:
        self._shape = shape
        self._matrices: dict[str, torch.Tensor] = {}
        self.request: Any = None
        """What a prompt is sent with; None where the last sync brought no adapter."""

    def take_out(
        self, named_weights: Iterable[tuple[str, torch.Tensor]]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields the weights that belong to no adapter, and keeps a copy of those that do."""
        self._matrices = {}
        for name, tensor in named_weights:
            if name.endswith(_MARKS):
                # a copy: under ZeRO-3 the whole tensor is gone when the next one comes
                self._matrices[_PEFT_PREFIX + name] = tensor.detach().to("cpu", copy=True)
            else:
                yield name, tensor

    def load(self, llm: Any) -> None:
        """Gives the engine what `take_out` has kept; called after each reload of weights."""
        from vllm.lora.request import LoRARequest

        self.request = None
        if not self._matrices:
            return
        parent = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="rl_avr-adapter-", dir=parent) as folder:
            save_file(
                {name: matrix.contiguous() for name, matrix in self._matrices.items()},
                Path(folder, "adapter_model.safetensors"),
            )
            Path(folder, "adapter_config.json").write_text(json.dumps(self._config()))
            llm.llm_engine.add_lora(LoRARequest("policy", 1, folder, load_inplace=True))
            # a prompt's own request finds the adapter loaded and reads no folder
            self.request = LoRARequest("policy", 1, folder)
        self._matrices = {}

    def _config(self) -> dict[str, Any]:
        layers = {name.split(".lora_")[0].rpartition(".")[2] for name in self._matrices}
        return {
            "peft_type": "LORA",
            "r": self._shape.rank,
            "lora_alpha": self._shape.alpha,
            "target_modules": sorted(layers),
        }
