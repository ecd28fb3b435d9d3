"""A replica that is no vLLM: HTTP in threads, with behaviours that a test sets."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rollouts.server_claim import CLAIM_HEADER, Claim, ClaimBook
from rollouts.server_client import LET_GO_PATH

KEY = "a key"


def answer_for(body: dict[str, Any]) -> dict[str, Any]:
    """What vLLM answers, with token ids that name the seed's last digits and the index."""
    choices = [
        {
            "index": index,
            "finish_reason": "stop",
            "token_ids": [body["seed"] % 1000, index],
            "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.25}]},
        }
        for index in range(body["n"])
    ]
    # vLLM promises no order
    return {"choices": choices[::-1], "prompt_token_ids": [1, 2, 3]}


class FakeReplica:
    """One fake replica.

    Attributes:
        behave: called with (how many requests came before, body); returns a name of
            what to do: `ok`, `hang`, `500`, `400`, `die`, `garbage`, `half`, `abort`,
            `old`, `nan`; or a number of seconds to wait before `ok`.
        asked: bodies of every request that samples.
        loads: folders of every reload.
        calls: paths of every post but those that sample.
        bodies: of the last post to each of these paths.
        broken: paths of posts that answer 500, with `message`.
        slow: seconds after which posts to a path answer.
    """

    def __init__(self, path: str = "policy", port: int = 0) -> None:
        self.behave: Callable[[int, dict[str, Any]], str | float] = lambda count, body: "ok"
        self.path = path
        self.version = "default"
        self.is_healthy = True
        self.asked: list[dict[str, Any]] = []
        self.loads: list[list[str]] = []
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.message = "made to fail"
        self.slow: dict[str, float] = {}
        self.claims = ClaimBook()
        self.running = self.most_running = 0
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        replica = self

        class Handler(_Handler):
            owner = replica

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that went away
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        self._over.wait(seconds)

    def sample(self, body: dict[str, Any]) -> tuple[int, str, bytes] | None:
        """Status, version and content of an answer; None closes the connection."""
        with self._lock:
            count = len(self.asked)
            self.asked.append(body)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        version = self.version
        try:
            what = self.behave(count, body)
            answer = answer_for(body)
            if isinstance(what, float):
                self._over.wait(what)
            elif what == "hang":
                self._over.wait(60)
                return None
            elif what == "die":
                return None
            elif what in ("500", "400"):
                message = {"error": {"message": f"made to answer {what}"}}
                return int(what), version, json.dumps(message).encode()
            elif what == "garbage":
                return 200, version, b'{"choices": [{"ind'
            elif what == "half":
                answer["choices"].pop()
            elif what == "abort":
                answer["choices"][0]["finish_reason"] = "abort"
            elif what == "old":
                version = "another run/7"
            elif what == "nan":
                error = "Out of range float values are not JSON compliant: nan"
                return 400, version, json.dumps({"error": {"message": error}}).encode()
            return 200, version, json.dumps(answer).encode()
        finally:
            with self._lock:
                self.running -= 1


class _Handler(BaseHTTPRequestHandler):
    owner: FakeReplica
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.owner.connections.add(self.connection)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not self.owner.is_healthy and self.path != "/v1/models":
            self._send(503, b"")
        elif self.path == "/health":
            self._send(200, b"")
        elif self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, b"{}")
        elif self._is_refused():
            pass
        elif self.path == "/get_world_size":
            self._send_json({"world_size": 1})
        elif self.path == "/weight_info":
            self._send_json({"weight_version": self.owner.version})
        elif self.path == "/v1/models":
            self._send_json({"data": [{"id": "served", "root": self.owner.path}]})
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw) if raw else {}
        path = self.path.partition("?")[0]
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, b"{}")
            return
        if self._is_refused():
            return
        if path == "/v1/chat/completions":
            found = self.owner.sample(body)
            if found is None:
                self.close_connection = True
                return
            status, version, content = found
            self._send(status, content, {"x-weights-version": version})
            return
        self.owner.calls.append(path)
        self.owner.bodies[path] = body
        self.owner.wait(self.owner.slow.get(path, 0.0))
        if path in self.owner.broken:
            self._send(500, json.dumps({"error": {"message": self.owner.message}}).encode())
            return
        if path == "/collective_rpc":
            self.owner.loads.append(body["args"])
        if path == "/update_weight_version":
            self.owner.version = body["new_version"]
        self._send_json({"success": True})

    def _is_refused(self) -> bool:
        """Whether the request was answered here: by a claim that is let go or not to be had."""
        claim = Claim.from_header(self.headers[CLAIM_HEADER])
        if self.path == LET_GO_PATH:
            self.owner.claims.let_go(claim.run)
            self._send_json({})
            return True
        refusal = self.owner.claims.refusal(claim)
        if refusal:
            self._send(409, json.dumps({"error": {"message": refusal}}).encode())
        return bool(refusal)

    def _send_json(self, answer: dict[str, Any]) -> None:
        self._send(200, json.dumps(answer).encode())

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Returns when the condition holds; a test that never gets there fails here."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
