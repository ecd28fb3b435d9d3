"""Logprobs and entropies of single tokens, and their gradients."""

import math

import pytest
import torch

from rl_avr.algo.token_logprobs import token_logprobs


def test_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    logprobs, entropies = token_logprobs(logits, torch.tensor([1]))
    assert logprobs.item() == pytest.approx(math.log(0.75))
    assert entropies.item() == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
    # temperature 2 takes the root of the odds
    logprobs, _ = token_logprobs(logits, torch.tensor([1]), temperature=2.0)
    assert logprobs.item() == pytest.approx(math.log(math.sqrt(3) / (1 + math.sqrt(3))))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("of_logprobs", "of_entropies"), [(1, 0), (0, 1), (1, 1)])
def test_gradients_are_those_of_log_softmax(temperature, of_logprobs, of_entropies):
    torch.manual_seed(0)
    logits = torch.randn(5, 9, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(9, (5,))
    weights = torch.randn(2, 5, dtype=torch.float64)
    reference = torch.log_softmax(logits / temperature, -1)
    terms = (reference.gather(-1, labels[:, None])[:, 0], -(reference.exp() * reference).sum(-1))

    def loss(logprobs, entropies):
        parts = [(weights[0] * logprobs).sum()] * of_logprobs
        return sum(parts + [(weights[1] * entropies).sum()] * of_entropies)

    (expected,) = torch.autograd.grad(loss(*terms), logits)
    found = token_logprobs(logits, labels, temperature)
    for one, two in zip(found, terms, strict=True):
        assert torch.allclose(one, two, atol=1e-12)
    (gradient,) = torch.autograd.grad(loss(*found), logits)
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_logits_are_left_as_they_are_and_entropies_can_be_left_out():
    logits = torch.randn(3, 4, requires_grad=True)
    before = logits.detach().clone()
    logprobs, entropies = token_logprobs(logits, torch.tensor([0, 1, 3]), with_entropy=False)
    logprobs.sum().backward()
    assert entropies is None
    assert torch.equal(logits.detach(), before)
    assert torch.isfinite(logits.grad).all()


def test_half_precision_is_computed_in_float32():
    logits = torch.randn(3, 50).bfloat16().requires_grad_()
    logprobs, entropies = token_logprobs(logits, torch.tensor([0, 1, 3]))
    assert logprobs.dtype == entropies.dtype == torch.float32
    expected = torch.log_softmax(logits.detach().float(), -1)[range(3), [0, 1, 3]]
    assert torch.allclose(logprobs, expected, atol=1e-6)
    logprobs.sum().backward()
    assert logits.grad.dtype == torch.bfloat16


def test_a_masked_token_has_neither_entropy_nor_gradient():
    logits = torch.tensor([[1.0, -1e4, 2.0]], requires_grad=True)
    logprobs, entropies = token_logprobs(logits, torch.tensor([0]))
    (logprobs + entropies).sum().backward()
    assert torch.isfinite(entropies).all()
    assert logits.grad[0, 1] == 0
