"""What one job of an ablation does, in a process of its own: `python -m … RUN JOB`.

A job reads `job.json` in its folder, and writes `result.json` last, in one piece. Killed
before that, it goes on where it was: a set whose files are there, training from its
newest checkpoint, measuring from its beginning.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_avr.errors import RlAvrError
from rl_avr.parent_process import end_with_parent_if_asked
from rl_avr.pipeline.ablate_plan import Tree, filled_path, job_settings, read_measure
from rl_avr.settings import DataSettings, SftSettings, load_settings

RESULT = "result.json"
_NUM_COUNTED = 256
"""Conversations whose trained tokens are counted to know how many steps an arm takes."""


def run_job(root: Path, name: str) -> None:
    """Does what `job.json` asks for, unless its result is there.

    Args:
        root: folder of the ablation.
        name: the job's folder in it.

    Raises:
        RlAvrError: settings or data that cannot be used.
    """
    folder = root / name
    if (folder / RESULT).is_file():
        return
    job = json.loads((folder / "job.json").read_text())
    started = time.monotonic()
    work = {"pictures": _pictures, "puzzles": _puzzles, "start": _start, "arm": _arm}[job["kind"]]
    result = work(job["spec"], folder, root)
    seconds = round(time.monotonic() - started, 1)
    write_json(folder / RESULT, {**job, "seconds": seconds, **result})


def write_json(path: Path, value: Any) -> None:
    """Writes a file that appears only when whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value) + "\n", encoding="utf-8")
    partial.replace(path)


def _pictures(spec: Tree, folder: Path, root: Path) -> Tree:
    from rl_avr.pipeline.ablate_pictures import write_pictures

    write_pictures(folder, spec["num_train"], spec["num_held_out"])
    return {}


def _puzzles(spec: Tree, folder: Path, root: Path) -> Tree:
    from rl_avr.pipeline.data import make_data

    overrides = [("data.path", str(folder)), ("puzzles", json.dumps(spec["puzzles"]))]
    settings = load_settings(DataSettings, (), overrides)
    return {"num_puzzles": make_data(settings.data, settings.puzzles)}


def _start(spec: Tree, folder: Path, root: Path) -> Tree:
    """Makes the policy that arms start from."""
    from rl_avr.modeling.small_policy import ensure_small_policy

    settings = job_settings(spec, folder, root)
    ensure_small_policy(settings.policy)
    base = _copied(Path(settings.policy.path), folder / "base")
    if spec["min_pixels"]:
        _take_small_images(base, spec["min_pixels"])
    if spec["fresh"]:
        _make_anew(base, spec["fresh"], spec["seed"])
    if settings.trainer["max_steps"] == 0:
        _copied(base, folder / "policy")
        return {}
    return _trained(replace(settings, policy=replace(settings.policy, path=str(base))), folder)


def _take_small_images(policy: Path, min_pixels: int) -> None:
    """Has a policy's processor leave images of that area and above as large as they are."""
    from rl_avr.modeling.loading import load_processor

    processor = load_processor(str(policy))
    most = processor.image_processor.size["longest_edge"]
    processor.image_processor.size = {"shortest_edge": min_pixels, "longest_edge": most}
    processor.save_pretrained(policy)


def _make_anew(policy: Path, parts: list[str], seed: int) -> None:
    """Gives parts of a policy the weights that a new one of its architecture has."""
    from transformers import set_seed

    from rl_avr.modeling.config import PolicyConfig
    from rl_avr.modeling.freezing import part_of
    from rl_avr.modeling.loading import load_policy

    model = load_policy(PolicyConfig(path=str(policy)))
    set_seed(seed)
    new = type(model)(model.config).state_dict()
    # tied weights stand in the state under both names
    chosen = {name: weight for name, weight in new.items() if part_of(name) in parts}
    model.load_state_dict(chosen, strict=False)
    model.save_pretrained(policy)


def _copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target


def _arm(spec: Tree, folder: Path, root: Path) -> Tree:
    """Trains an arm on as many tokens as the others, and measures it."""
    from rl_avr.pipeline.ablate_measure import measure_policy

    settings = job_settings(spec, folder, root)
    steps, tokens = matched_steps(settings, spec["trained_tokens"])
    settings = replace(settings, trainer={**settings.trainer, "max_steps": steps})
    trained = _trained(settings, folder)
    measure = read_measure(spec["measure"], "measure")
    started = time.monotonic()
    found = measure_policy(folder / "policy", measure, filled_path(measure.data, root))
    write_json(folder / "examples.json", found.examples)
    return {
        **trained,
        "num_steps": steps,
        "trained_tokens": tokens,
        "measuring_seconds": round(time.monotonic() - started, 1),
        "right": found.right_P.tolist(),
        "chance": found.chance_P.tolist(),
    }


def matched_steps(settings: SftSettings, trained_tokens: int) -> tuple[int, int]:
    """Returns the steps that come nearest to a number of trained tokens, and their tokens.

    Tokens of a conversation are the mean of as many as a run has at first.
    """
    from rl_avr.modeling.loading import load_processor
    from sft_warmstart.collator import ConversationCollator
    from sft_warmstart.records import sft_rows

    collate = ConversationCollator(load_processor(settings.policy.path), sys.maxsize, "")
    rows = sft_rows(settings.data, settings.sft, settings.run.seed, _NUM_COUNTED)
    counts = [int(collate.conversation(row).trained_L.sum()) for row in rows]
    per_step = sum(counts) / len(counts) * settings.trainer["per_device_train_batch_size"]
    steps = max(1, round(trained_tokens / per_step))
    return steps, round(steps * per_step)


def _trained(settings: SftSettings, folder: Path) -> Tree:
    """Trains, unless that is done; returns seconds and the last loss."""
    from rl_avr.reporting.sinks import read_metrics
    from sft_warmstart.train import train_sft

    done = folder / "trained.json"
    if not done.is_file():
        started = time.monotonic()
        train_sft(
            run=settings.run,
            policy=settings.policy,
            data=settings.data,
            sft=settings.sft,
            trainer=settings.trainer,
        )
        seconds = round(time.monotonic() - started, 1)
        rows = read_metrics(folder / "metrics.jsonl")
        losses = [row["loss"] for row in rows if row.get("loss") is not None]
        write_json(done, {"training_seconds": seconds, "last_loss": losses[-1] if losses else None})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return json.loads(done.read_text())


def main(arguments: list[str]) -> int:
    """Runs one job; returns the exit code."""
    end_with_parent_if_asked()
    try:
        run_job(Path(arguments[0]), arguments[1])
    except RlAvrError as error:
        print(f"{arguments[1]}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
