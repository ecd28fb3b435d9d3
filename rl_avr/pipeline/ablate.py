"""`rl-avr ablate warm-start`: trains the arms, measures them, and writes the tables.

<run.dir>/sets/…                puzzles and pictures
<run.dir>/starts/NAME/SEED/…    policies that arms start from
<run.dir>/TABLE/ARM/SEED/…      an arm: job.json, log.txt, metrics.jsonl, result.json
<run.dir>/table.md, bars.png, report.html
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_avr.pipeline.ablate_plan import Arm, Table, Tree, plan_jobs, read_tables
from rl_avr.pipeline.ablate_run import (
    AblationError,
    expected_seconds,
    read_results,
    run_jobs,
    time_words,
)
from rl_avr.pipeline.ablate_stats import BySeed, Standing, ranks, standings
from rl_avr.pipeline.text_table import text_table
from rl_avr.reporting.ablation import (
    ArmRow,
    ArmTable,
    SeedCell,
    arm_bars,
    markdown,
    render_ablation,
)
from rl_avr.settings import AblateSettings, save_resolved
from rl_avr.training.run_folder import prepare_run

_TITLE = "What the warm start's ideas do on our puzzles"


def run_ablation(settings: AblateSettings) -> None:
    """Runs the jobs that have no result, then writes and prints the tables.

    Tables are written from what is there, also where jobs failed.

    Raises:
        ConfigError: settings that cannot be used, or a folder that holds other ones' jobs.
        AblationError: jobs failed.
    """
    jobs = plan_jobs(settings)
    root = Path(settings.run.dir)
    read_results(jobs, root)
    prepare_run(settings.run)
    save_resolved(settings, root)
    try:
        run_jobs(jobs, root, settings.ablate.num_jobs)
    except AblationError:
        write_tables(settings)
        raise
    print(f"\n{write_tables(settings)}\nReport: {root / 'report.html'}")


def describe_ablation(settings: AblateSettings) -> str:
    """Returns the jobs, whether they are done, and how long the others should take."""
    jobs, root = plan_jobs(settings), Path(settings.run.dir)
    results = read_results(jobs, root)
    rows = [["job", "needs", "minutes", ""]]
    left = 0.0
    for job in jobs:
        seconds = expected_seconds(job, results)
        done = results.get(job.name)
        left += 0 if done else seconds
        minutes = f"{(done['seconds'] if done else seconds) / 60:.1f}"
        is_long = seconds > 60 * settings.ablate.max_minutes
        state = "done" if done else f"over {settings.ablate.max_minutes:g} min" if is_long else ""
        rows.append([job.name, ", ".join(job.needs), minutes, state])
    at_once = f", {settings.ablate.num_jobs} at a time" if settings.ablate.num_jobs > 1 else ""
    left = left / settings.ablate.num_jobs
    return (
        f"{text_table(rows)}\n{len(jobs)} jobs{at_once}, {len(results)} done; "
        f"about {time_words(left)} left"
    )


def write_tables(settings: AblateSettings) -> str:
    """Writes table.md, bars.png and report.html from the results there are; returns the tables.

    Raises:
        DataError: arms of one table that were measured on different puzzles.
    """
    root = Path(settings.run.dir)
    tables = make_tables(settings)
    text = markdown(tables)
    (root / "table.md").write_text(text, encoding="utf-8")
    page = render_ablation(_TITLE, tables, _notes(settings))
    (root / "report.html").write_text(page, encoding="utf-8")
    if image := arm_bars(tables, "png"):
        (root / "bars.png").write_bytes(image)
    return text


def make_tables(settings: AblateSettings) -> list[ArmTable]:
    """Returns the tables of all jobs that are done, whatever `ablate.only` says."""
    everything = replace(settings, ablate=replace(settings.ablate, only=""))
    results = read_results(plan_jobs(everything), Path(settings.run.dir))
    return [
        _table(table, arms, {arm: _of_arm(results, f"{name}/{arm}") for arm in arms}, settings)
        for name, (table, arms) in read_tables(settings).items()
    ]


def _of_arm(results: Mapping[str, Tree], arm: str) -> dict[int, Tree]:
    """Returns seed -> result of the jobs of an arm that are done."""
    return {
        result["spec"]["seed"]: result
        for name, result in results.items()
        if name.rpartition("/")[0] == arm
    }


def _table(
    table: Table,
    arms: Mapping[str, Arm],
    results: Mapping[str, Mapping[int, Tree]],
    settings: AblateSettings,
) -> ArmTable:
    right: dict[str, BySeed] = {
        arm: {seed: np.array(result["right"]) for seed, result in by_seed.items()}
        for arm, by_seed in results.items()
    }
    done = [result for by_seed in results.values() for result in by_seed.values()]
    if not done:
        return ArmTable(table.title, table.paper, ())
    chance_P = np.array(done[0]["chance"])
    config = settings.ablate
    found = standings(right, chance_P, config.num_bootstrap, config.confidence)
    places = ranks(found)
    rows = tuple(
        _row(arm, arms, found, places.get(arm), list(results[arm].values())) for arm in found
    )
    return ArmTable(table.title, table.paper, rows)


def _row(
    name: str,
    arms: Mapping[str, Arm],
    found: Mapping[str, Standing],
    place: int | None,
    results: list[Tree],
) -> ArmRow:
    own, arm = found[name], arms[name]
    first = next(iter(arms))
    gain, papers_first = arm.paper_gain, arms[first].paper
    if gain is None and arm.paper is not None and papers_first is not None:
        gain = arm.paper - papers_first
    losses = [result["last_loss"] for result in results if result["last_loss"] is not None]
    return ArmRow(
        title=arm.title or name,
        right=own.accuracy.as_dict(),
        chance=own.chance,
        is_informative=own.is_informative,
        place=place,
        by_seed=own.by_seed.as_dict() if own.by_seed else None,
        by_puzzle=own.by_puzzle.as_dict() if own.by_puzzle else None,
        paper=arm.paper,
        verdict=verdict(own, found[first], gain) if own.by_puzzle else "",
        each_seed=tuple(
            SeedCell(seed, one.value, one.low <= own.chance <= one.high)
            for seed, one in own.each_seed.items()
        ),
        trained_tokens=float(np.mean([result["trained_tokens"] for result in results])),
        last_loss=float(np.mean(losses)) if losses else None,
        minutes=float(np.mean([result["seconds"] for result in results])) / 60,
    )


def verdict(own: Standing, first: Standing, paper_gain: float | None) -> str:
    """Returns what an arm's difference to the first arm says beside the paper's.

    Between two arms of which one is at chance nothing is said, unless the other leaves
    chance: then the difference is real and its size is not.

    Args:
        own: where the arm stands.
        first: where the first arm stands.
        paper_gain: points that the paper has between them; None where it does not tell.
    """
    assert own.by_puzzle and own.by_seed
    if not (own.is_informative or first.is_informative):
        return "both at chance"
    if own.by_puzzle.low <= 0 <= own.by_puzzle.high:
        return "no difference shown"
    text = "a difference"
    if paper_gain is not None:
        is_same = (own.by_puzzle.value > 0) == (paper_gain > 0)
        text = "as in the paper" if is_same else "against the paper"
    is_sure = own.by_seed.low > 0 or own.by_seed.high < 0
    return text if is_sure else f"{text}, in these runs: seeds differ"


def _notes(settings: AblateSettings) -> list[str]:
    share = f"{100 * settings.ablate.confidence:g}%"
    return [
        f"{share} intervals. Right: Student's t over seeds; with one seed, bootstrap over puzzles. "
        "Against the first arm: paired, by t over seeds, and by bootstrap over the puzzles that "
        "all arms answered.",
        "All arms of a table start from the same policy of their seed and are trained on the same "
        "number of tokens that have a loss.",
        "Uninformative: the interval holds chance, which is what the best single answer to "
        "questions of a sort gets right, or one over the number of choices. Such an arm has no "
        "place. A star marks a seed whose own interval, by bootstrap over puzzles, holds chance.",
        "The paper's numbers are LLaVA-AVR's (arXiv 2504.01324), of a 7B policy on other puzzles.",
    ]
