"""What every pass over packed sequences shares: the way in, positions, backbone and output head.

A pack is one sequence for all parts of a model but attention, which goes by the pack's structure
(`shared_prefix_attention`). Only tokens that are scored go through the output head, in chunks
that are computed again in backward.

N: tokens of a pack, S: tokens that are scored, P: tokens of one text, V: vocabulary, A: axes of
positions.
"""

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from rl_avr.algo.shared_prefix import GroupSpan
from rl_avr.algo.token_logprobs import token_logprobs
from rl_avr.errors import ConfigError
from rl_avr.modeling.image_features import joined
from rl_avr.modeling.shared_prefix_attention import enable_shared_prefix_attention

LOGITS_AT_ONCE = 1 << 25
"""Numbers in the logits of one chunk: 128 MiB in float32."""

Scored = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""(S,) logprobs; where asked for, (S,) entropies, and whether a label is the likeliest token."""


def add_keyword(model: Any, keyword: str, run: Callable[[Any, Any], Any]) -> None:
    """Gives a policy's forward a keyword whose value goes to `run`; once for each keyword.

    Without it the policy does what it did before.

    Args:
        model: a policy of transformers, or one with peft's adapters around it.
        keyword: name of the argument.
        run: policy without adapters around it, value of the keyword -> output.

    Raises:
        ConfigError: the policy's layers are of a kind that cannot read packs.
    """
    base = base_of(model)
    check_architecture(base)
    enable_shared_prefix_attention(base.get_decoder())
    before = base.forward

    # generation reads the parameters of forward
    @functools.wraps(type(base).forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        packed = kwargs.pop(keyword, None)
        return before(*args, **kwargs) if packed is None else run(self, packed)

    base.forward = types.MethodType(forward, base)


def base_of(model: Any) -> Any:
    """Returns transformers' model inside peft's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_architecture(base: Any) -> None:
    """Raises ConfigError where a language model cannot read packs, by its config."""
    text = base.config.get_text_config()
    kinds = set(text.to_dict().get("layer_types") or ()) - {"full_attention"}
    scaled = [
        name
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")
        if text.to_dict().get(name) not in (None, 1.0)
    ]
    reason = None
    if kinds:
        reason = f"has layers of the kind {', '.join(sorted(kinds))}, expected full_attention"
    elif scaled:
        reason = f"changes its logits by {', '.join(scaled)}, expected a plain output head"
    elif any(hasattr(p, "ds_id") for p in base.parameters()):
        reason = (
            "is partitioned by ZeRO-3, whose ranks must call every layer equally often, and packs "
            "differ in number; ZeRO-2 has no such need"
        )
    if reason:
        raise ConfigError(f"no packed form: {type(base).__name__} {reason}")


def own_positions(
    backbone: Any,
    ids_P: torch.Tensor,
    images: Mapping[str, torch.Tensor],
    token_types_P: torch.Tensor | None,
) -> torch.Tensor:
    """Returns (A, P): the model's own positions of a text with its images."""
    ids_1P = ids_P[None]
    if "image_grid_thw" not in images or not hasattr(backbone, "get_rope_index"):
        return torch.arange(ids_1P.shape[1], device=ids_1P.device)[None]
    if token_types_P is None:
        token_types_P = (ids_P == backbone.config.image_token_id).int()
    positions_A1P, _ = backbone.get_rope_index(
        ids_1P, mm_token_type_ids=token_types_P[None], image_grid_thw=images["image_grid_thw"]
    )
    return positions_A1P[:, 0]


def run_backbone(
    backbone: Any,
    ids_N: torch.Tensor,
    positions_AN: torch.Tensor,
    spans: Sequence[GroupSpan],
    features: Sequence[Any],
) -> torch.Tensor:
    """Returns (N, hidden size): the last hidden states of a pack.

    Args:
        backbone: the model without its output head.
        ids_N: token ids.
        positions_AN: of every token, where it stands in its own text.
        spans: what attends to what.
        features: those of images, in the order of their placeholders.
    """
    return backbone(
        input_ids=ids_N[None],
        # one axis (1, N), several (A, 1, N)
        position_ids=positions_AN if len(positions_AN) == 1 else positions_AN[:, None],
        # a mask of four axes is passed on as it is; without one, some models would build
        # (N, N) from the positions
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids_N.device),
        use_cache=False,
        shared_prefix_spans=spans,
        **({"mm_encoder_outputs": {"image": joined(features)}} if features else {}),
    ).last_hidden_state[0]


def score(
    head: Any,
    hidden_SH: torch.Tensor,
    labels_S: torch.Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    with_top1: bool = False,
    logits_at_once: int = LOGITS_AT_ONCE,
    num_tokens: int,
) -> Scored:
    """Returns what the output head says of the labels.

    Args:
        head: the output head.
        hidden_SH: what goes through it.
        labels_S: the tokens that came next.
        temperature: logits are divided by it.
        with_entropy: also compute entropies.
        with_top1: also say which labels are the likeliest token.
        logits_at_once: most numbers in the logits of a chunk.
        num_tokens: S of all packs of the call.
    """
    size = max(1, logits_at_once // head.weight.shape[0])
    score_one = functools.partial(_score_chunk, head, temperature, with_entropy, with_top1)
    if num_tokens > size and torch.is_grad_enabled():
        # else the logits of every chunk would be kept for backward
        score_one = functools.partial(checkpoint, score_one, use_reentrant=False)
    chunks = [
        score_one(hidden, labels)
        for hidden, labels in zip(hidden_SH.split(size), labels_S.split(size), strict=True)
    ]
    logprobs_S, entropies_S, is_top1_S = zip(*chunks, strict=True)
    return torch.cat(logprobs_S), concatenated(entropies_S), concatenated(is_top1_S)


def concatenated(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Returns parts one after the other; None where they are None."""
    given = [part for part in parts if part is not None]
    return torch.cat(given) if given else None


def _score_chunk(
    head: Any,
    temperature: float,
    with_entropy: bool,
    with_top1: bool,
    hidden_SH: torch.Tensor,
    labels_S: torch.Tensor,
) -> Scored:
    if not torch.is_autocast_enabled(hidden_SH.device.type):
        hidden_SH = hidden_SH.to(head.weight.dtype)
    logits_SV = head(hidden_SH)
    logprobs_S, entropies_S = token_logprobs(logits_SV, labels_S, temperature, with_entropy)
    is_top1_S = logits_SV.detach().argmax(dim=-1) == labels_S if with_top1 else None
    return logprobs_S, entropies_S, is_top1_S
