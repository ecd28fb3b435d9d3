"""Writes what a policy without the context is taught: the choices alone, and the end of a chain.

    python scripts/blind_chains.py runs/bias/raven/data runs/bias/raven/blind

The picture shows the choices and no context. The chain begins where it names the missing panel,
goes on to the choices and ends with the answer; nothing in it says how the missing panel would be
found. What a policy makes of that is what the choices give away (of RAVEN's files: Hu et al. 2021,
arXiv 2002.06838).

The folder gets `blind.json` in LLaVA's layout, which `sft.replay.path` reads, and the pictures.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError, RlAvrError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.loaders import load_problems
from rl_avr.evaluation.problems import Refused
from rl_avr.evaluation.redrawing import Change, redrawn

_MISSING = "Missing panel:"


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that `rl-avr data make` wrote")
    parser.add_argument("out", type=Path, help="folder to write")
    asked = parser.parse_args(words)
    try:
        number = write(asked.data, asked.out)
    except RlAvrError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{asked.out / 'blind.json'}: {number} conversations")
    return 0


def write(data: Path, out: Path) -> int:
    """Writes a conversation for every training puzzle that can be drawn without its context.

    Args:
        data: folder that `rl-avr data make` wrote, of matrices.
        out: folder to write.

    Raises:
        DataError: the folder has no such puzzles, or a file of it is broken.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for problem in tqdm(load_problems("own", data, LoadConfig(split="train")), unit="puzzle"):
        if isinstance(problem, Refused):
            continue
        chain, images = gold_chain(problem.prompt.puzzle), redrawn(problem, Change(is_blind=True))
        if images is None or _MISSING not in chain:
            continue
        name = f"images/{len(rows):06d}.png"
        (out / name).write_bytes(images[0])
        turns = [
            {"from": "human", "value": f"<image>\n{problem.prompt.text}"},
            {"from": "gpt", "value": chain[chain.index(_MISSING) :]},
        ]
        rows.append({"id": problem.prompt.prompt_id, "image": name, "conversations": turns})
    if not rows:
        raise DataError(
            f"{data}: no puzzle of its split train can be drawn without its context; expected "
            "matrices that `rl-avr data make` has drawn"
        )
    (out / "blind.json").write_text(json.dumps(rows), encoding="utf-8")
    return len(rows)


if __name__ == "__main__":
    raise SystemExit(main())
