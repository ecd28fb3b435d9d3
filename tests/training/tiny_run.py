"""Small GRPO runs with the transformers engine, whole in one process, for several tests."""

import zlib
from dataclasses import replace

import pytest
import torch

from rewards.config import RewardConfig
from rl_avr.chat import banned_token_ids
from rl_avr.collector import Collector
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.freezing import PARTS
from rl_avr.modeling.loading import load_policy
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training.config import CreditConfig, DataConfig, RunConfig
from rl_avr.training.grpo import grpo_arguments, grpo_dataset
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.implicit_credit import load_credit_pair
from rl_avr.training.policy_parts import choose_trained
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.run_folder import MetricsCallback
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engines import make_engine

GROUP, NUM_PUZZLES = 4, 8
SAMPLING = SamplingConfig(max_new_tokens=10)
NO_LORA = LoraConfig()
NO_CREDIT = CreditConfig()
REWARDS = RewardConfig(admission="none", gate="none")


def scored_by(score):
    """Returns a collector class whose completions are worth `score(completion)`."""

    class ScoredCollector(Collector):
        def collect(self, prompts, num_generations, *path):
            return [self._scored(g) for g in super().collect(prompts, num_generations, *path)]

        def _scored(self, graded):
            values = map(score, graded.group.completions)
            scores = tuple(map(self._with_total, graded.scores, values))
            return replace(graded, scores=scores)

        @staticmethod
        def _with_total(old, value):
            streams = tuple((name, value) for name, _ in old.streams)
            return replace(old, total=value, streams=streams)

    return ScoredCollector


# an untrained policy never writes an answer
HashCollector = scored_by(lambda completion: zlib.crc32(completion.text.encode()) % 101 / 100)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """Eight prompts of different lengths."""
    folder = tmp_path_factory.mktemp("data")
    puzzles = PuzzleConfig(
        num_train=NUM_PUZZLES, num_held_out=1, render=RenderConfig(panel_size_px=36)
    )
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    found = read_prompts(DataConfig(path=str(folder)))
    return [replace(p, text=f"{p.text} {'A' * (i + 1)}") for i, p in enumerate(found)]


def make_run(
    folder,
    policy_folder,
    processor,
    prompts,
    *,
    collector=HashCollector,
    engine=None,
    sampling=SAMPLING,
    lora=NO_LORA,
    credit=NO_CREDIT,
    **block,
):
    """Returns a trainer whose files are in `folder`; `block` changes trl's arguments."""
    # of matrices this small two threads spend their time on each other
    torch.set_num_threads(1)
    block = {
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 2 * GROUP,
        "gradient_accumulation_steps": 2,
        "num_generations": GROUP,
        "max_steps": 5,
        "save_steps": 1,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "linear",
        "beta": 0.0,
        **block,
    }
    rollouts = RolloutConfig(engine="transformers", sampling=sampling, max_model_len=400)
    policy = PolicyConfig(path=str(policy_folder), lora=lora)
    engine = engine or make_engine(rollouts, policy.path, policy.dtype, processor, 0)
    model = load_policy(policy)
    return AvrGrpoTrainer(
        model=model,
        peft_config=choose_trained(model, policy, PARTS),
        args=grpo_arguments(RunConfig(dir=str(folder)), rollouts, REWARDS, block),
        train_dataset=grpo_dataset(prompts),
        processing_class=processor,
        callbacks=[MetricsCallback(folder / "metrics.jsonl")],
        prompts={prompt.prompt_id: prompt for prompt in prompts},
        make_collector=lambda: collector(engine, rollouts.sampling, REWARDS, 0),
        banned_token_ids=banned_token_ids(processor),
        parity_max_mean_gap=1e-3,
        rewards=REWARDS,
        rollouts_path=folder / "rollouts" / "rank0.jsonl",
        credit=credit,
        credit_pair=load_credit_pair(credit, policy.dtype, processor),
    )


def weights(trainer):
    """Returns a copy of the policy's weights."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
