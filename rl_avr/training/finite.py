"""A step whose loss or gradients are not finite stops the run before it touches the weights.

The loss is looked at before backward. Gradients are looked at when the last batch of a step
is through and nothing has clipped them yet: one pass over them, one wait for the device.
DeepSpeed steps inside backward, so there each gradient is looked at as it comes.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from rl_avr.errors import UpdateError

_SHOWN = 8


def check_loss(loss: torch.Tensor, step: int, prompt_ids: Sequence[str]) -> None:
    """Refuses a loss that is no finite number.

    Args:
        loss: () of one batch.
        step: optimizer steps done so far.
        prompt_ids: of the batch.

    Raises:
        UpdateError: with the step, the prompts and what to do.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise UpdateError(_message(f"the loss is {value}", step, prompt_ids))


def check_gradients(model: Any, step: int, prompt_ids: Sequence[str]) -> None:
    """Refuses gradients that are not finite, before they are clipped.

    Args:
        model: the policy after backward; parameters without a gradient are passed over.
        step: optimizer steps done so far.
        prompt_ids: of all batches of the step.

    Raises:
        UpdateError: with the first tensor, how many there are, and what to do.
    """
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    if not named:
        return
    gradients = [gradient.detach() for _, gradient in named]
    # the largest magnitude: a sum of finite squares may overflow
    if bool(torch.nn.utils.get_total_norm(gradients, math.inf).isfinite()):
        return
    broken = [name for name, gradient in named if not bool(gradient.isfinite().all())]
    what = f"the gradient of {broken[0]} is not finite"
    more = f", and those of {len(broken) - 1} more of {len(named)} tensors" * (len(broken) > 1)
    raise UpdateError(_message(what + more, step, prompt_ids))


class Now:
    """Where a run is: the step, and the prompts that its gradients come from so far."""

    def __init__(self) -> None:
        self.step = 0
        self.prompt_ids: list[str] = []

    def enter(self, step: int, prompt_ids: Sequence[str]) -> None:
        """Takes in one more batch; a new step forgets the prompts of the last one."""
        if step != self.step:
            self.step, self.prompt_ids = step, []
        self.prompt_ids += prompt_ids


def watch_gradients(named: Iterable[tuple[str, torch.nn.Parameter]], now: Now) -> None:
    """Lets backward itself stop at the first gradient that is not finite.

    Args:
        named: parameters that are trained.
        now: says at which step and with which prompts backward is.
    """
    for name, parameter in named:
        if parameter.requires_grad:
            parameter.register_hook(_Watch(name, now))


class _Watch:
    def __init__(self, name: str, now: Now) -> None:
        self._name, self._now = name, now

    def __call__(self, gradient: torch.Tensor) -> None:
        if not bool(gradient.isfinite().all()):
            what = f"the gradient of {self._name} is not finite"
            raise UpdateError(_message(what, self._now.step, self._now.prompt_ids))


def _message(what: str, step: int, prompt_ids: Sequence[str]) -> str:
    names = list(dict.fromkeys(prompt_ids))
    shown = ", ".join(names[:_SHOWN]) + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    return (
        f"step {step}: {what}; expected finite numbers. The weights are untouched and the last "
        f"checkpoint is whole. Prompts of the step: {shown}. Go on from the checkpoint with a "
        "lower trainer.learning_rate or a smaller trainer.max_grad_norm; if the same step "
        "breaks again, look at these prompts' rollouts and rewards"
    )
