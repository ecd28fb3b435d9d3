"""Rollouts: ours in vLLM against transformers' generate, 32 chains a puzzle of 64 new tokens.

    python benchmarks/rollouts.py                    every policy and prompt length, on the CPU
    python benchmarks/rollouts.py --device cuda      the same on a GPU with vLLM there
    python benchmarks/rollouts.py --quick            one row, few chains: does it run?

Each side of each row is a process of its own: vLLM on a CPU fixes the number of threads,
and peak memory is a process's. transformers generates its best way: all puzzles in one
batch or one at a time, whichever is faster, and one at a time where the batch would not
fit in memory.
"""

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from _harness import Row, report

from rl_avr.chat import banned_token_ids
from rl_avr.contracts import Prompt
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.freezing import train_only
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
FOLDER = Path("runs/bench/policies")
NEW_TOKENS = 64
TOKEN_PX = 36
"""Side of an image token of both policies: two patches of 18 pixels."""
GRIDS = {100: (10, 10), 400: (20, 20), 1000: (25, 40)}
"""Image tokens -> rows and columns of them."""
LARGER = SmallPolicyConfig(
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
)
BATCH_BYTES = 1 << 30
"""Pixels of a whole batch beyond which transformers gets one puzzle at a time."""


def main() -> None:
    args = arguments()
    if args.side:
        measure = ours if args.side == "ours" else theirs
        Path(args.out).write_text(json.dumps(measure(args)))
        return
    cases = [(policy, tokens) for policy in ("demo", "100M") for tokens in GRIDS]
    cases = cases[:1] if args.quick else cases
    if args.device == "cuda" and not torch.cuda.is_available():
        for policy, tokens in cases:
            print(f"{name(policy, tokens):44} not measured: no GPU here")
        return
    rows, alone = [], {}
    for policy, tokens in cases:
        sides = [run_side(args, side, policy, tokens) for side in ("ours", "theirs")]
        rows += compared(name(policy, tokens), *sides)
        alone[name(policy, tokens)] = sides[0]["alone"]
        print(f"{name(policy, tokens)}: {sides[0]['alone']}", flush=True)
    report(f"rollouts_{args.device}", rows)
    Path(f"runs/bench/rollouts_{args.device}_engine.json").write_text(json.dumps(alone, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="one row with 4 chains a puzzle")
    parser.add_argument("--puzzles", type=int, default=2)
    for hidden in ("--side", "--policy", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.group = 4 if args.quick else 32
    return args


def name(policy: str, tokens: int) -> str:
    return f"{policy} policy, {tokens} image tokens"


def run_side(args: argparse.Namespace, side: str, policy: str, tokens: int) -> dict:
    make_policy(policy, tokens)
    out = FOLDER / "side.json"
    command = [sys.executable, __file__, "--side", side, "--policy", policy, "--out", str(out)]
    command += ["--tokens", str(tokens), "--device", args.device, "--puzzles", str(args.puzzles)]
    subprocess.run(command + ["--quick"] * args.quick, check=True)
    return json.loads(out.read_text())


def make_policy(policy: str, tokens: int) -> Path:
    """Makes the policy's folder with a processor that gives images that many tokens."""
    folder = FOLDER / f"{policy}-{tokens}"
    if not folder.exists():
        if policy == "demo":
            shutil.copytree(DEMO, folder)
        else:
            save_small_policy(LARGER, folder)
        processor = load_processor(str(folder))
        pixels = tokens * TOKEN_PX**2
        processor.image_processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
        processor.save_pretrained(folder)
    return folder


def make_prompts(tokens: int, count: int) -> list[Prompt]:
    """Prompts on images of noise; the puzzles behind them matter to no one here."""
    from PIL import Image

    rows, columns = GRIDS[tokens]
    prompts = []
    for index, puzzle in enumerate(sample_puzzles("held_out", count, 0, PuzzleConfig())):
        generator = torch.Generator().manual_seed(index)
        shape = (rows * TOKEN_PX, columns * TOKEN_PX, 3)
        noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        png = io.BytesIO()
        Image.fromarray(noise.numpy()).save(png, "PNG")
        prompts.append(Prompt(puzzle.puzzle_id, puzzle, "cot", COT_PROMPT, (png.getvalue(),)))
    return prompts


def ours(args: argparse.Namespace) -> dict:
    from rollouts.vllm_engine import VllmEngine

    folder = str(make_policy(args.policy, args.tokens))
    processor = load_processor(folder)
    config = RolloutConfig(max_model_len=args.tokens + 128)
    sampling = Sampling(SamplingConfig(max_new_tokens=NEW_TOKENS), args.group, 0)
    started = time.perf_counter()
    engine = VllmEngine(folder, dtype(args), config, processor, banned_token_ids(processor))
    start_up = time.perf_counter() - started
    encoded: list[int] = []
    core = engine._llm.llm_engine.engine_core.engine_core
    tower = core.model_executor.driver_worker.model_runner.get_model().visual
    tower.register_forward_hook(lambda _, args, out: encoded.append(out.shape[0]))
    # one puzzle that is not among the measured ones warms up
    warm_up, *prompts = make_prompts(args.tokens, args.puzzles + 1)
    engine.generate([warm_up], sampling)
    encoded.clear()
    started = time.perf_counter()
    groups = engine.generate(prompts, sampling)
    seconds = time.perf_counter() - started
    made = sum(len(c.token_ids) for group in groups for c in group.completions)
    peak = peak_gib(args)
    policy = load_policy(PolicyConfig(path=folder, dtype=dtype(args))).to(args.device)
    whole = sync_seconds(engine, policy)
    train_only(policy, ("language",))
    language = sync_seconds(engine, policy)
    alone = {
        "start-up, s": round(start_up, 1),
        "sync, s": round(whole, 3),
        "sync of the language part, s": round(language, 3),
        "sync's share of this rollout and itself": round(whole / (whole + seconds), 4),
    }
    encodings = sum(encoded) / args.tokens / len(prompts)
    return {"speed": made / seconds, "encodings": encodings, "peak": peak, "alone": alone}


def sync_seconds(engine, policy) -> float:
    times = []
    for _ in range(4):
        started = time.perf_counter()
        engine.sync_weights(named_weights(policy, skip_frozen=True))
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[1]


@torch.inference_mode()
def theirs(args: argparse.Namespace) -> dict:
    folder = str(make_policy(args.policy, args.tokens))
    processor = load_processor(folder)
    policy = load_policy(PolicyConfig(path=folder, dtype=dtype(args))).eval().to(args.device)
    encoded: list[int] = []
    policy.model.visual.register_forward_pre_hook(
        lambda _, args, kwargs: encoded.append(kwargs["grid_thw"].shape[0]), with_kwargs=True
    )
    warm_up, *prompts = make_prompts(args.tokens, args.puzzles + 1)
    generate(policy, processor, [warm_up], args, NEW_TOKENS // 8)
    speeds = []
    pixels = args.tokens * 4 * 3 * 2 * 18**2 * 4 * args.group
    for batch in (1, len(prompts)) if pixels * len(prompts) <= BATCH_BYTES else (1,):
        encoded.clear()
        started = time.perf_counter()
        made = sum(
            generate(policy, processor, prompts[i : i + batch], args, NEW_TOKENS)
            for i in range(0, len(prompts), batch)
        )
        speeds.append(made / (time.perf_counter() - started))
    encodings = sum(encoded) / len(prompts)
    return {"speed": max(speeds), "encodings": encodings, "peak": peak_gib(args)}


def generate(policy, processor, prompts, args: argparse.Namespace, new_tokens: int) -> int:
    """Samples a group for each prompt in one batch; returns the tokens up to each end."""
    if len(prompts) == 1:
        inputs = processed_prompt(processor, prompts[0])
    else:
        conversations = [
            [{"role": "user", "content": [{"type": "image", "image": image}, text(prompt)]}]
            for prompt in prompts
            for image in prompt_images(prompt)
        ]
        inputs = processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
    inputs = inputs.to(args.device)
    out = policy.generate(
        **inputs,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=new_tokens,
        num_return_sequences=args.group,
    )
    new = out[:, inputs["input_ids"].shape[1] :]
    is_end = new == processor.tokenizer.eos_token_id
    return int(((is_end.cumsum(1) - is_end.long()) == 0).sum())


def text(prompt: Prompt) -> dict:
    return {"type": "text", "text": prompt.text}


def dtype(args: argparse.Namespace) -> str:
    return "float32" if args.device == "cpu" else "bfloat16"


def peak_gib(args: argparse.Namespace) -> float:
    if args.device == "cuda":
        # vLLM's cache is in it too: what the device gave out, not torch's own count
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compared(name: str, ours: dict, theirs: dict) -> list[Row]:
    speed = ours["speed"], theirs["speed"]
    encodings = ours["encodings"], theirs["encodings"]
    peak = ours["peak"], theirs["peak"]
    return [
        Row(name, *speed, speed[0] / speed[1], "tokens/s"),
        Row("  vision encodings", *encodings, encodings[1] / encodings[0], "a puzzle"),
        Row("  peak memory", *peak, peak[1] / peak[0], "GiB"),
    ]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
