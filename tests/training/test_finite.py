"""A step with a number that is none is refused before it touches the weights."""

import pytest
import torch

from rl_avr.errors import UpdateError
from rl_avr.training.config import RunConfig
from rl_avr.training.finite import Now, check_gradients, check_loss, watch_gradients
from rl_avr.training.run_folder import last_checkpoint
from tests.training.tiny_run import make_run, prompts, weights  # noqa: F401

BROKEN_AT = 2
NAME = "model.language_model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):  # noqa: F811
    return lambda **block: make_run(tmp_path, tiny_folder, processor, prompts, **block)


def break_loss(trainer, value):
    """Makes the second batch of a step weigh its first completion by no number."""
    real = trainer._compute_loss

    def broken(model, inputs):
        is_second = trainer._step % 2 == 1
        if trainer.state.global_step == BROKEN_AT and is_second:
            inputs["advantages"][0] = value
        return real(model, inputs)

    trainer._compute_loss = broken
    trainer._check_parity = lambda output: None


def break_gradient(trainer, value):
    parameter = dict(trainer.model.named_parameters())[NAME]

    def hook(gradient):
        if trainer.state.global_step == BROKEN_AT:
            gradient = gradient.clone()
            gradient[0, 0] = value
        return gradient

    parameter.register_hook(hook)


def refused(trainer):
    """Trains until the refusal; returns its message and the weights before and after the step."""
    before = {}
    real = trainer._prepare_inputs

    def remember(batch):
        before.update(weights(trainer))
        return real(batch)

    trainer._prepare_inputs = remember
    with pytest.raises(UpdateError) as error, trainer.collector:
        trainer.train()
    return str(error.value), before, weights(trainer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])
@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_the_weights_are_those_before_the_step(make, tmp_path, broken, value, max_grad_norm):
    trainer = make(max_grad_norm=max_grad_norm)
    {"loss": break_loss, "gradient": break_gradient}[broken](trainer, value)
    message, before, after = refused(trainer)
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert all(weight.isfinite().all() for weight in after.values())
    assert message.startswith(f"step {BROKEN_AT}: the ")
    assert "the loss is" in message if broken == "loss" else f"gradient of {NAME} is" in message
    asked = [group.group.prompt.prompt_id for group in trainer.groups]
    named = [name for name in asked if name in message]
    assert len(named) == (2 if broken == "loss" else 4)
    assert "lower trainer.learning_rate" in message


def test_a_run_goes_on_from_the_checkpoint_before_the_refused_step(make, tmp_path):
    trainer = make()
    break_gradient(trainer, float("nan"))
    _, before, _ = refused(trainer)
    checkpoint = last_checkpoint(RunConfig(dir=str(tmp_path)))
    assert checkpoint.endswith(f"checkpoint-{BROKEN_AT}")
    second = make(max_steps=BROKEN_AT)
    second.train(resume_from_checkpoint=checkpoint)
    assert all(torch.equal(before[name], weight) for name, weight in weights(second).items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_finite_number(value):
    check_loss(torch.tensor(1e38), 3, ["a"])
    with pytest.raises(UpdateError, match="step 3: the loss is .*Prompts of the step: a, b. Go"):
        check_loss(torch.tensor(value), 3, ["a", "b", "a"])


def test_the_first_gradient_is_named_and_the_others_counted():
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e38)
    check_gradients(model, 0, [])
    model[2].bias.grad = None
    model[1].weight.grad[1, 0] = float("nan")
    model[1].bias.grad[0] = float("-inf")
    with pytest.raises(UpdateError, match="gradient of 1.weight .* those of 1 more of 5 tensors"):
        check_gradients(model, 0, [str(i) for i in range(12)])


def test_a_model_without_gradients_is_left_alone():
    check_gradients(torch.nn.Linear(2, 2), 0, [])


def test_backward_stops_at_a_watched_gradient():
    """Where the optimizer steps inside backward there is no later place to look."""
    layer, now = torch.nn.Linear(1, 1), Now()
    now.enter(4, ["a"])
    now.enter(5, ["b"])
    now.enter(5, ["c"])
    watch_gradients(layer.named_parameters(), now)
    layer(torch.ones(1)).sum().backward()
    with pytest.raises(UpdateError, match="step 5: the gradient of .* step: b, c. Go"):
        (layer(torch.ones(1)).sum() * float("inf")).backward()
