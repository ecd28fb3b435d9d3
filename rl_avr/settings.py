"""Composes the components' configs into the settings of each subcommand, and loads them.

YAML files merge deeply from left to right, then come dotted overrides. Every value is
checked where it is read, so that a message can name the file it came from. A `trainer`
block is free here: trl's own fields are checked once trl is imported.
"""

import ast
import inspect
import os
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from rewards.config import RewardConfig
from rl_avr.errors import ConfigError, nearest
from rl_avr.evaluation.config import EvalConfig
from rl_avr.inference.config import RerankConfig, ServeConfig
from rl_avr.inference.credit_config import CreditStudyConfig
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.config import AblateConfig, MakeConfig, OfflineConfig, SampleConfig
from rl_avr.preference.config import PairsConfig
from rl_avr.preference.train_config import PairDryRunConfig, PreferenceConfig, RoundsConfig
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.training.config import (
    CreditConfig,
    DataConfig,
    DryRunConfig,
    MethodsConfig,
    RunConfig,
    UpdateConfig,
)
from rl_avr.yaml_types import Dumper, Loader, converted, fits, words
from rollouts.config import RolloutConfig
from sft_warmstart.config import SftConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsT = TypeVar("SettingsT", bound="DataclassInstance")
_COMMAND_LINE = "command line"


@dataclass(frozen=True)
class DataSettings:
    """Settings of `rl-avr data make`."""

    data: MakeConfig = field(default_factory=MakeConfig)
    puzzles: PuzzleConfig = field(default_factory=PuzzleConfig)


@dataclass(frozen=True)
class SftSettings:
    """Settings of `rl-avr sft`."""

    run: RunConfig = field(default_factory=RunConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    dry_run: SampleConfig = field(default_factory=SampleConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any field of trl's SFTConfig."""


@dataclass(frozen=True)
class GrpoSettings:
    """Settings of `rl-avr grpo`."""

    run: RunConfig = field(default_factory=RunConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    credit: CreditConfig = field(default_factory=CreditConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    dry_run: DryRunConfig = field(default_factory=DryRunConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any field of trl's GRPOConfig."""


@dataclass(frozen=True)
class DpoSettings:
    """Settings of `rl-avr dpo`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/dpo"))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    dry_run: PairDryRunConfig = field(default_factory=PairDryRunConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any field of trl's DPOConfig."""


@dataclass(frozen=True)
class RoundsSettings:
    """Settings of `rl-avr rounds`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/rounds"))
    rounds: RoundsConfig = field(default_factory=RoundsConfig)


@dataclass(frozen=True)
class EvalSettings:
    """Settings of `rl-avr eval`."""

    run: RunConfig = field(default_factory=RunConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(split="held_out"))
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of `rl-avr rollout`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/rollout"))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    rollout: OfflineConfig = field(default_factory=OfflineConfig)


@dataclass(frozen=True)
class RecordedSettings:
    """What the config of finished rollouts says about their prompts and their grades."""

    data: DataConfig = field(default_factory=DataConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)


@dataclass(frozen=True)
class PairsSettings:
    """Settings of `rl-avr pairs`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/demo/pairs"))
    pairs: PairsConfig = field(default_factory=PairsConfig)


@dataclass(frozen=True)
class CreditStudySettings:
    """Settings of `rl-avr credit auroc`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/credit_auroc"))
    study: CreditStudyConfig = field(default_factory=CreditStudyConfig)


@dataclass(frozen=True)
class RerankSettings:
    """Settings of `rl-avr rerank`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/rerank"))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(split="held_out"))
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)


@dataclass(frozen=True)
class ChatSettings:
    """Settings of `rl-avr serve`."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)


@dataclass(frozen=True)
class ServeSettings:
    """Settings of `rl-avr serve-rollouts`; its files may hold blocks of other commands too."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)


@dataclass(frozen=True)
class DemoSettings:
    """Settings of `rl-avr demo`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/demo"))
    configs: str = "configs/demo"
    """Folder with the YAML files of the demo's steps."""


@dataclass(frozen=True)
class AblateSettings:
    """Settings of `rl-avr ablate warm-start`; in texts of its jobs `{run}` is `run.dir`."""

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/ablate/warm_start"))
    ablate: AblateConfig = field(default_factory=AblateConfig)
    pictures: dict[str, int] = field(default_factory=dict)
    """Simple pictures with questions, a general task: how many to train on and to measure on."""
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> settings of puzzles, as in the block `puzzles` of `rl-avr data make`."""
    common: dict[str, Any] = field(default_factory=dict)
    """Settings of `rl-avr sft` that those of every start and table are laid over."""
    starts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> policy that arms start from, one for each seed: `minutes`, and `settings` of
    `rl-avr sft`."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> arms that are compared, and what they share."""


@dataclass(frozen=True)
class RewardSettings:
    """The one block of a config that `rl-avr rewards` reads."""

    rewards: RewardConfig = field(default_factory=RewardConfig)


@dataclass(frozen=True)
class SettingsKey:
    """One dotted key of some settings: the class that declares it, its type, its default."""

    owner: type
    field_name: str
    hint: Any
    default: Any

    @property
    def is_block(self) -> bool:
        """Whether any name may stand below this one, as below `trainer`."""
        return get_origin(self.hint) is dict

    @property
    def is_passed_through(self) -> bool:
        """Whether the names below are another library's, with values of any type."""
        return self.is_block and get_args(self.hint)[1] is Any


def settings_keys(settings: "DataclassInstance", prefix: str = "") -> dict[str, SettingsKey]:
    """Returns every dotted key of `settings`, in the order of declaration.

    >>> list(settings_keys(DataSettings()))[0]
    'data.path'
    """
    keys: dict[str, SettingsKey] = {}
    hints = get_type_hints(type(settings))
    for item in fields(settings):
        value, dotted = getattr(settings, item.name), f"{prefix}{item.name}"
        if is_dataclass(value) and not isinstance(value, type):
            keys |= settings_keys(value, f"{dotted}.")
        else:
            keys[dotted] = SettingsKey(type(settings), item.name, hints[item.name], value)
    return keys


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


def load_settings(
    cls: type[SettingsT],
    configs: Sequence[str | Path] = (),
    overrides: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ignored: Collection[str] = (),
) -> SettingsT:
    """Returns settings read from YAML files and dotted overrides; a later one wins.

    Args:
        cls: One of the settings classes of this module.
        configs: YAML files, merged deeply from left to right.
        overrides: Dotted keys with values in YAML, such as `("run.seed", "3")`.
        ignored: Blocks of the files that are other commands'.

    Raises:
        ConfigError: A file that cannot be read; an unknown key; a wrong type; a value
            outside its range. The message names the file or the command line.
    """
    defaults = cls()
    keys = settings_keys(defaults)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, dotted, value in _assignments(keys, configs, overrides, ignored):
        values[dotted] = _merged(values.get(dotted), value)
        origins[dotted] = origin
    return _built(defaults, "", values, origins)


def load_rewards(path: str | Path) -> RewardConfig:
    """Returns the block `rewards` of a YAML file, whichever command the file is for.

    Raises:
        ConfigError: The file has no such block; as `load_settings`.
    """
    tree = _read_yaml(Path(path))
    if "rewards" not in tree:
        found = ", ".join(map(str, tree)) or "nothing"
        raise ConfigError(f"{path}: expected a block 'rewards', got {found}")
    defaults = RewardSettings()
    keys = settings_keys(defaults)
    values = dict(_leaves(keys, {"rewards": tree["rewards"]}, str(path)))
    return _built(defaults, "", values, dict.fromkeys(values, str(path))).rewards


def to_dict(settings: "DataclassInstance") -> dict[str, Any]:
    """Returns the settings as nested dictionaries of plain values."""
    return asdict(settings)


def to_yaml(settings: "DataclassInstance") -> str:
    """Returns YAML from which `load_settings` makes equal settings."""
    return yaml.dump(to_dict(settings), Dumper=Dumper, sort_keys=False, allow_unicode=True)


def save_resolved(settings: "DataclassInstance", folder: str | Path) -> Path:
    """Writes `config.yaml` into `folder`, which is made if need be; returns its path.

    Raises:
        ConfigError: The folder cannot be written.
    """
    path = Path(folder) / "config.yaml"
    # a reader, or a run stopped here, never sees half a file
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(to_yaml(settings), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"run.dir: cannot write {path}: {error.strerror}") from error
    return path


def _assignments(
    keys: Mapping[str, SettingsKey],
    configs: Sequence[str | Path],
    overrides: Mapping[str, str] | Sequence[tuple[str, str]],
    ignored: Collection[str],
) -> Iterator[tuple[str, str, Any]]:
    """Yields origin, dotted key and checked value; the order is that of precedence."""
    for path in configs:
        tree = _read_yaml(Path(path))
        ours = {name: value for name, value in tree.items() if name not in ignored}
        for dotted, value in _leaves(keys, ours, str(path)):
            yield str(path), dotted, value
    pairs = overrides.items() if isinstance(overrides, Mapping) else overrides
    for dotted, text in pairs:
        for leaf, value in _leaves(keys, _override_tree(keys, dotted, text), _COMMAND_LINE):
            yield _COMMAND_LINE, leaf, value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file, from {Path.cwd()}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_problem(str(path), error)) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, got {_shown(tree)}")
    return tree


def _yaml_problem(origin: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    return f"{origin}{line}: not valid YAML: {getattr(error, 'problem', None) or error}"


def _override_tree(keys: Mapping[str, SettingsKey], dotted: str, text: str) -> dict[str, Any]:
    """Returns the nested mapping that one override stands for."""
    block = any(key.is_block and dotted.startswith(f"{name}.") for name, key in keys.items())
    if dotted not in keys and dotted not in _sections(keys) and not block:
        raise _unknown(keys, dotted, _COMMAND_LINE)
    is_text = dotted in keys and keys[dotted].hint is str
    try:
        value = yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        if not is_text:
            raise ConfigError(_yaml_problem(f"{_COMMAND_LINE}: {dotted}", error)) from error
        value = None
    # the shell has no quotes left: `--policy.path 123` is a folder's name
    tree: Any = text if is_text and not isinstance(value, str) else value
    first, *rest = dotted.split(".")
    for part in reversed(rest):
        tree = {part: tree}
    return {first: tree}


def _sections(keys: Mapping[str, SettingsKey]) -> set[str]:
    parts = [dotted.split(".") for dotted in keys]
    return {".".join(path[:depth]) for path in parts for depth in range(1, len(path))}


def _unknown(keys: Mapping[str, SettingsKey], dotted: str, origin: str) -> ConfigError:
    near = nearest(dotted, [*keys, *_sections(keys)])
    return ConfigError(f"{origin}: unknown key {dotted}; nearest: {near}")


def _leaves(
    keys: Mapping[str, SettingsKey], tree: Mapping[Any, Any], origin: str, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yields each dotted key in `tree` with its checked value."""
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        is_section = dotted in _sections(keys)
        if "." in str(name) or not (is_section or dotted in keys):
            raise _unknown(keys, dotted, origin)
        hint: Any = dict if is_section else keys[dotted].hint
        # a block whose lines are all comments is empty
        if value is None and (is_section or keys[dotted].is_block):
            value = {}
        if not fits(value, hint):
            raise ConfigError(f"{origin}: {dotted}: expected {words(hint)}, got {_shown(value)}")
        if is_section:
            yield from _leaves(keys, value, origin, f"{dotted}.")
        else:
            yield dotted, converted(value, hint)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _merged(old: Any, new: Any) -> Any:
    """Returns `new` laid over `old`: mappings merge, anything else replaces."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _built(
    defaults: SettingsT, prefix: str, values: Mapping[str, Any], origins: Mapping[str, str]
) -> SettingsT:
    """Returns `defaults` with the values put in; the configs check their ranges here."""
    changes: dict[str, Any] = {}
    for item in fields(defaults):
        value, dotted = getattr(defaults, item.name), f"{prefix}{item.name}"
        if is_dataclass(value) and not isinstance(value, type):
            changes[item.name] = _built(value, f"{dotted}.", values, origins)
        elif dotted in values:
            changes[item.name] = values[dotted]
    try:
        return replace(defaults, **changes)
    except ConfigError as error:
        origin = origins.get(prefix + str(error).split(":")[0])
        raise ConfigError(f"{origin + ': ' if origin else ''}{prefix}{error}") from error
