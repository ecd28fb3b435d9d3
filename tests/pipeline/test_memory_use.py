"""Memory: what autograd keeps, and what an optimizer will keep."""

from types import SimpleNamespace

import pytest
import torch

from rl_avr.pipeline.memory_use import _optimizer_row, kept_for_backward


def test_what_is_kept_for_backward_is_counted_once_and_without_weights():
    layer = torch.nn.Linear(16, 32, bias=False)
    inputs = torch.ones(8, 16, requires_grad=True)
    with kept_for_backward(layer) as kept:
        hidden = layer(inputs)
        # squaring keeps `hidden`, and so does the sine of it: one storage
        loss = (hidden.square() + hidden.sin()).sum()
    assert kept.num_bytes == 4 * (8 * 16 + 8 * 32)
    loss.backward()
    assert layer.weight.grad is not None


def test_without_a_gradient_nothing_is_kept():
    layer = torch.nn.Linear(4, 4)
    with kept_for_backward(layer) as kept, torch.no_grad():
        layer(torch.ones(2, 4)).square().sum()
    assert kept.num_bytes == 0


@pytest.mark.parametrize(
    ("optimizer", "options", "expected"),
    [
        (torch.optim.AdamW, {}, 8),
        (torch.optim.SGD, {}, 0),
        (torch.optim.SGD, {"momentum": 0.9}, 4),
    ],
)
def test_an_optimizer_is_asked_what_it_keeps(optimizer, options, expected):
    trained = [torch.nn.Parameter(torch.ones(10, 3)), torch.nn.Parameter(torch.ones(7))]
    trainer = SimpleNamespace(
        args=SimpleNamespace(optim=SimpleNamespace(value="any")),
        model=None,
        get_optimizer_cls_and_kwargs=lambda args, model: (optimizer, options),
    )
    row = _optimizer_row(trainer, trained)
    assert row.num_bytes == expected * 37
    assert _optimizer_row(trainer, []).num_bytes == 0
