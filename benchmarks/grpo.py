"""A GRPO step of 2 puzzles x 32 chains: ours against trl's trainer with its own generation.

Same policy, same batch, same objective; ours samples with vLLM in process and grades
perception, rules and format beside the answer, trl's samples with transformers and
grades the answer alone.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from _harness import Row, report
from datasets import Image as ImageFeature
from datasets import List
from transformers import TrainerCallback

from rewards.config import RewardConfig
from rl_avr.chat import banned_token_ids
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import train_only
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.parsing import parse
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training.config import CreditConfig, DataConfig, RunConfig, UpdateConfig
from rl_avr.training.grpo import grpo_arguments, grpo_dataset, make_trainer
from rl_avr.training.puzzle_data import read_prompts
from rollouts.config import RolloutConfig, SamplingConfig

POLICY = PolicyConfig(path="assets/warm_policy")
NUM_PUZZLES, GROUP, STEPS = 2, 32, 4
SAMPLING = SamplingConfig(max_new_tokens=112)


class StepClock(TrainerCallback):
    """Notes when each step ends; the first step, which warms up, is left out."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())

    def seconds_per_step(self) -> float:
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig(path=folder)
        render = RenderConfig(panel_size_px=36)
        puzzles = PuzzleConfig(num_train=NUM_PUZZLES * STEPS, num_held_out=1, render=render)
        make_data(MakeConfig(path=folder), puzzles)
        theirs = their_step(data, folder)
        ours = our_step(data, folder)
    name = f"step, {NUM_PUZZLES} puzzles x {GROUP} chains"
    report("grpo", [Row(name, ours, theirs, theirs / ours, "s")])


def arguments(folder: str) -> Any:
    block = {
        "max_steps": STEPS,
        "per_device_train_batch_size": NUM_PUZZLES * GROUP,
        "num_generations": GROUP,
        "learning_rate": 1e-5,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "logging_steps": 1,
    }
    rollouts = RolloutConfig(sampling=SAMPLING)
    return grpo_arguments(RunConfig(dir=folder), rollouts, RewardConfig(), block)


def our_step(data: DataConfig, folder: str) -> float:
    clock = StepClock()
    trainer = make_trainer(
        folder=Path(folder),
        args=arguments(folder),
        run=RunConfig(dir=folder),
        policy=POLICY,
        prompts=read_prompts(data),
        rollouts=RolloutConfig(sampling=SAMPLING),
        rewards=RewardConfig(),
        credit=CreditConfig(),
        update=UpdateConfig(),
    )
    trainer.add_callback(clock)
    with trainer.collector.engine, trainer.collector:
        trainer.train()
    return clock.seconds_per_step()


def their_step(data: DataConfig, folder: str) -> float:
    from trl import GRPOTrainer

    prompts = read_prompts(data)
    images = [[{"bytes": image, "path": None} for image in p.images] for p in prompts]
    answers = {prompt.prompt_id: prompt.puzzle.answer_index for prompt in prompts}
    processor = load_processor(POLICY.path)
    model = load_policy(POLICY)
    train_only(model, ("language_model",))

    def choice(completions: Any, prompt_id: list[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [
            float(parse(text, 8).choice_index == answers[name])
            for text, name in zip(texts, prompt_id, strict=True)
        ]

    args = arguments(folder)
    args.generation_kwargs = {"suppress_tokens": list(banned_token_ids(processor))}
    clock = StepClock()
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=choice,
        args=args,
        train_dataset=grpo_dataset(prompts)
        .add_column("images", images)
        .cast_column("images", List(ImageFeature(mode="RGB"))),
        processing_class=processor,
        callbacks=[clock],
    )
    trainer.train()
    return clock.seconds_per_step()


if __name__ == "__main__":
    main()
