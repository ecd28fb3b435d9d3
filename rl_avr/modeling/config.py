"""Settings of policies: which one, how it is loaded, which parts are trained."""

from dataclasses import dataclass, field
from typing import Literal

from rl_avr.errors import check_range

Dtype = Literal["float32", "bfloat16", "float16"]
Part = Literal["vision_tower", "connector", "language_model"]
"""A part of a vision-language model; the connector makes the tower's features the text's."""
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
class LoraConfig:
    """Low-rank adapters beside the linear layers of every part that is not frozen.

    The layer's own weights stay as they are; its output gets alpha / rank * B A x.

    Source: LoRA, https://arxiv.org/abs/2106.09685, equation 3.
    """

    rank: int = 0
    """Inner size of the adapters; 0 trains the weights themselves."""
    alpha: float = 32.0
    """The adapters' output is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Share of the adapters' inputs that SFT leaves out; GRPO takes 0 alone."""
    targets: tuple[str, ...] = ()
    """Last parts of the names of layers, such as q_proj; empty takes every linear layer."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_range("rank", self.rank, 0)
        check_range("alpha", self.alpha, 0, open_low=True)
        check_range("dropout", self.dropout, 0, 1, open_high=True)

    @property
    def is_on(self) -> bool:
        """Whether adapters are trained."""
        return self.rank > 0


@dataclass(frozen=True)
class LearningRatesConfig:
    """Learning rates of single parts; a part without one takes `trainer.learning_rate`."""

    vision_tower: float | None = None
    connector: float | None = None
    language_model: float | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for part, rate in self.given().items():
            check_range(part, rate, 0, open_low=True)

    def given(self) -> dict[Part, float]:
        """Returns part -> learning rate, for the parts that have one of their own.

        >>> LearningRatesConfig(connector=1e-5).given()
        {'connector': 1e-05}
        """
        rates: dict[Part, float | None] = {
            "vision_tower": self.vision_tower,
            "connector": self.connector,
            "language_model": self.language_model,
        }
        return {part: rate for part, rate in rates.items() if rate is not None}


@dataclass(frozen=True)
class PolicyConfig:
    """The policy to train or to measure."""

    path: str = ""
    """Folder or hub name of a vision-language model with its processor."""
    dtype: Dtype = "float32"
    """Precision of the weights in memory."""
    freeze: tuple[Part, ...] = ("vision_tower", "connector")
    """Parts that training leaves as they are; empty trains all of them."""
    learning_rates: LearningRatesConfig = field(default_factory=LearningRatesConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    make_small: bool = False
    """Make a new small policy in `path` first, where there is none yet."""
    small: SmallPolicyConfig = field(default_factory=SmallPolicyConfig)
    """Shape of that small policy."""
