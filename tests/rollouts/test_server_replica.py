"""The key and the weights' version around vLLM's server; a few lines stand for the server."""

import asyncio
from types import SimpleNamespace

import pytest

from rollouts.server_claim import CLAIM_HEADER, own_claim
from rollouts.server_client import LET_GO_PATH
from rollouts.server_replica import KEY_VARIABLE, KeepOut


class Engine:
    """Reports its versions one after the other."""

    def __init__(self, *versions):
        self.versions = list(versions)

    async def get_weight_version(self):
        return self.versions.pop(0)


async def server(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"answer"})


def ask(monkeypatch, path, key=None, engine=None, kind="http", run=None, app=None):
    """Returns status and headers of an answer."""
    monkeypatch.setenv(KEY_VARIABLE, "right")
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    if run:
        headers.append((CLAIM_HEADER.encode(), own_claim(run).to_header().encode()))
    guard = app or KeepOut(server)
    app = SimpleNamespace(state=SimpleNamespace(engine_client=engine))
    scope = {"type": kind, "path": path, "headers": headers, "app": app}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    return sent[0].get("status"), dict(sent[0].get("headers", []))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/collective_rpc", "/update_weights"])
def test_every_path_asks_for_the_key(monkeypatch, path):
    assert ask(monkeypatch, path)[0] == 401
    assert ask(monkeypatch, path, "wrong")[0] == 401
    assert ask(monkeypatch, path, "right", Engine("v", "v"))[0] == 200


def test_health_is_open_and_a_websocket_is_not(monkeypatch):
    assert ask(monkeypatch, "/health")[0] == 200
    assert ask(monkeypatch, "/v1/realtime", "right", kind="websocket")[0] is None


def test_an_answer_names_its_weights_and_says_when_they_changed_meanwhile(monkeypatch):
    path = "/v1/chat/completions"
    _, headers = ask(monkeypatch, path, "right", Engine("run/3", "run/3"))
    assert headers == {b"a": b"b", b"x-weights-version": b"run/3"}
    _, headers = ask(monkeypatch, path, "right", Engine("run/3", "run/4"))
    assert headers[b"x-weights-version"] == b"run/3 to run/4"


def test_a_replica_serves_one_run_until_it_lets_go(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "right")
    guard = KeepOut(server)

    def status(path, run):
        return ask(monkeypatch, path, "right", Engine("v", "v"), run=run, app=guard)[0]

    for path in ("/weight_info", "/v1/chat/completions", "/collective_rpc"):
        assert status(path, "a") == 200
        assert status(path, "b") == 409
    assert status(LET_GO_PATH, "b") == 200
    assert status("/pause", "b") == 409
    assert status(LET_GO_PATH, "a") == 200
    assert status("/pause", "a") == 409
    assert status("/pause", "c") == 200


def test_letting_go_asks_for_the_key(monkeypatch):
    assert ask(monkeypatch, LET_GO_PATH, "wrong", run="a")[0] == 401
