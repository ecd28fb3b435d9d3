"""What runs inside one replica: vLLM's own server, with what it lacks.

    torchvision's hook      this module imports `rl_avr` first, in the server and, because it is
                            the main module, in every process that vLLM spawns
    `KeepOut`               vLLM asks for the API key on /v1 and /inference alone; the paths that
                            replace weights stand open. Here every path but /health asks for it,
                            a run is served only while no other run holds the replica, and an
                            answer says by which weights it was sampled
    `TakesWeights`          reloads weights from folders and packs a tied output head again, which
                            no reload of vLLM's visits, in one call

`python -m rollouts.server_replica ARGUMENTS` takes the arguments of `vllm serve`, and the
key from the environment, where no other user reads it.
"""

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rl_avr.parent_process import end_with_parent_if_asked
from rollouts.server_claim import CLAIM_HEADER, Claim, ClaimBook
from rollouts.server_client import LET_GO_PATH, VERSION_HEADER

KEY_VARIABLE = "VLLM_API_KEY"
_OPEN_PATH = "/health"
_SAMPLING_PATH = "/v1/chat/completions"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class KeepOut:
    """Asks for the key on every path and adds `VERSION_HEADER` to every answer that samples.

    A request that names its run takes or renews the run's claim; while another run holds
    the replica it is refused.

    Args:
        app: vLLM's server.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._expected = f"Bearer {os.environ[KEY_VARIABLE]}".encode()
        self._claims = ClaimBook()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers 401 without the key, 409 to another run; otherwise passes the request on."""
        if scope["type"] == "lifespan" or scope["path"] == _OPEN_PATH:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"authorization", b"")
        if scope["type"] != "http" or not secrets.compare_digest(given, self._expected):
            await _answer(scope, send, 401, {"error": "wrong or no API key"})
        elif (named := headers.get(CLAIM_HEADER.encode())) is not None:
            await self._answer_run(Claim.from_header(named.decode()), scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _answer_run(self, claim: Claim, scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == LET_GO_PATH:
            self._claims.let_go(claim.run)
            await _answer(scope, send, 200, {})
        elif refusal := self._claims.refusal(claim):
            await _answer(scope, send, 409, {"error": {"message": refusal}})
        else:
            with self._claims.running(claim):
                await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == _SAMPLING_PATH:
            send = await _with_version(scope, send)
        await self._app(scope, receive, send)


async def _answer(scope: Message, send: Send, status: int, content: dict[str, Any]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


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
        """Reloads weights from folders of safetensors, a later one over an earlier one.

        Without a folder it finishes what came another way: it packs the output head again.
        """
        from rollouts.vllm_engine import repack_output_head
        from rollouts.vllm_sampler import draw_in_blocks

        worker: Any = self
        for folder in folders:
            worker.reload_weights(weights_path=folder)
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
