"""What a set was made with: `manifest.json` for programs, `README.md` for people and hubs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rl_avr.errors import DataError
from rl_avr.pipeline.data_shards import Replacement
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.training.puzzle_files import SPLITS, open_file, split_files

_NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What decides a made set's bytes, and how far the making has come.

    Args:
        settings: the puzzles' settings and the shard size, as plain values.
        versions: libraries and commit that began the set.
        replacements: by split what takes the place of duplicates; None while drafts are
            missing.
        checksums: by split one number a shard, of the hashes of its final rows; with them
            a shard that is made again is known to be the same.
        is_complete: every shard is final.
    """

    settings: dict[str, Any]
    versions: dict[str, str]
    replacements: dict[str, tuple[Replacement, ...]] | None = None
    checksums: dict[str, list[int]] = field(default_factory=dict)
    is_complete: bool = False


def settings_of(config: PuzzleConfig, shard_size: int) -> dict[str, Any]:
    """Returns what decides the bytes of a set, as plain JSON values."""
    return json.loads(json.dumps({"puzzles": asdict(config), "shard_size": shard_size}))


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a made set, or None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["replacements"] is not None:
            raw["replacements"] = {
                split: tuple(Replacement(*item) for item in items)
                for split, items in raw["replacements"].items()
            }
        return Manifest(**raw)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: expected the manifest of a set; got: {error!r}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`, which is never seen half written."""
    raw = asdict(manifest)
    if manifest.replacements is not None:
        raw["replacements"] = {
            split: [astuple(item) for item in items]
            for split, items in manifest.replacements.items()
        }
    write_whole(folder / _NAME, json.dumps(raw, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that appears only when whole."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def check_settings(folder: Path, found: Manifest, settings: Mapping[str, Any]) -> None:
    """Refuses to go on with a set that was begun with other settings.

    Raises:
        DataError: names every setting that differs.
    """
    old, new = _flat(found.settings), _flat(settings)
    changed = [
        f"{key} {old.get(key, 'not set')!r} there, {new.get(key, 'not set')!r} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise DataError(
            f"{folder}: a set with other settings lies here: {'; '.join(changed)}. Choose another "
            "data.path, or remove the folder"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def count_kinds(folder: Path, splits: Sequence[str]) -> dict[str, Counter[str]]:
    """Returns by split how many puzzles of each kind there are."""
    counts: dict[str, Counter[str]] = {}
    for split in splits:
        counts[split] = Counter()
        for path in split_files(folder, split):
            with open_file(path) as file:
                for batch in file.iter_batches(columns=["kind"]):
                    counts[split].update(batch.column(0).to_pylist())
    return counts


def write_card(
    folder: Path,
    counts: Mapping[str, Mapping[str, int]],
    about: str,
    details: Mapping[str, Any],
    versions: Mapping[str, str],
    num_repeated: int = 0,
) -> None:
    """Writes `README.md`, from whose head `datasets.load_dataset(folder)` reads the splits.

    Args:
        folder: folder of the set.
        counts: puzzles by split and kind.
        about: one paragraph: what these puzzles are and where they come from.
        details: settings, shown as YAML.
        versions: what made the set.
        num_repeated: puzzles that show what an earlier one shows.
    """
    splits = [split for split in SPLITS if split in counts]
    head = {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": s, "path": f"{s}-*.parquet"} for s in splits],
            }
        ],
        "task_categories": ["visual-question-answering"],
    }
    kinds = sorted({kind for split in splits for kind in counts[split]})
    rows = [[kind, *(str(counts[s].get(kind, 0)) for s in splits)] for kind in kinds]
    rows.append(["all", *(str(sum(counts[s].values())) for s in splits)])
    table = [["kind", *splits], ["---", *("---:" for _ in splits)], *rows]
    text = _CARD.format(
        head=yaml.safe_dump(head, sort_keys=False).strip(),
        name=folder.resolve().name,
        about=about,
        counts="\n".join(f"| {' | '.join(row)} |" for row in table),
        first=splits[0],
        repeated=f"{num_repeated} puzzles show" if num_repeated else "No puzzle shows",
        details=yaml.safe_dump(json.loads(json.dumps(details)), sort_keys=False).strip(),
        versions="\n".join(f"- {name} {version}" for name, version in versions.items()),
    )
    write_whole(folder / "README.md", text)


_CARD = """\
---
{head}
---

# {name}

{about}

{counts}

{repeated} what another one shows, in any split. `state_hash` tells: it is a hash of what a
puzzle shows, without the choices and the turns of single shapes.

## Columns

- `puzzle_id`: unique in the set
- `family`: `rpm`, `nonregular` or `annotated`
- `kind`: RAVEN's folder name of the configuration, or the non-regular kind
- `configuration`: RAVEN's folder name, or the non-regular layout
- `difficulty`: a number, larger is harder; 0 where it is not known
- `state_hash`: 63 bits, equal for puzzles that show the same
- `puzzle`: JSON: panels, choices, `answer_index`, rules
- `image`: the whole puzzle as one encoded image

## Use

    from datasets import load_dataset
    puzzles = load_dataset("PATH", split="{first}")

## Made with

```yaml
{details}
```

{versions}
"""
