"""A chat request's bytes -> what the engine is asked, or why not.

One turn of the user, with images as data URLs and text. Images go before the text, wherever
they stand. What the engine cannot do is refused by name rather than left out.
"""

import base64
import binascii
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError, PuzzleError
from rl_avr.inference.config import RerankConfig, ServeConfig
from rl_avr.inference.own_question import asked_prompt
from rollouts.config import SamplingConfig

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_MAX_NAMED = 3


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: what was expected, and what came.
        code: one word for programs.
        retry_after_s: when to come again; None where that would not help.
    """

    def __init__(
        self, status: int, message: str, code: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.retry_after_s = retry_after_s


class RerankField(BaseModel):
    """The field `rerank` of a request; what it leaves out is the server's."""

    model_config = ConfigDict(extra="forbid")
    n: int | None = None
    method: str | None = None
    temperature: float | None = None
    scores: dict[str, float] | None = None
    stop: str | None = None
    num_choices: int | None = None
    configuration: str | None = None


class ChatRequest(BaseModel):
    """The fields of a chat request that are understood; of some only what asks for nothing."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[dict[str, Any]]
    n: int = 1
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: dict[str, bool] | None = None
    user: str | None = None
    rerank: RerankField | None = None
    stop: None = None
    logprobs: Literal[False] | None = None
    presence_penalty: float | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)


@dataclass(frozen=True)
class Kind:
    """What requests must share to go through the engine together.

    Args:
        sampling: temperature, length and cut.
        num_chains: how many are sampled.
        rerank: how they vote; None gives all of them to the client.
    """

    sampling: SamplingConfig
    num_chains: int
    rerank: RerankConfig | None


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    prompt: Prompt
    kind: Kind
    is_streamed: bool
    has_usage: bool


def read_request(
    body: bytes,
    limits: ServeConfig,
    model_name: str,
    rerank: RerankConfig,
    sampling: SamplingConfig,
) -> Asked:
    """Returns what a body asks.

    Args:
        body: JSON.
        limits: what a client may ask.
        model_name: the policy's.
        rerank: what a field `rerank` changes.
        sampling: what the fields of sampling change.

    Raises:
        RequestError: it cannot be answered.
    """
    request = _parsed(body)
    if request.model != model_name:
        raise RequestError(
            404, f"model: expected {model_name!r}, got {request.model!r}", "model_not_found"
        )
    config = None if request.rerank is None else _changed(rerank, request.rerank)
    num_chains = request.n if config is None else config.num_chains
    if config is not None and request.n != 1:
        raise _bad("n: expected 1 with rerank, whose own n is how many chains vote", "n")
    if not 1 <= num_chains <= limits.max_chains:
        raise _bad(f"n: expected 1 to {limits.max_chains} chains, got {num_chains}", "n")
    text, urls = _content(request.messages)
    images = tuple(_image(url, i, limits.max_pixels) for i, url in enumerate(urls))
    asks = config or rerank
    try:
        prompt = asked_prompt(images, text, asks.num_choices, asks.configuration)
        changes = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_new_tokens": request.max_completion_tokens or request.max_tokens,
        }
        sampling = replace(sampling, **_given(changes))
    except (ConfigError, PuzzleError) as error:
        raise _bad(str(error), "invalid_value") from error
    if sampling.temperature == 0 and num_chains > 1:
        raise _bad("temperature 0: greedy chains are all alike; expected n 1", "temperature")
    # the chains hang on the id: with a seed the same question gets the same ones again
    own = uuid.uuid4().hex if request.seed is None else f"{request.seed}"
    prompt = replace(prompt, prompt_id=f"{prompt.prompt_id}-{own}")
    has_usage = bool((request.stream_options or {}).get("include_usage"))
    return Asked(prompt, Kind(sampling, num_chains, config), request.stream, has_usage)


def _parsed(body: bytes) -> ChatRequest:
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        found = [
            f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)[:_MAX_NAMED]
        ]
        raise _bad("; ".join(found), "invalid_request") from error


def _changed(rerank: RerankConfig, wanted: RerankField) -> RerankConfig:
    changes = wanted.model_dump()
    changes["num_chains"] = changes.pop("n")
    try:
        found = replace(rerank, **_given(changes))
    except ConfigError as error:
        raise _bad(f"rerank: {error}", "rerank") from error
    return found


def _given(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}


def _content(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Returns the words and the URLs of the images of the one message."""
    roles = [message.get("role") for message in messages]
    if roles != ["user"]:
        raise _bad(
            f"messages: expected one message of the role user, got roles {roles[:_MAX_NAMED]}",
            "messages",
        )
    content = messages[0].get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts, urls = [], []
    for part in parts if isinstance(parts, list) else [None]:
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get(kind) if isinstance(part, dict) and isinstance(kind, str) else None
        if kind == "text" and isinstance(value, str):
            texts.append(value)
        elif kind == "image_url" and isinstance(value, dict) and isinstance(value.get("url"), str):
            urls.append(value["url"])
        else:
            raise _bad(
                "messages: expected content as a text, or as parts of the types text and "
                f"image_url, got {str(kind)[:40]!r}",
                "messages",
            )
    return "\n".join(texts), urls


def _image(url: str, index: int, max_pixels: int) -> bytes:
    """Returns the bytes of a data URL, once they were seen to be an image of a size allowed."""
    where = f"image {index}"
    head, comma, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise _bad(
            f"{where}: expected data:image/TYPE;base64,…, got {url[:40]!r}; nothing is fetched "
            "from other addresses",
            "image_url",
        )
    try:
        raw = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            # the size stands in the head of the file: nothing is decoded yet
            width, height = image.size
            if width * height > max_pixels:
                raise _bad(
                    f"{where}: expected at most {max_pixels} pixels, got {width} x {height}",
                    "image_too_large",
                )
            image.load()
    except (binascii.Error, OSError, SyntaxError, ValueError) as error:
        expected = f"expected base64 of an image ({', '.join(_FORMATS)})"
        raise _bad(f"{where}: {expected}, got: {error}", "image_url") from error
    except Image.DecompressionBombError as error:
        raise _bad(f"{where}: {error}", "image_too_large") from error
    return raw


def _bad(message: str, code: str) -> RequestError:
    return RequestError(400, message, code)
