"""Validation within a run: when it measures, what it logs, and that it changes nothing."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rl_avr.metric_names import (
    ANSWER_ACCURACY,
    CHAIN_PERCEPTION,
    PARSED_SHARE,
    PERCEPTION_ACCURACY,
    PERCEPTION_FALLING,
    SFT_TABLE,
    SHORTCUT,
    row_of,
)
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.puzzles.config import RenderConfig
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import write_puzzles
from sft_warmstart import validation
from sft_warmstart.config import ElicitationConfig, SftConfig, ValidationConfig
from sft_warmstart.train import train_sft
from sft_warmstart.validation import answered

NAMES = {PERCEPTION_ACCURACY, ANSWER_ACCURACY, CHAIN_PERCEPTION, PARSED_SHARE}
VALIDATION = ValidationConfig(every_steps=2, num_puzzles=4, num_questions=2, max_new_tokens=6)
SFT = SftConfig(
    stage="reasoning",
    mixture={"perception": 1.0, "chain": 1.0},
    elicitation=ElicitationConfig(num_coarse=1, num_fine=2, order="sequential"),
    validation=VALIDATION,
)


@pytest.fixture
def run(tmp_path, tiny_folder, puzzles):
    """Trains five steps with dropout; returns the rows of the log and the weights."""
    torch.set_num_threads(1)
    write_puzzles(puzzles[:20], tmp_path / "data" / "train.parquet", RenderConfig(36))
    write_puzzles(puzzles[20:24], tmp_path / "data" / "held_out.parquet", RenderConfig(36))

    def train(name, sft=SFT, resume=True, **block):
        train_sft(
            run=RunConfig(dir=str(tmp_path / name), wandb="disabled", resume=resume),
            # dropout draws random numbers at every step
            policy=PolicyConfig(
                path=str(tiny_folder), freeze=(), lora=LoraConfig(rank=4, dropout=0.3)
            ),
            data=DataConfig(path=str(tmp_path / "data")),
            sft=sft,
            trainer={
                "use_cpu": True,
                "bf16": False,
                "per_device_train_batch_size": 2,
                "gradient_checkpointing": True,
                "learning_rate": 1e-3,
                "logging_steps": 1,
                "save_strategy": "no",
                "max_length": None,
                "max_steps": 5,
                **block,
            },
        )
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()]
        return rows, load_file(tmp_path / name / "policy" / "model.safetensors")

    return train


def steps_of(rows):
    return [row["step"] for row in rows if PERCEPTION_ACCURACY in row]


def test_a_run_is_the_same_with_validation_and_without_it(run, monkeypatch):
    """Even where what is measured draws random numbers, as dropout at each step does."""
    monkeypatch.setattr(validation, "answered", lambda *args: (torch.rand(3), answered(*args))[1])
    with_rows, with_weights = run("with")
    rows, weights = run("without", replace(SFT, validation=ValidationConfig()))
    assert [name for name in weights if not torch.equal(weights[name], with_weights[name])] == []
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == [row["loss"] for row in with_rows if "loss" in row] and len(losses) == 5
    assert steps_of(rows) == []
    # before the first step, every second one, and the last one
    assert steps_of(with_rows) == [0, 2, 4, 5]
    measured = [row for row in with_rows if PERCEPTION_ACCURACY in row]
    for row in measured:
        assert {name for name in row if name.startswith("eval/")} == NAMES
        assert all(0 <= row[name] <= 1 for name in NAMES)
        assert row[PERCEPTION_FALLING] in (0, 1) and row[SHORTCUT] in (0, 1)
    # nothing of the steps before is in these rows, and nothing is missing in others
    assert all("loss" not in row and "entropy" not in row for row in measured)
    names = {name for row in with_rows for name in row}
    assert {name for name in names if row_of(name) is None} == set()
    assert {row_of(name) for name in names} >= set(SFT_TABLE)
    encoded = "vision/encodings_per_conversation"
    assert [row[encoded] for row in rows if encoded in row] == [
        row[encoded] for row in with_rows if encoded in row
    ]


def test_a_run_that_stops_early_measures_where_it_stops(run):
    rows, _ = run("early", replace(SFT, stop_after_steps=3))
    assert steps_of(rows) == [0, 2, 3]


def test_a_warning_is_said_once_even_if_the_run_is_resumed(run, monkeypatch, caplog):
    said = {name: None for name in (PERCEPTION_FALLING, SHORTCUT)}
    monkeypatch.setattr(
        validation, "warnings_of", lambda history, *_: said | {SHORTCUT: f"{len(history)} rows"}
    )
    with caplog.at_level(logging.WARNING, validation.__name__):
        run("killed", replace(SFT, stop_after_steps=2), save_strategy="steps", save_steps=2)
        assert [r.message for r in caplog.records if r.name == validation.__name__] == [
            "step 0: 1 rows"
        ]
        rows, _ = run("killed", save_strategy="steps", save_steps=2)
    assert len([r for r in caplog.records if r.name == validation.__name__]) == 1
    assert steps_of(rows) == [0, 2, 4, 5]
    assert all(row[SHORTCUT] == 1 for row in rows if SHORTCUT in row)


def test_the_warnings_get_the_log_the_number_of_questions_and_the_order(run, monkeypatch):
    seen = []

    def fake(history, num_asked, patience, is_sequential):
        seen.append((list(history), num_asked, patience, is_sequential))
        return {PERCEPTION_FALLING: None, SHORTCUT: None}

    monkeypatch.setattr(validation, "warnings_of", fake)
    run("seen", replace(SFT, validation=replace(VALIDATION, patience=3)))
    assert [row[1:] for row in seen] == [(8, 3, True)] * 4
    last = seen[-1][0]
    assert [row["step"] for row in last if PERCEPTION_ACCURACY in row] == [0, 2, 4, 5]
    assert [row["step"] for row in last if "loss" in row] == [1, 2, 3, 4]
