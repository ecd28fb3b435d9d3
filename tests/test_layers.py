"""Imports point down the layers, never up; this walks the syntax tree of every module.

The tables below are those of the design. A new folder needs a row in LAYERS; an import
between two rooms of one layer needs a row in SIDEWAYS with its reason.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rl_avr", "rewards", "rollouts", "sft_warmstart")

# room -> layer; the longest matching name decides, a folder stands for all inside it
LAYERS = {
    "rl_avr.closing": 0,
    "rl_avr.contracts": 0,
    "rl_avr.errors": 0,
    "rl_avr.importing": 0,
    "rl_avr.seeding": 0,
    "rl_avr.metric_names": 0,
    "rl_avr.torchvision_compat": 0,
    "rl_avr.parent_process": 0,
    "rl_avr.prompts": 1,
    "rl_avr.chain_lines": 1,
    "rl_avr.parsing": 1,
    "rl_avr.chat": 1,
    "rl_avr.puzzles": 1,
    "rl_avr.relations": 1,
    "rl_avr.elicitation": 2,
    "rl_avr.algo": 2,
    "rl_avr.modeling": 2,
    "rewards": 2,
    "rollouts": 2,
    "rl_avr.difficulty_record": 1,
    "rl_avr.collector": 3,
    "rl_avr.dynamic_sampling": 3,
    "rl_avr.training": 3,
    "rl_avr.inference": 3,
    "rl_avr.reporting": 3,
    "sft_warmstart": 4,
    "rl_avr.preference": 4,
    "rl_avr.evaluation": 4,
    "rl_avr.settings": 5,
    "rl_avr.yaml_types": 5,
    "rl_avr.pipeline": 5,
    "rl_avr.cli": 6,
    "rl_avr.commands": 6,
    "rl_avr.dpo": 6,
    "rl_avr.grpo": 6,
    "rl_avr.sft": 6,
    # the package itself: whoever imports any module imports it first
    "rl_avr": 0,
}
# (importer, imported): allowed although both rooms are in one layer
SIDEWAYS = {
    ("rewards", "rl_avr.elicitation"),  # what a chain can state is what perception is graded by
    ("rl_avr.modeling", "rl_avr.algo"),  # a policy runs the packs that algo lays out
    ("rl_avr.parsing", "rl_avr.prompts"),  # the parser reads the tags that prompts defines
    ("rl_avr.parsing", "rl_avr.chain_lines"),  # a text is read line by line
    ("rl_avr.chain_lines", "rl_avr.prompts"),
    ("rl_avr.training", "rl_avr.collector"),
    ("rl_avr.inference", "rl_avr.training"),  # a claim's tokens are found as training finds them
    ("rl_avr.reporting", "rl_avr.inference"),  # a page shows the credit of a chain
    ("rl_avr.training", "rl_avr.dynamic_sampling"),  # the trainer fills its batches by it
    ("rl_avr.training", "rl_avr.reporting"),  # the metrics callback writes the metrics file
    ("rl_avr.pipeline", "rl_avr.settings"),  # a pipeline runs other settings' steps
    ("rl_avr.pipeline", "rl_avr.yaml_types"),  # the tables of an ablation are read like settings
    ("rl_avr.settings", "rl_avr.yaml_types"),
    ("rl_avr.settings", "rl_avr.pipeline"),  # its config.py; settings composes every folder's
}
ENTRY_LAYER = 6
HEAVY = {"torch", "torchvision", "transformers", "trl", "peft", "accelerate", "vllm", "deepspeed"}
# waits for the first import of torchvision, which has imported torch before; functions only
MAY_NAME_TORCH = {"rl_avr.torchvision_compat"}


def modules(root: Path) -> dict[str, Path]:
    """Returns dotted name -> file for every module of the four packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of every import in a file, inside functions too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, node.module or ""]).strip(".") if node.level else node.module
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in known else str(base)


def room(name: str) -> str | None:
    """Returns the row of LAYERS that a module belongs to.

    A new module directly under rl_avr/ has none until it is written into the table.
    """
    parts = name.split(".")
    rows = [".".join(parts[:depth]) for depth in range(len(parts), 0, -1)]
    found = next((row for row in rows if row in LAYERS), None)
    return None if found == "rl_avr" and name != "rl_avr" else found


def violations(root: Path) -> list[str]:
    """Returns one line for every import that the design forbids."""
    known = modules(root)
    found = [
        f"{name}: no row of LAYERS holds it; give the new room a layer"
        for name in known
        if room(name) is None
    ]
    for name, path in known.items():
        for line, target in imports(name, path, known):
            problem = _problem(name, target)
            if problem:
                found.append(f"{path.relative_to(root)}:{line}: {problem}")
    # one statement with two names is one problem
    return list(dict.fromkeys(found))


def _problem(name: str, target: str) -> str | None:
    top = target.split(".")[0]
    own, other = room(name), room(target)
    if own is None:
        return None
    if name.rpartition(".")[2] == "config" and not (
        top in sys.stdlib_module_names or target == "rl_avr.errors" or target.endswith(".config")
    ):
        return f"a config.py imports {target}; only the stdlib, rl_avr.errors, other config.py may"
    if top in HEAVY and LAYERS[own] < 2 and name not in MAY_NAME_TORCH:
        return f"{name} is in layer {LAYERS[own]}, which imports no {top}"
    if top not in PACKAGES or other is None or other == own:
        return None
    if LAYERS[other] > LAYERS[own]:
        return f"{name} (layer {LAYERS[own]}) imports {target} (layer {LAYERS[other]}): upward"
    is_sideways = LAYERS[other] == LAYERS[own] and LAYERS[own] not in (0, ENTRY_LAYER)
    if is_sideways and (own, other) not in SIDEWAYS:
        return f"{name} imports {target}: both are in layer {LAYERS[own]}; not in SIDEWAYS"
    return None


def test_imports_point_down():
    found = violations(ROOT)
    assert not found, "imports against the layers:\n" + "\n".join(found)


def test_the_walk_sees_the_packages():
    known = modules(ROOT)
    assert {"rl_avr.contracts", "rl_avr.cli", "rollouts.config", "rl_avr"} <= set(known)
    path = known["rl_avr.commands"]
    seen = {target for _, target in imports("rl_avr.commands", path, known)}
    assert {"rl_avr.grpo", "rl_avr.settings", "rl_avr.pipeline.demo"} <= seen


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("rl_avr/contracts.py", "import rl_avr.settings", "upward"),
        ("rl_avr/puzzles/render.py", "def f():\n    from rewards.parts import x", "upward"),
        ("rl_avr/puzzles/render.py", "from .. import cli", "upward"),
        ("rewards/parts.py", "from rl_avr import settings", "upward"),
        ("rewards/parts.py", "from rl_avr.modeling.loading import x", "not in SIDEWAYS"),
        ("rl_avr/collector.py", "from rl_avr.training.trainer import x", "not in SIDEWAYS"),
        ("rl_avr/prompts.py", "def f():\n    import torch.nn", "imports no torch"),
        ("rl_avr/seeding.py", "from transformers import set_seed", "imports no transformers"),
        ("rollouts/config.py", "import numpy", "a config.py imports numpy"),
        ("rollouts/config.py", "from rl_avr.contracts import x", "a config.py imports"),
        ("rl_avr/newcomer.py", "import os", "no row of LAYERS"),
    ],
)
def test_forbidden_imports_are_caught(tmp_path, file, source, expected):
    for name in ("rl_avr/cli.py", "rl_avr/settings.py", "rl_avr/contracts.py", file):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / file).write_text(source)
    (problem,) = violations(tmp_path)
    assert expected in problem
    assert file.removesuffix(".py").replace("/", ".") in problem.replace("/", ".")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("rl_avr/training/trainer.py", "from rl_avr.collector import x\nimport torch"),
        ("rl_avr/training/config.py", "import enum\nfrom rollouts.config import x"),
        ("rl_avr/puzzles/render.py", "from .config import x\nfrom rl_avr.errors import y"),
        ("rl_avr/cli.py", "from rl_avr import grpo"),
    ],
)
def test_allowed_imports_pass(tmp_path, file, source):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    assert violations(tmp_path) == []
