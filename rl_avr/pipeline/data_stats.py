"""What a set holds: counts, whether its answers can be guessed, duplicates."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rl_avr.contracts import CHOICE_LETTERS, Panel, Puzzle
from rl_avr.errors import DataError
from rl_avr.pipeline.data_bias import MAX_PUZZLES, AnswerSet, answer_set, bias_report
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.text_table import text_table
from rl_avr.puzzles.grammar import ATTRIBUTES
from rl_avr.training.puzzle_data import row_puzzle
from rl_avr.training.puzzle_files import NEEDED, iter_rows, kind_of, splits_of, state_hash

_NAME = "stats.json"
# chance of any false alarm in the whole table of guessers (Bonferroni)
_ALARM = 0.05


class _Counts:
    """Counts that grow row by row, so that memory does not grow with the set."""

    def __init__(self) -> None:
        self.kinds: dict[str, Counter[str]] = {}
        self.rules: dict[str, Counter[str]] = {}
        self.values: dict[str, Counter[int]] = {}
        self.difficulty: Counter[float] = Counter()
        self.letters: dict[int, Counter[str]] = {}

    def add(self, puzzle: Puzzle, kind: str, split: str) -> None:
        self.kinds.setdefault(kind, Counter())[split] += 1
        self.difficulty[round(2 * puzzle.difficulty) / 2] += 1
        if puzzle.answer_index is not None:
            letters = self.letters.setdefault(puzzle.num_choices, Counter())
            letters[puzzle.answer_letter] += 1
        for rule in puzzle.rules:
            # number and position share one rule of the layout
            is_layout = rule.attribute in ("number", "position")
            group = "layout" if is_layout else rule.attribute
            name = f"{rule.attribute} {rule.kind}" if is_layout else rule.kind
            family = "rpm" if puzzle.family == "rpm" else kind
            self.rules.setdefault(f"{family}: {group}", Counter())[name] += 1
        for panel in puzzle.context:
            if isinstance(panel, Panel):
                self._add_values(panel)

    def _add_values(self, panel: Panel) -> None:
        for part in panel.components:
            self.values.setdefault("number", Counter())[len(part.entities)] += 1
            for entity in part.entities:
                for name in ATTRIBUTES:
                    self.values.setdefault(name, Counter())[getattr(entity, name)] += 1


def write_stats(folder: Path) -> dict[str, Any]:
    """Counts a whole set, writes `stats.json` into its folder and returns what it holds.

    Raises:
        DataError: the set cannot be read, or the folder cannot be written.
    """
    counts, hashes = _Counts(), {}
    sets: list[AnswerSet] = []
    for split in splits_of(folder):
        found = array("q")
        rows = iter_rows(folder, split, sorted(NEEDED))
        for path, index, row in tqdm(rows, desc=f"reading, {split}", unit="puzzle"):
            puzzle = row_puzzle(row, index, path)
            kind = kind_of(puzzle)
            counts.add(puzzle, kind, split)
            found.append(state_hash(puzzle, _image_bytes(row)))
            if len(sets) < MAX_PUZZLES and (item := answer_set(puzzle, kind)):
                sets.append(item)
        hashes[split] = np.array(found, dtype=np.int64)
    stats = {
        "kinds": counts.kinds,
        "rules": counts.rules,
        "values": counts.values,
        "difficulty": dict(sorted(counts.difficulty.items())),
        "answers": {str(n): _letters(letters, n) for n, letters in sorted(counts.letters.items())},
        "duplicates": duplicates(hashes),
        "bias": _bias(sets),
    }
    try:
        write_whole(folder / _NAME, json.dumps(stats, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{folder / _NAME}: cannot be written: {error}") from error
    return stats


def _image_bytes(row: Mapping[str, Any]) -> bytes:
    return (row["image"] or {}).get("bytes") or b""


def _letters(letters: Counter[str], num_choices: int) -> dict[str, Any]:
    """Returns counts of right answers by letter, and whether chance explains them."""
    from scipy.stats import chisquare

    names = CHOICE_LETTERS[:num_choices]
    return {
        "counts": {name: letters[name] for name in names},
        "p_uniform": float(chisquare([letters[name] for name in names]).pvalue),
    }


def duplicates(hashes: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Returns puzzles that show what an earlier one shows, in each split and across splits.

    >>> duplicates({"train": np.array([1, 2, 2]), "held_out": np.array([2, 3])})
    {'train': 1, 'held_out': 0, 'held_out and train': 1}
    """
    unique = {split: np.unique(found) for split, found in hashes.items()}
    counts = {split: len(found) - len(unique[split]) for split, found in hashes.items()}
    splits = sorted(hashes)
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            both = np.intersect1d(unique[one], unique[other], assume_unique=True)
            counts[f"{one} and {other}"] = len(both)
    return counts


def _bias(sets: Sequence[AnswerSet]) -> dict[str, Any]:
    return bias_report(sets) if sets else {"mode": {}, "trained": {}}


def describe_stats(stats: Mapping[str, Any]) -> str:
    """Returns the tables that a person reads."""
    splits = sorted({split for counts in stats["kinds"].values() for split in counts}, reverse=True)
    kinds = [
        (kind, *(str(counts.get(split, 0)) for split in splits))
        for kind, counts in sorted(stats["kinds"].items())
    ]
    parts = [
        ("Puzzles", [("kind", *splits), *kinds]),
        ("Rules, % of each attribute's", _share_rows("attribute", stats["rules"])),
        ("Values in the context, % of each attribute's", _share_rows("", stats["values"])),
        ("Difficulty, % of all puzzles", _share_rows("", {"difficulty": stats["difficulty"]})),
        ("Right answers, % of the puzzles with so many choices", _letter_rows(stats["answers"])),
        ("Guessing without the context", _bias_rows(stats["bias"])),
        ("Duplicates: puzzles that show the same", _duplicate_rows(stats["duplicates"])),
    ]
    return "\n\n".join(f"{title}\n{text_table(rows)}" for title, rows in parts if len(rows) > 1)


def _share_rows(corner: str, groups: Mapping[str, Mapping[Any, int]]) -> list[tuple[str, ...]]:
    """Returns one row a group: `name share, name share, …`, the commonest first for words."""
    rows: list[tuple[str, ...]] = [(corner or "attribute", "count", "shares")]
    for group, counts in sorted(groups.items()):
        total = sum(counts.values())
        shown = sorted(counts.items(), key=lambda item: _order(item[0], item[1]))
        shares = "  ".join(f"{name} {100 * count / total:.1f}" for name, count in shown)
        rows.append((group, str(total), shares))
    return rows


def _order(name: Any, count: int) -> tuple[float, str]:
    return (float(name), "") if isinstance(name, int | float) else (-count, str(name))


def _letter_rows(answers: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("choices", "count", "shares", "p of a uniform draw")]
    for number, found in answers.items():
        total = sum(found["counts"].values())
        shares = "  ".join(f"{k} {100 * n / total:.1f}" for k, n in found["counts"].items())
        rows.append((number, str(total), shares, f"{found['p_uniform']:.3f}"))
    return rows


def _bias_rows(bias: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("puzzles", "chance", "mode heuristic", "trained", "verdict")]
    # one test in twenty would raise a false alarm, and there are many
    least_p = _ALARM / max(1, sum(len(found) for found in bias.values()))
    for name, mode in bias["mode"].items():
        trained = bias["trained"].get(name)
        found = [mode] if trained is None else [mode, trained]
        rows.append(
            (
                name,
                f"{mode['chance']:.1%}",
                _interval(mode),
                "too few" if trained is None else _interval(trained),
                "ABOVE CHANCE" if min(item["p"] for item in found) < least_p else "chance",
            )
        )
    return rows


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}] n {found['n']}"


def _duplicate_rows(duplicates: Mapping[str, int]) -> list[tuple[str, ...]]:
    return [("within or across", "puzzles"), *((k, str(n)) for k, n in duplicates.items())]
