"""Every metric of a run stands in the table, and the table in docs/metrics.md."""

import json
import re
from pathlib import Path

import pytest
import torch

from rl_avr import metric_names
from rl_avr.metric_names import DPO_TABLE, SFT_TABLE, TABLE, row_of
from rl_avr.training.phase_clock import PHASES, PhaseClock
from rl_avr.training.usage import VisionCount, peak_memory
from tests.training.tiny_run import GROUP, make_run, prompts  # noqa: F401

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def rows(tiny_folder, processor, prompts, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("run")
    trainer = make_run(folder, tiny_folder, processor, prompts, max_steps=2, beta=0.1)
    with trainer.collector:
        trainer.train()
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def test_a_run_logs_no_name_outside_the_table(rows):
    logged = {name for row in rows for name in row}
    assert {name for name in logged if row_of(name) is None} == set()


def test_a_run_logs_what_the_table_promises(rows):
    """All but what a GPU, dynamic sampling, a bandit, credit or another loss would add."""
    seldom = {
        metric_names.CREDIT_SPREAD,
        metric_names.PEAK_GPU_MEMORY,
        metric_names.USEFUL_SHARE,
        metric_names.REFILL_ROUNDS,
        metric_names.SAMPLED_PER_TRAINED,
        "sampler/{category}",
        "cispo_clip_ratio",
        "policy_loss",
        "entropy_coef",
    }
    assert {row_of(name) for row in rows for name in row} == set(TABLE) - seldom


def test_the_docs_have_a_row_for_every_name_and_no_other():
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    named = [name for row in cells for name in re.findall(r"`([^`]+)`", row[0])]
    assert sorted(named) == sorted([*TABLE, *SFT_TABLE, *DPO_TABLE])
    # what it is, and what to do when it looks wrong
    assert all(len(row) == 3 and row[1] and row[2] for row in cells)


def test_shares_and_rates_of_a_run(rows):
    first = rows[0]
    outcomes = [
        metric_names.ALL_RIGHT_SHARE,
        metric_names.ALL_WRONG_SHARE,
        metric_names.MIXED_SHARE,
    ]
    assert sum(first[name] for name in outcomes) == 1.0
    assert first[metric_names.none_share("choice")] == 0.0
    for phase in PHASES:
        tokens = first[f"time/{phase}_s"] * first[f"tokens_per_second/{phase}"]
        # every token that is sampled is trained once
        assert tokens == pytest.approx(first["completions/mean_length"] * 4 * GROUP)
    # the tower is trained: once for old logprobs, reference and update each
    assert first[metric_names.VISION_ENCODINGS] >= 3
    assert first[metric_names.PEAK_MEMORY] > 0


def test_phases_exclude_each_other():
    times = iter([0.0, 1.0, 3.0, 4.0, 6.0, 10.0, 10.0])
    clock = PhaseClock(lambda: next(times))
    with clock.phase("update"), clock.phase("rollout"):
        pass
    clock.begin("sync")
    clock.end()
    clock.count(sampled=8, trained=4)
    found = clock.take()
    assert {name: value for name, value in found.items() if name.startswith("time/")} == {
        "time/rollout_s": 2.0,
        "time/update_s": 2.0,
        "time/sync_s": 4.0,
    }
    assert found["tokens_per_second/rollout"] == 4.0
    assert found["tokens_per_second/update"] == found["tokens_per_second/sync"] == 2.0
    assert "time/reward_s" not in found
    times = iter([20.0])
    assert clock.take() == {}


def test_images_are_counted_where_they_are_encoded(model, processor, prompts):  # noqa: F811
    from rl_avr.training.policy_pass import group_prompt

    made = [group_prompt(processor, prompt, torch.device("cpu")) for prompt in prompts[:2]]
    count = VisionCount([model])
    for prompt in made:
        model.base_model.get_image_features(**prompt.inputs.images)
    assert count.take() == {}
    for prompt in made + made[:1]:
        model.base_model.get_image_features(**prompt.inputs.images)
    count.trained(2)
    assert count.take() == {metric_names.VISION_ENCODINGS: 1.5}


def test_memory_is_in_gib():
    (peak,) = [v for name, v in peak_memory().items() if name == metric_names.PEAK_MEMORY]
    assert 0.05 < peak < 500
