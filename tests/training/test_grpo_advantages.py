"""The path from scores to advantages, through trl's own arithmetic on a tiny policy."""

import pytest
import torch

from rewards.config import RewardConfig
from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.elicitation.chains import gold_chain
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from tests.training.scripted_trainer import scripted_trainer

GROUP = 4
EPS = 1e-4


def wrong_letter(puzzle):
    return CHOICE_LETTERS[(puzzle.answer_index + 1) % 8]


def with_answer(puzzle, letter):
    return gold_chain(puzzle).rpartition(" ")[0] + f" {letter}"


def all_wrong(puzzle):
    """A well-formed wrong chain, a bare wrong letter, nothing, and words: choice 0 for all."""
    letter = wrong_letter(puzzle)
    return with_answer(puzzle, letter), f"### Answer: {letter}", "", "I do not know."


def half_right(puzzle):
    letter = wrong_letter(puzzle)
    return (
        gold_chain(puzzle),
        f"### Answer: {puzzle.answer_letter}",
        f"### Answer: {letter}",
        with_answer(puzzle, letter),
    )


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    puzzles = PuzzleConfig(
        num_train=2, num_held_out=1, min_ruled=1, render=RenderConfig(panel_size_px=36)
    )
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    return read_prompts(DataConfig(path=str(folder)))


def advantages(tiny_folder, processor, prompts, tmp_path, rewards):
    """Returns prompt id -> advantages of its group, and the trainer's logged metrics."""
    scripts = {prompts[0].prompt_id: all_wrong, prompts[1].prompt_id: half_right}
    trainer = scripted_trainer(
        tmp_path,
        tiny_folder,
        processor,
        prompts,
        lambda prompt, i: scripts[prompt.prompt_id](prompt.puzzle)[i],
        GROUP,
        {"max_steps": 1},
        rewards=rewards,
    )
    rows = [
        {"prompt_id": p.prompt_id, "prompt": row["prompt"]}
        for p, row in zip(prompts, trainer.train_dataset, strict=True)
        for _ in range(GROUP)
    ]
    trainer.model.train()
    with trainer.collector:
        output = trainer._generate_and_score_completions(rows)
    found = output["advantages"].view(2, GROUP)
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return found[0].tolist(), found[1].tolist(), metrics


@pytest.fixture
def run(tiny_folder, processor, prompts, tmp_path):
    return lambda **changes: advantages(
        tiny_folder, processor, prompts, tmp_path, RewardConfig(**changes)
    )


def normalised(values):
    values = torch.tensor(values)
    return ((values - values.mean()) / (values.std() + EPS)).tolist()


# choice 1, format 0.1, perception 0.2, rule 0.1: the totals of `half_right`
GATED = [1.0, 1 / 1.4, 0.0, 0.0]


def test_the_default_total_is_normalised_within_the_group(run):
    wrong, half, metrics = run()
    assert wrong == [0.0] * GROUP
    assert half == pytest.approx(normalised(GATED), abs=1e-5)
    assert metrics["groups/admitted"] == 0.5
    assert metrics["reward"] == pytest.approx((1 + 1 / 1.4) / 8)
    assert metrics["rewards/choice/mean"] == pytest.approx(2 / 8)


def test_an_all_wrong_group_would_get_full_size_advantages_from_form_alone(run):
    """The shape of the published collapse: without gate and admission, form is all there is."""
    format_only = {"perception": 0, "rule": 0, "gate": "none"}
    wrong, _, metrics = run(admission="none", **format_only)
    # one well-formed chain among four: 0.1 / 1.1 against three zeros
    assert wrong == pytest.approx(normalised([0.1 / 1.1, 0, 0, 0]), abs=1e-5)
    assert wrong[0] > 1.0
    assert metrics["groups/admitted"] == 1.0
    wrong, half, _ = run(**format_only)
    assert wrong == [0.0] * GROUP
    assert half == pytest.approx(normalised([1.0, 1 / 1.1, 0, 0.1 / 1.1]), abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": "none", "format_mode": "graded"},
        {"gate": "none", "format_mode": "added"},
        {"gate": "none", "length": 1.0, "length_limit": 3000},
        {"gate": "none", "aggregation": "normalize_then_sum"},
        {"gate": "none", "length": 1.0, "length_limit": 3000, "aggregation": "normalize_then_sum"},
    ],
)
def test_no_composition_gives_an_all_wrong_group_an_advantage(run, changes):
    wrong, half, _ = run(**changes)
    assert wrong == pytest.approx([0.0] * GROUP, abs=1e-6)
    assert max(half) > 0.5


def test_the_perception_stream_teaches_an_all_wrong_group_to_see_and_nothing_else(run):
    wrong, half, _ = run(gate="stream", stream_weight=0.5)
    # outcome: choice and format; the all-wrong group is constant there
    outcome = [0.0] * 4 + normalised([1.0, 1 / 1.1, 0.0, 0.1 / 1.1])
    # perception and rules: gold chains have 1, the others 0
    seen = normalised([1.0, 0, 0, 0]) + normalised([1.0, 0, 0, 1.0])
    summed = [o + 0.5 * s for o, s in zip(outcome, seen, strict=True)]
    assert wrong + half == pytest.approx(normalised(summed), abs=1e-3)
    assert wrong[0] > wrong[1] == pytest.approx(wrong[2], abs=1e-6)


def test_each_part_is_normalised_before_the_sum(run):
    _, half, _ = run(aggregation="normalize_then_sum", gate="none", perception=0, rule=0)
    parts = {1.0: [1.0, 1.0, 0.0, 0.0], 0.1: [1.0, 0.0, 0.0, 1.0]}
    summed = [
        sum(terms)
        for terms in zip(
            *([w * v for v in normalised(values)] for w, values in parts.items()), strict=True
        )
    ]
    # trl divides by the batch's deviation, over the all-wrong group's zeros too
    assert half == pytest.approx(normalised([0.0] * 4 + summed)[4:], abs=1e-3)


def test_difficulty_multiplies_the_advantage(run, prompts):
    _, plain, _ = run()
    _, weighted, _ = run(difficulty_slope=0.5)
    factor = 1 + 0.5 * prompts[1].puzzle.difficulty
    assert prompts[1].puzzle.difficulty > 0
    assert weighted == pytest.approx([factor * a for a in plain], rel=1e-5)
