"""Starts the chat endpoint over a reranker, and ends it with SIGINT or SIGTERM."""

import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from rl_avr.errors import ConfigError
from rl_avr.inference.config import ServeConfig
from rl_avr.inference.reranker import Reranker
from rl_avr.inference.server import ChatServer, make_app
from rl_avr.settings import ChatSettings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def load_reranker(settings: ChatSettings) -> Reranker:
    """Returns the reranker that the settings name.

    Raises:
        ConfigError: policies that cannot be loaded or do not belong together.
        RolloutError: the engine cannot be loaded.
    """
    return Reranker.load(
        settings.policy.path,
        config=settings.rerank,
        rollouts=settings.rollouts,
        dtype=settings.policy.dtype,
        seed=settings.serve.seed,
    )


def serve_chat(
    settings: ChatSettings, make: Callable[[ChatSettings], Reranker] = load_reranker
) -> None:
    """Answers requests until the process is told to stop.

    Raises:
        ConfigError: an address that cannot be listened on; as `load_reranker`.
        RolloutError: the engine cannot be loaded.
    """
    config = settings.serve
    name = config.model_name or Path(settings.policy.path).name
    given = os.environ.get(config.api_key_env, "")
    key = given or secrets.token_urlsafe(24)
    # before the policy is loaded: a port that is taken is known at once
    with _listening(config) as listener, make(settings) as reranker:
        server = ChatServer(reranker, config, name, key, config.seed)
        port = listener.getsockname()[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        # from here on a client that comes before the server accepts it waits, and is not refused
        listener.listen()
        print(f"ready: http://{host}:{port}/v1, model {name}", flush=True)
        if not given:
            print(f"API key, for this run alone: {key}", flush=True)
        if config.host not in _LOOPBACK:
            print(
                f"warning: {config.host} is open to other machines: who reaches it needs only the "
                "key, and nothing is encrypted",
                flush=True,
            )
        runner = uvicorn.Server(
            uvicorn.Config(make_app(server), log_level="warning", access_log=False)
        )
        # once it has answered what is at work it raises the signal that stopped it again
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            runner.run(sockets=[listener])
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _listening(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"serve.host {config.host}, serve.port {config.port}: cannot be listened on: "
            f"{error.strerror}; name another port, or 0 for a free one"
        ) from error
    return listener
