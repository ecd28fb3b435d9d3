"""The engine on replicas: nothing lost, nothing twice, nothing from old weights.

Fake replicas stand for vLLM; the one slow test at the end starts real ones.
"""

import os
import socket
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError, RolloutError
from rollouts.config import RolloutConfig, SamplingConfig, ServerConfig
from rollouts.engine import Sampling
from rollouts.server_claim import ClaimBook, own_claim
from rollouts.server_engine import ServerEngine
from rollouts.server_weights import WeightFolders
from tests.rollouts.fake_server import KEY, FakeReplica, wait_until

SAMPLING = Sampling(SamplingConfig(), 2, 5)
NO_OPTIONS = MappingProxyType({})
PROCESSOR = SimpleNamespace(
    tokenizer=SimpleNamespace(
        bos_token="<s>", batch_decode=lambda ids, **_: ["/".join(map(str, i)) for i in ids]
    ),
    apply_chat_template=lambda messages, **_: "USER:",
)


@pytest.fixture
def fakes():
    made = [FakeReplica() for _ in range(3)]
    yield made
    for fake in made:
        fake.stop()


@pytest.fixture
def prompts(puzzle):
    return [Prompt(f"{i}/cot", puzzle, "cot", f"Question {i}?", ()) for i in range(24)]


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "api_key").write_text(KEY + "\n")
    return {
        "dir": str(tmp_path),
        "health_interval_s": 0.05,
        "health_timeout_s": 5.0,
        "wait_timeout_s": 20.0,
    }


@pytest.fixture
def make_engine(fakes, settings):
    """Builds an engine on the fakes once all of them are in service."""
    engines = []

    def make(path="policy", max_num_seqs=8, replicas=fakes, options=NO_OPTIONS, **changes):
        server = ServerConfig(urls=tuple(r.url for r in replicas), **{**settings, **changes})
        config = RolloutConfig(engine="vllm_server", server=server, max_num_seqs=max_num_seqs)
        engine = ServerEngine(path, config, PROCESSOR, (7, 9), **options)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


def all_up(engine):
    wait_until(lambda: all(r.state == "up" for r in engine._pool.replicas))


def check_whole(groups, prompts, version=0):
    """Every prompt has one group: its own, whole, in order, of one version."""
    assert [group.prompt for group in groups] == prompts
    for group in groups:
        seed = SAMPLING.prompt_seed(group.prompt, version)
        assert [c.token_ids for c in group.completions] == [(seed % 1000, 0), (seed % 1000, 1)]
        assert [c.sampling_logprobs for c in group.completions] == [(-0.5, -0.25)] * 2
        assert {c.weights_version for c in group.completions} == {version}
        assert group.prompt_token_ids == (1, 2, 3)


def test_a_request_carries_what_the_engine_in_the_process_sets(make_engine, fakes, prompts):
    make_engine(replicas=fakes[:1]).generate(prompts[:1], SAMPLING)
    (body,) = fakes[0].asked
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Question 0?"}]
    assert (body["n"], body["seed"]) == (2, SAMPLING.prompt_seed(prompts[0], 0))
    assert body["logit_bias"] == {"7": -100.0, "9": -100.0}
    assert body["logprobs"] and body["return_token_ids"]
    # the template does not write the tokenizer's first token
    assert body["add_special_tokens"] is True
    assert body["model"] == "served"


def test_a_prefill_is_a_turn_that_the_server_goes_on_from(make_engine, fakes, prompts, monkeypatch):
    """The fakes answer that the prompt's ids were 1, 2 and 3."""

    class Tokenizer(SimpleNamespace):
        def __call__(self, text, add_special_tokens):
            assert not add_special_tokens
            return SimpleNamespace(input_ids=[int(digit) for digit in text])

    tokenizer = Tokenizer(**vars(PROCESSOR.tokenizer), all_special_ids=[0])
    monkeypatch.setattr(PROCESSOR, "tokenizer", tokenizer)
    engine = make_engine(replicas=fakes[:1])
    begun = [replace(prompts[0], prefill="23")]
    check_whole(engine.generate([*begun, prompts[1]], SAMPLING), [*begun, prompts[1]])
    first, second = sorted(fakes[0].asked, key=lambda body: -len(body["messages"]))
    assert first["messages"][1] == {"role": "assistant", "content": "23"}
    assert first["continue_final_message"] and not first["add_generation_prompt"]
    assert len(second["messages"]) == 1
    assert second["add_generation_prompt"] and not second["continue_final_message"]
    with pytest.raises(RolloutError, match="0/cot: expected its ids to end with the 2 of its"):
        engine.generate([replace(prompts[0], prefill="24")], SAMPLING)


def test_requests_go_to_the_replica_with_the_least_to_do(make_engine, fakes, prompts):
    """All are busy at the same time, and none has more than its share at once."""
    gate = threading.Barrier(3)

    def meet(count, body):
        if count == 0:
            gate.wait(20)
        return "ok"

    for fake in fakes:
        fake.behave = meet
    engine = make_engine(max_num_seqs=4)
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert sum(len(fake.asked) for fake in fakes) == 24
    assert all(fake.most_running <= 4 for fake in fakes)


def test_a_slow_replica_gets_less(make_engine, fakes, prompts):
    fakes[0].behave = lambda count, body: 0.5
    engine = make_engine(max_num_seqs=2)
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert len(fakes[0].asked) < min(len(fake.asked) for fake in fakes[1:])


@pytest.mark.parametrize("fault", ["500", "die", "garbage", "half", "abort", "old"])
def test_a_fault_costs_no_group_and_counts_none_twice(make_engine, fakes, prompts, fault):
    """Every replica fails at times; only whole answers by the current weights are kept."""
    for fake in fakes:
        fake.behave = lambda count, body: fault if count % 4 == 0 else "ok"
    engine = make_engine(max_tries=50)
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert sum(len(fake.asked) for fake in fakes) > 24


def test_a_hanging_replica_is_dropped_and_its_requests_go_to_the_others(
    make_engine, fakes, prompts
):
    fakes[1].behave = lambda count, body: "hang"
    engine = make_engine(request_timeout_s=0.5)
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert 0 < len(fakes[1].asked) < 24


def test_requests_leave_a_replica_that_is_no_longer_well_before_their_own_limit(
    make_engine, fakes, prompts
):
    def sicken(count, body):
        fakes[2].is_healthy = False
        return "hang"

    fakes[2].behave = sicken
    engine = make_engine(request_timeout_s=600.0)
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert engine._pool.replicas[2].state == "down"
    assert "503" in engine._pool.replicas[2].problem


def test_a_late_answer_is_not_counted(make_engine, fakes, prompts):
    """A replica that was dropped answers after its prompts have been asked elsewhere."""
    late = threading.Event()

    def answer_late(count, body):
        fakes[0].is_healthy = False
        late.wait(20)
        return "ok"

    def wait_for_it(count, body):
        if body["seed"] in {taken["seed"] for taken in fakes[0].asked}:
            late.set()
            return 0.3
        return "ok"

    fakes[0].behave = answer_late
    fakes[1].behave = fakes[2].behave = wait_for_it
    engine = make_engine()
    all_up(engine)
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    asked = Counter(body["seed"] for fake in fakes for body in fake.asked)
    assert len(asked) == 24
    assert max(asked.values()) == 2


def test_a_replica_that_returns_gets_the_current_weights_before_any_request(
    make_engine, fakes, prompts
):
    engine = make_engine()
    all_up(engine)
    port = fakes[0].port
    fakes[0].stop()
    engine.sync_weights([("a", torch.ones(2))])
    check_whole(engine.generate(prompts, SAMPLING), prompts, version=1)
    fakes[0] = FakeReplica(port=port)
    all_up(engine)
    assert fakes[0].version == fakes[1].version
    assert fakes[0].loads == fakes[1].loads[-1:]
    check_whole(engine.generate(prompts, SAMPLING), prompts, version=1)
    assert fakes[0].asked


def test_a_replica_restarted_between_two_looks_is_seen_by_its_answer(make_engine, fakes, prompts):
    """It answers by the weights it was started with, which nobody has noticed yet."""
    engine = make_engine(health_interval_s=1000.0)
    all_up(engine)
    engine.sync_weights([("a", torch.ones(2))])
    fakes[0].version = "default"
    check_whole(engine.generate(prompts, SAMPLING), prompts, version=1)
    assert engine._pool.replicas[0].state == "down"
    assert "default" in engine._pool.replicas[0].problem


def test_a_sync_reloads_then_empties_every_cache_then_names_the_weights(make_engine, fakes):
    engine = make_engine(replicas=fakes[:1])
    fakes[0].calls.clear()
    engine.sync_weights([("a", torch.tensor([1.0, 2.0])), ("b", torch.ones(1))])
    assert fakes[0].calls == [
        "/pause",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/update_weight_version",
        "/resume",
    ]
    (folder,) = fakes[0].loads[-1]
    (file,) = Path(folder).glob("*.safetensors")
    weights = load_file(file)
    assert weights["a"].tolist() == [1.0, 2.0]
    assert engine.weights_version == 1
    assert fakes[0].version.endswith("/1")


def test_a_replica_that_serves_another_policy_is_given_ours(make_engine, fakes, prompts):
    fakes[0].path = "another policy"
    engine = make_engine()
    all_up(engine)
    assert fakes[0].loads == [["policy"]]
    assert fakes[1].loads == [[]]


def test_a_replica_left_by_another_run_is_given_our_weights(make_engine, fakes):
    fakes[0].version = "0123abcd/7"
    engine = make_engine()
    all_up(engine)
    assert fakes[0].loads == [["policy"]]


def test_a_second_run_at_the_same_replicas_is_refused_with_the_first_ones_name(
    make_engine, fakes, prompts
):
    first = make_engine()
    all_up(first)
    loads = [list(fake.loads) for fake in fakes]
    with pytest.raises(RolloutError) as refused:
        make_engine()
    message = str(refused.value)
    assert fakes[0].url in message and "One run at a time" in message
    assert f"held by another run: `{' '.join(sys.argv)[:40]}" in message
    assert f"(process {os.getpid()} on {socket.gethostname()})" in message
    assert [list(fake.loads) for fake in fakes] == loads
    check_whole(first.generate(prompts, SAMPLING), prompts)
    first.close()
    second = make_engine()
    check_whole(second.generate(prompts, SAMPLING), prompts)


def test_a_run_goes_on_at_the_replicas_that_no_other_run_has(make_engine, fakes, prompts):
    make_engine(replicas=fakes[:1])
    second = make_engine()
    wait_until(lambda: [r.state for r in second._pool.replicas] == ["down", "up", "up"])
    check_whole(second.generate(prompts, SAMPLING), prompts)
    assert not fakes[0].asked
    assert "held by another run" in second._pool.replicas[0].problem


def test_a_replica_that_another_run_has_taken_meanwhile_is_left_to_it(make_engine, fakes, prompts):
    """Taken while the first run was not heard: its requests are refused, and asked elsewhere."""
    engine = make_engine(health_interval_s=1000.0)
    all_up(engine)
    fakes[0].claims.let_go(engine._run)
    fakes[0].claims = ClaimBook()
    fakes[0].claims.refusal(own_claim("another"))
    check_whole(engine.generate(prompts, SAMPLING), prompts)
    assert not fakes[0].asked


def test_nobody_answers(settings):
    url = "http://127.0.0.1:9"
    server = ServerConfig(urls=(url,), **{**settings, "wait_timeout_s": 0.3})
    with pytest.raises(RolloutError) as found:
        ServerEngine("policy", RolloutConfig(server=server), PROCESSOR, ())
    message = str(found.value)
    assert url in message and "waited 0 s" in message and "tries: /health" in message
    assert "rl-avr serve-rollouts" in message


def test_all_die_in_the_middle(make_engine, fakes, prompts):
    for fake in fakes:
        fake.behave = lambda count, body: "die"
    engine = make_engine(max_tries=3)
    with pytest.raises(RolloutError, match=r"prompt \d+/cot failed on 3 tries .*127\.0\.0\.1"):
        engine.generate(prompts, SAMPLING)


def test_all_are_gone_in_the_middle(make_engine, fakes, prompts):
    def end(count, body):
        for fake in fakes:
            fake.is_healthy = False
        return "die"

    for fake in fakes:
        fake.behave = end
    engine = make_engine(wait_timeout_s=0.5, max_tries=100)
    with pytest.raises(RolloutError, match=r"with 0 of 24 groups sampled(.|\n)*down after \d+ tri"):
        engine.generate(prompts, SAMPLING)


def test_a_wrong_key_is_said_at_once(fakes, settings, tmp_path):
    (tmp_path / "api_key").write_text("another key")
    server = ServerConfig(urls=(fakes[0].url,), **settings)
    with pytest.raises(RolloutError, match=r"refuses the API key(.|\n)*api_key_file"):
        ServerEngine("policy", RolloutConfig(server=server), PROCESSOR, ())


def test_broken_weights_stop_the_run(make_engine, fakes, prompts):
    fakes[0].behave = lambda count, body: "nan"
    engine = make_engine(replicas=fakes[:1])
    with pytest.raises(RolloutError, match=r"prompt 0/cot.*not finite; the weights of the policy"):
        engine.generate(prompts[:1], SAMPLING)
    engine.sync_weights([("a", torch.ones(1))], step=6)
    with pytest.raises(RolloutError, match=r"finite; sync 1, at step 6 of the run, brought such"):
        engine.generate(prompts[:1], SAMPLING)


def test_no_address_and_no_key(tmp_path):
    config = RolloutConfig(server=ServerConfig(dir=str(tmp_path), urls=("http://127.0.0.1:9",)))
    with pytest.raises(ConfigError, match=r"no API key in .*api_key_file"):
        ServerEngine("policy", config, PROCESSOR, ())
    config = RolloutConfig(server=ServerConfig(dir=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"no addresses in .*serve-rollouts"):
        ServerEngine("policy", config, PROCESSOR, ())
    with pytest.raises(ConfigError, match="expected http://HOST:PORT, got 'host:1'"):
        ServerConfig(urls=("host:1",))


def test_folders_of_weights_keep_the_newest_two_and_those_with_frozen_weights(tmp_path):
    folders = WeightFolders(tmp_path, "run")
    whole = {"frozen": torch.zeros(1), "trained": torch.ones(1)}
    folders.keep(1, whole.items())
    assert [f[-7:] for f in folders.current] == ["v000001"]
    for version in (2, 3, 4):
        folders.keep(version, [("trained", torch.full((1,), float(version)))])
    assert [f[-7:] for f in folders.current] == ["v000001", "v000004"]
    kept = sorted(p.name for p in (tmp_path / "run").glob("v*"))
    assert kept == ["v000001", "v000003", "v000004"]
    folders.keep(5, whole.items())
    assert [f[-7:] for f in folders.current] == ["v000005"]
    folders.close()
    assert not list(tmp_path.iterdir())


def test_weights_of_a_killed_run_are_deleted_and_those_of_a_live_one_are_not(tmp_path):
    (tmp_path / "killed" / "v000001").mkdir(parents=True)
    alive, new = WeightFolders(tmp_path, "alive"), WeightFolders(tmp_path, "new")
    alive.keep(1, [("a", torch.ones(1))])
    new.keep(1, [("a", torch.ones(1))])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alive", "new"]
    alive.close()
    new.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RolloutError, match=r"sync 3 cannot be written to .*rollouts.server.dir"):
        WeightFolders(tmp_path / "file", "run").keep(3, [("a", torch.ones(1))])
