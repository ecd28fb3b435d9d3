"""SFT through the real trainer: against trl's own, across batches, over a stop, and its logs."""

import inspect
import json
import logging

import pytest
import torch
from torch.utils.data import Sampler
from transformers import Trainer
from trl import SFTTrainer

from rl_avr.algo.sft_loss import kept_tokens, num_kept
from rl_avr.errors import UpdateError
from rl_avr.metric_names import kind_loss, row_of
from rl_avr.modeling.config import LoraConfig
from rl_avr.modeling.conversation_pass import ConversationBatch
from rl_avr.training.config import RunConfig
from rl_avr.training.guarded import Guarded
from rl_avr.training.run_folder import last_checkpoint
from sft_warmstart.config import LossConfig
from sft_warmstart.trainer import AvrSftTrainer
from tests.modeling.conversation_cases import mixed_rows, pictures, plain, row
from tests.sft_warmstart.trainer_cases import (
    PLAIN_ROWS,
    logged,
    our_trainer,
    trl_trainer,
    weights,
)

STEPS, BATCH = 3, 4


@pytest.fixture(scope="module")
def rows():
    """Twelve rows whose batches of four differ in everything."""
    shown = pictures(6)
    other = mixed_rows(shown[2:5])
    more = [row([("What size?", "4 4 5")], shown[5:], "direct") for _ in range(2)]
    return [*mixed_rows(shown), *other[::-1], *more, *mixed_rows(shown[1:])[1:3]]


@pytest.fixture
def make(tiny_folder, processor, rows, tmp_path):
    processor.tokenizer.padding_side = "right"
    folders = iter(range(100))

    def made(folder=None, **settings):
        folder = tmp_path / str(next(folders)) if folder is None else folder
        settings.setdefault("rows", rows)
        return our_trainer(folder, tiny_folder, processor, **settings)

    return made


def trained(trainer, **kwargs):
    trainer.train(**kwargs)
    return weights(trainer)


def assert_close(found, expected):
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=2e-5, msg=name)


def assert_equal(found, expected):
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(pack_tokens=120), PLAIN_ROWS])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_it_trains_as_trl_does(make, tiny_folder, processor, rows, tmp_path, loss, accumulation):
    block = {
        "per_device_train_batch_size": BATCH // accumulation,
        "gradient_accumulation_steps": accumulation,
        "optim": "sgd",
    }
    theirs = trl_trainer(tmp_path / "trl", tiny_folder, processor, rows, **block)
    # transformers' Qwen-VL says no, and so trl weighs micro-batches alike, whatever their tokens
    theirs.model_accepts_loss_kwargs = True
    expected = trained(theirs)
    ours = make(loss=loss, **block)
    before = weights(ours)
    assert_close(trained(ours), expected)
    assert any((before[name] - expected[name]).abs().max() > 1e-4 for name in before)
    assert logged(ours, "loss") == pytest.approx(logged(theirs, "loss"), abs=1e-5)
    assert logged(ours, "num_tokens") == logged(theirs, "num_tokens")
    if accumulation == 1:  # of metrics it weighs them alike all the same
        for name in ("mean_token_accuracy", "entropy"):
            assert logged(ours, name) == pytest.approx(logged(theirs, name), abs=1e-5)


@pytest.mark.parametrize("loss", [LossConfig(), PLAIN_ROWS])
def test_a_split_of_the_batch_changes_nothing(make, loss):
    whole = make(loss=loss, optim="sgd")
    expected = trained(whole)
    for size in (1, 2):
        split = make(
            loss=loss,
            optim="sgd",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=BATCH // size,
        )
        assert_close(trained(split), expected)
        assert logged(split, "loss") == pytest.approx(logged(whole, "loss"), abs=1e-5)
        assert logged(split, "entropy") == pytest.approx(logged(whole, "entropy"), abs=1e-5)


@pytest.mark.parametrize("parts", [("vision_tower", "connector"), ("language_model",)])
def test_only_the_parts_that_are_asked_for_are_trained(make, parts):
    before = weights(make(parts=parts))
    packed, plain_rows = trained(make(parts=parts)), trained(make(parts=parts, loss=PLAIN_ROWS))
    assert_close(packed, plain_rows)
    moved = {name for name in before if not torch.equal(packed[name], before[name])}
    assert moved
    is_vision = {"visual" in name for name in moved}
    assert is_vision == {"vision_tower" in parts}


def test_adapters_train_as_they_do_in_plain_rows(make):
    lora = LoraConfig(rank=2, alpha=4)
    assert_close(trained(make(lora=lora)), trained(make(lora=lora, loss=PLAIN_ROWS)))


def test_gradient_checkpointing_changes_nothing(make):
    expected = trained(make(optim="sgd"))
    assert_close(trained(make(optim="sgd", gradient_checkpointing=True)), expected)


def test_a_neutral_entropy_loss_is_the_plain_one_bit_for_bit(make):
    expected = trained(make())
    neutral = LossConfig(name="entropy", entropy_weight=0.8, token_share=1.0)
    assert_equal(trained(make(loss=neutral)), expected)


def test_the_entropy_loss_is_that_of_the_kept_tokens(make, model, processor, rows):
    loss = LossConfig(name="entropy", entropy_weight=0.8, token_share=0.6)
    trainer = make(loss=loss, learning_rate=0.0)
    trained(trainer)
    logprobs, entropies, _ = plain(model, processor, rows[:BATCH])
    kept = kept_tokens(logprobs, entropies, 0.8, 0.6)
    assert 0 < kept.sum() == num_kept(len(kept), 0.6) < len(kept)
    assert logged(trainer, "loss")[0] == pytest.approx(-logprobs[kept].mean().item(), abs=1e-5)


def test_the_kept_tokens_of_a_split_batch_are_counted_over_the_step(make, model, processor, rows):
    loss = LossConfig(name="entropy", entropy_weight=0.8, token_share=0.6)
    block = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    trainer = make(loss=loss, learning_rate=0.0, **block)
    trained(trainer)
    total = number = 0
    for part in (rows[:2], rows[2:4]):
        logprobs, entropies, _ = plain(model, processor, part)
        kept = kept_tokens(logprobs, entropies, 0.8, 0.6)
        total, number = total - logprobs[kept].sum().item(), number + int(kept.sum())
    assert logged(trainer, "loss")[0] == pytest.approx(total / number, abs=1e-5)


def test_the_loss_of_each_kind_is_logged(make, model, processor, rows):
    trainer = make(learning_rate=0.0)
    trained(trainer)
    (first, *_) = (entry for entry in trainer.state.log_history if "loss" in entry)
    total = number = 0
    for kind in ("perception", "chain", "replay"):
        chosen = [one for one in rows[:BATCH] if one["kind"] == kind]
        logprobs, *_ = plain(model, processor, chosen)
        assert first[kind_loss(kind)] == pytest.approx(-logprobs.mean().item(), abs=1e-5)
        total, number = total - logprobs.sum().item(), number + len(logprobs)
    assert kind_loss("direct") not in first
    assert first["loss"] == pytest.approx(total / number, abs=1e-5)


def test_every_metric_is_in_the_table(make, tmp_path):
    folder = tmp_path / "run"
    trained(make(folder=folder))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {name for name in names if row_of(name) is None} == set()
    assert {"tokens_per_second/update", "vision/encodings_per_conversation"} <= names


@pytest.mark.parametrize(("loss", "expected"), [(LossConfig(), 0.75), (PLAIN_ROWS, 1.0)])
def test_an_image_that_two_conversations_show_is_encoded_once(make, rows, loss, expected):
    """Three images in four conversations, one of them twice, and none in the last."""
    trainer = make(rows=rows[:BATCH], max_steps=1, loss=loss)
    trained(trainer)
    assert logged(trainer, "vision/encodings_per_conversation") == [expected]


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4, dropout=0.3)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_goes_on_bit_for_bit(make, tmp_path, lora, accumulation):
    block = {
        "lora": lora,
        "save_strategy": "steps",
        "save_steps": 1,
        "per_device_train_batch_size": BATCH // accumulation,
        "gradient_accumulation_steps": accumulation,
    }
    folder = tmp_path / "run"
    whole = make(folder=folder, **block)
    expected = trained(whole)
    for step in (1, 2):
        again = make(**block)
        found = trained(
            again, resume_from_checkpoint=str(folder / f"checkpoints/checkpoint-{step}")
        )
        assert_equal(found, expected)
        assert again.state.global_step == STEPS
        assert logged(again, "num_tokens") == logged(whole, "num_tokens")


def test_a_run_that_stops_early_makes_no_step_more_and_goes_on_as_if_it_had_not(make, tmp_path):
    expected = trained(make())
    folder = tmp_path / "run"
    block = {"folder": folder, "save_strategy": "steps", "save_steps": 1}
    stopped = make(stop_after_steps=2, **block)
    at_stop = trained(stopped)
    assert stopped.state.global_step == 2
    newest = last_checkpoint(RunConfig(dir=str(folder)))
    again = make(stop_after_steps=2, **block)
    assert_equal(trained(again, resume_from_checkpoint=newest), at_stop)
    assert again.state.global_step == 2
    assert_equal(trained(make(**block), resume_from_checkpoint=newest), expected)


def test_a_checkpoint_that_was_not_finished_is_none(make, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trainer = make(folder=folder, save_strategy="steps", save_steps=1)
    real = Trainer._save_rng_state

    def killed(self, output_dir):
        if self.state.global_step == 2:
            raise KeyboardInterrupt
        return real(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_rng_state", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert last_checkpoint(RunConfig(dir=str(folder))).endswith("checkpoint-1")


@pytest.mark.parametrize("loss", [LossConfig(), PLAIN_ROWS])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(make, loss, value):
    trainer = make(loss=loss)
    name, parameter = next(iter(trainer.model.named_parameters()))
    before = {}

    def broken(gradient):
        if trainer.state.global_step == 1:
            before.update(weights(trainer))
            return torch.full_like(gradient, value)
        return gradient

    parameter.register_hook(broken)
    with pytest.raises(UpdateError, match=f"step 1: the gradient of {name} is not finite"):
        trainer.train()
    assert_equal(weights(trainer), before)


def test_a_loss_that_is_not_finite_is_refused_with_the_rows(make, rows):
    named = [{**one, "name": f"train.parquet, row {i}"} for i, one in enumerate(rows)]
    trainer = make(rows=named)
    with torch.no_grad():
        trainer.model.get_input_embeddings().weight.fill_(float("nan"))
    # the check of the first batch sees numbers that are none, too
    with pytest.raises(UpdateError, match="step 0: the loss is nan.*train.parquet, row 0"):
        trainer.train()


def test_why_rows_are_plain_is_said_once(make, caplog, monkeypatch):
    reason = "Qwen2_5_VLForConditionalGeneration has no packed form: for a test"
    monkeypatch.setattr("sft_warmstart.policy_pass.refusal", lambda *_: reason)
    trainer = make()
    with caplog.at_level(logging.WARNING, logger="sft_warmstart"):
        found = trained(trainer)
    messages = [r.getMessage() for r in caplog.records if "no packed form" in r.getMessage()]
    assert len(messages) == 1
    assert trainer.why_plain == reason
    monkeypatch.undo()
    assert_equal(found, trained(make(loss=PLAIN_ROWS)))
    assert make().why_plain is None


@pytest.mark.parametrize(
    ("owner", "seam", "parameters"),
    [
        (Trainer, "_get_train_sampler", ["self", "train_dataset"]),
        (Trainer, "_get_num_items_in_batch", ["self", "batch_samples", "device"]),
        (
            SFTTrainer,
            "compute_loss",
            ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
        ),
        (SFTTrainer, "training_step", ["self", "args", "kwargs"]),
        (SFTTrainer, "log", ["self", "logs", "start_time"]),
        (SFTTrainer, "_save_checkpoint", ["self", "model", "trial"]),
        (Trainer, "_get_output_dir", ["self", "trial"]),
        (
            Trainer,
            "_run_epoch",
            [
                *("self", "model", "epoch", "train_dataloader", "steps_in_epoch"),
                *("num_update_steps_per_epoch", "trial", "ignore_keys_for_eval", "start_time"),
                *("resume_from_checkpoint", "epochs_trained", "steps_trained_in_current_epoch"),
            ],
        ),
    ],
)
def test_the_seams_are_where_they_were(owner, seam, parameters):
    assert list(inspect.signature(vars(owner)[seam]).parameters) == parameters
    assert seam in vars(AvrSftTrainer) | vars(Guarded)


def test_rows_go_in_the_order_of_the_run(make):
    trainer = make()
    sampler = trainer._get_train_sampler()
    assert isinstance(sampler, Sampler)
    assert list(sampler) == list(range(len(trainer.train_dataset)))
    (batch, *_) = trainer.get_train_dataloader()
    assert isinstance(batch["conversations"], ConversationBatch)
    assert batch["kinds"] == ["perception", "chain", "perception", "replay"]
