"""Measures a policy on puzzles: greedy, sampled, majority and perception.

    greedy       the one chain at temperature 0 chooses rightly
    pass@1       share of the k sampled chains of a puzzle that choose rightly
    majority@k   the letter that most of the k chains choose is right
    perception   share of the context's attributes that a sampled chain reads rightly

Each is one number per puzzle; the table shows its mean over puzzles with a bootstrap
interval over puzzles.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rewards.config import RewardConfig
from rewards.parts.perception import perception_accuracy
from rl_avr.collector import Collector
from rl_avr.contracts import GradedGroup, Prompt
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.metrics import bootstrap_mean, majority_vote
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_processor
from rl_avr.reporting.tables import results_table
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.run_folder import prepare_run
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.engines import make_engine
from rollouts.recorder import append_groups

_PUZZLES_PER_BATCH = 50


def evaluate(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    config: EvalConfig,
) -> dict[str, Any]:
    """Measures a policy, prints the table, and writes `eval.json` and the chains.

    Returns:
        `{"metrics": {name: interval}, "per_puzzle": {name: [value, …]}}`.

    Raises:
        ConfigError: a policy that cannot be loaded.
        DataError: a data set that cannot be read.
        RolloutError: the engine failed.
    """
    folder = prepare_run(run)
    limit = config.num_puzzles or data.num_puzzles
    prompts = read_prompts(replace(data, num_puzzles=limit), answer_form=rewards.answer_form)
    processor = load_processor(policy.path)
    with make_engine(rollouts, policy.path, policy.dtype, processor, run.seed) as engine:
        values = measure(engine, prompts, rollouts, rewards, config, run.seed, folder)
    metrics = summarize_values(values, config, run.seed)
    result = {
        "policy": policy.path,
        "metrics": metrics,
        "per_puzzle": {name: column.tolist() for name, column in values.items()},
    }
    partial = folder / "eval.json.partial"
    partial.write_text(json.dumps(result) + "\n")
    partial.rename(folder / "eval.json")
    print(results_table({Path(policy.path).name: metrics}))
    return result


def measure(
    engine: Engine,
    prompts: list[Prompt],
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    config: EvalConfig,
    seed: int,
    folder: Path,
) -> dict[str, np.ndarray]:
    """Returns metric -> one value per puzzle, and records the chains in the folder."""
    for name in ("greedy", "sampled"):
        (folder / f"{name}.jsonl").unlink(missing_ok=True)
    sampling, limit = rollouts.sampling, rollouts.max_truncated_share
    greedy = Collector(engine, replace(sampling, temperature=0.0), rewards, seed, limit)
    sampled = Collector(engine, sampling, rewards, seed, limit)
    columns: dict[str, list[float]] = {}
    bar = tqdm(total=len(prompts) * (1 + config.num_samples), desc="evaluation", unit="chain")
    passes = (("greedy", greedy, 1), ("sampled", sampled, config.num_samples))
    with greedy, sampled:
        for name, collector, num in passes:
            for group in collector.batches(
                prompts, num, _PUZZLES_PER_BATCH, "eval", name, on_batch=_counter(bar, num)
            ):
                append_groups(folder / f"{name}.jsonl", [group])
                for metric, value in _puzzle_values(group, name, config.num_samples).items():
                    columns.setdefault(metric, []).append(value)
    bar.close()
    return {name: np.array(column) for name, column in columns.items()}


def summarize_values(
    values: dict[str, np.ndarray], config: EvalConfig, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns metric -> value, low, high and n of its mean over puzzles."""
    return {
        name: bootstrap_mean(column, config.num_bootstrap, config.confidence, seed).as_dict()
        for name, column in values.items()
    }


def _puzzle_values(graded: GradedGroup, name: str, num_samples: int) -> dict[str, float]:
    puzzle = graded.group.prompt.puzzle
    right = [score.part("choice") == 1.0 for score in graded.scores]
    if name == "greedy":
        return {"greedy": float(right[0])}
    values = {"pass@1": sum(right) / len(right)}
    # the words of open answers are no letters that could be counted
    if puzzle.answer_index is not None:
        vote = majority_vote([parsed.choice_index for parsed in graded.parsed])
        values[f"majority@{num_samples}"] = float(vote == puzzle.answer_index)
    reading = [perception_accuracy(parsed, puzzle) for parsed in graded.parsed]
    # a puzzle whose state is not known has no perception to measure
    known = [value for value in reading if value is not None]
    return values | ({"perception": sum(known) / len(known)} if known else {})


def _counter(bar: Any, per_puzzle: int) -> Callable[[int], None]:
    return lambda done: bar.update(done * per_puzzle)
