"""What runs inside one replica: vLLM's own server, with what it lacks.

    torchvision's hook      this module imports `rl_avr` first, in the server and, because it is
                            the main module, in every process that vLLM spawns
    `KeepOut`               vLLM asks for the API key on /v1 and /inference alone; the paths that
                            replace weights stand open. Here every path but /health asks for it,
                            and an answer says by which weights it was sampled
    `TakesWeights`          reloads weights from folders and packs a tied output head again, which
                            vLLM's reload does not visit, in one call

`python -m rollouts.server_replica ARGUMENTS` takes the arguments of `vllm serve`, and the
key from the environment, where no other user reads it.
"""

import os
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rl_avr.parent_process import end_with_parent_if_asked
from rollouts.server_client import VERSION_HEADER

KEY_VARIABLE = "VLLM_API_KEY"
_OPEN_PATH = "/health"
_SAMPLING_PATH = "/v1/chat/completions"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class KeepOut:
    """Asks for the key on every path and adds `VERSION_HEADER` to every answer that samples.

    Args:
        app: vLLM's server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._expected = f"Bearer {os.environ[KEY_VARIABLE]}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers 401 without the key; otherwise passes the request on."""
        if scope["type"] == "lifespan" or scope["path"] == _OPEN_PATH:
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if scope["type"] != "http" or not secrets.compare_digest(given, self._expected):
            await _refuse(scope, send)
        elif scope["path"] == _SAMPLING_PATH:
            await self._app(scope, receive, await _with_version(scope, send))
        else:
            await self._app(scope, receive, send)


async def _refuse(scope: Message, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "wrong or no API key"}'})


async def _with_version(scope: Message, send: Send) -> Send:
    """Returns a `send` that names the weights before the first token and after the last."""
    engine = scope["app"].state.engine_client
    before = await engine.get_weight_version()

    async def send_with_version(message: Message) -> None:
        if message["type"] == "http.response.start":
            after = await engine.get_weight_version()
            value = before if before == after else f"{before} to {after}"
            header = (VERSION_HEADER.encode(), value.encode())
            message = {**message, "headers": [*message["headers"], header]}
        await send(message)

    return send_with_version


class TakesWeights:
    """A method that vLLM adds to its worker."""

    def take_weights(self, *folders: str) -> None:
        """Reloads weights from folders of safetensors, a later one over an earlier one."""
        from rollouts.vllm_engine import repack_output_head
        from rollouts.vllm_sampler import draw_in_blocks

        worker: Any = self
        for folder in folders:
            worker.reload_weights(weights_path=folder)
        if folders:
            repack_output_head(worker.model_runner.get_model())
        draw_in_blocks(worker)


def prepare() -> None:
    """Makes one process of vLLM ready: it ends with its parent and knows every saved name."""
    end_with_parent_if_asked()
    from rl_avr.torchvision_compat import cover_vllm_inspection
    from rollouts.vllm_names import map_saved_names

    cover_vllm_inspection()
    map_saved_names()


def main() -> None:
    """Runs vLLM's server until it is told to stop."""
    prepare()
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    sys.argv[0] = "rl-avr serve-rollouts"
    serve()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a process that vLLM has spawned
    prepare()
