"""The endpoint against a server of our own that speaks as OpenAI's does."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError, DataError, RolloutError
from rl_avr.evaluation.config import EndpointConfig
from rl_avr.evaluation.endpoint import EndpointEngine
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzles
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling

PUZZLE = next(iter(sample_puzzles("held_out", 1, 5, PuzzleConfig())))
PNG = render_png(PUZZLE, RenderConfig())


class Server(ThreadingHTTPServer):
    """Answers as `answer(body)` says: status and text, or texts of choices; keeps the requests."""

    def __init__(self):
        server = self
        self.answer = lambda body: [f"{body['messages'][0]['content'][-1]['text']}!"] * body["n"]
        self.requests = []
        self.keys = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                server.keys.append(self.headers.get("Authorization"))
                found = server.answer(body)
                status, text = found if isinstance(found, tuple) else (200, _completion(found))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


def _completion(texts):
    choices = [{"message": {"content": t}, "finish_reason": "stop"} for t in texts]
    return json.dumps({"choices": choices, "usage": {"completion_tokens": 5}})


@pytest.fixture
def server():
    """A server on a free port of this machine."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(server, monkeypatch):
    """An engine that asks the server, with a key."""
    monkeypatch.setenv("A_KEY", "secret")
    config = EndpointConfig(
        url=f"http://127.0.0.1:{server.server_port}/v1",
        model="m",
        api_key_env="A_KEY",
        max_tries=3,
        backoff_s=0.0,
        timeout_s=5.0,
    )
    with EndpointEngine(config) as engine:
        yield engine


def prompts(num):
    return [Prompt(f"p{i}", PUZZLE, "cot", f"say {i}", (PNG,)) for i in range(num)]


def sampling(num=2):
    return Sampling(SamplingConfig(temperature=0.5, max_new_tokens=7), num, seed=3)


def test_what_is_sent_and_what_comes_back(server, engine):
    groups = engine.generate(prompts(3), sampling())
    assert [[c.text for c in g.completions] for g in groups] == [
        [f"say {i}!"] * 2 for i in (0, 1, 2)
    ]
    # five tokens of two choices
    assert [len(c.token_ids) for c in groups[0].completions] == [3, 2]
    assert {c.finish_reason for g in groups for c in g.completions} == {"stop"}
    body = next(b for b in server.requests if b["messages"][0]["content"][1]["text"] == "say 1")
    assert (body["model"], body["n"], body["max_tokens"], body["temperature"]) == ("m", 2, 7, 0.5)
    kind, _, encoded = body["messages"][0]["content"][0]["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(encoded) == PNG
    assert set(server.keys) == {"Bearer secret"}
    assert len({body["seed"] for body in server.requests}) == 3


def test_one_choice_at_a_time_makes_a_whole_group_of_different_seeds(server, engine):
    server.answer = lambda body: [str(body["seed"])]
    (group,) = engine.generate(prompts(1), sampling(3))
    assert len({c.text for c in group.completions}) == 3
    assert [body["n"] for body in server.requests] == [3, 2, 1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_that_may_pass_is_met_again(server, engine, status):
    answers = iter([(status, "busy"), (status, "busy")])
    usual = server.answer
    server.answer = lambda body: next(answers, None) or usual(body)
    (group,) = engine.generate(prompts(1), sampling())
    assert group.completions[0].text == "say 0!"
    assert len(server.requests) == 3


def test_a_fault_that_stays_names_the_prompt_and_no_key(server, engine):
    server.answer = lambda body: (503, "out of order")
    with pytest.raises(RolloutError, match="p0.*3 tries.*503: out of order") as caught:
        engine.generate(prompts(1), sampling())
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 3


def test_a_refusal_is_not_tried_again_and_the_others_are_not_paid_twice(server, engine):
    usual = server.answer

    def refuse_one(body):
        is_it = body["messages"][0]["content"][1]["text"] == "say 1"
        return (400, "too long") if is_it else usual(body)

    server.answer = refuse_one
    with pytest.raises(RolloutError, match="p1.*400: too long"):
        engine.generate(prompts(3), sampling())
    engine.generate([prompts(3)[0], prompts(3)[2]], sampling())
    assert len(server.requests) == 3


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"choices": []}', '{"choices": [{}]}', "[]"])
def test_an_answer_of_another_form_is_refused(server, engine, text):
    server.answer = lambda body: (200, text)
    with pytest.raises(RolloutError, match="p0: expected a chat completion"):
        engine.generate(prompts(1), sampling())


def test_no_server_and_no_image_are_named(engine, server):
    with pytest.raises(DataError, match="p, image 0"):
        engine.generate([Prompt("p", PUZZLE, "cot", "", (b"no image",))], sampling())
    config = EndpointConfig(url="http://127.0.0.1:9/v1", model="m", max_tries=1)
    with EndpointEngine(config) as lost, pytest.raises(RolloutError, match="p0.*1 tries"):
        lost.generate(prompts(1), sampling())


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"url": "ftp://x", "model": "m"}, "http://"), ({"url": "http://x"}, "together")],
)
def test_half_a_config_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EndpointConfig(**fields)
