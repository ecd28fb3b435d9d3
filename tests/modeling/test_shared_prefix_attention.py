"""Both parts of attention against one softmax under a dense mask."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rl_avr.algo.shared_prefix import make_packs
from rl_avr.errors import ConfigError
from rl_avr.modeling.shared_prefix_attention import flex, parts_by, shared_prefix_attention

LENGTHS = torch.tensor([[4, 1, 9, 9], [5, 5, 0, 5], [1, 2, 3, 4]])
PROMPT_LENGTHS = (11, 6, 1)


def pack_of(prompt_lengths, lengths):
    mask = torch.arange(lengths.max()) < lengths.flatten()[:, None]
    prompts = [torch.ones(n, dtype=torch.long) for n in prompt_lengths]
    (pack,) = make_packs(prompts, torch.ones(mask.shape, dtype=torch.long), mask)
    return pack


def dense_mask(pack):
    """Token i sees j: the prompt's part of its group, or its own completion, up to itself."""
    num_tokens = len(pack.ids_N)
    group, completion = torch.zeros(num_tokens), torch.full((num_tokens,), -1)
    for number, span in enumerate(pack.spans):
        group[span.start : span.end] = number
    completion[pack.completion_index_S] = pack.rows_S
    earlier = torch.ones(num_tokens, num_tokens).tril().bool()
    same = completion[:, None] == completion
    return earlier & (group[:, None] == group) & (same | (completion == -1))


@pytest.fixture
def pack():
    return pack_of(PROMPT_LENGTHS, LENGTHS)


def qkv(pack, num_kv_heads=4, dtype=torch.float32):
    torch.manual_seed(0)
    shapes = [(1, len(pack.ids_N), heads, 8) for heads in (4, num_kv_heads, num_kv_heads)]
    return [torch.randn(s, dtype=dtype).transpose(1, 2).requires_grad_() for s in shapes]


def two_parts(inputs, pack, **kwargs):
    out, weights = shared_prefix_attention(
        torch.nn.Identity(), *inputs, None, shared_prefix_spans=pack.spans, **kwargs
    )
    assert weights is None
    return out.transpose(1, 2)


def by_hand(q, k, v, *, is_causal, scale):
    scores = q @ k.transpose(-1, -2) * scale
    if is_causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), -torch.inf)
    log_sum = scores.logsumexp(-1)
    return (scores - log_sum[..., None]).exp() @ v, log_sum


def parts_by_hand(inputs, pack, scaling):
    return parts_by(by_hand, *inputs, pack.spans, scaling)


def test_the_parts_on_flex_attention_have_the_same_output(pack):
    """Its backward runs on a GPU alone."""
    inputs = [x.detach() for x in qkv(pack)]
    found = parts_by(flex, *inputs, pack.spans, 0.3)
    assert torch.allclose(found, two_parts(inputs, pack, scaling=0.3), atol=1e-6)


@pytest.mark.parametrize("attend", [two_parts, parts_by_hand])
def test_output_and_gradients_are_those_of_a_dense_mask(attend, pack):
    inputs = qkv(pack)
    expected = scaled_dot_product_attention(*inputs, attn_mask=dense_mask(pack), scale=0.3)
    found = attend(inputs, pack, scaling=0.3)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.randn_like(expected)
    for one, two in zip(
        torch.autograd.grad(found, inputs, weights),
        torch.autograd.grad(expected, inputs, weights),
        strict=True,
    ):
        assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("num_kv_heads", [1, 2])
def test_query_heads_may_share_keys(pack, num_kv_heads):
    inputs = qkv(pack, num_kv_heads)
    mask = dense_mask(pack)
    expected = scaled_dot_product_attention(*inputs, attn_mask=mask, enable_gqa=True)
    found = two_parts(inputs, pack)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.randn_like(expected)
    for one, two in zip(
        torch.autograd.grad(found, inputs, weights),
        torch.autograd.grad(expected, inputs, weights),
        strict=True,
    ):
        assert torch.allclose(one, two, atol=1e-5)


def test_a_group_does_not_depend_on_what_lies_beside_it(pack):
    inputs = qkv(pack)
    span = pack.spans[1]
    other = [x.detach().clone() for x in inputs]
    for x in other:
        x[:, :, : span.start] = 100.0
        x[:, :, span.end :] = -100.0
    one, two = (two_parts(x, pack)[:, :, span.start : span.end] for x in (inputs, other))
    assert torch.equal(one, two)


def test_large_scores_stay_finite(pack):
    inputs = [x * 1e3 for x in qkv(pack)]
    out = two_parts(inputs, pack)
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), inputs))


def test_bfloat16_stays_near_float32(pack):
    exact = two_parts(qkv(pack), pack)
    inputs = [x.detach().bfloat16().requires_grad_() for x in qkv(pack)]
    out = two_parts(inputs, pack)
    out.sum().backward()
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).abs().max() < 0.03
    assert all(torch.isfinite(x.grad).all() for x in inputs)


def test_autocast_decides_the_precision(pack):
    with torch.autocast("cpu", torch.bfloat16):
        assert two_parts(qkv(pack), pack).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "kwargs",
    [{"dropout": 0.1}, {"sliding_window": 8}, {"softcap": 30.0}, {"s_aux": torch.zeros(4)}],
)
def test_what_the_parts_cannot_do_is_refused(pack, kwargs):
    with pytest.raises(ConfigError, match="Identity asks for attention dropout"):
        two_parts(qkv(pack), pack, **kwargs)
