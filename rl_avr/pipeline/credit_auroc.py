"""Does credit know where the errors are? AUROC of a claim's credit against the claim's truth.

Every claim of every recorded chain that the puzzle's state can judge is one case. What is read off
it without the truth is measured as it stands, the higher the likelier true:

    credit            mean r_t over the claim's tokens
    credit, sum       their sum
    credit, centred   their mean less the chain's
    credit, least     their least
    logprob           mean logprob under the policy: the baseline
    reference         mean logprob under the reference
    length            fewer tokens in the claim: a baseline
    chain length      fewer tokens in the chain: a baseline

N: claims.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from tqdm import tqdm

from rl_avr.errors import ConfigError, DataError
from rl_avr.evaluation.auroc import auroc_difference, auroc_interval
from rl_avr.evaluation.metrics import Interval
from rl_avr.inference.credit import ChainCredit, group_credit
from rl_avr.inference.credit_config import CreditStudyConfig
from rl_avr.inference.implicit_reward import load_pair
from rl_avr.modeling.digest import policy_digest
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.recorded_chains import (
    asked_prompts,
    graded_groups,
    recorded_config,
    recorded_settings,
)
from rl_avr.pipeline.rewards_score import rollout_files
from rl_avr.pipeline.text_table import text_table

_ALL = "all"
_KINDS = (_ALL, "perception", "rules", "choices", "answer")
BASELINE = "logprob"
_CREDIT = ("credit", "credit, sum", "credit, centred", "credit, least")
PREDICTORS = (*_CREDIT, BASELINE, "reference", "length", "chain length")


@dataclass(frozen=True, eq=False)
class Claims:
    """The judged claims of a recording.

    Args:
        kinds_N: what each is about.
        is_true_N: its truth.
        puzzles_N: number of its puzzle, from 0 on.
        scores: predictor -> its value for each.
    """

    kinds_N: np.ndarray
    is_true_N: np.ndarray
    puzzles_N: np.ndarray
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Cell:
    """What one predictor knows of one kind of claim, for one arm.

    Args:
        arm: name of the arm.
        kind: of claims; `all` for every one.
        predictor: what is read off a claim.
        num_true: true claims.
        num_false: false ones.
        area: AUROC; its `n` counts puzzles.
        gain: AUROC less that of the baseline on the same resamples.
    """

    arm: str
    kind: str
    predictor: str
    num_true: int
    num_false: int
    area: Interval
    gain: Interval


def measure_credit(config: CreditStudyConfig, seed: int, folder: Path) -> str:
    """Measures every arm, writes `credit_auroc.json` and `.md`; returns the table for a terminal.

    An arm that was measured before, on the same files, is not measured again.

    Args:
        config: the arms.
        seed: of the resamples.
        folder: where the files go.

    Raises:
        ConfigError: there is no arm, or its policies are no pair.
        DataError: chains that cannot be read or scored, or no claim that can be judged.
    """
    if not config.arms:
        raise ConfigError("study.arms: expected one policy or more to measure, got none")
    known = _read(folder)
    done: dict[str, _Arm] = {}
    for name, arm in config.arms.items():
        asked = _asked(arm, config, seed)
        if name in known and known[name].asked == asked:
            done[name] = known[name]
        else:
            done[name] = _Arm(asked, measured(name, _claims(name, arm, config), config, seed))
        _write(folder, done)
    cells = [cell for one in done.values() for cell in one.cells]
    table = text_table(_rows(cells))
    return f"{table}\n\n{_sentence(config)}\nwritten: {folder / 'credit_auroc.md'}"


def measured(arm: str, claims: Claims, config: CreditStudyConfig, seed: int) -> list[Cell]:
    """Returns a cell for each predictor and each kind with a true and a false claim."""
    cells = []
    for kind in _KINDS:
        is_kind = np.full(len(claims.kinds_N), True) if kind == _ALL else claims.kinds_N == kind
        truths = claims.is_true_N[is_kind]
        if not truths.any() or truths.all():
            continue
        _, puzzles = np.unique(claims.puzzles_N[is_kind], return_inverse=True)
        how = (truths, puzzles, config.num_resamples, config.confidence, seed)
        baseline = claims.scores[BASELINE][is_kind]
        for predictor in PREDICTORS:
            scores = claims.scores[predictor][is_kind]
            cells.append(
                Cell(
                    arm,
                    kind,
                    predictor,
                    int(truths.sum()),
                    int((~truths).sum()),
                    auroc_interval(scores, *how),
                    auroc_difference(scores, baseline, *how),
                )
            )
    return cells


def claims_of_chains(chains: Sequence[tuple[str, ChainCredit]]) -> Claims:
    """Returns the judged claims of chains, each with its puzzle's id.

    A claim of which no token is left, at the end of a chain that was cut, is left out.
    """
    numbers: dict[str, int] = {}
    rows = []
    for puzzle_id, chain in chains:
        number = numbers.setdefault(puzzle_id, len(numbers))
        for one in chain.claims:
            if one.claim.is_true is None or not one.num_tokens:
                continue
            size = one.num_tokens
            least = float(chain.credit_T[one.tokens[0] : one.tokens[1]].min())
            scores = (
                *(one.credit / size, one.credit, one.centred / size, least),
                *(one.logprob / size, (one.logprob - one.credit) / size),
                *(-size, -len(chain.token_ends_T)),
            )
            rows.append((one.claim.kind, one.claim.is_true, number, scores))
    values = np.array([row[3] for row in rows], dtype=float).reshape(-1, len(PREDICTORS))
    return Claims(
        np.array([row[0] for row in rows], dtype=object),
        np.array([row[1] for row in rows], dtype=bool),
        np.array([row[2] for row in rows], dtype=int),
        {name: values[:, i] for i, name in enumerate(PREDICTORS)},
    )


def _claims(name: str, arm: Mapping[str, str], config: CreditStudyConfig) -> Claims:
    source = Path(arm["rollouts"])
    scorer = load_pair(arm["policy"], arm["reference"], dtype=config.dtype)
    settings = recorded_settings(source)
    groups = graded_groups(source, asked_prompts(settings), settings.rewards)

    def chains() -> Iterator[tuple[str, ChainCredit]]:
        for graded in tqdm(islice(groups, config.num_groups or None), desc=name, unit="group"):
            puzzle_id = graded.group.prompt.puzzle.puzzle_id
            yield from ((puzzle_id, one) for one in group_credit(scorer, graded, settings.rewards))

    found = claims_of_chains(list(chains()))
    if not found.is_true_N.any() or found.is_true_N.all():
        num = len(found.is_true_N)
        raise DataError(
            f"study.arms.{name}: {source} has {num} claims that the state can judge, "
            f"{int(found.is_true_N.sum())} of them true; expected true and false ones"
        )
    return found


def _rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    header = ("policy", "claims", "true", "false", "read off", "AUROC", "interval", "over logprob")
    rows: list[tuple[str, ...]] = [header]
    for cell in cells:
        rows.append(
            (
                *(cell.arm, cell.kind, f"{cell.num_true:,}", f"{cell.num_false:,}", cell.predictor),
                f"{cell.area.value:.3f}",
                f"[{cell.area.low:.3f}, {cell.area.high:.3f}]",
                f"{cell.gain.value:+.3f} [{cell.gain.low:+.3f}, {cell.gain.high:+.3f}]",
            )
        )
    return rows + _family_rows(cells)


def _family_rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Returns the mean over the arms of each family of two or more."""
    families: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        family, slash, _ = cell.arm.rpartition("/")
        if slash:
            families.setdefault((family, cell.kind, cell.predictor), []).append(cell)
    return [
        (
            *(f"{family} (mean of {len(own)})", kind),
            *(f"{sum(c.num_true for c in own):,}", f"{sum(c.num_false for c in own):,}", predictor),
            f"{fmean(c.area.value for c in own):.3f}",
            f"standard deviation {stdev(c.area.value for c in own):.3f}",
            f"{fmean(c.gain.value for c in own):+.3f}",
        )
        for (family, kind, predictor), own in families.items()
        if len(own) > 1
    ]


def _sentence(config: CreditStudyConfig) -> str:
    return (
        f"AUROC of what is read off a claim against its truth; intervals of "
        f"{100 * config.confidence:g} % from {config.num_resamples:,} resamples of puzzles."
    )


@dataclass(frozen=True)
class _Arm:
    """What was found, and a hash of what it was found from."""

    asked: str
    cells: list[Cell]


def _asked(arm: Mapping[str, str], config: CreditStudyConfig, seed: int) -> str:
    """Returns a hash of all that decides the cells of an arm.

    Raises:
        DataError: there are no chains, or they cannot be read.
    """
    source = Path(arm["rollouts"])
    values: list[Any] = [sorted(arm.items()), replace(config, arms={}), seed]
    values += [policy_digest(Path(arm[side])) for side in ("policy", "reference")]
    try:
        for file in (recorded_config(source), *rollout_files(source)):
            with file.open("rb") as stream:
                values.append(hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error}") from error
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _read(folder: Path) -> dict[str, _Arm]:
    """Returns what was measured before; a file that cannot be used counts as none."""
    try:
        found = json.loads((folder / "credit_auroc.json").read_text(encoding="utf-8"))
        return {
            name: _Arm(one["asked"], [*map(_cell, one["cells"])]) for name, one in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _cell(written: Mapping[str, Any]) -> Cell:
    intervals = {name: Interval(**written[name]) for name in ("area", "gain")}
    return Cell(**{**written, **intervals})


def _write(folder: Path, arms: Mapping[str, _Arm]) -> None:
    rows = _rows([cell for one in arms.values() for cell in one.cells])
    lines = [" | ".join(row) for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
    numbers = {name: asdict(one) for name, one in arms.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "credit_auroc.md", "".join(f"| {line} |\n" for line in lines))
        write_whole(folder / "credit_auroc.json", json.dumps(numbers, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}") from error
