"""The command `rl-avr`: parse, load the settings, and hand over to one of `commands`."""

import argparse
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rl_avr.commands import COMMANDS, GROUPS, Command
from rl_avr.errors import ConfigError, RlAvrError
from rl_avr.parent_process import end_with_parent_if_asked
from rl_avr.settings import attribute_docs, load_settings, save_resolved, settings_keys
from rl_avr.yaml_types import words


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code.

    Args:
        argv: The command line without the program's name; None takes the process's own.

    Returns:
        0 on success, 2 on bad input, 130 after an interrupt.
    """
    words_given = _joined(list(sys.argv[1:] if argv is None else argv))
    name = words_given[0] if words_given else ""
    end_with_parent_if_asked()
    try:
        _check_group(words_given)
        arguments, rest = _parser().parse_known_args(words_given)
        name = arguments.command
        _execute(COMMANDS[name], arguments, rest)
    except RlAvrError as error:
        print(f"rl-avr {name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"rl-avr {name}: interrupted; run the same command again to continue",
            file=sys.stderr,
        )
        return 130
    return 0


def _joined(words_given: list[str]) -> list[str]:
    """Returns the words with the two of a command that extends another, `eval show`, as one."""
    name = " ".join(words_given[:2])
    is_longer = name in COMMANDS and words_given[0] in COMMANDS
    return [name, *words_given[2:]] if is_longer else words_given


def _check_group(words_given: Sequence[str]) -> None:
    """Refuses a group without one of its commands, and says what to type."""
    group, second = (*words_given[:2], "", "")[:2]
    if group not in GROUPS or second in ("-h", "--help"):
        return
    names = [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{group} ")]
    if second in names:
        return
    found = repr(second) if second else "nothing"
    given = "" if not second else " ".join(words_given[1:])
    is_meant = group == "data" and second.startswith("-")
    hint = f"; to make puzzles: rl-avr {group} make {given}" if is_meant else ""
    raise ConfigError(f"expected one of {', '.join(names)} after {group!r}, got {found}{hint}")


def _execute(command: Command, arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    if command.settings is None:
        if rest:
            known = ", ".join(command.arguments)
            raise ConfigError(f"command line: expected {known} alone, got {' '.join(rest)!r} too")
        names = [name.removeprefix("--").replace("-", "_") for name in command.arguments]
        command.run(**{name: getattr(arguments, name) for name in names})
        return
    overrides = list(parse_overrides(rest, command.short, command.flags))
    configs = arguments.config or command.configs
    settings: Any = load_settings(command.settings, configs, overrides, command.ignored)
    # every process of a distributed run comes here; one of them writes
    if command.saves_config and hasattr(settings, "run") and os.environ.get("RANK", "0") == "0":
        save_resolved(settings, settings.run.dir)
    command.run(settings)


def parse_overrides(
    tokens: Sequence[str],
    short: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, str]] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yields dotted key and text of `--key value` and `--key=value`.

    Args:
        tokens: What argparse left over.
        short: Short forms of dotted keys.
        flags: Words without a value, and the key and value that each stands for.

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
        if not equals and key in (flags or {}):
            yield (flags or {})[key]
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise ConfigError(f"command line: --{key}: expected a value after it")
            value = left.pop(0)
        yield (short or {}).get(key, key), value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rl-avr", description="Post-training of vision-language policies on visual puzzles."
    )
    commands = parser.add_subparsers(dest="word", required=True, metavar="COMMAND")
    groups = {}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group in COMMANDS:
            group, last = "", name
        if group and group not in groups:
            sub = commands.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = sub.add_subparsers(required=True, metavar="COMMAND")
        _add_command(groups.get(group, commands), name, last, command)
    return parser


def _add_command(commands: Any, name: str, last: str, command: Command) -> None:
    sub = commands.add_parser(
        last,
        help=command.help,
        description=command.help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.set_defaults(command=name)
    for argument, options in command.arguments.items():
        sub.add_argument(argument, **options)
    if command.settings is None:
        return
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


def settings_help(command: Command) -> str:
    """Returns one paragraph for every key: its type, its default, its docstring."""
    assert command.settings is not None
    lines = ["settings, as --KEY VALUE or --KEY=VALUE, and nested in YAML files:"]
    lines += [f"  --{short} is short for --{key}" for short, key in command.short.items()]
    lines += [
        f"  --{flag} is short for --{key} {value}" for flag, (key, value) in command.flags.items()
    ]
    for dotted, key in settings_keys(command.settings()).items():
        name = f"{dotted}.*" if key.is_block else dotted
        default = "" if key.is_passed_through else f" ({key.default!r})"
        allowed = "fields of trl" if key.is_passed_through else words(key.hint)
        lines.append(f"  --{name}  {allowed}{default}")
        doc = attribute_docs(key.owner).get(key.field_name, "")
        lines += textwrap.wrap(doc, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
