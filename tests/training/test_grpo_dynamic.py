"""Dynamic sampling through the real trainer on a tiny policy, without vLLM."""

import json
import re
from dataclasses import replace

import pytest
import torch

from rewards.config import RewardConfig
from rl_avr.chat import decode_image
from rl_avr.difficulty_record import DifficultyRecord
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.training.config import RunConfig
from rl_avr.training.grpo import grpo_arguments
from rollouts.config import DynamicConfig, RolloutConfig
from tests.training.scripted_trainer import prompts_of_different_lengths, scripted_trainer

GROUP = 2
OFF = DynamicConfig()
ON = DynamicConfig(is_on=True, max_oversampling=2.0, max_rounds=9)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """Twelve prompts; the words of the question differ, so that swapped rows are seen."""
    return prompts_of_different_lengths(tmp_path_factory.mktemp("data"), 12)


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):
    """Returns a maker of trainers; every third prompt, from the third on, is useful."""
    third = {prompt.prompt_id for prompt in prompts[2::3]}

    def made(dynamic, folder="run", useful=third, **block):
        def script(prompt, index):
            is_right = index == 0 and prompt.prompt_id in useful
            return gold_chain(prompt.puzzle) if is_right else "### Answer:"

        block = {"max_steps": 3, **block}
        path = tmp_path / folder
        return scripted_trainer(
            path, tiny_folder, processor, prompts, script, GROUP, block, dynamic=dynamic
        )

    return made


def step(trainer, prompts):
    """Returns what the trainer makes of a batch of these prompts."""
    rows = trainer.train_dataset
    places = [list(rows["prompt_id"]).index(p.prompt_id) for p in prompts]
    trainer.model.train()
    return trainer._generate_and_score_completions(
        [rows[place] for place in places for _ in range(GROUP)]
    )


def lines(path):
    return [json.loads(line) for line in path.open()] if path.is_file() else []


def names(rows):
    return [row["prompt_id"] for row in rows]


def test_off_changes_no_number_and_asks_for_nothing_more(make, prompts, tmp_path):
    on, off = make(ON, "on"), make(OFF, "off")
    useful = [prompts[2], prompts[5]]
    left, right = step(on, useful), step(off, useful)
    assert set(left) == set(right)
    seen = [pixels_of(output.pop("group_prompts")) for output in (left, right)]
    assert torch.equal(*seen)
    for name, value in left.items():
        assert torch.equal(value, right[name]) if torch.is_tensor(value) else value == right[name]
    step(off, prompts[:2])
    assert off.collector.engine.asked == [names_of(useful), names_of(prompts[:2])]
    assert names(lines(tmp_path / "off/rollouts/rank0.jsonl")) == names_of([*useful, *prompts[:2]])
    assert not (tmp_path / "off/rollouts/dropped_rank0.jsonl").exists()
    assert "groups/useful" not in off._metrics["train"]


def test_a_sync_names_the_step_of_the_run_and_a_step_syncs_once(make, prompts):
    trainer = make(OFF)
    for at in (4, 4, 5):
        trainer.state.global_step = at
        step(trainer, prompts[:2])
    assert trainer.collector.engine.synced_at == [4, 5]


def pixels_of(group_prompts):
    return torch.cat([prompt.inputs.images["pixel_values"] for prompt in group_prompts])


def names_of(prompts):
    return [prompt.prompt_id for prompt in prompts]


def test_a_replaced_puzzle_is_what_the_policy_sees_and_learns_from(
    make, prompts, processor, tmp_path
):
    trainer = make(ON)
    output = step(trainer, [prompts[0], prompts[2]])
    first, second = names(lines(tmp_path / "run/rollouts/rank0.jsonl"))
    assert first != prompts[0].prompt_id and second == prompts[2].prompt_id
    fresh = next(p for p in prompts if p.prompt_id == first)
    assert fresh in prompts[2::3]
    images = [decode_image(p.images[0]) for p in (fresh, prompts[2])]
    pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels_of(output["group_prompts"]), pixels)
    shown = processor.tokenizer.batch_decode(output["prompt_ids"], skip_special_tokens=True)
    assert [max(map(len, re.findall("A+", text))) for text in shown] == [
        prompts.index(prompt) + 1 for prompt in (fresh, fresh, prompts[2], prompts[2])
    ]
    advantages = output["advantages"].view(2, GROUP)
    assert (advantages[:, 0] > 0.5).all() and (advantages[:, 1] < -0.5).all()


def test_what_was_thrown_away_is_recorded_and_counted(make, prompts, tmp_path):
    trainer = make(ON)
    step(trainer, [prompts[0], prompts[2]])
    asked = [name for call in trainer.collector.engine.asked for name in call]
    assert len(set(asked)) == len(asked) > 2
    trained = lines(tmp_path / "run/rollouts/rank0.jsonl")
    dropped = lines(tmp_path / "run/rollouts/dropped_rank0.jsonl")
    assert sorted(names(trained) + names(dropped)) == sorted(asked)
    assert names(dropped)[0] == prompts[0].prompt_id
    for row in dropped:
        assert row["step"] == 0
        assert row["reason"] == ("surplus" if row["is_admitted"] else "no_variance")
    useful = sum(name in names_of(prompts[2::3]) for name in asked)
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert metrics["groups/useful"] == pytest.approx(useful / len(asked))
    assert metrics["groups/sampled_per_trained"] == len(asked) / 2
    assert metrics["groups/refill_rounds"] == len(trainer.collector.engine.asked) - 1
    assert metrics["groups/admitted"] == 1.0
    assert metrics["completions/truncated"] == 0.0
    difficulty = trainer._refiller.difficulty
    rates = {p.prompt_id: difficulty.pass_rate(p.puzzle.puzzle_id) for p in prompts}
    expected = {n: (0.5 if n in names_of(prompts[2::3]) else 0.0) for n in asked}
    assert {name: rate for name, rate in rates.items() if rate is not None} == expected


def test_where_nothing_useful_is_found_the_batch_is_trained_as_it_is(make, prompts, tmp_path):
    trainer = make(replace(ON, max_rounds=2), useful=())
    output = step(trainer, prompts[:2])
    assert names(lines(tmp_path / "run/rollouts/rank0.jsonl")) == names_of(prompts[:2])
    assert output["advantages"].tolist() == [0.0] * 4
    # two places at the cap of 2 each, twice
    dropped = lines(tmp_path / "run/rollouts/dropped_rank0.jsonl")
    assert [(row["reason"], row["round"]) for row in dropped] == [
        *[("no_variance", 1)] * 4,
        *[("no_variance", 2)] * 4,
    ]
    assert not {*names(dropped)} & {*names_of(prompts[:2])}


def test_a_resumed_run_fills_its_batches_as_the_whole_run_does(make, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1, "logging_steps": 1}
    whole, first = make(ON, "whole", **saving), make(ON, "cut", **saving, max_steps=2)
    whole.train()
    first.train()
    second = make(ON, "cut", **saving)
    second.train(resume_from_checkpoint=str(tmp_path / "cut/checkpoints/checkpoint-2"))
    for name in ("rank0.jsonl", "dropped_rank0.jsonl"):
        left, right = (lines(tmp_path / run / "rollouts" / name) for run in ("whole", "cut"))
        assert names(left) == names(right)
        assert [row["step"] for row in left] == [row["step"] for row in right]
    assert second._refiller.useful_share == whole._refiller.useful_share
    assert second._refiller.difficulty.to_dict() == whole._refiller.difficulty.to_dict()
    saved = DifficultyRecord.load(tmp_path / "cut/rollouts/difficulty.json")
    assert saved.to_dict() == whole._refiller.difficulty.to_dict()
    logged = [row for row in whole.state.log_history if "groups/useful" in row]
    assert len(logged) == 3


def test_a_damaged_state_is_named_and_a_missing_one_is_not_missed(make, tmp_path):
    trainer = make(ON)
    trainer._refiller.load(tmp_path)
    assert trainer._refiller.useful_share is None
    (tmp_path / "sampling_state.json").write_text('{"useful_share": 0.5}')
    with pytest.raises(DataError, match="sampling_state.json: expected the state of sampling"):
        trainer._refiller.load(tmp_path)


def test_dynamic_sampling_without_admission_is_refused():
    rollouts = RolloutConfig(dynamic=ON)
    with pytest.raises(ConfigError, match="expected rewards.admission outcome_variance"):
        grpo_arguments(RunConfig(), rollouts, RewardConfig(admission="none"), {})
