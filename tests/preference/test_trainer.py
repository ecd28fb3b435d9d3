"""Preference training through the real trainer: against trl's own, over a stop, and its logs."""

import inspect
import json
import math
import re
from pathlib import Path

import pytest
import torch
from transformers import Trainer
from trl import DPOTrainer

from rl_avr.algo.preference_losses import (
    aft_alignment,
    dpo_losses,
    ipo_losses,
    mean_scores,
    orpo_losses,
    scores,
    sft_loss,
    simpo_losses,
)
from rl_avr.errors import DataError, UpdateError
from rl_avr.metric_names import DPO_TABLE, REWARD_ACCURACY, row_of
from rl_avr.modeling.config import LoraConfig
from rl_avr.modeling.freezing import PARTS
from rl_avr.preference.pair_pass import PairPass
from rl_avr.preference.train_config import CountedConfig, PairLossConfig
from rl_avr.preference.trainer import AvrDpoTrainer
from rl_avr.training.config import RunConfig, UpdateConfig
from rl_avr.training.guarded import Guarded
from rl_avr.training.run_folder import last_checkpoint
from tests.preference.pair_cases import (
    PLAIN,
    logged,
    make_pairs,
    our_trainer,
    trl_trainer,
    weights,
)

LORA = LoraConfig(rank=2, alpha=4)
METRICS = (
    *("loss", "rewards/chosen", "rewards/rejected", "rewards/margins"),
    *("logps/chosen", "logps/rejected", "entropy", "num_tokens"),
)


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def make(tiny_folder, processor, pairs_folder, tmp_path):
    folders = iter(range(100))

    def made(kind=our_trainer, folder=None, pairs=pairs_folder, **settings):
        folder = tmp_path / str(next(folders)) if folder is None else folder
        return kind(folder, tiny_folder, processor, pairs, **settings)

    return made


def trained(trainer, **kwargs):
    trainer.train(**kwargs)
    return weights(trainer)


def first_gradients(trainer):
    """Returns the gradients of the first batch, and its loss."""
    trainer.model.train()
    (batch, *_) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch))
    loss.backward()
    named = trainer.model.named_parameters()
    return {n: p.grad.clone() for n, p in named if p.grad is not None}, loss.item()


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5, msg=name)


def assert_equal(found, expected):
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("update", [UpdateConfig(), UpdateConfig(pack_tokens=100), PLAIN])
def test_two_steps_end_where_trls_do(make, update, lora):
    block = {"optim": "sgd", "lora": lora}
    theirs = make(trl_trainer, **block)
    expected = trained(theirs)
    ours = make(update=update, **block)
    before = weights(ours)
    assert_close(trained(ours), expected)
    assert max((before[name] - expected[name]).abs().max() for name in before) > 1e-4
    for name in METRICS:
        expected = pytest.approx(logged(theirs, name), abs=1e-5, rel=1e-6)
        assert logged(ours, name) == expected, name
    # in the first step policy and reference are the same, and rounding decides
    assert logged(ours, REWARD_ACCURACY)[1] == logged(theirs, REWARD_ACCURACY)[1]
    assert (ours.why_plain is None) == update.shared_prefix


@pytest.mark.parametrize("parts", [("language_model",), PARTS])
@pytest.mark.parametrize("lora", [None, LORA])
def test_gradients_are_trls(make, lora, parts):
    theirs, expected_loss = first_gradients(make(trl_trainer, lora=lora, parts=parts))
    ours, loss = first_gradients(make(lora=lora, parts=parts))
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert ours.keys() == theirs.keys()
    sizes = {name: gradient.norm().item() for name, gradient in theirs.items()}
    # a bias before a softmax has no gradient but rounding: keys are shifted alike
    gaps = {
        name: (ours[name] - theirs[name]).norm().item() / size
        for name, size in sizes.items()
        if size > 1e-5
    }
    assert len(gaps) > 4
    assert {name: gap for name, gap in gaps.items() if gap > 1e-4} == {}


LOSS_TYPES = (
    {"loss_type": ["ipo"]},
    {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]},
    {"loss_type": ["sigmoid"], "f_divergence_type": "js_divergence"},
)


@pytest.mark.parametrize("block", LOSS_TYPES)
def test_every_loss_of_trls_trainer_is_its_own(make, block):
    theirs = make(trl_trainer, optim="sgd", **block)
    expected = trained(theirs)
    ours = make(optim="sgd", **block)
    assert_close(trained(ours), expected)
    assert logged(ours, "loss") == pytest.approx(logged(theirs, "loss"), abs=1e-5)


def scored(trainer):
    """Returns logprobs and weights of the first batch's chosen and rejected, by plain rows."""
    batch = trainer.data_collator.batch(range(4))
    with torch.no_grad():
        logprobs_BC, _ = PairPass(PLAIN, 0, 1, trainer.accelerator)(trainer.model, batch)
    return [
        (logprobs_BC[rows], batch.weights_BC[rows]) for rows in (batch.chosen_N, batch.rejected_N)
    ]


def perturb(trainer):
    """Moves the policy away from its reference."""
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.3)


def first_loss(trainer):
    (batch, *_) = trainer.get_train_dataloader()
    trainer.model.train()
    return trainer.compute_loss(trainer.model, batch).item()


@pytest.mark.parametrize("block", [{}, *LOSS_TYPES[:2]])
def test_trls_losses_are_the_formulas_of_ours(make, block):
    before, trainer = scored(make()), make(beta=0.3, **block)
    perturb(trainer)
    after = scored(trainer)
    ratios = [scores(*new) - scores(*old) for new, old in zip(after, before, strict=True)]
    if block.get("loss_type") == ["ipo"]:
        means = [ratio / w.sum(1) for ratio, (_, w) in zip(ratios, before, strict=True)]
        expected = ipo_losses(*means, 0.3).mean()
    else:
        expected = dpo_losses(*ratios, 0.3).mean() + 0.1 * sft_loss(*after[0]) * bool(block)
    assert first_loss(trainer) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("name", ["orpo", "simpo"])
def test_losses_without_a_reference_are_their_formulas(make, name):
    trainer = make(loss=PairLossConfig(name=name, simpo_gamma=0.3), beta=0.7)
    (chosen, w_chosen), (rejected, w_rejected) = scored(trainer)
    means = mean_scores(chosen, w_chosen), mean_scores(rejected, w_rejected)
    if name == "simpo":
        expected = simpo_losses(*means, 0.7, 0.3).mean()
    else:
        expected = orpo_losses(*means, 0.7).mean()
    assert first_loss(trainer) == pytest.approx(expected.item(), abs=1e-5)
    logged_now = {key: values[0] for key, values in trainer._metrics["train"].items()}
    assert logged_now["logps/chosen"] == pytest.approx(means[0].mean().item(), abs=1e-5)
    margin = 0.7 * (means[0] - means[1]).mean().item()
    assert logged_now["rewards/margins"] == pytest.approx(margin, abs=1e-5)
    # no reference was computed
    assert list(Path(trainer.args.output_dir).parent.rglob("*.safetensors")) == []


def test_afts_lists_are_those_of_a_question(make):
    """Three pairs of one question, of which two share the chosen, and one of another."""
    trainer = make(loss=PairLossConfig(name="aft", aft_boundary=0.2))
    (chosen, w_chosen), (rejected, w_rejected) = scored(trainer)
    p, n = mean_scores(chosen, w_chosen), mean_scores(rejected, w_rejected)
    assert p[0] == p[1]
    lists = [
        aft_alignment(p[1:3], n[:3], "boundary", 0.2),
        aft_alignment(p[3:], n[3:], "boundary", 0.2),
    ]
    expected = sum(lists) / 2 - p.mean()
    assert first_loss(trainer) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("weights_shape", ["even", "cosine", "linear"])
@pytest.mark.parametrize("first", [0, 5])
def test_what_counts_is_weighted_in_policy_and_reference_alike(make, weights_shape, first):
    counted = CountedConfig(first=first, unit="tokens", weights=weights_shape)
    trainer = make(counted=counted)
    # the policy is the reference still
    assert first_loss(trainer) == pytest.approx(math.log(2), abs=1e-5)
    perturb(trainer)
    after, before = scored(trainer), scored(make(counted=counted))
    ratios = [scores(*new) - scores(*old) for new, old in zip(after, before, strict=True)]
    expected = dpo_losses(*ratios, trainer.beta).mean().item()
    assert expected != pytest.approx(math.log(2), abs=1e-3)
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-5)
    weights_NC = after[0][1]
    assert int((weights_NC > 0).sum(1).max()) == (first or len(trainer.data_collator.tokens[2][0]))


def test_the_reference_is_computed_once_and_read_by_the_next_run(make, tmp_path, monkeypatch):
    cache = tmp_path / "shared"
    first = make(cache_folder=cache)
    files = sorted(cache.rglob("*.safetensors"))
    assert len(files) == 3
    times = [path.stat().st_mtime_ns for path in files]
    asked = []
    real = AvrDpoTrainer._reference_logprobs
    monkeypatch.setattr(
        AvrDpoTrainer, "_reference_logprobs", lambda *a: asked.append(1) or real(*a)
    )
    second = make(cache_folder=cache)
    # the one batch that decides which way pairs go
    assert len(asked) == 1
    assert [path.stat().st_mtime_ns for path in files] == times
    assert_equal(trained(second), trained(first))
    files[1].write_bytes(b"torn")
    third = make(cache_folder=cache)
    assert len(asked) == 2 + 1
    assert_equal(trained(third), trained(make(cache_folder=cache)))


def test_a_reference_that_is_not_finite_is_refused(make, monkeypatch):
    real = PairPass.__call__

    def broken(self, model, batch):
        logprobs_BC, entropies_BC = real(self, model, batch)
        return logprobs_BC * float("nan"), entropies_BC

    monkeypatch.setattr(PairPass, "__call__", broken)
    with pytest.raises(DataError, match="pairs pair-0: the reference policy's logprobs are not"):
        make()


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4, dropout=0.3)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_goes_on_bit_for_bit(make, tmp_path, lora, accumulation):
    block = {
        "lora": lora,
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 3,
        "order": [*range(8), 5, 1, 4, 0],
        "per_device_train_batch_size": 4 // accumulation,
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
        assert again.state.global_step == 3
        for name in ("loss", "rewards/margins", "logps/chosen", "num_tokens"):
            assert logged(again, name) == logged(whole, name), name


def test_a_run_that_stops_early_goes_on_as_if_it_had_not(make, tmp_path):
    expected = trained(make())
    block = {"folder": tmp_path / "run", "save_strategy": "steps", "save_steps": 1}
    stopped = make(stop_after_steps=1, **block)
    trained(stopped)
    assert stopped.state.global_step == 1
    newest = last_checkpoint(RunConfig(dir=str(tmp_path / "run")))
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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(make, value):
    trainer = make()
    named = trainer.model.named_parameters()
    name, parameter = next((n, p) for n, p in named if p.requires_grad)
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


def test_a_loss_that_is_not_finite_is_refused_with_the_pairs(make):
    trainer = make()
    with torch.no_grad():
        trainer.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(UpdateError, match="step 0: the loss is nan.*pair-0, pair-1"):
        trainer.train()


@pytest.mark.parametrize("name", ["dpo", "orpo", "simpo"])
def test_a_split_of_the_batch_changes_nothing(make, name):
    block = {"optim": "sgd", "loss": PairLossConfig(name=name)}
    expected = trained(make(**block))
    split = make(per_device_train_batch_size=2, gradient_accumulation_steps=2, **block)
    assert_close(trained(split), expected)


def test_gradient_checkpointing_changes_nothing(make):
    expected = trained(make(optim="sgd"))
    assert_close(trained(make(optim="sgd", gradient_checkpointing=True)), expected)


@pytest.mark.parametrize(("update", "expected"), [(UpdateConfig(), [0.5, 0.5]), (PLAIN, [1.75, 2])])
def test_a_question_s_image_is_encoded_once(make, update, expected):
    """Four pairs of two questions a batch; plain, each of 7 and 8 completions has its own."""
    trainer = make(update=update, parts=PARTS)
    trained(trainer)
    assert logged(trainer, "vision/encodings_per_pair") == expected


def test_features_of_a_frozen_tower_are_kept_from_the_reference(make):
    """Room for two: the last two questions of the reference come first, then the first two."""
    order = [4, 5, 6, 7, 0, 1, 2, 3]
    trainer = make(order=order, per_device_train_batch_size=2, max_steps=4)
    trained(trainer)
    assert logged(trainer, "vision/encodings_per_pair") == [0.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize("blind", [{1, 3}, {0, 1, 2, 3}])
def test_questions_without_an_image_train_both_ways_alike(make, tmp_path, blind):
    pairs = make_pairs(tmp_path / "pairs", blind=blind)
    shared, plain = (make(pairs=pairs, update=update, optim="sgd") for update in (None, PLAIN))
    assert shared.why_plain is None
    assert_close(trained(shared), trained(plain))
    assert logged(shared, "loss") == pytest.approx(logged(plain, "loss"), abs=1e-5)


def test_why_rows_are_plain_is_said_once(make, caplog, monkeypatch):
    reason = "Qwen2_5_VLForConditionalGeneration has no shared-prefix form: for a test"
    monkeypatch.setattr("rl_avr.training.policy_pass.refusal", lambda *_: reason)
    trainer = make()
    found = trained(trainer)
    said = [r.getMessage() for r in caplog.records if reason in r.getMessage()]
    assert len(said) == 1 and trainer.why_plain == reason
    monkeypatch.undo()
    assert_equal(found, trained(make(update=PLAIN)))


def test_every_metric_is_in_the_table_and_every_row_is_logged(make, tmp_path):
    folder = tmp_path / "run"
    trained(make(folder=folder))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {name for name in names if row_of(name) is None} == set()
    assert {row_of(name) for name in names} >= set(DPO_TABLE)


@pytest.mark.parametrize(
    ("owner", "seam", "parameters"),
    [
        (
            DPOTrainer,
            "_prepare_dataset",
            ["self", "dataset", "processing_class", "args", "dataset_name"],
        ),
        (DPOTrainer, "_precompute_ref_logps", ["self", "dataset", "name", "batch_size"]),
        (DPOTrainer, "_compute_loss", ["self", "model", "inputs", "return_outputs"]),
        (Trainer, "_get_train_sampler", ["self", "train_dataset"]),
        (DPOTrainer, "training_step", ["self", "args", "kwargs"]),
        (DPOTrainer, "log", ["self", "logs", "start_time"]),
        (DPOTrainer, "_save_checkpoint", ["self", "model", "trial"]),
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
    assert seam in vars(AvrDpoTrainer) | vars(Guarded)


def test_trls_loss_asks_the_model_for_what_it_is_handed():
    """The names that the loss reads of a model's output and of the rows."""
    source = inspect.getsource(DPOTrainer._compute_loss)
    read = set(re.findall(r"(?<!ref_)outputs\.(\w+)", source))
    assert read == {
        *("log_probs", "entropy", "mean_logits", "is_top1"),
        *("log_sum_sq_probs", "aux_loss"),  # of what is refused
    }
    assert set(re.findall(r'inputs\["(\w+)"\]', source)) == {
        *("input_ids", "attention_mask", "completion_mask"),
        *("ref_chosen_logps", "ref_rejected_logps"),
    }
