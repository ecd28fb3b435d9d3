"""Small GRPO trainers whose completions are scripted, whole in one process, for several tests."""

from dataclasses import replace

from rewards.config import RewardConfig
from rl_avr.chat import decode_image
from rl_avr.collector import Collector
from rl_avr.contracts import RolloutGroup
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.grpo import grpo_arguments, grpo_dataset
from rl_avr.training.grpo_trainer import AvrGrpoTrainer
from rl_avr.training.puzzle_data import read_prompts
from rollouts.config import DynamicConfig, RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

SAMPLING = SamplingConfig(max_new_tokens=2000)
_PLAIN = DynamicConfig()


class ProcessorEngine(ScriptedEngine):
    """Says which prompt ids the policy's processor makes, and keeps what it was asked."""

    def __init__(self, script, processor):
        end = processor.tokenizer.eos_token_id
        super().__init__(script, lambda text: [*processor.tokenizer(text).input_ids, end])
        self._processor = processor
        self.asked = []
        self.synced_at = []

    def sync_weights(self, named_weights, step=None):
        self.synced_at.append(step)
        super().sync_weights(named_weights, step)

    def generate(self, prompts, sampling):
        self.asked.append([prompt.prompt_id for prompt in prompts])
        groups = super().generate(prompts, sampling)
        return [
            RolloutGroup(group.prompt, self._ids(group.prompt), group.completions)
            for group in groups
        ]

    def _ids(self, prompt):
        content = [{"type": "image"}, {"type": "text", "text": prompt.text}]
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        image = decode_image(prompt.images[0])
        return tuple(self._processor(text=text, images=[image]).input_ids[0])


def prompts_of_different_lengths(folder, num_puzzles):
    """Returns prompts whose words differ, so that rows are padded and swapped ones are seen."""
    render = RenderConfig(panel_size_px=36)
    puzzles = PuzzleConfig(num_train=num_puzzles, num_held_out=1, render=render)
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    found = read_prompts(DataConfig(path=str(folder)))
    return [replace(p, text=f"{p.text} {'A' * (i + 1)}") for i, p in enumerate(found)]


def scripted_trainer(
    folder,
    policy_folder,
    processor,
    prompts,
    script,
    group_size,
    block,
    *,
    rewards=None,
    model=None,
    dynamic=_PLAIN,
    cls=AvrGrpoTrainer,
    **arguments,
):
    """Returns a trainer of two groups a batch; `block` changes trl's arguments."""
    engine, rewards = ProcessorEngine(script, processor), rewards or RewardConfig()
    block = {
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 2 * group_size,
        "num_generations": group_size,
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "learning_rate": 1e-3,
        **block,
    }
    rollouts = RolloutConfig(sampling=SAMPLING, dynamic=dynamic)
    return cls(
        model=model or load_policy(PolicyConfig(path=str(policy_folder))),
        args=grpo_arguments(RunConfig(dir=str(folder)), rollouts, rewards, block),
        train_dataset=grpo_dataset(prompts),
        processing_class=processor,
        prompts={prompt.prompt_id: prompt for prompt in prompts},
        make_collector=lambda: Collector(engine, SAMPLING, rewards, 0),
        banned_token_ids=(),
        parity_max_mean_gap=1e9,
        rewards=rewards,
        rollouts_path=folder / "rollouts" / "rank0.jsonl",
        dynamic=dynamic,
        **arguments,
    )
