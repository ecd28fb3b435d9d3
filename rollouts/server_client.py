"""One replica of vLLM's server, over HTTP: asks it to sample, and gives it weights."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx

from rl_avr.errors import RolloutError
from rollouts.server_claim import CLAIM_HEADER, EXPIRES_S, Claim

VERSION_HEADER = "x-weights-version"
"""Header of an answer that names the weights it was sampled by; `rollouts.server_replica` adds
it."""
LET_GO_PATH = "/let_go"
"""Path by which a run lets go of a replica; `rollouts.server_replica` answers it."""
FIRST_VERSION = "default"
"""What vLLM calls the weights that it was started with."""
_MAX_SHOWN = 300
_BROKEN_NUMBERS = "not JSON compliant"

logging.getLogger("httpx").setLevel(logging.WARNING)


class ReplicaFault(Exception):
    """A replica that failed; the same request may succeed on another one."""


class HeldByAnotherRun(RolloutError):
    """A replica that another run uses."""


class NotFinite(RolloutError):
    """The policy gave no number for a sampled token, so the server could not write its answer."""


class RequestRefused(RolloutError):
    """A request that no replica would take, such as a prompt that is too long."""


class ReplicaClient:
    """HTTP to one replica; safe to use from several threads.

    Args:
        url: such as `http://127.0.0.1:8100`.
        api_key: what the replica was started with.
        claim: the run that asks.
        connect_timeout_s: for a connection.
        request_timeout_s: for the answer to a request that samples or reloads.
        health_timeout_s: for the answer to a question about health.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        claim: Claim,
        connect_timeout_s: float,
        request_timeout_s: float,
        health_timeout_s: float,
    ) -> None:
        self.url = url.rstrip("/")
        self._slow = httpx.Timeout(request_timeout_s, connect=connect_timeout_s, pool=None)
        self._quick = httpx.Timeout(health_timeout_s, connect=connect_timeout_s, pool=None)
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}", CLAIM_HEADER: claim.to_header()},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            # a proxy of the environment knows nothing of loopback or of a cluster's machines
            trust_env=False,
        )
        self.model_name = ""

    def weights_version(self) -> str:
        """Returns the version that the replica's engine reports; asks its server and its engine.

        Raises:
            ReplicaFault: no answer in time, or not an answer.
            RolloutError: the replica is no server of this project, refuses the key, or is
                held by another run.
        """
        self._call("GET", "/health", self._quick)
        return str(_field(self._call("GET", "/weight_info", self._quick), "weight_version"))

    def loaded_path(self) -> str:
        """Returns the folder or hub name that the replica was started with."""
        models = _field(self._call("GET", "/v1/models", self._quick), "data")
        self.model_name = str(_field(models[0] if models else {}, "id"))
        return str(_field(models[0], "root"))

    def sample(self, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Returns the answer to a chat completion request and the weights it was sampled by.

        Raises:
            ReplicaFault: the replica failed.
            RolloutError: the request itself is refused, or the weights give no numbers.
        """
        if not self.model_name:
            self.loaded_path()
        body = {**body, "model": self.model_name}
        response = self._response("POST", "/v1/chat/completions", self._slow, json=body)
        return _json(response), response.headers.get(VERSION_HEADER, "")

    def take_weights(
        self, version: str, folders: Sequence[str] = (), send: Callable[[], None] | None = None
    ) -> None:
        """Replaces the weights and empties every cache that depends on them.

        Args:
            version: what the replica reports from now on.
            folders: with safetensors, a later one over an earlier one.
            send: sends weights another way, while no request runs. With neither the weights
                stay.

        Raises:
            ReplicaFault: the replica failed; its version is not `version` then.
        """
        self._call("POST", "/pause", self._slow, params={"mode": "abort"})
        if send is not None:
            send()
        call = {"method": "take_weights", "args": list(folders)}
        self._call("POST", "/collective_rpc", self._slow, json=call)
        if not _field(self._call("POST", "/reset_prefix_cache", self._slow), "success"):
            raise ReplicaFault("its prefix cache could not be emptied: a request still holds it")
        self._call("POST", "/reset_mm_cache", self._slow)
        self._call("POST", "/reset_encoder_cache", self._slow)
        self._call("POST", "/update_weight_version", self._slow, json={"new_version": version})
        self._call("POST", "/resume", self._slow)

    def world_size(self) -> int:
        """Returns how many workers the replica has, each with its own part of the weights."""
        answer = self._call("GET", "/get_world_size", self._quick)
        return int(_field(answer, "world_size"))

    def control_transfer(self, step: str, body: dict[str, Any] | None = None) -> None:
        """Asks for one step of vLLM's own weight transfer, and waits for its end.

        Args:
            step: last word of its path, such as `update_weights`.
            body: what the step takes.

        Raises:
            ReplicaFault: the replica failed.
        """
        self._call("POST", f"/{step}", self._slow, json=body or {})

    def let_go(self) -> None:
        """Leaves the replica to other runs; what this run still asks of it is refused."""
        with suppress(ReplicaFault, RolloutError):  # it may be gone, or held by another run
            self._call("POST", LET_GO_PATH, self._quick)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _call(self, method: str, path: str, timeout: httpx.Timeout, **kwargs: Any) -> Any:
        response = self._response(method, path, timeout, **kwargs)
        return _json(response) if response.content else {}

    def _response(
        self, method: str, path: str, timeout: httpx.Timeout, **kwargs: Any
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, timeout=timeout, **kwargs)
        except httpx.TimeoutException as error:
            limit = timeout.connect if isinstance(error, httpx.ConnectTimeout) else timeout.read
            raise ReplicaFault(f"{path}: no answer within {limit:g} s") from error
        except (httpx.HTTPError, RuntimeError) as error:
            # RuntimeError: another thread has closed the client
            raise ReplicaFault(f"{path}: {error or type(error).__name__}") from error
        self._check_status(response, path)
        return response

    def _check_status(self, response: httpx.Response, path: str) -> None:
        shown = response.text[:_MAX_SHOWN]
        if response.status_code == 401:
            raise RolloutError(
                f"{self.url} refuses the API key; expected the key that `rl-avr serve-rollouts` "
                "wrote: name its file in rollouts.server.api_key_file"
            )
        if response.status_code == 409:
            raise HeldByAnotherRun(
                f"{self.url}: {_reason(response)}. One run at a time: wait for its end, or start "
                "replicas for this one with another rollouts.server.dir. A run that was killed "
                f"on another machine is forgotten after {EXPIRES_S:.0f} s"
            )
        if response.status_code in (404, 405):
            raise RolloutError(
                f"{self.url}{path}: {response.status_code}; expected a replica started by "
                "`rl-avr serve-rollouts`, which has this path; a plain `vllm serve` has not"
            )
        if response.status_code in (400, 500) and _BROKEN_NUMBERS in response.text:
            raise NotFinite(f"{self.url}: {shown}")
        if 400 <= response.status_code < 500:
            raise RequestRefused(f"{self.url}{path} refuses the request: {_reason(response)}")
        if response.status_code != 200:
            raise ReplicaFault(f"{path}: status {response.status_code}: {shown}")


def _reason(response: httpx.Response) -> str:
    """Returns vLLM's own message of an error, or the start of the answer."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:_MAX_SHOWN]


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ReplicaFault(
            f"{response.url.path}: expected JSON, got {response.text[:_MAX_SHOWN]!r}"
        ) from error


def _field(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise ReplicaFault(f"expected an answer with {name!r}, got {str(answer)[:_MAX_SHOWN]}")
    return answer[name]
