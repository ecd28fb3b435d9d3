"""`rl-avr serve` as a process: its key, an answer with an image, its end."""

import base64
import os
import re
import signal
import subprocess
import sys

import openai
import pytest

from rl_avr import cli
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png


@pytest.fixture
def process(tiny_folder):
    words = [
        "serve",
        "--model",
        str(tiny_folder),
        "--serve.port",
        "0",
        "--serve.model_name",
        "tiny",
    ]
    words += ["--rollouts.engine", "transformers", "--rerank.method", "self_consistency"]
    words += ["--rollouts.sampling.max_new_tokens", "8"]
    environment = {name: value for name, value in os.environ.items() if name != "RL_AVR_API_KEY"}
    started = subprocess.Popen(
        [sys.executable, "-m", "rl_avr.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


@pytest.mark.slow
def test_it_prints_its_key_answers_and_ends_when_told(process, puzzle):
    ready, key = process.stdout.readline(), process.stdout.readline()
    url = re.fullmatch(r"ready: (http://127\.0\.0\.1:\d+/v1), model tiny\n", ready)[1]
    key = re.fullmatch(r"API key, for this run alone: (\S{32,})\n", key)[1]
    image = base64.b64encode(render_png(puzzle, RenderConfig(panel_size_px=36))).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        {"type": "text", "text": COT_PROMPT},
    ]
    with openai.OpenAI(base_url=url, api_key=key) as client:
        ask = {"model": "tiny", "messages": [{"role": "user", "content": parts}]}
        voted = client.chat.completions.create(**ask, extra_body={"rerank": {"n": 3}}, seed=1)
        assert voted.rerank["num_chains"] == 3
        assert voted.usage.prompt_tokens > 20
        assert 3 <= voted.usage.completion_tokens <= 24
        plain = client.chat.completions.create(**ask, n=2, seed=1)
        again = client.chat.completions.create(**ask, n=2, seed=1)
        assert [c.message for c in plain.choices] == [c.message for c in again.choices]
        with pytest.raises(openai.BadRequestError, match="rerank.reference is empty"):
            extra = {"rerank": {"method": "weighted_softmax"}}
            client.chat.completions.create(**ask, extra_body=extra)
        long = {"type": "text", "text": "| " * 300}
        ask["messages"] = [{"role": "user", "content": [parts[0], long]}]
        with pytest.raises(openai.BadRequestError, match="rollouts.max_model_len"):
            client.chat.completions.create(**ask)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.stdout.read() == "stopped\n"


def test_a_port_that_is_taken_is_known_before_the_policy_is_loaded(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["serve", "--model", "absent", "--serve.port", str(port)]
        assert cli.main(words) == 2
    assert f"serve.port {port}: cannot be listened on" in capsys.readouterr().err
