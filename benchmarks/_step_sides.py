"""One side of one row of the benchmark of whole steps, in the process that is measured.

A step is rollout, reward, update and sync. Ours samples with vLLM in process, grades perception,
rules and format beside the answer, and checks the sampler's logprobs against the policy's. trl's
trainer, with the same config, samples with transformers' generate, all of a batch at once, and
grades the answer alone; its own vLLM gets image prompts wrong. The first step warms up and is
left out.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from _rollout_sides import StepClock, step_settings  # first: it puts the packages on the path

# isort: split
from datasets import Image as ImageFeature
from datasets import List

from rl_avr.chat import banned_token_ids
from rl_avr.metric_names import phase_seconds
from rl_avr.modeling.freezing import train_only
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.parsing import parse
from rl_avr.pipeline.data import make_data
from rl_avr.settings import DataSettings, GrpoSettings, load_settings
from rl_avr.training.grpo import grpo_arguments, grpo_dataset, make_trainer
from rl_avr.training.phase_clock import PHASES
from rl_avr.training.puzzle_data import read_prompts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", help="ours, or trl-4: trl with micro-batches of 4")
    for name in ("--policy", "--tower", "--device"):
        parser.add_argument(name)
    for name in ("--tokens", "--puzzles", "--group", "--new-tokens", "--steps"):
        parser.add_argument(name, type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = {"puzzles.num_train": str(args.puzzles * args.steps), "puzzles.num_held_out": "1"}
        where = {"data.path": f"{folder}/data", "data.num_workers": "1"}
        made = load_settings(DataSettings, ["configs/demo/data.yaml"], {**size, **where})
        make_data(made.data, made.puzzles)
        settings = step_settings(args, folder, args.steps)
        if args.tower == "trained":
            settings = replace(settings, policy=replace(settings.policy, freeze=()))
        if args.side == "ours":
            figures = ours(settings, Path(folder))
        else:
            figures = theirs(settings, args.puzzles * args.group, int(args.side[4:]))
    args.out.write_text(json.dumps(figures))


def ours(settings: GrpoSettings, folder: Path) -> dict[str, Any]:
    trainer = make_trainer(
        folder=folder,
        args=grpo_arguments(settings.run, settings.rollouts, settings.rewards, settings.trainer),
        run=settings.run,
        policy=settings.policy,
        prompts=read_prompts(settings.data),
        rollouts=settings.rollouts,
        rewards=settings.rewards,
        credit=settings.credit,
        update=settings.update,
    )
    clock = StepClock()
    trainer.add_callback(clock)
    with trainer.collector.engine, trainer.collector:
        trainer.train()
    logs = [row for row in trainer.state.log_history if phase_seconds("update") in row][1:]
    phases = {phase: mean([row[phase_seconds(phase)] for row in logs]) for phase in PHASES}
    return {**step_figures(clock, trainer), "phases": phases}


def theirs(settings: GrpoSettings, batch: int, micro: int) -> dict[str, Any]:
    from trl import GRPOTrainer

    prompts = read_prompts(settings.data)
    images = [[{"bytes": image, "path": None} for image in p.images] for p in prompts]
    answers = {prompt.prompt_id: prompt.puzzle.answer_index for prompt in prompts}
    processor = load_processor(settings.policy.path)
    model = load_policy(settings.policy)
    if settings.policy.freeze:
        train_only(model, ("language_model",))

    def choice(completions: Any, prompt_id: list[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [
            float(parse(text, 8).choice_index == answers[name])
            for text, name in zip(texts, prompt_id, strict=True)
        ]

    parts = {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
    }
    block = settings.trainer | parts
    args = grpo_arguments(settings.run, settings.rollouts, settings.rewards, block)
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
    return step_figures(clock, trainer)


def step_figures(clock: StepClock, trainer: Any) -> dict[str, Any]:
    timed = len(clock.ends) - 1
    logs = [row for row in trainer.state.log_history if "completions/mean_length" in row][1:]
    return {
        "step_s": (clock.ends[-1] - clock.ends[0]) / timed,
        "steps_timed": timed,
        "tokens": mean([row["completions/mean_length"] for row in logs]),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
