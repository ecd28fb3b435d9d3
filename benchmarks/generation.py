"""Rollouts of 8 puzzles x 32 chains: vLLM in process against transformers' generate."""

import torch
from _harness import Row, report, seconds

from rl_avr.chat import banned_token_ids, decode_image
from rl_avr.contracts import Prompt
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.vllm_engine import VllmEngine

POLICY = "assets/warm_policy"
NUM_PUZZLES, GROUP = 8, 32
SAMPLING = SamplingConfig(max_new_tokens=112)


def main() -> None:
    processor = load_processor(POLICY)
    render = RenderConfig(panel_size_px=36)
    prompts = [
        Prompt(puzzle.puzzle_id, puzzle, "cot", COT_PROMPT, render_png(puzzle, render))
        for puzzle in sample_puzzles("held_out", NUM_PUZZLES, 0, PuzzleConfig())
    ]
    policy = load_policy(PolicyConfig(path=POLICY)).eval()
    theirs = seconds(lambda: generate_with_transformers(policy, processor, prompts))
    banned = banned_token_ids(processor)
    with VllmEngine(POLICY, "float32", RolloutConfig(), processor, banned) as engine:
        ours = seconds(lambda: engine.generate(prompts, GROUP, SAMPLING, seed=0))
    chains = NUM_PUZZLES * GROUP
    name = f"{NUM_PUZZLES} puzzles x {GROUP} chains"
    report("generation", [Row(name, chains / ours, chains / theirs, theirs / ours, "chains/s")])


@torch.no_grad()
def generate_with_transformers(policy, processor, prompts):
    """The plain way: one batch of all rows, every row with its own copy of the image."""
    conversations = []
    for prompt in prompts:
        content = [
            {"type": "image", "image": decode_image(prompt.image_png)},
            {"type": "text", "text": prompt.text},
        ]
        conversations += [[{"role": "user", "content": content}]] * GROUP
    inputs = processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    return policy.generate(
        **inputs, do_sample=True, temperature=1.0, max_new_tokens=SAMPLING.max_new_tokens
    )


if __name__ == "__main__":
    main()
