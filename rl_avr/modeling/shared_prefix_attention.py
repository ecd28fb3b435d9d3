"""Attention over packs of shared prompts, as an attention function of transformers.

The tokens of a pack are one sequence for every other part of a model. Here each prompt
attends to itself, and its completions attend in two parts, to the prompt's keys and to
their own; softmax over both is put together from the log of each part's sum:

    out = w * out_prompt + (1 - w) * out_own,   w = sigmoid(log_sum_prompt - log_sum_own)

The completions of a group are one long query for the prompt's keys, which are neither
copied nor masked, and a batch for their own. Backward of a part is the fused kernel's own,
given the output and log of the sum over both parts.

Forward and backward of one layer, 32 completions of 150 tokens behind a prompt of 1,000,
float32, two cores, milliseconds (each side in the same run):

    heads x size                          4 x 32        12 x 64
    plain rows                       356 + 1,176  2,015 + 4,308
    two parts, by log-sum-exp (here)   144 + 320      194 + 430
    keys of both parts concatenated    160 + 504      317 + 697
    matmul and softmax, no fused kernel 331 + 676    547 + 1,148
    a dense mask                       720 + 984              -

Elsewhere than on a CPU the same two parts run on FlexAttention. A CPU checks its output and
the gradient of how the parts are put together; it has not run on a GPU.

N: tokens of a pack, H: heads, D: size of a head, S: tokens of a group's completions.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention
from transformers import AttentionInterface
from transformers.modeling_layers import GradientCheckpointingLayer

from rl_avr.algo.shared_prefix import GroupSpan
from rl_avr.errors import ConfigError

IMPLEMENTATION = "rl_avr_shared_prefix"
"""Name of the attention function; a model's config has it only while a layer runs."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def enable_shared_prefix_attention(decoder: Any) -> None:
    """Lets the layers of a language model attend by `shared_prefix_spans` where they get it.

    A layer that is called without this keyword runs as before, with the implementation
    that its config names. The switch is made around each layer's call and not around the
    model's, because gradient checkpointing calls layers again, long after the model's
    forward has returned.
    """
    AttentionInterface.register(IMPLEMENTATION, shared_prefix_attention)
    for module in decoder.modules():
        if isinstance(module, GradientCheckpointingLayer):
            switch = _Switch(decoder.config)
            module.register_forward_pre_hook(switch.on, with_kwargs=True)
            module.register_forward_hook(switch.off, with_kwargs=True, always_call=True)


class _Switch:
    """Names the attention function in a config while one layer runs."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._before: str | None = None

    def on(self, layer: Any, args: Any, kwargs: dict[str, Any]) -> None:
        chosen = self._config._attn_implementation
        if "shared_prefix_spans" in kwargs and chosen != IMPLEMENTATION:
            self._before = chosen
            self._config._attn_implementation = IMPLEMENTATION

    def off(self, layer: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._before is not None:
            self._config._attn_implementation = self._before
            self._before = None


def shared_prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    shared_prefix_spans: Sequence[GroupSpan],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Returns (1, N, H, D), and None in the place of attention weights.

    Args:
        module: the attention module.
        query: (1, H, N, D), rotated.
        key: (1, H / n, N, D), rotated; n query heads share one.
        value: (1, H / n, N, D).
        attention_mask: not read.
        shared_prefix_spans: the groups of the pack.
        scaling: of query * key; 1 / sqrt(D) where None.
        dropout, sliding_window, softcap, s_aux: refused.

    Raises:
        ConfigError: the layer has attention dropout, a sliding window, a soft cap or sinks.
    """
    if dropout or sliding_window is not None or softcap is not None or s_aux is not None:
        raise ConfigError(
            f"{type(module).__name__} asks for attention dropout, a sliding window, a soft cap or "
            "sinks; shared-prefix attention has none of them: use the plain path"
        )
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key = key.repeat_interleave(shared, dim=1)
        value = value.repeat_interleave(shared, dim=1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cpu":
        out = _FlashParts.apply(query, key, value, shared_prefix_spans, scale)
    else:
        out = parts_by(flex, query, key, value, shared_prefix_spans, scale)
    return out.transpose(1, 2), None


class _FlashParts(torch.autograd.Function):
    """Both parts on the fused kernel of the CPU, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        q_1HND: torch.Tensor,
        k_1HND: torch.Tensor,
        v_1HND: torch.Tensor,
        spans: Sequence[GroupSpan],
        scale: float,
    ) -> torch.Tensor:
        # a token's heads side by side, as the model joins them next
        out = torch.empty_like(q_1HND.transpose(1, 2), memory_format=torch.contiguous_format)
        out_1HND = out.transpose(1, 2)
        log_sum_1HN = torch.empty(
            q_1HND.shape[:3], dtype=torch.promote_types(q_1HND.dtype, torch.float32)
        )
        for span in spans:
            prompt, rest = _slices(span)
            qkv_prompt = [x[:, :, prompt] for x in (q_1HND, k_1HND, v_1HND)]
            qkv_rest = [x[:, :, rest] for x in (q_1HND, k_1HND, v_1HND)]
            for block in span.blocks:
                own = slice(rest.start + block.start, rest.start + block.end)
                part, log_sum = _flash(*map(block.padded, qkv_rest), 0.0, True, scale=scale)
                out_1HND[:, :, own] = block.unpadded(part)
                log_sum_1HN[:, :, own] = block.unpadded(log_sum)
            if span.completions_start > span.start:
                out_1HND[:, :, prompt], log_sum_1HN[:, :, prompt] = _flash(
                    *qkv_prompt, 0.0, True, scale=scale
                )
                part, log_sum = _flash(qkv_rest[0], *qkv_prompt[1:], 0.0, False, scale=scale)
                weight = torch.sigmoid(log_sum - log_sum_1HN[:, :, rest]).unsqueeze(-1)
                out_1HND[:, :, rest].lerp_(part, weight.to(part.dtype))
                log_sum_1HN[:, :, rest] = torch.logaddexp(log_sum, log_sum_1HN[:, :, rest])
        ctx.save_for_backward(q_1HND, k_1HND, v_1HND, out_1HND, log_sum_1HN)
        ctx.spans, ctx.scale = spans, scale
        return out_1HND

    @staticmethod
    def backward(ctx: Any, grad_1HND: torch.Tensor) -> tuple[Any, ...]:
        q_1HND, k_1HND, v_1HND, out_1HND, log_sum_1HN = ctx.saved_tensors
        inputs = (grad_1HND, q_1HND, k_1HND, v_1HND, out_1HND, log_sum_1HN)
        grads = dq, dk, dv = [torch.empty_like(x) for x in (q_1HND, k_1HND, v_1HND)]
        for span in ctx.spans:
            prompt, rest = _slices(span)
            at_prompt = [x[:, :, prompt] for x in inputs]
            at_rest = [x[:, :, rest] for x in inputs]
            for block in span.blocks:
                own = slice(rest.start + block.start, rest.start + block.end)
                parts = _flash_backward(*map(block.padded, at_rest), 0.0, True, scale=ctx.scale)
                for grad, part in zip(grads, parts, strict=True):
                    grad[:, :, own] = block.unpadded(part)
            if span.completions_start > span.start:
                parts = _flash_backward(*at_prompt, 0.0, True, scale=ctx.scale)
                for grad, part in zip(grads, parts, strict=True):
                    grad[:, :, prompt] = part
                across = [*at_rest[:2], *at_prompt[2:4], *at_rest[4:]]
                dq_part, dk_part, dv_part = _flash_backward(*across, 0.0, False, scale=ctx.scale)
                dq[:, :, rest] += dq_part
                dk[:, :, prompt] += dk_part
                dv[:, :, prompt] += dv_part
        return dq, dk, dv, None, None


_Attend = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def parts_by(
    attend: _Attend,
    q_1HND: torch.Tensor,
    k_1HND: torch.Tensor,
    v_1HND: torch.Tensor,
    spans: Sequence[GroupSpan],
    scale: float,
) -> torch.Tensor:
    """Returns (1, H, N, D): both parts by an attention that also gives the log of its sum.

    Args:
        attend: q, k, v, `is_causal` and `scale` -> output and log-sum-exp, both with gradient.
        q_1HND: rotated queries.
        k_1HND: rotated keys.
        v_1HND: values.
        spans: the groups of the pack.
        scale: of query * key.
    """
    outs = []
    for span in spans:
        prompt, rest = _slices(span)
        qkv_prompt = [x[:, :, prompt] for x in (q_1HND, k_1HND, v_1HND)]
        qkv_rest = [x[:, :, rest] for x in (q_1HND, k_1HND, v_1HND)]
        own = [
            (block, *attend(*map(block.padded, qkv_rest), is_causal=True, scale=scale))
            for block in span.blocks
        ]
        out = torch.cat([block.unpadded(part) for block, part, _ in own], dim=2)
        if span.completions_start > span.start:
            log_sum = torch.cat([block.unpadded(part) for block, _, part in own], dim=2)
            outs.append(attend(*qkv_prompt, is_causal=True, scale=scale)[0])
            part, part_sum = attend(qkv_rest[0], *qkv_prompt[1:], is_causal=False, scale=scale)
            weight = torch.sigmoid(part_sum - log_sum).unsqueeze(-1)
            out = out.lerp(part, weight.to(out.dtype))
        outs.append(out)
    return torch.cat(outs, dim=2)


def flex(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns FlexAttention's output and log-sum-exp; on a CPU it has no backward."""
    mask = None
    if is_causal:
        mask = create_block_mask(_causal, None, None, q.shape[2], k.shape[2], device=q.device)
    run = flex_attention if q.device.type == "cpu" else _compiled_flex()
    out, aux = run(q, k, v, block_mask=mask, scale=scale, return_aux=AuxRequest(lse=True))
    return out, aux.lse


@cache
def _compiled_flex() -> Any:
    # lengths change with every batch
    return torch.compile(flex_attention, dynamic=True)


def _causal(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return query >= key


def _slices(span: GroupSpan) -> tuple[slice, slice]:
    return slice(span.start, span.completions_start), slice(span.completions_start, span.end)
