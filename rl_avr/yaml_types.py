"""YAML as version 1.2 has it, and whether a value from it has the type that a field declares.

bool, int, float, str, Literal, X | Y      as they are; a whole number may stand for a float
tuple[X, ...]                              a list of any length
dict[str, X]                               a mapping with free names
"""

import re
import types
from typing import Any, Literal, Union, get_args, get_origin

import yaml


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: `1e-5` is a float, `no` a string; no key twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; raises where a key stands twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} stands here twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Quotes every string that a reader of YAML 1.1 or 1.2 would take for something else."""


_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan)$"
)
# tag, pattern, and the first characters under which PyYAML files it ("" is an empty value)
_SCALARS: tuple[tuple[str, re.Pattern[str], list[str]], ...] = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)
for _tag, _pattern, _starts in _SCALARS:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _starts)
Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def converted(value: Any, hint: Any) -> Any:
    """Returns a value that fits as the type declared: floats from whole numbers, tuples."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return converted(value, next(part for part in parts if fits(value, part)))
    if kind is tuple:
        return tuple(converted(item, parts[0]) for item in value)
    if kind is dict and parts:
        return {name: converted(item, parts[1]) for name, item in value.items()}
    return float(value) if kind is float else value


def fits(value: Any, hint: Any) -> bool:
    """Returns whether a value from YAML has the type that a field declares."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if kind is Literal:
        return any(value == choice and type(value) is type(choice) for choice in parts)
    if isinstance(value, bool):
        return kind is bool
    if kind is tuple:
        # only tuple[X, ...] is declared: a YAML list of any length
        return isinstance(value, list) and all(fits(item, parts[0]) for item in value)
    if kind is dict:
        return isinstance(value, dict) and all(
            isinstance(name, str) and (not parts or fits(item, parts[1]))
            for name, item in value.items()
        )
    return isinstance(value, (int, float) if kind is float else kind)


def words(hint: Any) -> str:
    """Returns what a type allows, in words.

    >>> words(float), words(Literal["vllm", "scripted"])
    ('a number', "one of 'vllm', 'scripted'")
    >>> words(tuple[int, ...]), words(dict[str, float])
    ('a list, each item a whole number', 'a mapping with names as keys, each value a number')
    """
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    names |= {dict: "a mapping with names as keys", list: "a list", types.NoneType: "null"}
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if kind in (Union, types.UnionType):
        return " or ".join(map(words, parts))
    if kind is tuple:
        return f"a list, each item {words(parts[0])}"
    if kind is dict and parts and parts[1] is not Any:
        return f"{names[dict]}, each value {words(parts[1])}"
    return names.get(kind, str(hint))
