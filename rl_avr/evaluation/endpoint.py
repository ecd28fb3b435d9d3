"""An engine that asks an OpenAI-compatible endpoint.

It samples and nothing more: there are no logprobs, and no weights to replace. A request
that meets a fault which may pass, a lost connection, a late answer, too many requests or a
server's error, is made again after a pause that doubles. Answers to a batch of which one
prompt fails are kept, and are not paid for twice.
"""

import base64
import io
import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import torch

from rl_avr.chat import decode_image
from rl_avr.closing import Closing
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.errors import DataError, RolloutError
from rl_avr.evaluation.config import EndpointConfig
from rollouts.engine import Sampling

logging.getLogger("httpx").setLevel(logging.WARNING)

_MAY_PASS = (408, 409, 425, 429)
_MAX_PAUSE_S = 60.0
_MAX_SHOWN = 300
_PNG = b"\x89PNG\r\n\x1a\n"
_Key = tuple[str, Sampling]


class EndpointEngine(Closing):
    """Samples from a policy behind an endpoint.

    Args:
        config: where it is, and how patiently it is asked.
        transport: carries the requests; None for the network.
    """

    def __init__(
        self, config: EndpointConfig, transport: httpx.BaseTransport | None = None
    ) -> None:
        key = os.environ.get(config.api_key_env, "")
        self.weights_version = 0
        self._config = config
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=config.timeout_s,
            transport=transport,
        )
        self._known: dict[_Key, tuple[Completion, ...] | Exception] = {}

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt, in order.

        Raises:
            RolloutError: a prompt failed, after all tries where its fault might have passed.
            DataError: an image cannot be read.
        """
        with ThreadPoolExecutor(self._config.num_parallel) as pool:
            found = list(pool.map(partial(self._completions, sampling=sampling), prompts))
        groups = []
        for prompt, completions in zip(prompts, found, strict=True):
            if isinstance(completions, Exception):
                raise completions
            groups.append(RolloutGroup(prompt, (), completions))
        return groups

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Raises RolloutError: the weights are not ours."""
        raise RolloutError(f"{self._config.url}: an endpoint takes no weights")

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _completions(
        self, prompt: Prompt, sampling: Sampling
    ) -> tuple[Completion, ...] | Exception:
        key = (prompt.prompt_id, sampling)
        if key not in self._known:
            try:
                self._known[key] = tuple(self._sampled(prompt, sampling))
            except (RolloutError, DataError) as error:
                self._known[key] = error
        return self._known[key]

    def _sampled(self, prompt: Prompt, sampling: Sampling) -> list[Completion]:
        """Asks until there are enough chains: some endpoints give one where many are asked for."""
        seed = sampling.prompt_seed(prompt, self.weights_version) % 2**31
        found: list[Completion] = []
        while len(found) < sampling.num_generations:
            body = {
                "model": self._config.model,
                "messages": [{"role": "user", "content": _content(prompt)}],
                "max_tokens": sampling.config.max_new_tokens,
                "temperature": sampling.config.temperature,
                "top_p": sampling.config.top_p,
                "n": sampling.num_generations - len(found),
                "seed": (seed + len(found)) % 2**31,
            }
            found += self._read(self._post(body, prompt.prompt_id), prompt.prompt_id)
        return found[: sampling.num_generations]

    def _post(self, body: dict[str, Any], name: str) -> httpx.Response:
        url = f"{self._config.url.rstrip('/')}/chat/completions"
        problem = ""
        for number in range(self._config.max_tries):
            if number:
                time.sleep(min(self._config.backoff_s * 2 ** (number - 1), _MAX_PAUSE_S))
            try:
                response = self._http.post(url, json=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 200:
                return response
            problem = f"status {response.status_code}: {response.text[:_MAX_SHOWN]}"
            if response.status_code < 500 and response.status_code not in _MAY_PASS:
                raise RolloutError(f"prompt {name}: {url}: {problem}")
        raise RolloutError(f"prompt {name}: {url}: {self._config.max_tries} tries; {problem}")

    def _read(self, response: httpx.Response, name: str) -> list[Completion]:
        try:
            raw = response.json()
            texts = [choice["message"]["content"] or "" for choice in raw["choices"]]
            is_cut = [choice.get("finish_reason") == "length" for choice in raw["choices"]]
            total = int((raw.get("usage") or {}).get("completion_tokens") or 0)
            if not texts or not all(isinstance(text, str) for text in texts):
                raise TypeError("no choices with a text")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RolloutError(
                f"prompt {name}: expected a chat completion, got {response.text[:_MAX_SHOWN]!r} "
                f"({error!r})"
            ) from error
        # an endpoint counts the tokens of all choices together
        num, rest = divmod(max(total, 0), len(texts))
        return [
            Completion(text, (0,) * (num + (i < rest)), (), "length" if cut else "stop", 0)
            for i, (text, cut) in enumerate(zip(texts, is_cut, strict=True))
        ]


def _content(prompt: Prompt) -> list[dict[str, Any]]:
    images = [
        {
            "type": "image_url",
            "image_url": {"url": _data_uri(raw, f"{prompt.prompt_id}, image {i}")},
        }
        for i, raw in enumerate(prompt.images)
    ]
    return [*images, {"type": "text", "text": prompt.text}]


def _data_uri(raw: bytes, where: str) -> str:
    if not raw.startswith(_PNG):
        stream = io.BytesIO()
        decode_image(raw, where).save(stream, "PNG")
        raw = stream.getvalue()
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}"
