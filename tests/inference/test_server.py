"""The chat endpoint: the official client's way in, and everything that is refused."""

import base64
import io
import json
import threading
import time
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from rl_avr.contracts import Prompt
from rl_avr.errors import PromptError, RolloutError
from rl_avr.evaluation.config import EndpointConfig
from rl_avr.evaluation.endpoint import EndpointEngine
from rl_avr.inference.config import RerankConfig, ServeConfig
from rl_avr.inference.reranker import Reranker
from rl_avr.inference.server import ChatServer, make_app
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling

KEY = "a-key"
REWARDS = {"A": 0.5, "B": 0.1}


def data_url(size=(8, 8), format="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", size, "white").save(stream, format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def content(text="Which?", url=None):
    image = {"type": "image_url", "image_url": {"url": url or data_url()}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


def body(**changes):
    return {"model": "policy", "messages": content()} | changes


@pytest.fixture
def make_server(counting_engine, rule_scorer):
    """Returns (texts or an engine, fields of ServeConfig) -> ChatServer."""

    def made(texts=("### Answer: B", "### Answer: B", "### Answer: A", "hm"), **limits):
        engine = counting_engine(texts) if isinstance(texts, tuple) else texts
        rule = rule_scorer(lambda text: REWARDS.get(text[-1:], 0.0))
        config = RerankConfig(num_chains=4)
        reranker = Reranker(engine, rule, config, SamplingConfig(max_new_tokens=200))
        return ChatServer(reranker, ServeConfig(**limits), "policy", KEY)

    return made


@contextmanager
def asking(server):
    with TestClient(make_app(server), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client


@contextmanager
def listening(server):
    """Serves on a free port of the loopback address; gives the official client."""
    runner = uvicorn.Server(uvicorn.Config(make_app(server), port=0, log_level="error"))
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    while not runner.started:
        time.sleep(0.01)
    port = runner.servers[0].sockets[0].getsockname()[1]
    try:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            yield client
    finally:
        runner.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def refusal(client, status, **changes):
    response = client.post("/v1/chat/completions", json=body(**changes))
    assert response.status_code == status, response.text
    return response.json()["error"]


def test_the_official_client_gets_chains_a_vote_and_a_stream(make_server):
    with listening(make_server()) as client:
        create = client.chat.completions.create
        assert [model.id for model in client.models.list()] == ["policy"]
        plain = create(model="policy", messages=content(), n=3, max_tokens=50, temperature=0.7)
        assert [c.message.content[-1] for c in plain.choices] == ["B", "B", "A"]
        assert [c.index for c in plain.choices] == [0, 1, 2]
        assert {c.finish_reason for c in plain.choices} == {"stop"}
        assert plain.usage.completion_tokens == 3 * len("### Answer: B")
        extra = {"rerank": {"n": 4, "method": "best_of_n"}}
        best = create(model="policy", messages=content(), extra_body=extra)
        (choice,) = best.choices
        assert choice.message.content == "### Answer: A"
        assert best.rerank["answer"] == "A"
        assert best.rerank["num_chains"] == 4
        assert best.rerank["score"] == pytest.approx(0.5 * 13)
        extra = {"rerank": {"method": "self_consistency"}}
        majority = create(model="policy", messages=content(), extra_body=extra)
        assert majority.rerank["answer"] == "B"
        assert majority.rerank["distribution"] == pytest.approx({"A": 1 / 3, "B": 2 / 3})
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = create(model="policy", messages=content(), extra_body=extra, **options)
        chunks = list(stream)
        deltas = [c.choices[0].delta.content or "" for c in chunks if c.choices]
        assert "".join(deltas) == "### Answer: B"
        assert len(deltas) == 5  # a head, three words, an end
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-2].rerank["answer"] == "B"
        assert chunks[-1].usage.completion_tokens == majority.usage.completion_tokens
        with pytest.raises(openai.NotFoundError):
            create(model="other", messages=content())
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").models.list()


def test_without_any_answer_it_abstains(make_server):
    with asking(make_server(("hm", "well"))) as client:
        found = client.post("/v1/chat/completions", json=body(rerank={})).json()
        metrics = client.get("/metrics").text
    (choice,) = found["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "no chain has an answer",
    }
    assert (found["rerank"]["answer"], found["rerank"]["distribution"]) == (None, {})
    assert "rl_avr_abstentions_total 1.0" in metrics
    assert "rl_avr_chains_total 4.0" in metrics
    assert 'rl_avr_requests_total{status="200"} 1.0' in metrics


def test_all_but_health_need_the_key(make_server):
    with asking(make_server()) as client:
        del client.headers["Authorization"]
        assert client.get("/health").json() == {"is_alive": True}
        for key in ("", "Bearer", "Bearer wrong", f"bearer {KEY}x", "Bearer \xe9"):
            headers = {"Authorization": key.encode("latin-1")}
            for path in ("/v1/models", "/metrics"):
                assert client.get(path, headers=headers).status_code == 401, key
            response = client.post("/v1/chat/completions", json=body(), headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
        for path in ("/docs", "/openapi.json", "/redoc"):
            assert client.get(path).status_code == 404


def test_images_are_checked_before_anything_is_decoded_or_fetched(make_server):
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    bomb_url = f"data:image/png;base64,{base64.b64encode(bomb.getvalue()).decode()}"
    png = data_url()
    cases = {
        "https://example.com/a.png": "nothing is fetched",
        "http://127.0.0.1/a.png": "nothing is fetched",
        "file:///etc/passwd": "nothing is fetched",
        "data:image/png;base64,@@@": "expected base64 of an image",
        "data:image/png,abc": "expected data:image/TYPE;base64",
        "data:text/plain;base64,aGVsbG8=": "expected data:image/TYPE;base64",
        "data:image/png;base64,aGVsbG8=": "expected base64 of an image",
        png[:-24] + "A" * 24: "expected base64 of an image",
        bomb_url: "expected at most 1000000 pixels, got 9000 x 9000",
        data_url(format="TIFF"): "expected base64 of an image",
    }
    server = make_server(max_pixels=1_000_000)
    with asking(server) as client:
        for url, words in cases.items():
            error = refusal(client, 400, messages=content(url=url))
            assert words in error["message"], url
        for format in ("PNG", "JPEG", "WEBP"):
            url = data_url(format=format)
            good = client.post("/v1/chat/completions", json=body(messages=content(url=url)))
            assert good.status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"messages": []}, "one message of the role user"),
        ({"messages": [{"role": "system", "content": "x"}, *content()]}, "one message"),
        ({"messages": [{"role": "user", "content": None}]}, "expected content"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "got 'audio'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"n": 0}, "1 to 64 chains, got 0"),
        ({"n": 65}, "1 to 64 chains, got 65"),
        ({"n": 2, "temperature": 0}, "all alike"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": -1}, "max_new_tokens"),
        ({"tools": []}, "tools"),
        ({"stop": ["x"]}, "stop"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"rerank": {"n": 1000}}, "1 to 64 chains, got 1000"),
        ({"rerank": {"method": "magic"}}, "rerank: method: expected one of best_of_n"),
        ({"rerank": {"temperature": 0}}, "rerank: temperature"),
        ({"rerank": {"scores": {"luck": 1.0}}}, "rerank: scores"),
        ({"rerank": {"configuration": "cube"}}, "configuration"),
        ({"rerank": {"k": 1}}, "rerank.k"),
        ({"rerank": {}, "n": 2}, "whose own n"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(make_server, changes, words):
    with asking(make_server()) as client:
        assert words in refusal(client, 400, **changes)["message"]


def test_bodies_are_bounded_whatever_their_head_says(make_server):
    with asking(make_server(max_body_mb=0.01)) as client:
        large = json.dumps(body(messages=content("x" * 20_000))).encode()
        for sent in (large, iter([large])):
            response = client.post("/v1/chat/completions", content=sent)
            assert response.status_code == 413
        for broken in (b"", b"{", b"[]", b"[" * 9_000, b"\xff"):
            assert client.post("/v1/chat/completions", content=broken).status_code == 400


class HeldEngine:
    """Answers once it is let go; or raises what it is told to."""

    weights_version = 0

    def __init__(self, engine):
        self._engine = engine
        self.go, self.begun, self.batches, self.error = (
            threading.Event(),
            threading.Event(),
            [],
            None,
        )

    def generate(self, prompts, sampling):
        self.batches.append(len(prompts))
        self.begun.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        if any("poison" in prompt.text for prompt in prompts):
            raise PromptError("this prompt is too long")
        return self._engine.generate(prompts, sampling)

    def close(self):
        self.go.set()


@pytest.fixture
def held(counting_engine):
    return HeldEngine(counting_engine(["### Answer: B"]))


def in_background(client, answers, count, **changes):
    def ask():
        answers.append(client.post("/v1/chat/completions", json=body(**changes)))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def wait_until(is_true):
    for _ in range(1000):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_a_full_queue_says_when_to_come_again_and_equal_requests_share_a_batch(make_server, held):
    server = make_server(held, max_requests=5, max_batch=3)
    answers = []
    with asking(server) as client:
        threads = in_background(client, answers, 1)
        held.begun.wait(20)
        threads += in_background(client, answers, 4)
        wait_until(lambda: len(server.queue) == 4)
        full = client.post("/v1/chat/completions", json=body())
        assert full.status_code == 429
        assert int(full.headers["Retry-After"]) >= 1
        assert "rl_avr_waiting_requests 4.0" in client.get("/metrics").text
        held.go.set()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200] * 5
        assert held.batches == [1, 3, 1]
        assert client.post("/v1/chat/completions", json=body()).status_code == 200


def test_requests_of_another_kind_get_a_batch_of_their_own(make_server, held):
    server, answers = make_server(held), {1: [], 2: [], 3: []}
    with asking(server) as client:
        threads = in_background(client, [], 1)
        held.begun.wait(20)
        for number in (2, 1, 3):
            threads += in_background(client, answers[number], 1, n=number)
        wait_until(lambda: len(server.queue) == 3)
        held.go.set()
        for thread in threads:
            thread.join(20)
    for number, found in answers.items():
        assert [len(one.json()["choices"]) for one in found] == [number]
    assert held.batches == [1, 1, 1, 1]


def test_one_bad_request_of_a_batch_fails_alone(make_server, held):
    server = make_server(held)
    good, bad = [], []
    with asking(server) as client:
        threads = in_background(client, [], 1)
        held.begun.wait(20)
        threads += in_background(client, good, 2)
        threads += in_background(client, bad, 1, messages=content("poison"))
        wait_until(lambda: len(server.queue) == 3)
        held.go.set()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in good] == [200, 200]
        assert [answer.status_code for answer in bad] == [400]
        assert "too long" in bad[0].json()["error"]["message"]
        assert held.batches == [1, 3, 1, 1, 1]


def test_a_late_answer_a_broken_engine_and_a_stopping_server_have_their_status(make_server, held):
    with asking(make_server(held, timeout_s=0.2)) as client:
        assert refusal(client, 504)["code"] == "timeout"
        held.go.set()
        for error, words in (
            (RolloutError("the engine broke"), "the engine broke"),
            (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
        ):
            held.error = error
            found = refusal(client, 500)
            assert (found["type"], words in found["message"]) == ("server_error", True)
        held.error = None
        assert client.post("/v1/chat/completions", json=body()).status_code == 200
    server = make_server(("### Answer: B",))
    with asking(server) as client:
        server.queue.close()
        assert client.get("/health").status_code == 503
        response = client.post("/v1/chat/completions", json=body())
        assert response.status_code == 503
        assert "Retry-After" in response.headers


def test_a_seed_asks_for_the_same_chains_again(make_server, counting_engine):
    class Seeded(counting_engine):
        def generate(self, prompts, sampling):
            self.seen = [sampling.prompt_seed(prompt, 0) for prompt in prompts]
            return super().generate(prompts, sampling)

    engine = Seeded(["### Answer: B"])
    seeds = []
    with asking(make_server(engine)) as client:
        for changes in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {}, {}):
            for rerank in ({}, {"rerank": {}}):
                client.post("/v1/chat/completions", json=body(**changes, **rerank))
                seeds.append(engine.seen[0])
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 8


@pytest.mark.slow
def test_under_load_nothing_is_lost(make_server, counting_engine, capsys):
    """200 requests of 16 clients, each puzzle with an answer of its own."""

    class Slow(counting_engine):
        def generate(self, prompts, sampling):
            time.sleep(0.02)
            return super().generate(prompts, sampling)

        def _next(self, prompt, index):
            return f"### Answer: {'ABCDEFGH'[int(prompt.text) % 8]}"

    server = make_server(Slow([]), max_requests=12, timeout_s=30)
    latencies, wrong, lock = [], [], threading.Lock()
    with listening(server) as client:
        patient = client.with_options(max_retries=20)
        left = list(range(200))

        def work():
            while True:
                with lock:
                    if not left:
                        return
                    number = left.pop()
                started = time.perf_counter()
                found = patient.chat.completions.create(
                    model="policy",
                    messages=content(str(number)),
                    extra_body={"rerank": {"n": 4, "method": "self_consistency"}},
                )
                with lock:
                    latencies.append(time.perf_counter() - started)
                    if found.rerank["answer"] != "ABCDEFGH"[number % 8]:
                        wrong.append(number)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        url = str(client.base_url).removesuffix("v1/")
        metrics = httpx.get(f"{url}metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    assert (len(latencies), wrong) == (200, [])
    assert 'rl_avr_requests_total{status="200"} 200.0' in metrics
    # more clients than places: some were told to come again, and did
    assert 'status="429"' in metrics
    ranked = sorted(latencies)
    with capsys.disabled():
        print(f"\nlatency: median {ranked[100]:.3f} s, 95% {ranked[190]:.3f} s")


def test_an_evaluation_can_ask_it_as_an_endpoint(make_server, puzzle):
    image = base64.b64decode(data_url().partition(",")[2])
    prompt = Prompt("by-hand/cot", puzzle, "cot", "Which?", (image,))
    with listening(make_server(("### Answer: B", "### Answer: C"))) as client:
        config = EndpointConfig(url=str(client.base_url), model="policy", api_key_env="A_KEY")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("A_KEY", KEY)
            with EndpointEngine(config) as engine:
                (group,) = engine.generate([prompt], Sampling(SamplingConfig(), 2, seed=0))
    assert [one.text for one in group.completions] == ["### Answer: B", "### Answer: C"]
