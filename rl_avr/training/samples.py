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
        (self._folder / f"{name}.txt").write_text(sample_text(groups[0]), encoding="utf-8")
        paths = []
        for index, image in enumerate(groups[0].group.prompt.images):
            paths.append(self._folder / f"{name}-{index}.png")
            decode_image(image).save(paths[-1])
        if "wandb" in args.report_to:
            _to_wandb(paths, groups[0])


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
    return _writable("\n\n".join(blocks) + "\n")


def sample_table(graded: GradedGroup) -> tuple[list[str], list[list[Any]]]:
    """Returns names of columns, and a row for each completion: its text, rewards and status.

    A part that cannot judge is None.
    """
    parts = [name for name, _ in graded.scores[0].parts]
    columns = ["prompt", "completion", "total", *parts, "status", "tokens", "finish_reason"]
    rows = [
        [
            _writable(graded.group.prompt.text),
            _writable(completion.text),
            score.total,
            *(score.part(name) for name in parts),
            parsed.status,
            len(completion.token_ids),
            completion.finish_reason,
        ]
        for completion, parsed, score in zip(
            graded.group.completions, graded.parsed, graded.scores, strict=True
        )
    ]
    return columns, rows


def _writable(text: str) -> str:
    """Returns a text with the escape of every lone surrogate, which UTF-8 cannot hold."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def _to_wandb(paths: Sequence[Path], graded: GradedGroup) -> None:
    """Logs the images, and the table with a column for each of them before the others.

    The images of a table alone would not be in the folder of an offline run: wandb keeps them
    elsewhere until it is synced.
    """
    import wandb

    if wandb.run is None:
        return
    columns, rows = sample_table(graded)
    shown, images = ([wandb.Image(str(path)) for path in paths] for _ in range(2))
    names = ["image", *(f"image {number}" for number in range(2, len(images) + 1))]
    table = wandb.Table(
        columns=[*names[: len(images)], *columns], data=[[*images, *row] for row in rows]
    )
    wandb.run.log({"samples/chains": table, "samples/images": shown}, commit=False)
