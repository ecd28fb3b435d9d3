"""One side of one row of the rollout benchmark, in the process that is measured.

transformers generates its best way: the key-value cache, fused attention, all puzzles in one
batch or one at a time, whichever is faster, and one at a time where the cache of the batch would
not fit in memory. One at a time is timed on one puzzle: more of them change nothing. Ours returns
logprobs and never samples a vision token besides. Both decode up to the end of the longest chain;
a chain's tokens count up to its end.
"""

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _harness import seconds  # first: it puts the packages on the import path

# isort: split
import torch
from PIL import Image
from transformers import TrainerCallback

from rl_avr.chat import banned_token_ids
from rl_avr.contracts import Prompt
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import save_small_policy
from rl_avr.modeling.weights import named_weights
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.prompt_inputs import processed_prompt, prompt_images

DEMO = Path("assets/warm_policy")
POLICIES = Path("runs/bench/policies")
TOKEN_PX = 36
"""Side of an image token of both policies: two patches of 18 pixels."""
GRIDS = {100: (10, 10), 400: (20, 20), 1000: (25, 40)}
"""Image tokens -> rows and columns of them."""
PROMPT_TOKENS = 64
"""Room for the words around the image."""
SHAPES = {
    "12M": SmallPolicyConfig(
        hidden_size=320,
        num_layers=6,
        num_heads=10,
        intermediate_size=1088,
        vision_hidden_size=192,
        vision_depth=4,
        vision_num_heads=6,
        vision_intermediate_size=576,
    ),
    "100M": SmallPolicyConfig(
        hidden_size=640,
        num_layers=12,
        num_heads=20,
        intermediate_size=2560,
        vision_hidden_size=512,
        vision_depth=6,
        vision_num_heads=8,
        vision_intermediate_size=1536,
        image_height_px=360,
        image_width_px=360,
    ),
}
"""Policies beside the demo's. A quarter of the weights is the vision tower's, all of whose layers
attend to the whole image."""
CACHE_BYTES = 1 << 30
"""Key-value cache of a whole batch beyond which transformers gets one puzzle at a time."""
NUM_REPEATS, ENOUGH_S = 3, 30.0
"""A side generates so often, each time from new prompts, or until so many seconds are over."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("ours", "theirs", "step"))
    for name in ("--kind", "--policy", "--device"):
        parser.add_argument(name)
    for name in ("--tokens", "--puzzles", "--group", "--new-tokens"):
        parser.add_argument(name, type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    measure = {"ours": ours, "theirs": theirs, "step": step}[args.side]
    args.out.write_text(json.dumps(measure(args)))


def make_policy(policy: str, tokens: int) -> str:
    """Returns the policy's folder, with a processor that gives images that many tokens."""
    folder = POLICIES / f"{policy}-{tokens}"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        if policy == "demo":
            shutil.copytree(DEMO, folder)
        else:
            save_small_policy(SHAPES[policy], folder)
        processor = load_processor(str(folder))
        pixels = tokens * TOKEN_PX**2
        processor.image_processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
        processor.save_pretrained(folder)
        (folder / "made").touch()
    return str(folder)


def make_batches(args: argparse.Namespace) -> tuple[Prompt, list[list[Prompt]]]:
    """Returns a prompt to warm up with and batches of others; their images are noise."""
    count = 1 + NUM_REPEATS * args.puzzles
    rows, columns = GRIDS[args.tokens]
    prompts = []
    for index, puzzle in enumerate(sample_puzzles("held_out", count, 0, PuzzleConfig())):
        generator = torch.Generator().manual_seed(index)
        shape = (rows * TOKEN_PX, columns * TOKEN_PX, 3)
        noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        png = io.BytesIO()
        Image.fromarray(noise.numpy()).save(png, "PNG")
        prompts.append(Prompt(puzzle.puzzle_id, puzzle, "cot", COT_PROMPT, (png.getvalue(),)))
    warm_up, *others = prompts
    return warm_up, [others[i : i + args.puzzles] for i in range(0, len(others), args.puzzles)]


def timed(generate: Callable[[list[Prompt]], int], batches: list[list[Prompt]]) -> dict[str, Any]:
    """Returns the median speed over batches, as many of them as time allows.

    Beside other work tokens a second of this process's own core time are worth more than those
    of the clock.
    """
    began = time.perf_counter()
    runs = []
    for batch in batches:
        started, core_started = time.perf_counter(), time.process_time()
        made = generate(batch)
        seconds, core_seconds = time.perf_counter() - started, time.process_time() - core_started
        runs.append((made / seconds, made / core_seconds))
        if time.perf_counter() - began > ENOUGH_S:
            break
    speed, core_speed = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"tokens_per_s": speed, "tokens_per_core_s": core_speed, "num_batches": len(runs)}


def ours(args: argparse.Namespace) -> dict[str, Any]:
    from rollouts.vllm_engine import VllmEngine

    folder = make_policy(args.policy, args.tokens)
    processor = load_processor(folder)
    warm_up, batches = make_batches(args)
    config = RolloutConfig(max_model_len=args.tokens + PROMPT_TOKENS + args.new_tokens)
    sampling = Sampling(SamplingConfig(max_new_tokens=args.new_tokens), args.group, 0)
    started = time.perf_counter()
    engine = VllmEngine(folder, dtype(args), config, processor, banned_token_ids(processor))
    start_up_s = time.perf_counter() - started
    encoded: list[int] = []
    core = engine._llm.llm_engine.engine_core.engine_core
    tower = core.model_executor.driver_worker.model_runner.get_model().visual
    tower.register_forward_hook(lambda _, args, out: encoded.append(out.shape[0]))
    asked: list[Prompt] = []

    def generate(prompts: list[Prompt]) -> int:
        asked.extend(prompts)
        groups = engine.generate(prompts, sampling)
        return sum(len(c.token_ids) for group in groups for c in group.completions)

    engine.generate([warm_up], Sampling(SamplingConfig(max_new_tokens=8), 2, 0))
    encoded.clear()
    speed = timed(generate, batches)
    peak = peak_gib(args)
    policy = load_policy(PolicyConfig(path=folder, dtype=dtype(args))).to(args.device)
    whole_sync_s = seconds(lambda: engine.sync_weights(named_weights(policy)))
    policy.model.visual.requires_grad_(False)
    sync_s = seconds(lambda: engine.sync_weights(named_weights(policy, skip_frozen=True)))
    return {
        **speed,
        "encodings": sum(encoded) / args.tokens / len(asked),
        "peak_gib": peak,
        "start_up_s": start_up_s,
        "sync_s": sync_s,
        "whole_sync_s": whole_sync_s,
        "parameters": sum(p.numel() for p in policy.parameters()),
    }


@torch.inference_mode()
def theirs(args: argparse.Namespace) -> dict[str, Any]:
    folder = make_policy(args.policy, args.tokens)
    processor = load_processor(folder)
    warm_up, batches = make_batches(args)
    policy = load_policy(PolicyConfig(path=folder, dtype=dtype(args))).eval().to(args.device)
    encoded: list[int] = []
    policy.model.visual.register_forward_pre_hook(
        lambda _, args, kwargs: encoded.append(kwargs["grid_thw"].shape[0]), with_kwargs=True
    )
    their_generate(policy, processor, [warm_up], args.device, 2, 8)
    encoded.clear()
    num_asked = 0

    def generate(prompts: list[Prompt]) -> int:
        nonlocal num_asked
        num_asked += len(prompts)
        return their_generate(policy, processor, prompts, args.device, args.group, args.new_tokens)

    ways = {"one puzzle at a time": timed(generate, [batch[:1] for batch in batches])}
    if args.puzzles > 1 and fits(policy, args):
        ways["all puzzles at once"] = timed(generate, batches)
    best = max(ways, key=lambda way: ways[way]["tokens_per_s"])
    return {
        **ways[best],
        "way": best,
        "ways": ways,
        "encodings": sum(encoded) / num_asked,
        "peak_gib": peak_gib(args),
    }


def fits(policy: Any, args: argparse.Namespace) -> bool:
    """Returns whether the key-value cache of all puzzles' chains fits in memory."""
    text = policy.config.text_config
    head_size = text.hidden_size // text.num_attention_heads
    token_bytes = 2 * text.num_hidden_layers * text.num_key_value_heads * head_size
    token_bytes *= policy.dtype.itemsize
    length = args.tokens + PROMPT_TOKENS + args.new_tokens
    return args.puzzles * args.group * length * token_bytes <= CACHE_BYTES


def their_generate(
    policy: Any, processor: Any, prompts: list[Prompt], device: str, group: int, new_tokens: int
) -> int:
    """Samples a group for each prompt in one batch; returns the tokens up to each end."""
    inputs = their_inputs(processor, prompts).to(device)
    out = policy.generate(
        **inputs,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=new_tokens,
        num_return_sequences=group,
        use_cache=True,
    )
    new = out[:, inputs["input_ids"].shape[1] :]
    is_end = new == processor.tokenizer.eos_token_id
    return int(((is_end.cumsum(1) - is_end.long()) == 0).sum())


def their_inputs(processor: Any, prompts: list[Prompt]) -> Any:
    if len(prompts) == 1:
        return processed_prompt(processor, prompts[0])
    conversations = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "image", "image": image} for image in prompt_images(prompt)),
                    {"type": "text", "text": prompt.text},
                ],
            }
        ]
        for prompt in prompts
    ]
    return processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )


class StepClock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def step(args: argparse.Namespace) -> dict[str, Any]:
    """Measures whole steps of the demo's GRPO; the first warms up and is left out."""
    from rl_avr.pipeline.data import make_data
    from rl_avr.settings import DataSettings, load_settings
    from rl_avr.training.grpo import grpo_arguments, make_trainer
    from rl_avr.training.puzzle_data import read_prompts

    num_steps = 6 if args.policy == "demo" else 2
    with tempfile.TemporaryDirectory() as folder:
        size = {"puzzles.num_train": str(args.puzzles * num_steps), "puzzles.num_held_out": "1"}
        where = {"data.path": f"{folder}/data"}
        made = load_settings(DataSettings, ["configs/demo/data.yaml"], {**size, **where})
        make_data(made.data, made.puzzles)
        settings = step_settings(args, folder, num_steps)
        trainer = make_trainer(
            folder=Path(folder),
            args=grpo_arguments(
                settings.run, settings.rollouts, settings.rewards, settings.trainer
            ),
            run=settings.run,
            policy=settings.policy,
            prompts=read_prompts(settings.data),
            rollouts=settings.rollouts,
            rewards=settings.rewards,
            credit=settings.credit,
            update=settings.update,
        )
        clock, syncs = StepClock(), time_syncs(trainer.collector.engine)
        trainer.add_callback(clock)
        with trainer.collector.engine, trainer.collector:
            trainer.train()
    assert len(syncs) == num_steps, (syncs, num_steps)
    timed = num_steps - 1
    step_s = (clock.ends[-1] - clock.ends[0]) / timed
    return {"step_s": step_s, "sync_s": sum(syncs[1:]) / timed, "steps_timed": timed}


def step_settings(args: argparse.Namespace, folder: str, num_steps: int) -> Any:
    """Returns the demo's settings; another policy takes a batch group by group."""
    from rl_avr.settings import GrpoSettings, load_settings

    overrides = {
        "run.dir": folder,
        "data.path": f"{folder}/data",
        "trainer.max_steps": num_steps,
        "trainer.save_strategy": "'no'",
        "trainer.per_device_train_batch_size": args.puzzles * args.group,
        "trainer.num_generations": args.group,
    }
    if args.device == "cuda":
        overrides |= {"trainer.use_cpu": "false"}
    if args.policy != "demo":
        overrides |= {
            "policy.path": make_policy(args.policy, args.tokens),
            "rollouts.max_model_len": args.tokens + PROMPT_TOKENS + args.new_tokens,
            "rollouts.sampling.max_new_tokens": args.new_tokens,
            "trainer.per_device_train_batch_size": args.group,
            "trainer.gradient_accumulation_steps": args.puzzles,
        }
    overrides_text = {key: str(value) for key, value in overrides.items()}
    return load_settings(GrpoSettings, ["configs/demo/grpo.yaml"], overrides_text)


def time_syncs(engine: Any) -> list[float]:
    """Returns a list that gets the seconds of each sync of the engine."""
    times: list[float] = []
    sync = engine.sync_weights

    def timed(named_weights: Any, step: int | None = None) -> None:
        started = time.perf_counter()
        sync(named_weights, step)
        times.append(time.perf_counter() - started)

    engine.sync_weights = timed
    return times


def dtype(args: argparse.Namespace) -> Any:
    return "float32" if args.device == "cpu" else "bfloat16"


def peak_gib(args: argparse.Namespace) -> float:
    if args.device == "cuda":
        # vLLM's cache is in it too: what the device gave out, not torch's own count
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
