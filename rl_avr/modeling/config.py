"""Settings of policies: which one, how it is loaded, which parts are trained."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import check_range

Dtype = Literal["float32", "bfloat16", "float16"]
Family = Literal["qwen2_5_vl", "qwen3_vl", "llava_next", "idefics3"]
"""An architecture; `modeling.families` makes each small."""


@dataclass(frozen=True)
class SmallPolicyConfig:
    """Shape of a small policy made from nothing, with its own tokenizer.

    vLLM on a CPU wants a head size of 32, 64, 80, 96, 112 or 128.
    """

    family: Family = "qwen2_5_vl"
    """Architecture of a Qwen2.5-VL, a Qwen3-VL, a LLaVA-NeXT or an Idefics3."""
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 384
    vision_hidden_size: int = 128
    vision_depth: int = 2
    vision_num_heads: int = 4
    vision_intermediate_size: int = 256
    patch_size_px: int = 18
    """Half a panel: four patches merge into one token a panel."""
    image_height_px: int = 180
    image_width_px: int = 144
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name, value in vars(self).items():
            if name not in ("family", "seed"):
                check_range(name, value, 1)


@dataclass(frozen=True)
class PolicyConfig:
    """The policy to train or to measure."""

    path: str = ""
    """Folder or hub name of a vision-language model with its processor."""
    dtype: Dtype = "float32"
    """Precision of the weights in memory."""
    freeze_vision_tower: bool = True
    """Keep the vision tower and its connector as they are."""
    make_small: bool = False
    """Make a new small policy in `path` first, where there is none yet."""
    small: SmallPolicyConfig = field(default_factory=SmallPolicyConfig)
    """Shape of that small policy."""
