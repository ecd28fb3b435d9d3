"""Where the replicas are and which key they take: what the command leaves for the engine."""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl_avr.errors import ConfigError
from rollouts.config import ServerConfig

_ADDRESSES = "servers.json"
_KEY = "api_key"


@dataclass(frozen=True)
class Servers:
    """Addresses of replicas and the key that they all take."""

    urls: tuple[str, ...]
    api_key: str = field(repr=False)


def find_servers(config: ServerConfig) -> Servers:
    """Returns the replicas of the config, or those that the command wrote into its folder.

    Raises:
        ConfigError: no address or no key is there.
    """
    return Servers(config.urls or _read_urls(config), read_key(config))


def key_file(config: ServerConfig) -> Path:
    """Returns the file that holds the key."""
    return Path(config.api_key_file or Path(config.dir) / _KEY)


def read_key(config: ServerConfig) -> str:
    """Returns the key.

    Raises:
        ConfigError: its file is missing or empty.
    """
    path = key_file(config)
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"rollouts.server: no API key in {path}: {error.strerror}. `rl-avr serve-rollouts` "
            "with the same rollouts.server block writes it; from another machine, copy it and "
            "name it in rollouts.server.api_key_file"
        ) from error
    if not key:
        raise ConfigError(f"rollouts.server: {path} is empty; expected an API key")
    return key


def make_key(config: ServerConfig) -> str:
    """Returns the key; where its file is missing, makes one that only its owner can read.

    Raises:
        ConfigError: the file cannot be written or read.
    """
    path = key_file(config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"rollouts.server: {path}: cannot be written: {error}") from error
    return read_key(config)


def write_urls(config: ServerConfig, urls: Sequence[str]) -> None:
    """Leaves the addresses for engines."""
    path = Path(config.dir) / _ADDRESSES
    aside = path.with_name(f".{_ADDRESSES}")
    aside.write_text(json.dumps({"urls": list(urls)}, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def forget_urls(config: ServerConfig) -> None:
    """Takes the addresses away."""
    (Path(config.dir) / _ADDRESSES).unlink(missing_ok=True)


def _read_urls(config: ServerConfig) -> tuple[str, ...]:
    path = Path(config.dir) / _ADDRESSES
    try:
        urls = tuple(str(url) for url in json.loads(path.read_text(encoding="utf-8"))["urls"])
    except FileNotFoundError as error:
        raise ConfigError(
            f"rollouts.engine vllm_server: no addresses in {path}; start the replicas with "
            "`rl-avr serve-rollouts` and the same rollouts.server block, or name those of "
            "another machine in rollouts.server.urls"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: expected addresses of replicas; got: {error!r}") from error
    return urls
