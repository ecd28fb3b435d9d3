"""Writes a page on which one browses what an evaluation left in its folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_avr.contracts import CHOICE_LETTERS, Completion, Prompt, Puzzle
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError, RlAvrError
from rl_avr.evaluation.breakdown import status_counts
from rl_avr.evaluation.config import CHAIN_PROBE_NAMES
from rl_avr.evaluation.problem_sets import asked_problems
from rl_avr.evaluation.results import CHAINS, ROWS, read_rows
from rl_avr.evaluation.rows import ProblemRow, Sample, reason_of
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.prompts import answer_form_of
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.reporting.browser import Kind, ShownChain, ShownProblem, render_browser
from rl_avr.reporting.explanation import visible
from rl_avr.reporting.page import Mark
from rl_avr.settings import EvalSettings, load_settings
from rl_avr.training.credit import judged_claims
from rollouts.recorder import read_groups

logger = logging.getLogger(__name__)

_PICTURE = RenderConfig(panel_size_px=80, has_letters=True)


@dataclass(frozen=True)
class Recorded:
    """A prompt and what was said to it, in the order of the samples."""

    prompt: Prompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True)
class Said:
    """What is shown of an evaluation's problems beside its rows.

    Args:
        passes: one of `CHAINS` -> prompt id -> what was said.
        images: prompt id -> what was shown; without those that cannot be loaded any more.
    """

    passes: dict[str, dict[str, Recorded]]
    images: dict[str, tuple[bytes, ...]]


def write_browser(
    folder: Path, num: int = 200, num_chains: int = 4, out: Path | None = None
) -> Path:
    """Writes the page; returns its path.

    Args:
        folder: of a finished or a running evaluation.
        num: how many problems; an even choice of them, in their order.
        num_chains: how many sampled chains of each.
        out: the page; None for `browse.html` in the folder.

    Raises:
        DataError: no evaluation is there, or a file of it cannot be read.
    """
    rows = read_rows(folder)
    if not rows:
        raise DataError(f"{folder / ROWS}: expected the problems of an evaluation, found none")
    kept = [rows[place * len(rows) // num] for place in range(num)] if num < len(rows) else rows
    names = {row.prompt_id for row in kept} | {shown_with(row) for row in kept}
    said = read_said(folder, names)
    problems = [shown_problem(row, said, shown_chains(row, said, num_chains)) for row in kept]
    path = out or folder / "browse.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render_browser(f"rl_avr: {folder.name}", _summary(rows, kept), problems))
    return path


def read_said(folder: Path, names: set[str]) -> Said:
    """Returns what was said in an evaluation to the prompts that are asked for."""
    passes = {name: _recorded(folder / f"{name}.jsonl", names) for name in CHAINS}
    return Said(passes, _shown_images(folder / "config.yaml", names))


def _shown_images(config: Path, names: set[str]) -> dict[str, tuple[bytes, ...]]:
    """Returns what the policy was shown, from the set that the configuration names."""
    if not config.is_file():
        return {}
    try:
        asked = load_settings(EvalSettings, [config])
        problems, _ = asked_problems(asked.data, asked.rewards, asked.eval, asked.run.seed)
        prompts = (problem.prompt for problem in problems)
        return {one.prompt_id: tuple(one.images) for one in prompts if one.prompt_id in names}
    except RlAvrError as error:
        logger.warning("%s: images are drawn anew where they can be, because: %s", config, error)
        return {}


def _recorded(path: Path, names: set[str]) -> dict[str, Recorded]:
    if not path.is_file():
        return {}
    groups = (one.group for one in read_groups(path))
    return {
        group.prompt.prompt_id: Recorded(group.prompt, group.completions)
        for group in groups
        if group.prompt.prompt_id in names
    }


def shown_chains(row: ProblemRow, said: Said, num_chains: int) -> tuple[ShownChain, ...]:
    """Returns the greedy chain of a problem and the first of its sampled ones."""
    samples = {"greedy": (row.greedy,) if row.greedy else (), "sampled": row.samples[:num_chains]}
    return tuple(
        shown_chain(
            name if name == "greedy" else f"sample {index + 1}",
            sample,
            row,
            said.passes[name].get(row.prompt_id),
            index,
        )
        for name in CHAINS
        for index, sample in enumerate(samples[name])
    )


def shown_problem(row: ProblemRow, said: Said, chains: tuple[ShownChain, ...]) -> ShownProblem:
    """Returns a problem as a page shows it.

    Args:
        row: what the evaluation keeps of it.
        said: where its prompt is found.
        chains: what is shown of it.
    """
    found = (said.passes[name].get(row.prompt_id) for name in CHAINS)
    prompt = next((one.prompt for one in found if one), None)
    return ShownProblem(
        prompt_id=row.prompt_id,
        tags=tuple((visible(name), visible(value)) for name, value in row.tags),
        gold=_gold(row, prompt.puzzle if prompt else None),
        prompt=prompt.text if prompt else "",
        images=said.images.get(shown_with(row)) or _drawn(prompt),
        error=row.error,
        chains=chains,
    )


def shown_with(row: ProblemRow) -> str:
    """Returns the id of the problem whose images were shown: its own, or that of its chain."""
    is_chain_probe = any(probe in CHAIN_PROBE_NAMES for probe in row.values("probe"))
    return row.values("of")[0] if is_chain_probe else row.prompt_id


def kind_of_chain(sample: Sample) -> Kind:
    """Returns what the filter calls a chain.

    A right answer is right even where the chain is not in its form; of a wrong one it is said
    first that it was cut off, then that it could not be read.
    """
    if sample.is_right:
        is_unfounded = reason_of(sample) in ("perception", "rule")
        return "wrong_reason" if is_unfounded else "right"
    if sample.status == "truncated":
        return "truncated"
    return "wrong" if sample.status == "ok" else "unparsable"


def shown_chain(
    name: str, sample: Sample, row: ProblemRow, said: Recorded | None, index: int
) -> ShownChain:
    """Returns a chain as a page shows it.

    Args:
        name: what the page calls it.
        sample: what the evaluation keeps of it.
        row: its problem.
        said: what was said to its prompt; None where that was not recorded.
        index: its place in that.
    """
    completion = said.completions[index] if said and index < len(said.completions) else None
    facts = [f"{sample.num_tokens} tokens"]
    facts += [f"{part} {value:.2f}" for part, value in sample.parts.items() if value is not None]
    return ShownChain(
        name=name,
        kind=kind_of_chain(sample),
        answer=_answer(sample, row),
        facts=", ".join([*facts, sample.status.replace("_", " ")]),
        text=completion.text if completion else None,
        marks=chain_marks(said.prompt, completion) if said and completion else (),
    )


def chain_marks(prompt: Prompt, completion: Completion) -> tuple[Mark, ...]:
    """Returns the claims of a chain, right or wrong, in the order of its text."""
    form = answer_form_of(prompt.text)
    puzzle = prompt.puzzle
    parsed = read(completion.text, puzzle, completion.finish_reason, prompt.kind, form)
    marks = (Mark(claim.start, claim.end, claim.is_true) for claim in judged_claims(parsed, puzzle))
    return tuple(sorted(marks, key=lambda mark: mark.start))


def _answer(sample: Sample, row: ProblemRow) -> str:
    if sample.choice is not None:
        return f"chose {CHOICE_LETTERS[sample.choice]}"
    return "an open answer" if row.gold is None and sample.status == "ok" else "chose nothing"


def _gold(row: ProblemRow, puzzle: Puzzle | None) -> str:
    if row.gold is not None:
        return CHOICE_LETTERS[row.gold]
    note = puzzle.annotation if puzzle else None
    return note.answer if note else "not recorded"


def _drawn(prompt: Prompt | None) -> tuple[bytes, ...]:
    has_state = prompt is not None and prompt.puzzle.has_state
    return (render_png(prompt.puzzle, _PICTURE),) if prompt and has_state else ()


def _summary(rows: Sequence[ProblemRow], kept: Sequence[ProblemRow]) -> str:
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in status_counts(rows).items())
    shown = "all" if len(kept) == len(rows) else f"{len(kept):,}"
    return (
        f"{len(rows):,} problems, {shown} of them here. Chains by how they could be read: {counts}."
    )
