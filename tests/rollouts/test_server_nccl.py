"""Weights over NCCL: what the trainer asks of replicas, and what it does when one fails.

A sender that is no NCCL stands for vLLM's, and fake replicas for vLLM's server; with
vLLM's own classes on both sides the way is run in test_server_families.
"""

import threading
from types import SimpleNamespace

import pytest
import torch

from rl_avr.errors import ConfigError, RolloutError
from rollouts.config import RolloutConfig, SamplingConfig, ServerConfig
from rollouts.engine import Sampling
from rollouts.server_engine import ServerEngine
from rollouts.server_launch import replica_arguments
from rollouts.server_nccl import NcclWeights, _address_towards
from rollouts.server_transport import make_transport, transfer_way
from rollouts.server_weights import WeightFolders
from tests.rollouts.fake_server import KEY, FakeReplica, wait_until

JOIN = ["/shutdown_weight_transfer_engine", "/init_weight_transfer_engine"]
UPDATE = [
    *("/pause", "/start_weight_update", "/update_weights", "/finish_weight_update"),
    *("/collective_rpc", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"),
    *("/update_weight_version", "/resume"),
]
PROCESSOR = SimpleNamespace(
    tokenizer=SimpleNamespace(
        bos_token="<s>", batch_decode=lambda ids, **_: ["/".join(map(str, i)) for i in ids]
    ),
    apply_chat_template=lambda messages, **_: "USER:",
)


class Sender:
    """The calls of vLLM's sender, in its order; what it would broadcast it writes down.

    Its broadcast ends when the replica has answered, as that of NCCL would: never, where
    the replica fails, until it is aborted.
    """

    def __init__(self, calls, source, address, num_ranks):
        self.calls, self.source = calls, source
        self.joined = (address, num_ranks)
        self.sent = []
        self.has_ended = threading.Event()
        self.is_shut = self.was_left_waiting = False
        calls.init_weight_transfer_engine({"master_address": address, "world_size": num_ranks})

    def send_weights(self):
        names = [meta.name for meta in self.source.metadata()]
        self.calls.start_weight_update()

        def update():
            try:
                self.calls.update_weights({"names": names})
                self.has_ended.set()
            except Exception:  # as in vLLM, where the broadcast waits on
                pass

        threading.Thread(target=update, daemon=True).start()
        self.sent.append({name: weight.tolist() for name, weight in self.source})
        self.was_left_waiting = not self.has_ended.wait(10)
        self.has_ended.clear()
        if self.is_shut or self.was_left_waiting:
            raise RuntimeError("aborted")
        self.calls.finish_weight_update()

    def shutdown(self):
        self.is_shut = True
        self.has_ended.set()


@pytest.fixture
def fakes():
    made = [FakeReplica() for _ in range(2)]
    yield made
    for fake in made:
        fake.stop()


@pytest.fixture
def senders():
    """Every group that was opened, by the replica's address, oldest first."""
    return {}


@pytest.fixture
def make_engine(fakes, senders, tmp_path, monkeypatch):
    monkeypatch.setattr("rollouts.server_nccl._GRACE_S", 0.2)
    (tmp_path / "api_key").write_text(KEY)
    engines = []

    def open_sender(calls, *args):
        sender = Sender(calls, *args)
        senders.setdefault(calls._client.url, []).append(sender)
        return sender

    def make(replicas=fakes, **changes):
        server = ServerConfig(
            urls=tuple(fake.url for fake in replicas),
            dir=str(tmp_path),
            **{"health_interval_s": 0.05, "wait_timeout_s": 10.0, **changes},
        )
        config = RolloutConfig(engine="vllm_server", server=server)
        engine = ServerEngine(
            "policy", config, PROCESSOR, (), lambda *_: NcclWeights("cpu", open_sender)
        )
        engines.append(engine)
        wait_until(lambda: all(r.state == "up" for r in engine._pool.replicas))
        return engine

    yield make
    for engine in engines:
        engine.close()


def posted(fake):
    """Paths of the posts since the last look."""
    calls, fake.calls = fake.calls, []
    return calls


def check_only_second_is_up(engine, problem):
    """The first is asked again and again, and is between two looks `down` with its problem."""
    first, second = engine._pool.replicas
    assert (first.state != "up", second.state) == (True, "up")
    wait_until(lambda: problem in first.problem)


def assert_aborted(sender):
    """Its broadcast was ended by the trainer, and did not have to end by itself."""
    assert sender.is_shut and not sender.was_left_waiting


def sent_to(senders, fake):
    return [sent for sender in senders[fake.url] for sent in sender.sent]


def test_a_replica_joins_once_and_gets_what_has_changed(make_engine, fakes, senders):
    engine = make_engine(fakes[:1])
    posted(fakes[0])
    engine.sync_weights([("frozen", torch.zeros(1)), ("trained", torch.ones(2))])
    assert posted(fakes[0]) == [*JOIN, *UPDATE]
    assert fakes[0].bodies["/init_weight_transfer_engine"]["init_info"] == {
        "master_address": "127.0.0.1",
        "world_size": 2,
    }
    assert fakes[0].bodies["/update_weights"] == {"update_info": {"names": ["frozen", "trained"]}}
    assert fakes[0].bodies["/collective_rpc"]["args"] == []
    engine.sync_weights([("trained", torch.full((2,), 2.0))])
    assert posted(fakes[0]) == UPDATE
    assert sent_to(senders, fakes[0]) == [
        {"frozen": [0.0], "trained": [1.0, 1.0]},
        {"trained": [2.0, 2.0]},
    ]
    assert fakes[0].version.endswith("/2")


def test_what_is_sent_is_what_the_sync_brought_and_not_what_became_of_it(
    make_engine, fakes, senders
):
    """The policy moves on in place; a replica that returns later gets the weights of the sync."""
    engine = make_engine()
    weight = torch.ones(1)
    engine.sync_weights([("a", weight)])
    engine.sync_weights([("b", torch.zeros(1))])
    weight += 1
    port = fakes[0].port
    fakes[0].stop()
    wait_until(lambda: engine._pool.replicas[0].state == "down")
    fakes[0] = FakeReplica(port=port)
    wait_until(lambda: engine._pool.replicas[0].state == "up")
    assert posted(fakes[0]) == [*JOIN, *UPDATE]
    assert sent_to(senders, fakes[0])[-1] == {"a": [1.0], "b": [0.0]}
    assert fakes[0].version == fakes[1].version
    first, second = senders[fakes[0].url]
    assert first.is_shut and not second.is_shut
    assert len(senders[fakes[1].url]) == 1


@pytest.mark.parametrize("path", ["/start_weight_update", "/update_weights", "/collective_rpc"])
def test_a_replica_that_fails_in_the_middle_costs_the_others_nothing(
    make_engine, fakes, senders, path
):
    """The broadcast that waits for it is aborted, its group is given up, and it may return."""
    engine = make_engine()
    engine.sync_weights([("a", torch.ones(1)), ("b", torch.ones(1))])
    fakes[0].broken.add(path)
    engine.sync_weights([("a", torch.zeros(1))])
    check_only_second_is_up(engine, path)
    assert_aborted(senders[fakes[0].url][0])
    assert sent_to(senders, fakes[1]) == [{"a": [1.0], "b": [1.0]}, {"a": [0.0]}]
    fakes[0].broken.clear()
    wait_until(lambda: engine._pool.replicas[0].state == "up")
    assert senders[fakes[0].url][-1].sent == [{"a": [0.0], "b": [1.0]}]
    assert not senders[fakes[0].url][-1].is_shut


def test_a_replica_that_does_not_answer_is_aborted_at_the_request_timeout(
    make_engine, fakes, senders
):
    engine = make_engine(request_timeout_s=1.0)
    engine.sync_weights([("a", torch.ones(1))])
    fakes[0].slow["/update_weights"] = 30.0
    engine.sync_weights([("a", torch.zeros(1))])
    check_only_second_is_up(engine, "/update_weights: no answer within 1 s")
    assert_aborted(senders[fakes[0].url][0])
    fakes[0].slow.clear()


def test_a_replica_that_was_not_started_for_nccl_is_said_so(make_engine, fakes):
    engine = make_engine(fakes[:1])
    fakes[0].broken.add("/init_weight_transfer_engine")
    fakes[0].message = "Weight transfer not configured. Please set weight_transfer_config"
    with pytest.raises(RolloutError, match="was started without NCCL.*weight_transfer folder"):
        engine.sync_weights([("a", torch.ones(1))])


def test_samples_are_of_the_new_weights(make_engine, fakes, puzzle):
    from rl_avr.contracts import Prompt

    engine = make_engine()
    engine.sync_weights([("a", torch.ones(1))])
    groups = engine.generate(
        [Prompt("0", puzzle, "cot", "?", ())], Sampling(SamplingConfig(), 2, 5)
    )
    assert {c.weights_version for c in groups[0].completions} == {1}


def test_closing_ends_every_group(make_engine, fakes, senders):
    engine = make_engine()
    engine.sync_weights([("a", torch.ones(1))])
    engine.close()
    assert all(sender.is_shut for opened in senders.values() for sender in opened)


def test_the_way_that_fits_the_machine(tmp_path):
    auto, nccl, folder = (ServerConfig(weight_transfer=w) for w in ("auto", "nccl", "folder"))
    assert [transfer_way(c, on_gpu=True) for c in (auto, nccl, folder)] == [
        "nccl",
        "nccl",
        "folder",
    ]
    assert [transfer_way(c, on_gpu=False) for c in (auto, folder)] == ["folder", "folder"]
    with pytest.raises(ConfigError, match="weight_transfer nccl: .*torch sees none.*set folder"):
        transfer_way(nccl, on_gpu=False)
    assert isinstance(make_transport(ServerConfig(dir=str(tmp_path)), "run"), WeightFolders)


def test_replicas_on_gpus_are_started_for_nccl_unless_the_folder_is_asked_for():
    def arguments(way, on_gpu):
        config = RolloutConfig(server=ServerConfig(weight_transfer=way))
        return replica_arguments("policy", "float32", config, 8100, on_gpu)

    flag = '--weight-transfer-config={"backend": "nccl"}'
    assert flag in arguments("auto", True)
    assert flag in arguments("nccl", True)
    assert flag not in arguments("folder", True)
    assert flag not in arguments("auto", False)


def test_the_address_by_which_a_replica_reaches_the_trainer():
    assert _address_towards("http://127.0.0.1:8100") == "127.0.0.1"
    assert _address_towards("http://localhost:8100") in ("127.0.0.1", "::1")
