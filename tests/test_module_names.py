"""A script run by path puts rl_avr/ first on the import path: its names must be free."""

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "rl_avr"


def taken(folder: Path, names: Iterable[str]) -> list[str]:
    """Returns the modules and packages directly under `folder` that carry one of `names`."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    packages = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    return sorted((modules | packages) & set(names))


def test_no_name_of_the_standard_library():
    clashes = taken(PACKAGE, sys.stdlib_module_names)
    assert not clashes, f"rename rl_avr/{clashes}: the standard library has these names"


def test_no_name_of_an_installed_module():
    installed = importlib.metadata.packages_distributions()
    clashes = {name: installed[name] for name in taken(PACKAGE, installed)}
    assert not clashes, f"rename in rl_avr/: installed distributions have these names: {clashes}"


def test_the_check_sees_modules_and_packages(tmp_path):
    (tmp_path / "types.py").touch()
    (tmp_path / "free.py").touch()
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "__init__.py").touch()
    assert taken(tmp_path, ["types", "yaml", "json"]) == ["types", "yaml"]
