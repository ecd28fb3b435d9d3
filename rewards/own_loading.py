"""A path in the config -> the user's function and how it is called.

    package.module:name     as an import statement finds it, the current folder included
    path/to/file.py:name    a file; what lies beside it can be imported too

A parameter `completions` makes a function batched: it gets lists and returns a list. A
parameter `completion` makes it per sample. Its other parameters are `prompts` or `prompt`
and columns; only what the signature names is passed, or everything with `**kwargs`.

    prompt_id        names the prompt; the completions of one group share it
    puzzle           `rl_avr.contracts.Puzzle`
    answer           the right letter, or the right words of an open question
    kind             `cot`, `perception` or `direct`
    finish_reason    `stop`, `length` or `abort`
    num_tokens       the end token included; None where it is not known
"""

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rl_avr.errors import ConfigError, nearest

COLUMNS = ("prompt_id", "puzzle", "answer", "kind", "finish_reason", "num_tokens")
"""What a function may ask for besides prompt and completion."""


@dataclass(frozen=True)
class Form:
    """How a function is called.

    Args:
        is_batched: it gets lists and returns a list.
        is_async: it is an `async def`.
        named: its parameters, in the words of one sample: `prompt`, `completion`, columns.
        required: those of them that have no default.
        takes_all: it has `**kwargs`.
    """

    is_batched: bool
    is_async: bool
    named: tuple[str, ...]
    required: tuple[str, ...]
    takes_all: bool


@dataclass(frozen=True)
class OwnFunction:
    """A user's function, how it is called, and the file it is written in."""

    function: Callable[..., Any]
    form: Form
    file: str


def load(path: str) -> OwnFunction:
    """Imports the user's function.

    Args:
        path: `package.module:name` or `file.py:name`.

    Raises:
        ConfigError: there is no such module, file or function, importing it failed, or its
            signature is neither batched nor per sample.
    """
    source, _, name = path.rpartition(":")
    module = _imported(path, source)
    if not hasattr(module, name):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        near = f"; the nearest are {nearest(name, public)}" if public else "; it has no function"
        raise ConfigError(f"own.{path}: expected a function {name!r} in {source}{near}")
    function = getattr(module, name)
    if not callable(function) or inspect.isclass(function):
        what = (
            "a class" if inspect.isclass(function) else f"a value of type {type(function).__name__}"
        )
        raise ConfigError(f"own.{path}: expected a function, got {what}")
    file = getattr(inspect.unwrap(function), "__code__", None)
    return OwnFunction(
        function,
        form_of(path, function),
        file.co_filename if file else str(getattr(module, "__file__", "")),
    )


def form_of(path: str, function: Callable[..., Any]) -> Form:
    """Returns how the function is called, as its signature says.

    Raises:
        ConfigError: the signature is neither batched nor per sample, or asks for a column
            that there is not.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(f"own.{path}: it has no signature that can be read: {error}") from error
    by_name = {
        name: p
        for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    if ("completions" in by_name) == ("completion" in by_name):
        got = f"({', '.join(map(str, parameters.values()))})"
        raise ConfigError(
            f"own.{path}: expected a parameter `completions` (batched: lists come, a list goes) "
            f"or `completion` (per sample), not both, each passed by its name; got {got}"
        )
    is_batched = "completions" in by_name
    words = ("prompts", "completions") if is_batched else ("prompt", "completion")
    needed = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    for name in needed:
        if name not in by_name or name not in {*words, *COLUMNS}:
            raise ConfigError(
                f"own.{path}: parameter {name!r} of {function!s:.60} cannot be filled; by name "
                f"there are {', '.join((*words, *COLUMNS))}; "
                f"the nearest is {nearest(name, (*words, *COLUMNS), count=1)}"
            )
    singular = {"prompts": "prompt", "completions": "completion"} if is_batched else {}
    return Form(
        is_batched,
        inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None)),  # noqa: B004
        tuple(singular.get(name, name) for name in by_name),
        tuple(singular.get(name, name) for name in needed),
        any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
    )


def failure_text(error: BaseException, file: str) -> str:
    """Returns the last line of the traceback and the line of the user's file it came from."""
    last = traceback.format_exception_only(error)[-1]
    text = " ".join(last.split())[:200]
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename == file), None)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}:{error.lineno}: {(error.text or '').strip()[:100]})"
    if frame is None:
        frame = frames[-1] if frames else None
    return f"{text} ({frame.filename}:{frame.lineno}: {frame.line})" if frame else text


def _imported(path: str, source: str) -> ModuleType:
    try:
        if source.endswith(".py"):
            return _from_file(Path(source))
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if source.endswith(".py") or f"{source}.".find(f"{error.name}.") != 0:
            raise ConfigError(_import_failed(path, error, source)) from error
        raise ConfigError(
            f"own.{path}: there is no module {error.name!r}; the nearest are "
            f"{nearest(str(error.name), _modules_beside(str(error.name)))}; a file is named "
            "with its .py"
        ) from error
    # a script without a guard may end itself; whatever it raises is the user's to know
    except (Exception, SystemExit) as error:
        raise ConfigError(_import_failed(path, error, source)) from error


def _import_failed(path: str, error: BaseException, source: str) -> str:
    file = source
    if not source.endswith(".py"):
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [f.filename for f in frames if not f.filename.startswith("<frozen")]
        file = theirs[-1] if len(theirs) > 1 else source
    return f"own.{path}: importing it failed: {failure_text(error, file)}"


def _modules_beside(name: str) -> list[str]:
    parent, _, _ = name.rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    prefix = f"{parent}." if parent else ""
    return [f"{prefix}{found.name}" for found in pkgutil.iter_modules(folders)]


_files: dict[Path, ModuleType] = {}


def _from_file(path: Path) -> ModuleType:
    """Imports a file once, under a name that no other module has."""
    if path not in _files:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        name = f"own_reward_{len(_files)}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None, path
        module = importlib.util.module_from_spec(spec)
        # dataclasses and pickle look a class's module up by its name
        sys.modules[name] = module
        spec.loader.exec_module(module)
        _files[path] = module
    return _files[path]
