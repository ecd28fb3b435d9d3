"""One puzzle of a step as a person would look at it: its image, its chains, their rewards."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rl_avr.chat import decode_image
from rl_avr.contracts import GradedGroup


class SampleCallback(TrainerCallback):
    """Writes a sample beside each checkpoint, and to wandb where a run of it is open.

    Args:
        folder: takes `step-000010.txt`, and `step-000010-0.png` for the first image.
        groups: gives the newest groups; the first one is written.
    """

    def __init__(self, folder: Path, groups: Callable[[], Sequence[GradedGroup]]) -> None:
        self._folder = folder
        self._groups = groups

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Writes on the main process; nothing where no group was sampled since the start."""
        groups = self._groups()
        if not (state.is_world_process_zero and groups):
            return
        name = f"step-{state.global_step:06d}"
        self._folder.mkdir(parents=True, exist_ok=True)
        text = sample_text(groups[0])
        # a lone surrogate, which UTF-8 cannot hold, becomes its escape
        path = self._folder / f"{name}.txt"
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        paths = []
        for index, image in enumerate(groups[0].group.prompt.images):
            paths.append(self._folder / f"{name}-{index}.png")
            decode_image(image).save(paths[-1])
        if "wandb" in args.report_to:
            _to_wandb(paths, text)


def sample_text(graded: GradedGroup) -> str:
    """Returns the prompt, and each completion under its reward, parts and status."""
    prompt = graded.group.prompt
    admitted = "admitted" if graded.is_admitted else "not admitted"
    blocks = [f"prompt {prompt.prompt_id}, {admitted}\n\n{prompt.text}"]
    completions = zip(graded.group.completions, graded.parsed, graded.scores, strict=True)
    for index, (completion, parsed, score) in enumerate(completions):
        parts = ", ".join(
            f"{name} {'none' if value is None else f'{value:.3g}'}" for name, value in score.parts
        )
        tokens = f"{len(completion.token_ids)} tokens, {completion.finish_reason}"
        head = f"--- {index}: total {score.total:.3g} ({parts}), {parsed.status}, {tokens}"
        blocks.append(f"{head}\n{completion.text}")
    return "\n\n".join(blocks) + "\n"


def _to_wandb(paths: Sequence[Path], caption: str) -> None:
    import wandb

    if wandb.run is not None:
        images = [wandb.Image(str(path), caption=caption) for path in paths]
        wandb.run.log({"samples": images}, commit=False)
