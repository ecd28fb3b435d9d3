"""A run that is killed at any point and resumed ends with the same bits."""

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, set_seed
from trl import GRPOTrainer

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import LoraConfig
from rl_avr.training.config import RunConfig
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.resumable import load_weights
from rl_avr.training.run_folder import last_checkpoint
from rl_avr.training.run_state import RunState
from tests.training.tiny_run import make_run, prompts, weights  # noqa: F401

STEPS, KILLED_AT = 5, 3
ONE_BLOCK_A_STEP = {}
BLOCK_OF_FOUR_STEPS = {"steps_per_generation": 4, "num_iterations": 2}
SELDOM_SAVED = {"save_steps": 2, "logging_steps": 4}
VARIANTS = {
    "block": ONE_BLOCK_A_STEP,
    "within": BLOCK_OF_FOUR_STEPS,
    "seldom": {**BLOCK_OF_FOUR_STEPS, **SELDOM_SAVED},
}


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


def _raise_in(owner, name, trainer, after=False, at=KILLED_AT):
    """Makes a method raise before or after it has run, once the run is at a step."""
    real = vars(type(owner)).get(name) or getattr(owner, name).__func__

    def killing(*args, **kwargs):
        is_time = trainer.state.global_step >= at
        if is_time and not after:
            raise Killed
        result = real(owner, *args, **kwargs)
        if is_time:
            raise Killed
        return result

    setattr(owner, name, killing)


class _At(TrainerCallback):
    def __init__(self, event):
        self._event = event
        setattr(self, event, self._kill)

    def _kill(self, args, state, control, **_):
        if state.global_step >= KILLED_AT:
            raise Killed


def _at(event):
    return lambda trainer: trainer.add_callback(_At(event))


def _in_engine(name, after=False):
    return lambda trainer: _raise_in(trainer.collector.engine, name, trainer, after)


def _in_trainer(name, after=False):
    return lambda trainer: _raise_in(trainer, name, trainer, after)


def _in_state(trainer):
    """In the middle of writing the last file of a checkpoint, before the rename."""

    class Torn(RunState):
        def save(self, checkpoint, rank):
            super().save(checkpoint, rank)
            path = checkpoint / f"run_state_{rank}.pt"
            path.write_bytes(path.read_bytes()[:100])
            raise Killed

    real = trainer._run_state

    def torn():
        state = real()
        return Torn(**vars(state)) if trainer.state.global_step >= KILLED_AT else state

    trainer._run_state = torn


POINTS = {
    "before the sync": _in_engine("sync_weights"),
    "after the sync": _in_engine("sync_weights", after=True),
    "before generation": _in_engine("generate"),
    "after generation": _in_engine("generate", after=True),
    "after grading": lambda t: _raise_in(t.collector, "collect", t, after=True),
    "before old logprobs": _in_trainer("_get_per_token_logps_and_entropies"),
    "after old logprobs": _in_trainer("_get_per_token_logps_and_entropies", after=True),
    "in the middle of accumulation": _in_trainer("training_step", after=True),
    "before the optimizer's step": _at("on_pre_optimizer_step"),
    "after the optimizer's step": _at("on_optimizer_step"),
    "after the log": _at("on_log"),
    "before the checkpoint": _in_trainer("_save_checkpoint"),
    "within the checkpoint": _in_trainer("_save_optimizer_and_scheduler"),
    "before the rename": _in_state,
    "after the checkpoint": _in_trainer("_save_checkpoint", after=True),
}


def train(trainer, folder):
    """Goes on from the last checkpoint, as the command does."""
    with trainer.collector.engine, trainer.collector:
        trainer.train(resume_from_checkpoint=last_checkpoint(RunConfig(dir=str(folder))))


def lines(path):
    return [json.loads(line) for line in path.open()]


def steps_and_prompts(folder):
    return [(row["step"], row["prompt_id"]) for row in lines(folder / "rollouts/rank0.jsonl")]


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):  # noqa: F811
    def made(name, **block):
        set_seed(0)
        return make_run(tmp_path / name, tiny_folder, processor, prompts, **block)

    return made


@pytest.fixture(scope="module")
def whole_runs(tiny_folder, processor, prompts, tmp_path_factory):  # noqa: F811
    """Variant -> folder and weights of the run that nothing stopped."""
    found = {}
    for name, block in VARIANTS.items():
        folder = tmp_path_factory.mktemp(name)
        set_seed(0)
        trainer = make_run(folder, tiny_folder, processor, prompts, **block)
        before = weights(trainer)
        train(trainer, folder)
        after = weights(trainer)
        assert any(not torch.equal(before[key], after[key]) for key in after)
        found[name] = folder, after
    return found


@pytest.mark.parametrize(
    ("point", "variant"), [(p, v) for p in POINTS for v in ("block", "within")]
)
def test_a_killed_run_ends_with_the_bits_of_the_whole_one(
    make, whole_runs, tmp_path, point, variant
):
    block, (folder, expected) = VARIANTS[variant], whole_runs[variant]
    first = make("run", **block)
    POINTS[point](first)
    with pytest.raises(Killed):
        train(first, tmp_path / "run")
    second = make("run", **block)
    train(second, tmp_path / "run")
    found = weights(second)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert steps_and_prompts(tmp_path / "run") == steps_and_prompts(folder)


TIMES = ("time", "step_time", "train_", "loss", "tokens_per_second", "memory", "vision")


def measured(folder):
    """Returns the metrics of a run less what it costs; the loss is a mean since the resume."""
    return [
        {name: value for name, value in row.items() if not name.startswith(TIMES)}
        for row in lines(folder / "metrics.jsonl")
        if "train_runtime" not in row
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_metrics_of_a_resumed_run_are_those_of_the_whole_one(make, whole_runs, tmp_path, variant):
    """Between two logs, too: what is not logged yet is in the checkpoint."""
    block, (folder, expected) = VARIANTS[variant], whole_runs[variant]
    first = make("run", **block)
    _at("on_optimizer_step")(first)
    with pytest.raises(Killed):
        train(first, tmp_path / "run")
    second = make("run", **block)
    train(second, tmp_path / "run")
    assert measured(tmp_path / "run") == measured(folder)
    found = weights(second)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_adapters_go_on_bit_for_bit_too(make, tmp_path):
    """And a reference beside them, which is the policy without them."""
    block = {"lora": LoraConfig(rank=2), "beta": 0.1, "max_steps": 3, **BLOCK_OF_FOUR_STEPS}
    whole = make("whole", **block)
    train(whole, tmp_path / "whole")
    first = make("run", **block)
    _raise_in(first, "training_step", first, after=True, at=2)
    with pytest.raises(Killed):
        train(first, tmp_path / "run")
    second = make("run", **block)
    train(second, tmp_path / "run")
    found, expected = weights(second), weights(whole)
    assert any("lora_B" in name and weight.any() for name, weight in expected.items())
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_run_killed_before_its_first_checkpoint_starts_its_files_anew(make, whole_runs, tmp_path):
    folder, expected = whole_runs["block"]
    first = make("run")
    _raise_in(first, "_save_checkpoint", first, at=0)
    with pytest.raises(Killed):
        train(first, tmp_path / "run")
    assert last_checkpoint(RunConfig(dir=str(tmp_path / "run"))) is None
    second = make("run")
    train(second, tmp_path / "run")
    assert steps_and_prompts(tmp_path / "run") == steps_and_prompts(folder)
    assert measured(tmp_path / "run") == measured(folder)
    found = weights(second)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_run_resumed_at_its_end_trains_no_more(make, whole_runs, tmp_path):
    """Killed between its last checkpoint and the writing of the policy."""
    folder, expected = whole_runs["block"]
    train(make("run"), tmp_path / "run")
    second = make("run")
    train(second, tmp_path / "run")
    assert second.state.global_step == STEPS
    found = weights(second)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert steps_and_prompts(tmp_path / "run") == steps_and_prompts(folder)
    ends = [row for row in lines(tmp_path / "run/metrics.jsonl") if "train_runtime" in row]
    assert len(ends) == 1


def test_only_whole_checkpoints_are_found_and_the_limit_holds(make, tmp_path):
    trainer = make("run", save_total_limit=2)
    _in_trainer("_save_optimizer_and_scheduler")(trainer)
    with pytest.raises(Killed):
        train(trainer, tmp_path / "run")
    checkpoints = tmp_path / "run/checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {
        "checkpoint-1",
        "checkpoint-2",
    }
    assert (checkpoints / "unfinished/checkpoint-3/model.safetensors").is_file()
    train(make("run", save_total_limit=2), tmp_path / "run")
    assert sorted(path.name for path in checkpoints.glob("*/")) == ["checkpoint-4", "checkpoint-5"]


@pytest.fixture(scope="module")
def in_a_block(tiny_folder, processor, prompts, tmp_path_factory):  # noqa: F811
    """A checkpoint inside a block of generation."""
    folder = tmp_path_factory.mktemp("in_a_block")
    block = {**BLOCK_OF_FOUR_STEPS, "max_steps": 1}
    train(make_run(folder, tiny_folder, processor, prompts, **block), folder)
    return folder / "checkpoints" / "checkpoint-1"


def test_buffered_rollouts_fit_no_other_batch(make, in_a_block):
    trainer = make("run", steps_per_generation=2, num_iterations=2)
    with pytest.raises(ConfigError, match="steps_per_generation 2, was 4.*end of a block"):
        trainer.train(resume_from_checkpoint=str(in_a_block))


def test_at_the_end_of_a_block_a_run_may_go_on_with_other_batches(make, tmp_path):
    train(make("run", max_steps=1), tmp_path / "run")
    second = make("run", max_steps=2, steps_per_generation=4)
    train(second, tmp_path / "run")
    assert second.state.global_step == 2


def test_a_torn_state_is_named(make, in_a_block, tmp_path):
    shape = make("run", **BLOCK_OF_FOUR_STEPS)._batch_shape
    device = torch.device("cpu")
    whole = RunState.load(in_a_block, 0, shape, device)
    assert (whole.num_micro_steps, whole.weights_version) == (2, 1)
    torn = tmp_path / "run_state_0.pt"
    torn.write_bytes((in_a_block / "run_state_0.pt").read_bytes()[:200])
    with pytest.raises(DataError, match="run_state_0.pt: expected a rank's run state.*resume"):
        RunState.load(tmp_path, 0, shape, device)


def test_a_checkpoint_without_a_state_says_what_is_lost(tmp_path, caplog):
    assert RunState.load(tmp_path, 0, None, torch.device("cpu")) is None
    assert "has no run state" in caplog.text


def test_weights_that_do_not_all_come_back_are_refused(model, tmp_path):
    """transformers' own trainer only warns, and goes on from the weights it had."""
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    name = next(name for name in saved if "up_proj" in name)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_weights(model, tmp_path)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in expected.items())
    del saved[name]
    save_file(saved, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="every weight of .*; 1 are missing, first .*up_proj"):
        load_weights(model, tmp_path)


@pytest.mark.parametrize(
    ("seam", "parameters"),
    [
        ("_get_output_dir", ["self", "trial"]),
        ("_load_from_checkpoint", ["self", "resume_from_checkpoint", "model"]),
        ("training_step", ["self", "model", "inputs", "num_items_in_batch"]),
        ("log", ["self", "logs", "start_time"]),
    ],
)
def test_trl_still_has_the_seam(seam, parameters):
    for trainer in (GRPOTrainer, AvrGrpoTrainer):
        assert list(inspect.signature(getattr(trainer, seam)).parameters) == parameters


@pytest.mark.parametrize(
    "code",
    [
        "self._run_epoch(\n                model=model,",
        "self._load_optimizer_and_scheduler(resume_from_checkpoint)",
        "on_pre_optimizer_step(self.args, self.state, self.control)\n"
        "                    self.optimizer.step()",
    ],
)
def test_transformers_still_calls_the_seams_as_they_need_it(code):
    assert code in inspect.getsource(Trainer)


@pytest.mark.parametrize("name", ["_step", "_buffered_inputs"])
def test_trl_still_keeps_its_phase_there(name):
    assert f"self.{name} = " in inspect.getsource(GRPOTrainer.__init__)
