"""Runs whose folder holds another run's checkpoints, and those whose reference policy moves."""

from types import SimpleNamespace

import pytest
import torch
from transformers import set_seed

from rl_avr.errors import ConfigError, DataError
from rl_avr.training.grpo_checkpoints import GrpoCheckpoints
from tests.training.test_resume import (
    KILLED_AT,
    POINTS,
    STEPS,
    Killed,
    steps_and_prompts,
    train,
)
from tests.training.tiny_run import GROUP, make_run, prompts, weights  # noqa: F401


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):  # noqa: F811
    def made(name, **block):
        set_seed(0)
        return make_run(tmp_path / name, tiny_folder, processor, prompts, **block)

    return made


def differing(found, expected):
    assert expected.keys() == found.keys()
    return [name for name in expected if not torch.equal(found[name], expected[name])]


def starts_anew(trainer):
    """Trains as `run.resume false` does."""
    with trainer.collector.engine, trainer.collector:
        trainer.train()


def test_a_run_that_starts_anew_and_is_killed_is_not_led_back_to_the_old_one(make, tmp_path):
    """The old one has come further, and ended with other weights."""
    whole = make("whole")
    train(whole, tmp_path / "whole")
    train(make("run", learning_rate=3e-2), tmp_path / "run")
    first = make("run")
    POINTS["before the optimizer's step"](first)
    with pytest.raises(Killed):
        starts_anew(first)
    checkpoints = tmp_path / "run/checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {
        f"checkpoint-{step}" for step in range(1, KILLED_AT + 1)
    }
    assert len(list((checkpoints / "given_up").iterdir())) == STEPS
    second = make("run")
    train(second, tmp_path / "run")
    assert differing(weights(second), weights(whole)) == []
    assert steps_and_prompts(tmp_path / "run") == steps_and_prompts(tmp_path / "whole")


MOVING = {"beta": 0.5, "sync_ref_model": True, "ref_model_sync_steps": 1}


def test_a_reference_that_moves_goes_on_bit_for_bit(make, tmp_path):
    block = {**MOVING, "ref_model_mixup_alpha": 0.5, "max_steps": 4}
    whole = make("whole", **block)
    start = {name: p.detach().clone() for name, p in whole.ref_model.named_parameters()}
    train(whole, tmp_path / "whole")
    first = make("run", **block)
    POINTS["before the optimizer's step"](first)
    with pytest.raises(Killed):
        train(first, tmp_path / "run")
    second = make("run", **block)
    train(second, tmp_path / "run")
    assert differing(weights(second), weights(whole)) == []
    found, expected = (dict(t.ref_model.named_parameters()) for t in (second, whole))
    assert differing(found, expected) == []
    assert differing(found, start) != []


def test_a_checkpoint_without_the_reference_that_moved_is_refused(make, tmp_path):
    train(make("run", beta=0.5, max_steps=1), tmp_path / "run")
    with pytest.raises(DataError, match="reference: expected the weights of a policy.*resume"):
        train(make("run", **MOVING), tmp_path / "run")


def test_a_reference_that_is_the_policy_has_its_image_features(make, tmp_path):
    """The same puzzles in every batch, all parts trained, and a reference synced whole."""
    block = {**MOVING, "ref_model_mixup_alpha": 1.0, "max_steps": 3}
    trainer = make("run", per_device_train_batch_size=4 * GROUP, **block)
    train(trainer, tmp_path / "run")
    kls = [row["kl"] for row in trainer.state.log_history if "kl" in row]
    assert len(kls) == 3 and max(kls) < 1e-6


@pytest.mark.parametrize(("stage", "is_fsdp"), [(3, False), (2, True)])
def test_a_reference_that_moves_is_refused_where_it_is_partitioned(stage, is_fsdp):
    def check(stage, is_fsdp, is_moving):
        state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=stage))
        GrpoCheckpoints._check_reference(
            SimpleNamespace(
                accelerator=SimpleNamespace(state=state),
                is_fsdp_enabled=is_fsdp,
                args=SimpleNamespace(sync_ref_model=is_moving),
            )
        )

    check(2, False, True)
    check(stage, is_fsdp, False)
    with pytest.raises(ConfigError, match="sync_ref_model true.*expected false, or ZeRO-2"):
        check(stage, is_fsdp, True)
