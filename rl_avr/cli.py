"""The command `rl-avr`: parse, load the settings, then import what the work needs.

Nothing heavy is imported before the command line is understood, so that `--help` and
every mistake in a setting answer at once.
"""

import argparse
import ast
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rl_avr import grpo, sft
from rl_avr.errors import ConfigError, RlAvrError
from rl_avr.settings import (
    DataSettings,
    DemoSettings,
    EvalSettings,
    GrpoSettings,
    SftSettings,
    load_settings,
    save_resolved,
    settings_keys,
    words,
)


def run_demo(settings: DemoSettings) -> None:
    """Runs the whole demo."""
    from rl_avr.pipeline.demo import run_demo as run

    run(settings)


def run_data(settings: DataSettings) -> None:
    """Writes both splits of the puzzles."""
    from rl_avr.pipeline.data import make_data

    make_data(settings.data, settings.puzzles)


def run_eval(settings: EvalSettings) -> None:
    """Measures a policy."""
    from rl_avr.evaluation.runner import evaluate

    evaluate(
        run=settings.run,
        policy=settings.policy,
        data=settings.data,
        rollouts=settings.rollouts,
        rewards=settings.rewards,
        config=settings.eval,
    )


def run_report(folder: Path) -> None:
    """Writes the report of a run's folder."""
    from rl_avr.pipeline.report import write_report

    write_report(folder)


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    help: str
    settings: type | None
    """Class of its settings; None for a command that takes a run's folder instead."""
    run: Callable[[Any], object]
    """Takes the settings, or the folder, and does the work."""
    configs: tuple[str, ...] = ()
    """Config files where none is named."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Short forms of dotted keys."""


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "Run everything small: data, warm start, GRPO, evaluation, report.",
        DemoSettings,
        run_demo,
        configs=("configs/demo/demo.yaml",),
    ),
    "data": Command("Make the puzzles of both splits.", DataSettings, run_data),
    "sft": Command(
        "Train one stage of the warm start.", SftSettings, sft.run, short={"stage": "sft.stage"}
    ),
    "grpo": Command("Train a policy with GRPO.", GrpoSettings, grpo.run),
    "eval": Command("Measure a policy on held-out puzzles.", EvalSettings, run_eval),
    "report": Command("Write the report of a run.", None, run_report),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code.

    Args:
        argv: The command line without the program's name; None takes the process's own.

    Returns:
        0 on success, 2 on bad input, 130 after an interrupt.
    """
    arguments, rest = _parser().parse_known_args(argv)
    command = COMMANDS[arguments.command]
    try:
        _execute(command, arguments, rest)
    except RlAvrError as error:
        print(f"rl-avr {arguments.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"rl-avr {arguments.command}: interrupted; run the same command again to continue",
            file=sys.stderr,
        )
        return 130
    return 0


def _execute(command: Command, arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    if command.settings is None:
        if rest:
            raise ConfigError(f"command line: expected a folder alone, got {' '.join(rest)!r} too")
        command.run(arguments.folder)
        return
    overrides = list(parse_overrides(rest, command.short))
    settings: Any = load_settings(command.settings, arguments.config or command.configs, overrides)
    # every process of a distributed run comes here; one of them writes
    if hasattr(settings, "run") and os.environ.get("RANK", "0") == "0":
        save_resolved(settings, settings.run.dir)
    command.run(settings)


def parse_overrides(
    tokens: Sequence[str], short: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yields dotted key and text of `--key value` and `--key=value`.

    Args:
        tokens: What argparse left over.
        short: Short forms of dotted keys.

    Raises:
        ConfigError: A word that is no override, or a key without a value.

    >>> list(parse_overrides(["--run.seed", "3", "--trainer.beta=0.1"]))
    [('run.seed', '3'), ('trainer.beta', '0.1')]
    """
    left = list(tokens)
    while left:
        token = left.pop(0)
        key, equals, value = token.removeprefix("--").partition("=")
        if not token.startswith("--") or not key:
            raise ConfigError(f"command line: expected --key value, got {token!r}")
        if not equals:
            if not left or left[0].startswith("--"):
                raise ConfigError(f"command line: --{key}: expected a value after it")
            value = left.pop(0)
        yield (short or {}).get(key, key), value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rl-avr", description="Post-training of vision-language policies on visual puzzles."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command.settings is None:
            sub.add_argument("folder", type=Path, help="folder of the run")
            continue
        sub.usage = f"rl-avr {name} [-h] [--config FILE [FILE ...]] [--KEY VALUE ...]"
        default = f"; default: {' '.join(command.configs)}" if command.configs else ""
        sub.add_argument(
            "--config",
            nargs="+",
            action="extend",
            metavar="FILE",
            help=f"YAML files; a later one is laid over an earlier one{default}",
        )
        sub.epilog = settings_help(command)
    return parser


def settings_help(command: Command) -> str:
    """Returns one paragraph for every key: its type, its default, its docstring."""
    assert command.settings is not None
    lines = ["settings, as --KEY VALUE or --KEY=VALUE, and nested in YAML files:"]
    lines += [f"  --{short} is short for --{key}" for short, key in command.short.items()]
    for dotted, key in settings_keys(command.settings()).items():
        name, default = (f"{dotted}.*", "") if key.is_block else (dotted, f" ({key.default!r})")
        allowed = "fields of trl" if key.is_block else words(key.hint)
        lines.append(f"  --{name}  {allowed}{default}")
        doc = attribute_docs(key.owner).get(key.field_name, "")
        lines += textwrap.wrap(doc, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


@cache
def attribute_docs(cls: type) -> dict[str, str]:
    """Returns the string below each attribute of a class, which Python itself forgets."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docs[statement.target.id] = " ".join(below.value.value.split())
    return docs


if __name__ == "__main__":
    sys.exit(main())
