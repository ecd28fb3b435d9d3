"""What a user may set, and what the seams to trl look like."""

import inspect

import pytest
from trl import GRPOTrainer

from rewards.config import RewardConfig
from rl_avr.contracts import GradedGroup, Prompt, RolloutGroup
from rl_avr.errors import ConfigError, RolloutError
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle
from rl_avr.training.config import RunConfig
from rl_avr.training.grpo import check_batch_shape, grpo_arguments
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.rollout_checks import check_gap, check_prompt_ids
from rollouts.config import RolloutConfig, SamplingConfig

BLOCK = {"use_cpu": True, "bf16": False, "per_device_train_batch_size": 64, "num_generations": 32}


def arguments(**block):
    return grpo_arguments(RunConfig(), RolloutConfig(), RewardConfig(), {**BLOCK, **block})


@pytest.mark.parametrize(
    ("seam", "parameters"),
    [
        ("_generate_and_score_completions", ["self", "inputs"]),
        (
            "_generate_single_turn",
            [
                "self",
                "prompt_ids",
                "images",
                "multimodal_fields",
                "num_generations",
                "has_tool_images",
            ],
        ),
        (
            "_calculate_rewards",
            ["self", "inputs", "prompts", "completions", "completion_ids_list"],
        ),
        ("_tokenize_prompts", ["self", "prompts"]),
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
        ("_load_optimizer_and_scheduler", ["self", "checkpoint"]),
    ],
)
def test_trl_still_has_the_seam(seam, parameters):
    """A new trl that renames or reorders these must fail here, not in a run."""
    assert list(inspect.signature(getattr(GRPOTrainer, seam)).parameters) == parameters
    assert list(inspect.signature(getattr(AvrGrpoTrainer, seam)).parameters) == parameters


@pytest.mark.parametrize("name", ["use_vllm", "vllm_importance_sampling_correction"])
def test_trl_still_reads_the_flags_that_are_set_after_its_constructor(name):
    assert f"self.{name}" in inspect.getsource(GRPOTrainer._generate_and_score_completions)


def test_trl_still_takes_advantages_by_token():
    assert "advantages.dim() == 1" in inspect.getsource(GRPOTrainer._compute_loss)


def test_neutral_arguments():
    args = arguments()
    check_batch_shape(args)
    assert (args.temperature, args.top_p, args.use_vllm) == (1.0, 1.0, False)


def test_a_group_that_would_be_split_is_refused_with_the_numbers_that_fit():
    args = arguments(per_device_train_batch_size=48, num_generations=32, generation_batch_size=96)
    with pytest.raises(ConfigError, match=r"one of \[2, 3, 4, 6, 8, 12, 16, 24, 48\]") as error:
        check_batch_shape(args)
    assert "batch size of 32 or 64" in str(error.value)


def test_trls_own_refusal_of_a_batch_names_the_numbers_too():
    with pytest.raises(ConfigError, match=r"\[2, 4, 5, 10, 20\]"):
        arguments(per_device_train_batch_size=20, num_generations=8)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("temperature", "rollouts.sampling"),
        ("use_vllm", "rollouts.engine"),
        ("max_completion_length", "rollouts.sampling.max_new_tokens"),
        ("reward_weights", "rewards"),
        ("seed", "run.seed"),
        ("output_dir", "run.dir"),
        ("report_to", "run.wandb"),
    ],
)
def test_what_another_block_decides_is_not_set_twice(key, where):
    with pytest.raises(ConfigError, match=f"trainer.{key}: not set here; .*{where}"):
        arguments(**{key: 1})


def test_greedy_chains_are_refused_for_training():
    rollouts = RolloutConfig(sampling=SamplingConfig(temperature=0))
    with pytest.raises(ConfigError, match="temperature 0: greedy.*number > 0"):
        grpo_arguments(RunConfig(), rollouts, RewardConfig(), BLOCK)


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(ConfigError, match="trainer.learning_rat.*learning_rate"):
        arguments(learning_rat=1e-5)


def group_with(prompt_ids):
    prompt = Prompt("7/cot", sample_puzzle("train", 0, 0, PuzzleConfig()), "cot", "", ())
    return GradedGroup(RolloutGroup(prompt, prompt_ids, ()), (), ())


def test_prompt_ids_that_an_engine_expanded_twice_are_refused():
    check_prompt_ids([1, 9, 9, 2], group_with((1, 9, 9, 2)))
    with pytest.raises(RolloutError, match=r"7/cot.*saw 6 .* has 4, different from position 3"):
        check_prompt_ids([1, 9, 9, 2], group_with((1, 9, 9, 9, 9, 2)))


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        (2e-3, "step 7: the engine and the policy disagree.*is 2.00e-03, expected at most"),
        (float("nan"), "step 7: the logprobs of the sampled tokens are not finite.*learning_rate"),
        (float("inf"), "not finite"),
    ],
)
def test_a_gap_above_the_limit_or_without_a_number_stops_the_run(gap, message):
    check_gap(1e-3, 1e-3, 7)
    with pytest.raises(RolloutError, match=message):
        check_gap(gap, 1e-3, 7)
