"""One report of several runs, or of one evaluation: what their folders hold, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from rl_avr.errors import DataError
from rl_avr.evaluation.breakdown import accuracy, by_tag, by_two_tags, columns, num_samples, summary
from rl_avr.evaluation.comparing import run_names
from rl_avr.evaluation.comparison import compare
from rl_avr.evaluation.config import EvalConfig
from rl_avr.evaluation.readings import base_rows, probe_readings
from rl_avr.evaluation.results import ROWS, read_rows
from rl_avr.evaluation.rows import ProblemRow, Sample
from rl_avr.evaluation.shifts import split_shares
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.eval_show import (
    Said,
    kind_of_chain,
    read_said,
    shown_chain,
    shown_problem,
)
from rl_avr.pipeline.report import read_json, run_metrics, write_report
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.reporting.browser import ShownChain, ShownProblem
from rl_avr.reporting.comparison_page import (
    ComparisonPage,
    HeatMap,
    PairedTest,
    comparison_markdown,
    render_comparison,
)
from rl_avr.reporting.references import references_by_configuration, references_of
from rl_avr.reporting.tables import percent, points

_NUM_EXAMPLES = 6
_ALL = "all"
_SEED = 0
_CONFIG = EvalConfig()


@dataclass(frozen=True)
class Run:
    """What a folder holds.

    Args:
        name: what the page calls it.
        folder: where it lies.
        rows: of its evaluation, probes' problems among them; none where it is none.
        metrics: of its training.
        config_text: its resolved configuration.
        versions: name -> version.
    """

    name: str
    folder: Path
    rows: tuple[ProblemRow, ...]
    metrics: tuple[dict[str, Any], ...]
    config_text: str
    versions: Mapping[str, str]

    @property
    def base(self) -> list[ProblemRow]:
        """The rows of the problems themselves."""
        return base_rows(self.rows)


def write_reports(
    folders: Sequence[Path], out: Path | None = None, markdown: Path | None = None
) -> list[Path]:
    """Writes the report of one run, or of several side by side; returns what was written.

    Args:
        folders: of runs; the first is what the others are compared with.
        out: the page; None for `report.html` in the folder of a single run.
        markdown: file for the tables in Markdown.

    Raises:
        DataError: there is nothing to report, or a file cannot be read.
    """
    if len(folders) == 1 and not (folders[0] / ROWS).is_file():
        if markdown:
            raise DataError(f"{folders[0]}: expected {ROWS} for tables in Markdown, found none")
        return [write_report(folders[0], out)]
    if len(folders) > 1 and out is None:
        raise DataError("expected --out PAGE for a report of several runs")
    page = comparison_page(
        [read_run(name, one) for name, one in zip(run_names(folders), folders, strict=True)]
    )
    files = {out or folders[0] / "report.html": render_comparison(page)}
    if markdown:
        files[markdown] = comparison_markdown(page)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return list(files)


def read_run(name: str, folder: Path) -> Run:
    """Returns what a folder holds.

    Raises:
        DataError: it is no folder, it holds neither an evaluation nor metrics, or one of its
            files cannot be read.
    """
    config, rows = folder / "config.yaml", read_rows(folder)
    metrics = run_metrics(folder)
    if not (rows or metrics):
        raise DataError(f"{folder}: expected {ROWS} or metrics of a run, found neither")
    return Run(
        name=name,
        folder=folder,
        rows=tuple(rows),
        metrics=tuple(metrics),
        config_text=config.read_text(encoding="utf-8") if config.is_file() else "",
        versions=read_json(folder / "versions.json"),
    )


def comparison_page(runs: Sequence[Run]) -> ComparisonPage:
    """Returns the page of runs, the first of which the others are compared with."""
    measured = [run for run in runs if run.base]
    rows = [row for run in measured for row in run.base]
    num_choices = [row.num_choices for row in rows if row.num_choices]
    return ComparisonPage(
        title="rl_avr: " + ", ".join(run.name for run in runs),
        summary=_summary(measured),
        results={run.name: _metrics(run) for run in measured},
        chance=float(np.mean([1 / num for num in num_choices])) if num_choices else None,
        references=references_of(*(_values(rows, name) for name in ("benchmark", "configuration"))),
        splits={run.name: _splits(run) for run in measured},
        by_configuration={run.name: _by_configuration(run) for run in measured},
        references_by_configuration=references_by_configuration(_values(rows, "benchmark")),
        tests=_tests(measured),
        heats=tuple(heat for run in measured for heat in heat_maps(run.name, run.base)),
        readings=tuple(
            (run.name, f"{one.probe}, {one.measure}", percent(one.value.as_dict()), one.text)
            for run in measured
            for one in probe_readings(run.rows, _CONFIG, _SEED)
        ),
        training=tuple((run.name, run.metrics) for run in runs if run.metrics),
        examples=tuple(_examples(measured)),
        configs=tuple((run.name, run.config_text) for run in runs if run.config_text),
        versions=tuple((run.name, run.versions) for run in runs if run.versions),
    )


def _columns(rows: Sequence[ProblemRow]) -> dict[str, np.ndarray]:
    return columns(rows, {1, num_samples(rows)} - {0})


def _metrics(run: Run) -> dict[str, Any]:
    found = summary(_columns(run.base), _CONFIG, _SEED)
    return {name: interval.as_dict() for name, interval in found.items()}


def _splits(run: Run) -> dict[str, Any]:
    found = split_shares(run.rows, _CONFIG, _SEED)
    return {name: interval.as_dict() for name, interval in found.items()}


def _by_configuration(run: Run) -> dict[str, Any]:
    """Returns configuration -> pass@1 or share of right greedy answers, RAVEN's in their order."""
    known = accuracy(run.base)
    found = by_tag(run.base, known[1], "configuration", _CONFIG, _SEED) if known else {}
    order = [*(name for name in CONFIGURATIONS if name in found), *found]
    return {name: found[name].as_dict() for name in dict.fromkeys(order)}


def _values(rows: Sequence[ProblemRow], name: str) -> set[str]:
    return {value for row in rows for value in row.values(name)}


def _are_alike(runs: Sequence[Run]) -> bool:
    """Whether all runs are of the same problems."""
    return len({frozenset(row.prompt_id for row in run.base) for run in runs}) == 1


def _summary(runs: Sequence[Run]) -> str:
    if not runs:
        return "No run here was evaluated; what follows is their training."
    sizes = ", ".join(f"{run.name} {len(run.base):,}" for run in runs)
    failed = sum(row.error is not None for run in runs for row in run.base)
    parts = [f"Problems: {sizes}."]
    if failed:
        parts.append(f"{failed:,} of them failed and count as wrong.")
    if len(runs) > 1 and not _are_alike(runs):
        parts.append("They are not the same problems, so that no test compares them.")
    return " ".join(parts)


def _tests(runs: Sequence[Run]) -> tuple[PairedTest, ...]:
    if len(runs) < 2 or not _are_alike(runs):
        return ()
    ks = {1, *(num_samples(run.base) for run in runs)} - {0}
    found = compare({run.name: run.base for run in runs}, _CONFIG, _SEED, sorted(ks))
    return tuple(
        PairedTest(
            one.policy,
            one.metric,
            points(one.difference.as_dict()),
            p_text(one.p),
            p_text(one.p_holm),
            one.difference.n,
        )
        for one in found
    )


def p_text(p: float) -> str:
    """Returns a p-value as it stands in a table.

    >>> p_text(0.0412), p_text(0.00001), p_text(float("nan"))
    ('0.041', '< 0.001', 'n/a')
    """
    if isnan(p):
        return "n/a"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def heat_maps(name: str, rows: Sequence[ProblemRow]) -> list[HeatMap]:
    """Returns the heat map of pass@1, or of greedy answers, by configuration and rule.

    Problems without rules are laid out by their pattern. The first row and column are over
    all; without configurations there is no map.
    """
    first, second = "configuration", "rule" if _values(rows, "rule") else "pattern"
    known = accuracy(rows)
    if not (known and _values(rows, first)):
        return []
    metric, values = known
    cells: dict[tuple[str, str], Mapping[str, Any]] = {
        (_ALL, _ALL): summary({metric: values}, _CONFIG, _SEED)[metric].as_dict()
    }
    downs = by_tag(rows, values, first, _CONFIG, _SEED)
    acrosses = by_tag(rows, values, second, _CONFIG, _SEED)
    pairs = by_two_tags(rows, values, (first, second), _CONFIG, _SEED)
    cells |= {(down, _ALL): interval.as_dict() for down, interval in downs.items()}
    cells |= {(_ALL, across): interval.as_dict() for across, interval in acrosses.items()}
    cells |= {pair: interval.as_dict() for pair, interval in pairs.items()}
    title = f"{name}: {metric} by {first} and {second}"
    return [HeatMap(title, (_ALL, *downs), (_ALL, *acrosses), cells)]


def _examples(runs: Sequence[Run]) -> list[ShownProblem]:
    """Returns problems with a chain of every run, kinds of outcomes taking turns."""
    if not runs or not _are_alike(runs):
        return []
    by_run = [{row.prompt_id: row for row in run.base} for run in runs]
    turns: dict[tuple[str, ...], list[str]] = {}
    for name in by_run[0]:
        chains = [_first_chain(rows[name]) for rows in by_run]
        kinds = tuple(kind_of_chain(chain[1]) for chain in chains if chain)
        if len(kinds) == len(runs):
            turns.setdefault(kinds, []).append(name)
    # most telling first: outcomes that differ between the runs
    order = sorted(turns, key=lambda kinds: (-len(set(kinds)), kinds))
    rounds = zip_longest(*(turns[kinds] for kinds in order))
    names = [name for turn in rounds for name in turn if name is not None][:_NUM_EXAMPLES]
    said = [read_said(run.folder, set(names)) for run in runs]
    return [_example(name, runs, by_run, said) for name in names]


def _first_chain(row: ProblemRow) -> tuple[str, Sample] | None:
    if row.greedy:
        return "greedy", row.greedy
    return ("sampled", row.samples[0]) if row.samples else None


def _example(
    name: str,
    runs: Sequence[Run],
    by_run: Sequence[Mapping[str, ProblemRow]],
    said: Sequence[Said],
) -> ShownProblem:
    chains: list[ShownChain] = []
    for run, rows, texts in zip(runs, by_run, said, strict=True):
        first = _first_chain(rows[name])
        assert first is not None
        chains.append(
            shown_chain(run.name, first[1], rows[name], texts.passes[first[0]].get(name), 0)
        )
    return shown_problem(by_run[0][name], said[0], tuple(chains))
