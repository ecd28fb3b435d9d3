"""What of a policy is trained and how fast: freezing, adapters, learning rates by part."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import LearningRatesConfig, LoraConfig, PolicyConfig
from rl_avr.modeling.freezing import PARTS, part_of, trained_by, trained_parts
from rl_avr.training.grpo import check_lora
from rl_avr.training.policy_parts import choose_trained, set_learning_rates

RATE = 1e-2
ROWS = [{"input_ids": [9, 8, 20 + i, 300], "labels": [9, 8, 20 + i, 300]} for i in range(4)]


def make_trainer(model, tmp_path, **arguments):
    arguments = {
        "output_dir": str(tmp_path),
        "max_steps": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.1,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "max_grad_norm": 0.0,
        **arguments,
    }
    return Trainer(model, TrainingArguments(**arguments), train_dataset=Dataset.from_list(ROWS))


@pytest.fixture
def moved(tiny_folder, tmp_path):
    """Returns (learning rates, trainer's arguments) -> how far each weight of a policy went."""
    from rl_avr.modeling.loading import load_policy

    def move(rates, **arguments):
        model = load_policy(PolicyConfig(path=str(tiny_folder)))
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        trainer = make_trainer(model, tmp_path, **arguments)
        set_learning_rates(trainer, rates)
        trainer.train()
        return {name: p.detach() - before[name] for name, p in model.named_parameters()}

    return move


def test_without_rates_of_their_own_nothing_is_touched(model, tmp_path):
    trainer = make_trainer(model, tmp_path)
    set_learning_rates(trainer, LearningRatesConfig())
    assert trainer.optimizer_cls_and_kwargs is None


@pytest.mark.parametrize("rates", [{"language_model": RATE}, dict.fromkeys(PARTS, RATE)])
def test_the_trainer_s_own_rate_by_part_trains_bit_for_bit_alike(moved, rates):
    arguments = {"max_steps": 3, "max_grad_norm": 1.0, "lr_scheduler_type": "linear"}
    plain = moved(LearningRatesConfig(), **arguments)
    split = moved(LearningRatesConfig(**rates), **arguments)
    assert any(step.abs().max() > 0 for step in plain.values())
    assert all(torch.equal(split[name], step) for name, step in plain.items())


def test_a_part_goes_as_far_as_its_rate_says(moved):
    """Plain gradient descent: a step is the rate times the gradient."""
    plain = moved(LearningRatesConfig(), optim="sgd", weight_decay=0.0)
    slow = moved(LearningRatesConfig(language_model=RATE / 8), optim="sgd", weight_decay=0.0)
    compared = [name for name, step in plain.items() if step.abs().max() > 0]
    assert compared
    for name in compared:
        assert torch.allclose(slow[name], plain[name] / 8, rtol=1e-2, atol=1e-7), name


def test_the_groups_are_the_trainer_s_own_once_for_each_rate(model, tmp_path):
    trainer = make_trainer(model, tmp_path)
    set_learning_rates(trainer, LearningRatesConfig(vision_tower=1e-4, connector=1e-3))
    groups = trainer.create_optimizer().param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = set(trainer.get_decay_parameter_names(model))
    rates = {"language_model": RATE, "vision_tower": 1e-4, "connector": 1e-3}
    seen = []
    for group in groups:
        found = [names[id(p)] for p in group["params"]]
        assert {rates[part_of(name)] for name in found} == {group["lr"]}
        assert {0.1 if name in decayed else 0.0 for name in found} == {group["weight_decay"]}
        seen += found
    assert sorted(seen) == sorted(names.values())
    assert groups[0]["lr"] == RATE  # the rate that is logged


def test_adapters_have_the_rate_of_their_part(model, tmp_path):
    import peft

    policy = PolicyConfig(freeze=("vision_tower",), lora=LoraConfig(rank=4))
    model = peft.get_peft_model(model, choose_trained(model, policy, trained_by(policy.freeze)))
    trainer = make_trainer(model, tmp_path)
    set_learning_rates(trainer, LearningRatesConfig(connector=1e-3))
    rates = {id(p): g["lr"] for g in trainer.create_optimizer().param_groups for p in g["params"]}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == len(rates) == 2 * (7 + 2)
    for name, parameter in trained.items():
        assert rates[id(parameter)] == (1e-3 if ".merger." in name else RATE)


def test_a_rate_of_a_frozen_part_is_refused(model, tmp_path):
    choose_trained(model, PolicyConfig(), ("language_model",))
    trainer = make_trainer(model, tmp_path)
    with pytest.raises(ConfigError, match=r"learning_rates\.connector: nothing of the connector"):
        set_learning_rates(trainer, LearningRatesConfig(connector=1e-3))


def test_an_optimizer_with_groups_of_its_own_is_refused(model):
    trainer = SimpleNamespace(
        model=model,
        args=SimpleNamespace(optim=SimpleNamespace(value="galore_adamw")),
        get_optimizer_cls_and_kwargs=lambda args, model: (torch.optim.AdamW, {"params": []}),
    )
    with pytest.raises(
        ConfigError, match="trainer.optim galore_adamw groups the parameters itself"
    ):
        set_learning_rates(trainer, LearningRatesConfig(connector=1e-3))


def test_a_rate_that_is_no_rate_is_refused():
    with pytest.raises(ConfigError, match="^connector: expected a number > 0, got 0"):
        LearningRatesConfig(connector=0.0)


def test_nothing_frozen_leaves_the_policy_as_it_was_loaded(model):
    assert choose_trained(model, PolicyConfig(freeze=()), PARTS) is None
    assert trained_parts(model) == set(PARTS)
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_parts_stay_frozen(model):
    policy = PolicyConfig(freeze=("connector",))
    assert choose_trained(model, policy, trained_by(policy.freeze)) is None
    assert trained_parts(model) == {"vision_tower", "language_model"}


def test_dropout_is_refused_where_an_engine_samples():
    check_lora(PolicyConfig(lora=LoraConfig(rank=4)))
    check_lora(PolicyConfig(lora=LoraConfig(rank=0, dropout=0.1)))
    with pytest.raises(ConfigError, match="policy.lora.dropout 0.1: .*expected 0 with GRPO"):
        check_lora(PolicyConfig(lora=LoraConfig(rank=4, dropout=0.1)))
