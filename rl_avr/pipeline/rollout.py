"""Offline rollouts: G graded chains for every puzzle of a set, written as they come.

    rollouts/rank0.jsonl       one group a line, in the order of the set
    rollouts/difficulty.json   pass rates by puzzle and by kind, once all are there
    rollouts/asked.json        what decides the chains

A run that was killed goes on where it was stopped. A prompt's seed is a hash of the run's seed
and the prompt's id, so the chains depend neither on the batches nor on the stop.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rl_avr.collector import Collector, count_truncated
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.difficulty_record import DifficultyRecord
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.loading import load_processor
from rl_avr.pipeline.pass_rates import pass_rate_histogram
from rl_avr.pipeline.rewards_score import score_rollouts
from rl_avr.pipeline.rollout_manifest import claim
from rl_avr.settings import RolloutSettings, save_resolved
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.puzzle_files import kind_of
from rl_avr.training.run_folder import prepare_run
from rollouts.engine import Engine
from rollouts.engines import make_engine
from rollouts.recorder import RecordedGroup, append_groups, drop_half_line, read_groups

_NUM_PROBES = 8
MakeEngine = Callable[[RolloutSettings], Engine]


def load_engine(settings: RolloutSettings) -> Engine:
    """Returns the engine that the settings name, with the policy in it.

    Raises:
        ConfigError: a policy that cannot be loaded.
        RolloutError: the engine cannot be loaded.
    """
    policy = settings.policy
    processor = load_processor(policy.path)
    return make_engine(settings.rollouts, policy.path, policy.dtype, processor, settings.run.seed)


def make_rollouts(settings: RolloutSettings, make: MakeEngine = load_engine) -> Path:
    """Samples what is missing, prints what all of it is worth; returns the file of groups.

    Raises:
        ConfigError: a setting or a policy that cannot be used, or the folder is in use.
        DataError: a set or the folder cannot be read, or holds rollouts of another kind.
        RolloutError: the engine failed.
    """
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes > 1:
        raise ConfigError(
            f"rl-avr rollout: expected one process, which writes one file; got {num_processes}. "
            "Several devices serve one run through the sizes of rollouts"
        )
    prompts = _asked_prompts(settings)
    run_folder = prepare_run(settings.run)
    path = rollouts_file(run_folder)
    try:
        claim(path.parent, settings, prompts)
        save_resolved(settings, run_folder)
        drop_half_line(path)
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be written: {error}") from error
    num_done = num_recorded(path, prompts)
    if num_done < len(prompts):
        with make(settings) as engine, _collector(engine, settings) as collector:
            _sample_rest(collector, settings, prompts, num_done, path)
    _finish(path, run_folder, prompts)
    return path


def rollouts_file(run_folder: Path) -> Path:
    """Returns where the groups of a run's folder lie."""
    return run_folder / "rollouts" / "rank0.jsonl"


def num_recorded(path: Path, prompts: Sequence[Prompt]) -> int:
    """Returns how many of the prompts are in the file, which must be the first ones in order.

    Raises:
        DataError: the file cannot be read, or holds other groups.
    """
    if not path.is_file():
        return 0
    number = 0
    for number, recorded in enumerate(read_groups(path), start=1):
        found = recorded.group.prompt.prompt_id
        expected = prompts[number - 1].prompt_id if number <= len(prompts) else "the end"
        if found != expected:
            raise DataError(
                f"{path}, line {recorded.line}: expected {expected}, got {found}; somebody else "
                "has written here. Remove the file to sample again"
            )
    return number


def sample_groups(
    collector: Collector,
    prompts: Sequence[Prompt],
    path: Path,
    num_generations: int,
    batch_size: int,
    on_groups: Callable[[Sequence[GradedGroup]], object],
) -> None:
    """Samples, grades and appends the groups of prompts, batch by batch.

    Raises:
        DataError: the file cannot be written.
        RolloutError: the engine failed.
    """
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        groups = collector.collect(batch, num_generations, "rollout")
        try:
            append_groups(path, groups)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written: {error}; the same command goes on from what is there"
            ) from error
        on_groups(groups)


def describe_rollouts(settings: RolloutSettings, make: MakeEngine = load_engine) -> str:
    """Returns what would be sampled and how long it takes, measured on a few puzzles.

    Nothing is written.

    Raises:
        ConfigError: a setting or a policy that cannot be used.
        DataError: a set or the rollouts cannot be read.
        RolloutError: the engine failed.
    """
    prompts = _asked_prompts(settings)
    path = rollouts_file(Path(settings.run.dir))
    left = prompts[num_recorded(path, prompts) :]
    num = settings.rollout.num_generations
    limit = settings.rollouts.sampling.max_new_tokens
    lines = [
        f"dry run: {path}",
        f"{len(prompts)} prompts, {num} chains each; there already: {len(prompts) - len(left)}, "
        f"left: {len(left)}",
        f"at most {len(left) * num * limit:,} new tokens in {len(left) * num:,} chains of at most "
        f"{limit}",
    ]
    if left:
        with make(settings) as engine, _collector(engine, settings) as collector:
            lines.append(_estimate(collector, left, num))
    return "\n".join(lines)


def _asked_prompts(settings: RolloutSettings) -> list[Prompt]:
    num, temperature = settings.rollout.num_generations, settings.rollouts.sampling.temperature
    if temperature == 0 and num > 1:
        raise ConfigError(
            f"rollouts.sampling.temperature 0: greedy chains of a puzzle are all alike; expected "
            f"rollout.num_generations 1 or a number > 0, got {num} chains"
        )
    if not settings.run.resume and rollouts_file(Path(settings.run.dir)).is_file():
        raise ConfigError(
            f"run.resume false: {rollouts_file(Path(settings.run.dir))} is there already; remove "
            "it, or name another run.dir"
        )
    prompts = read_prompts(settings.data, answer_form=settings.rewards.answer_form)
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.prompt_id in seen:
            raise DataError(
                f"{settings.data.path}: prompt {prompt.prompt_id} is there twice; expected every "
                "id once, as chains are seeded and counted by it"
            )
        seen.add(prompt.prompt_id)
    return prompts


def _collector(engine: Engine, settings: RolloutSettings) -> Collector:
    rollouts = settings.rollouts
    return Collector(
        engine,
        rollouts.sampling,
        settings.rewards,
        settings.run.seed,
        rollouts.max_truncated_share,
    )


def _sample_rest(
    collector: Collector,
    settings: RolloutSettings,
    prompts: Sequence[Prompt],
    num_done: int,
    path: Path,
) -> None:
    with (
        tqdm(total=len(prompts), initial=num_done, desc="rollouts", unit="puzzle") as bar,
        logging_redirect_tqdm(),
    ):
        sample_groups(
            collector,
            prompts[num_done:],
            path,
            settings.rollout.num_generations,
            settings.rollout.batch_size,
            _Progress(bar),
        )


class _Progress:
    """Moves a bar, and shows the speed, the pass rate and the share of cut chains so far."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._started = time.perf_counter()
        self._tokens = self._passed = self._judged = self._cut = self._chains = 0.0

    def __call__(self, groups: Sequence[GradedGroup]) -> None:
        cut, num = count_truncated(groups)
        self._cut += cut
        self._chains += num
        self._tokens += num_tokens(groups)
        outcomes = [s.outcome for g in groups for s in g.scores if s.outcome is not None]
        self._passed += sum(outcomes)
        self._judged += len(outcomes)
        shown = {"tokens/s": f"{self._tokens / (time.perf_counter() - self._started):.0f}"}
        if self._judged:
            shown["passed"] = f"{self._passed / self._judged:.3f}"
        self._bar.set_postfix(shown | {"cut": f"{self._cut / self._chains:.1%}"}, refresh=False)
        self._bar.update(len(groups))


def num_tokens(groups: Sequence[GradedGroup]) -> int:
    """Returns how many tokens the completions of groups have."""
    return sum(len(c.token_ids) for graded in groups for c in graded.group.completions)


def _estimate(collector: Collector, left: Sequence[Prompt], num_generations: int) -> str:
    # the first call of an engine pays for what it compiles and allocates
    collector.collect(left[:1], num_generations, "rollout")
    probes = left[:_NUM_PROBES]
    started = time.perf_counter()
    groups = collector.collect(probes, num_generations, "rollout")
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probes.jsonl"
        append_groups(file, groups)
        size = file.stat().st_size / len(groups)
    tokens = num_tokens(groups)
    return (
        f"of {len(probes)} puzzles: {tokens / len(probes) / num_generations:.0f} tokens a chain, "
        f"{tokens / seconds:,.0f} tokens a second; all that is left: about "
        f"{tokens / len(probes) * len(left):,.0f} tokens, "
        f"{_duration(seconds / len(probes) * len(left))} and {size * len(left) / 1e6:.1f} MB"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _finish(path: Path, run_folder: Path, prompts: Sequence[Prompt]) -> None:
    """Counts what is there, and prints the table of rewards and the pass rates."""
    num = num_recorded(path, prompts)
    assert num == len(prompts), (num, len(prompts))
    record = DifficultyRecord()
    for recorded in read_groups(path):
        puzzle = recorded.group.prompt.puzzle
        record.add(puzzle.puzzle_id, kind_of(puzzle), recorded.outcomes)
    record.save(path.with_name("difficulty.json"))
    print(score_rollouts([path], run_folder / "config.yaml"))
    print(pass_rate_histogram(_pass_rates(read_groups(path))))
    print(f"written: {path}")


def _pass_rates(groups: Iterator[RecordedGroup]) -> Iterator[float | None]:
    """Yields the mean outcome of each group; None where none could be judged."""
    for recorded in groups:
        judged = [outcome for outcome in recorded.outcomes if outcome is not None]
        yield sum(judged) / len(judged) if judged else None
