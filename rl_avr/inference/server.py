"""An OpenAI-compatible chat endpoint over a reranker.

    POST /v1/chat/completions   one turn with images; `rerank` has N chains vote on one answer
    GET  /v1/models             the policy's name
    GET  /metrics               Prometheus' text
    GET  /health                200 while requests are worked off; the only one without a key

Chains are complete before an answer is chosen, so a stream begins once the winner is known.
"""

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from rl_avr.contracts import Prompt, RolloutGroup
from rl_avr.errors import PromptError, RlAvrError, RolloutError
from rl_avr.inference.config import ServeConfig
from rl_avr.inference.reranker import Reranked, Reranker
from rl_avr.inference.server_metrics import ServerMetrics
from rl_avr.inference.server_queue import QueueClosedError, WorkQueue
from rl_avr.inference.server_request import Asked, Kind, RequestError, read_request
from rl_avr.seeding import derive_seed
from rollouts.engine import Sampling

logger = logging.getLogger(__name__)

_PIECES = re.compile(r"\S*\s*")
_EVENT_STREAM = "text/event-stream"
_NO_ANSWER = "no chain has an answer"
Result = RolloutGroup | Reranked


class ChatServer:
    """What the routes share.

    Args:
        reranker: answers; its engine samples where no vote is asked for.
        config: what clients may ask.
        model_name: what they call the policy.
        api_key: what they must send.
        seed: of the chains, with each request's own.
    """

    def __init__(
        self, reranker: Reranker, config: ServeConfig, model_name: str, api_key: str, seed: int = 0
    ) -> None:
        self.config, self.model_name = config, model_name
        self._reranker, self._api_key, self._seed = reranker, api_key, seed
        self._num_open = 0
        self._mean_s = 1.0
        self.queue = WorkQueue(self._run, config.max_batch)
        self.metrics = ServerMetrics(lambda: self._num_open, lambda: len(self.queue))

    async def complete(self, request: Request) -> Response:
        """Answers a chat request."""
        if self._num_open >= self.config.max_requests:
            raise RequestError(
                429,
                f"{self._num_open} requests are at work or waiting; come again later",
                "queue_full",
                self._retry_after_s(),
            )
        self._num_open += 1
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.config.timeout_s):
                asked = await self._asked(await self._body(request))
                future = self.queue.submit(asked.kind, asked.prompt)
                result = await asyncio.wrap_future(future)
        except TimeoutError as error:
            limit = f"{self.config.timeout_s:g} s"
            raise RequestError(504, f"not answered within {limit}", "timeout") from error
        except QueueClosedError as error:
            raise RequestError(503, str(error), "stopping", self._retry_after_s()) from error
        except RlAvrError as error:
            is_ours = isinstance(error, RolloutError) and not isinstance(error, PromptError)
            status, code = (500, "engine_failed") if is_ours else (400, "invalid_request")
            raise RequestError(status, str(error), code) from error
        finally:
            self._num_open -= 1
        self._mean_s = 0.9 * self._mean_s + 0.1 * (time.monotonic() - started)
        self.metrics.count_result(result)
        answer = _answer(asked, result, self.model_name)
        if asked.is_streamed:
            return StreamingResponse(_events(answer, asked.has_usage), media_type=_EVENT_STREAM)
        return JSONResponse(answer)

    def check_key(self, request: Request) -> None:
        """Raises RequestError for a request without the key."""
        sent = request.headers.get("authorization", "")
        # in bytes: texts beyond ASCII cannot be compared in constant time
        if not hmac.compare_digest(sent.encode(), f"Bearer {self._api_key}".encode()):
            raise RequestError(401, "expected Authorization: Bearer KEY", "invalid_api_key")

    async def _body(self, request: Request) -> bytes:
        """Reads a body and stops where it is too large, whatever its head says."""
        limit = self.config.max_body_mb * 1e6
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise RequestError(
                    413, f"expected a body of at most {limit:.0f} bytes", "body_too_large"
                )
            parts.append(part)
        return b"".join(parts)

    async def _asked(self, body: bytes) -> Asked:
        reranker = self._reranker
        asked = await run_in_threadpool(
            read_request,
            body,
            self.config,
            self.model_name,
            reranker.config,
            reranker.sampling,
        )
        if asked.kind.rerank is not None:
            reranker.check(asked.kind.rerank)
        return asked

    def _run(self, kind: Kind, prompts: Sequence[Prompt]) -> Sequence[Result]:
        if kind.rerank is not None:
            return self._reranker.rerank(prompts, kind.rerank, kind.sampling)
        sampling = Sampling(kind.sampling, kind.num_chains, derive_seed("serve", self._seed))
        return self._reranker.sample(prompts, sampling)

    def _retry_after_s(self) -> int:
        return max(1, round(self._mean_s))


def make_app(server: ChatServer) -> FastAPI:
    """Returns the application; its end ends the server's queue."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(server.queue.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        detail = {"message": error.message, "type": kind, "param": None, "code": error.code}
        return JSONResponse({"error": detail}, error.status, headers)

    @app.middleware("http")
    async def measured(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        started = time.monotonic()
        response = await call_next(request)
        if request.url.path == "/v1/chat/completions":
            server.metrics.count_request(response.status_code, time.monotonic() - started)
        return response

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        server.check_key(request)
        return await server.complete(request)

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        server.check_key(request)
        model = {"id": server.model_name, "object": "model", "created": 0, "owned_by": "rl_avr"}
        return {"object": "list", "data": [model]}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        server.check_key(request)
        return Response(server.metrics.text(), media_type=server.metrics.media_type)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse(
            {"is_alive": server.queue.is_alive}, 200 if server.queue.is_alive else 503
        )

    return app


def _answer(asked: Asked, result: Result, model_name: str) -> dict[str, Any]:
    """Returns the body of a response, as the OpenAI API has it."""
    answer: dict[str, Any] = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model_name,
    }
    if isinstance(result, Reranked):
        chains = [one.completion for one in result.candidates]
        num_prompt = result.num_prompt_tokens
        shown = [] if result.winner is None else [result.winner.completion]
        assert asked.kind.rerank is not None
        answer["rerank"] = {
            "method": asked.kind.rerank.method,
            "answer": result.answer,
            "score": result.score,
            "distribution": dict(result.distribution),
            "num_chains": len(chains),
        }
    else:
        chains = shown = list(result.completions)
        num_prompt = len(result.prompt_token_ids)
    answer["choices"] = [
        _choice(i, one.text, None, one.finish_reason) for i, one in enumerate(shown)
    ] or [_choice(0, None, _NO_ANSWER, "stop")]
    num_tokens = sum(len(one.token_ids) for one in chains)
    answer["usage"] = {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_tokens,
        "total_tokens": num_prompt + num_tokens,
    }
    return answer


def _choice(index: int, text: str | None, refusal: str | None, reason: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    finish = "length" if reason == "length" else "stop"
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}


def _events(answer: dict[str, Any], has_usage: bool) -> Iterator[str]:
    """Yields a response as server-sent events, word by word."""
    head = {name: answer[name] for name in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    for choice in answer["choices"]:
        index, message = choice["index"], choice["message"]
        first = {"role": "assistant", "content": "", "refusal": message["refusal"]}
        pieces = [piece for piece in _PIECES.findall(message["content"] or "") if piece]
        for delta in [first, *({"content": piece} for piece in pieces)]:
            yield _event(head, [{"index": index, "delta": delta, "finish_reason": None}])
    last = [
        {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        for choice in answer["choices"]
    ]
    extra = {"rerank": answer["rerank"]} if "rerank" in answer else {}
    yield _event(head | extra, last)
    if has_usage:
        yield _event(head | {"usage": answer["usage"]}, [])
    yield "data: [DONE]\n\n"


def _event(head: dict[str, Any], choices: list[dict[str, Any]]) -> str:
    return f"data: {json.dumps({**head, 'choices': choices})}\n\n"
