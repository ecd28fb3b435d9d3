"""Measures a policy on problems: greedy, sampled, majority, perception, and by probes.

    problems -> engine -> problems.jsonl (a row a problem) -> eval.json

`breakdown` says what the metrics are. A run that was killed goes on where it was stopped.
"""

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rewards.config import RewardConfig
from rl_avr.chat import decode_image
from rl_avr.difficulty_record import write_json
from rl_avr.errors import RolloutError
from rl_avr.evaluation.asking import Answered, Asker, Phases
from rl_avr.evaluation.breakdown import columns, status_counts, summary
from rl_avr.evaluation.cache import CachedEngine
from rl_avr.evaluation.config import CHAIN_PROBE_NAMES, EvalConfig
from rl_avr.evaluation.endpoint import EndpointEngine
from rl_avr.evaluation.problem_sets import asked_problems, chain_problems
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.evaluation.readings import base_rows, probe_readings
from rl_avr.evaluation.reranking import SampleVote, load_vote
from rl_avr.evaluation.results import CHAINS, append, begin, put_in_order, read_rows
from rl_avr.evaluation.rows import ProblemRow
from rl_avr.evaluation.shifts import split_shares
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.digest import policy_digest
from rl_avr.modeling.loading import load_processor
from rl_avr.reporting.tables import results_table
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.run_folder import prepare_run
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.engines import make_engine

_NUM_SHOWN = 3
_NUM_NAMED = 5


def load_engine(
    run: RunConfig, policy: PolicyConfig, rollouts: RolloutConfig, config: EvalConfig
) -> Engine:
    """Returns the engine that the settings name, with the policy in it.

    Raises:
        ConfigError: a policy or adapters that cannot be loaded.
        RolloutError: the engine cannot be loaded.
    """
    if config.endpoint.url:
        return EndpointEngine(config.endpoint)
    path = policy.path
    if config.adapter:
        from rl_avr.modeling.adapters import export_merged

        path = str(Path(run.dir) / "merged")
        shutil.rmtree(path, ignore_errors=True)
        export_merged(policy.path, config.adapter, path, policy.dtype)
    return make_engine(rollouts, path, policy.dtype, load_processor(path), run.seed)


def policy_key(
    policy: PolicyConfig, rollouts: RolloutConfig, config: EvalConfig
) -> dict[str, list[str | int]]:
    """Returns what tells policies apart whose chains may differ: files, adapters, endpoint, …"""
    if config.endpoint.url:
        return {"endpoint": [config.endpoint.url, config.endpoint.model]}
    paths = [policy.path, *([config.adapter] if config.adapter else [])]
    return {
        "policy": [policy_digest(Path(path)) or path if path else "" for path in paths],
        "engine": [rollouts.engine, policy.dtype, rollouts.max_model_len],
    }


def policy_name(policy: PolicyConfig, config: EvalConfig) -> str:
    """Returns who is asked: a folder or hub name, that of adapters, or a model's at an endpoint."""
    return config.endpoint.model or config.adapter or policy.path


def evaluate(
    *,
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    config: EvalConfig,
    make: Callable[[RunConfig, PolicyConfig, RolloutConfig, EvalConfig], Engine] = load_engine,
    make_vote: Callable[[PolicyConfig, EvalConfig], SampleVote] = load_vote,
) -> dict[str, Any]:
    """Measures a policy, prints the table, and writes `eval.json`, rows and chains.

    Args:
        run: where it is written; `resume` keeps what is there.
        policy: who is asked.
        data: the set of puzzles, where `config` names no benchmark.
        rollouts: how chains are sampled.
        rewards: how they are graded.
        config: what is measured.
        make: makes the engine; it is not called where nothing is left to ask.
        make_vote: makes what scores chains, where `config` names a reference.

    Returns:
        What `eval.json` holds: `{"metrics": {name: interval}, "per_puzzle": {name: [value, …]}}`
        of the problems themselves, shares right by split, readings of probes, refused files,
        seconds by phase.

    Raises:
        ConfigError: a policy that cannot be loaded.
        DataError: a data set that cannot be read.
        RolloutError: the engine failed, or too many problems did.
    """
    phases = Phases()
    with phases("loading"):
        folder = prepare_run(run)
        problems, refused = asked_problems(data, rewards, config, run.seed)
        asked = what_decides(run, policy, data, rollouts, rewards, config)

    def load() -> Engine:
        with phases("loading"):
            return make(run, policy, rollouts, config)

    with ExitStack() as stack:

        @cache
        def asker() -> Asker:
            key = json.dumps(policy_key(policy, rollouts, config))
            cached = CachedEngine(load, Path(config.cache), key) if config.cache else load()
            engine = stack.enter_context(cached)
            with phases("loading"):
                vote = make_vote(policy, config) if config.rerank.reference else None
            asks = partial(Asker, engine, rollouts, rewards, config.num_samples, run.seed, phases)
            return stack.enter_context(asks(vote=vote))

        more, unchanged = _ask_all(asker, problems, folder, asked, config, run=run, phases=phases)
    problems, refused = problems + more, refused + unchanged
    with phases("statistics"):
        put_in_order(folder, [problem.prompt.prompt_id for problem in problems])
        rows = read_rows(folder)
        result = {"policy": policy_name(policy, config), **measured(rows, config, run.seed)}
    result |= {"refused": [vars(one) for one in refused], "seconds": phases.seconds}
    write_json(folder / "eval.json", result)
    print(described(result, rows, Path(policy_name(policy, config)).name))
    print(phases.line())
    return result


def _ask_all(
    asker: Callable[[], Asker],
    problems: Sequence[Problem],
    folder: Path,
    asked: dict[str, Any],
    config: EvalConfig,
    *,
    run: RunConfig,
    phases: Phases,
) -> tuple[list[Problem], list[Refused]]:
    """Asks what is not there yet: the problems, then what chain probes make of their chains.

    Returns:
        What chain probes made, and what they could not be applied to.
    """

    def ask(some: Sequence[Problem], done: Sequence[ProblemRow]) -> None:
        there = {row.prompt_id for row in done}
        left = [problem for problem in some if problem.prompt.prompt_id not in there]
        if left:
            ask_rest(asker(), left, folder, config, len(done))

    with phases("loading"):
        # of a run that goes on some of them are there
        known, _ = chain_problems(folder, problems, config, run.seed)
        done = begin(folder, asked, [*problems, *known], run.resume)
    ask(problems, done)
    with phases("loading"):
        more, refused = chain_problems(folder, problems, config, run.seed)
        if more:
            done = begin(folder, asked, [*problems, *more], True, keeps_failed=True)
    ask(more, done)
    return more, refused


def what_decides(
    run: RunConfig,
    policy: PolicyConfig,
    data: DataConfig,
    rollouts: RolloutConfig,
    rewards: RewardConfig,
    config: EvalConfig,
) -> dict[str, Any]:
    """Returns, as plain JSON values, all that decides a row but the problem itself."""
    found = {
        "seed": run.seed,
        "policy": policy_key(policy, rollouts, config),
        "sampling": asdict(rollouts.sampling),
        "rewards": asdict(rewards),
        "num_samples": config.num_samples,
        "source": [config.benchmark, config.path, data.path],
        "shown": [*(str(value) for key, value in vars(config.load).items() if key != "limit")],
    }
    if config.rerank.reference:
        reference = Path(config.rerank.reference)
        votes = [config.rerank.method, config.rerank.temperature]
        found["rerank"] = [policy_digest(reference) or str(reference), *votes]
    return json.loads(json.dumps(found))


def ask_rest(
    asker: Asker, problems: Sequence[Problem], folder: Path, config: EvalConfig, num_done: int = 0
) -> None:
    """Asks problems batch by batch and appends rows and chains.

    Failures are written once a problem behind them, or the end, shows that the policy answers.

    Raises:
        RolloutError: `config.max_failures` problems failed one behind the other.
    """
    failures: list[Answered] = []
    with (
        tqdm(
            total=num_done + len(problems), initial=num_done, desc="evaluation", unit="problem"
        ) as bar,
        logging_redirect_tqdm(),
    ):
        for start in range(0, len(problems), config.batch_size):
            batch = problems[start : start + config.batch_size]
            failures = _written([*failures, *asker.ask(batch)], folder, config.max_failures)
            bar.update(len(batch))
    _append(failures, folder)


def _written(answered: list[Answered], folder: Path, max_failures: int) -> list[Answered]:
    """Appends all but the failures at the end, and returns those."""
    num = len(answered)
    while num and answered[num - 1].row.error is not None:
        num -= 1
    _append(answered[:num], folder)
    failures = answered[num:]
    if len(failures) >= max_failures:
        raise RolloutError(
            f"{len(failures)} problems failed one behind the other, eval.max_failures "
            f"{max_failures}; the last: {failures[-1].row.error}. What was answered before is "
            "kept; the same command goes on from there"
        )
    return failures


def _append(answered: Sequence[Answered], folder: Path) -> None:
    chains = {name: [one.chains[name] for one in answered if name in one.chains] for name in CHAINS}
    append(folder, [one.row for one in answered], chains)


def measured(rows: Sequence[ProblemRow], config: EvalConfig, seed: int) -> dict[str, Any]:
    """Returns metrics, values by puzzle, shares by split and readings of probes, for JSON."""
    base = base_rows(rows)
    found = columns(base, (1, config.num_samples))
    readings = probe_readings(rows, config, seed)
    return {
        "metrics": {name: one.as_dict() for name, one in summary(found, config, seed).items()},
        "per_puzzle": {
            name: [None if math.isnan(value) else value for value in column.tolist()]
            for name, column in found.items()
        },
        "splits": {name: one.as_dict() for name, one in split_shares(rows, config, seed).items()},
        "readings": [{**vars(one), "value": one.value.as_dict()} for one in readings],
        "failed": {row.prompt_id: row.error for row in rows if row.error is not None},
    }


def described(result: dict[str, Any], rows: Sequence[ProblemRow], name: str) -> str:
    """Returns the tables of a result, and what went wrong, for a terminal."""
    lines = [results_table({name: result["metrics"] | result["splits"]})]
    if result["readings"]:
        lines.append("")
        lines += [_reading_line(one) for one in result["readings"]]
    statuses = ", ".join(f"{num} {status}" for status, num in status_counts(rows).items())
    lines.append(f"\n{len(rows)} problems; chains: {statuses}")
    refused = [f"{one['where']}: {one['reason']}" for one in result["refused"]]
    failed = [f"{name}: {error}" for name, error in result["failed"].items()]
    for what, found in (("refused", refused), ("failed, counted wrong", failed)):
        if found:
            more = [f"… and {len(found) - _NUM_NAMED} more"] if len(found) > _NUM_NAMED else []
            lines.append("\n  ".join([f"{len(found)} {what}:", *found[:_NUM_NAMED], *more]))
    return "\n".join(lines)


def _reading_line(one: dict[str, Any]) -> str:
    value, low, high = (one["value"][key] for key in ("value", "low", "high"))
    return f"{one['probe']}, {one['measure']}: {value:.3f} [{low:.3f}, {high:.3f}]: {one['text']}"


def describe_evaluation(
    data: DataConfig, rewards: RewardConfig, config: EvalConfig, seed: int
) -> str:
    """Returns the first prompts with the sizes of their images, counts by tag, and the chains.

    Nothing is sampled or written.

    Raises:
        DataError: a data set that cannot be read.
    """
    problems, refused = asked_problems(data, rewards, config, seed)
    lines = []
    for problem in problems[:_NUM_SHOWN]:
        prompt = problem.prompt
        sizes = [decode_image(raw, prompt.prompt_id).size for raw in prompt.images]
        named = ", ".join(f"{width} x {height}" for width, height in sizes)
        lines += [f"{prompt.prompt_id} ({prompt.kind}; images of {named or 'none'} px)"]
        lines += [f"    {line}" for line in prompt.text.splitlines()]
    counts: dict[str, Counter[str]] = {}
    for problem in problems:
        for tag, value in problem.tags:
            counts.setdefault(tag, Counter())[value] += 1
    counts.pop("of", None)
    for tag, found in counts.items():
        common = ", ".join(f"{value} {num}" for value, num in found.most_common(12))
        lines.append(f"{tag}: {common}{', …' if len(found) > 12 else ''}")
    num = len(problems)
    lines.append(
        f"{num} problems, {len(refused)} refused; {num * (1 + config.num_samples)} chains: one "
        f"greedy and {config.num_samples} sampled of each"
    )
    if names := [name for name in config.probes if name in CHAIN_PROBE_NAMES]:
        lines.append(f"{', '.join(names)}: more problems, made of the greedy chains")
    lines += [f"refused: {one.where}: {one.reason}" for one in refused[:_NUM_NAMED]]
    return "\n".join(lines)
