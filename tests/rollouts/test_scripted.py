"""The scripted engine keeps an engine's promises: order, versions, limits, one logprob a token."""

import dataclasses

import pytest
import torch

from rl_avr.contracts import Prompt
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling
from rollouts.scripted import ScriptedEngine


@pytest.fixture
def prompts(puzzle):
    return [Prompt(name, puzzle, "cot", "Which?", ()) for name in ("first", "second")]


def test_groups_in_order_each_with_its_own_words(prompts):
    engine = ScriptedEngine(lambda prompt, index: f"{prompt.prompt_id}{index}")
    groups = engine.generate(prompts, Sampling(SamplingConfig(), 3, 0))
    assert [group.prompt for group in groups] == prompts
    assert [[c.text for c in group.completions] for group in groups] == [
        ["first0", "first1", "first2"],
        ["second0", "second1", "second2"],
    ]


def test_what_comes_behind_a_prefill_is_all_that_is_given_back(prompts):
    engine = ScriptedEngine(lambda prompt, index: f" behind {prompt.prefill!r}")
    begun = dataclasses.replace(prompts[0], prefill="Because")
    groups = engine.generate([begun, prompts[1]], Sampling(SamplingConfig(), 1, 0))
    assert [group.completions[0].text for group in groups] == [" behind 'Because'", " behind ''"]


@pytest.mark.parametrize(
    ("text", "limit", "kept", "reason"),
    [
        ("abcd", 5, "abcd", "stop"),
        ("abcd", 4, "abcd", "stop"),
        ("abcd", 3, "abc", "length"),
        ("", 1, "", "stop"),
    ],
)
def test_a_text_beyond_the_limit_is_cut_there(prompts, text, limit, kept, reason):
    engine = ScriptedEngine(lambda prompt, index: text)
    (group, _) = engine.generate(prompts, Sampling(SamplingConfig(max_new_tokens=limit), 1, 0))
    (completion,) = group.completions
    assert completion.text == kept
    assert completion.token_ids == tuple(map(ord, kept))
    assert len(completion.sampling_logprobs) == len(kept)
    assert completion.finish_reason == reason


def test_the_limit_counts_the_given_encoding_s_tokens(prompts):
    engine = ScriptedEngine(
        lambda prompt, index: "one two three", lambda text: [len(word) for word in text.split()]
    )
    (group, _) = engine.generate(prompts, Sampling(SamplingConfig(max_new_tokens=2), 1, 0))
    (completion,) = group.completions
    assert (completion.text.strip(), completion.token_ids) == ("one two", (3, 3))
    assert completion.finish_reason == "length"


def test_a_sync_reads_every_weight_and_raises_the_version(prompts):
    seen = []

    def weights():
        for name in ("a", "b"):
            seen.append(name)
            yield name, torch.zeros(1)

    with ScriptedEngine(lambda prompt, index: "x") as engine:
        before = engine.generate(prompts, Sampling(SamplingConfig(), 1, 0))
        engine.sync_weights(weights())
        after = engine.generate(prompts, Sampling(SamplingConfig(), 1, 0))
    assert seen == ["a", "b"]
    assert [group[0].completions[0].weights_version for group in (before, after)] == [0, 1]


def test_the_protocol(prompts, check_engine):
    engine = ScriptedEngine(lambda prompt, index: "abcdefghijklmnopqrstuvwxyz"[: 20 + 3 * index])
    check_engine(engine, prompts, lambda: iter([("a", torch.zeros(1))]))


def test_a_permuted_batch_is_the_same_bits(prompts):
    engine = ScriptedEngine(lambda prompt, index: f"{prompt.prompt_id}{index}")
    sampling = Sampling(SamplingConfig(), 3, 0)
    assert engine.generate(prompts[::-1], sampling)[::-1] == engine.generate(prompts, sampling)


def test_no_two_prompts_share_a_completions_seed(prompts):
    """vLLM gives completion i of a request the request's seed plus i."""
    many = [dataclasses.replace(prompts[0], prompt_id=f"train-{i:06d}/cot") for i in range(1000)]
    sampling = Sampling(SamplingConfig(), 32, 7)
    seeds = [sampling.prompt_seed(prompt, 3) for prompt in many]
    assert len({seed + i for seed in seeds for i in range(32)}) == 32_000
    assert all(0 <= seed < 2**63 - 32 for seed in seeds)
    gaps = [b - a for a, b in zip(sorted(seeds), sorted(seeds)[1:], strict=False)]
    assert min(gaps) > 1000


def test_a_prompts_seed_hangs_on_run_prompt_and_weights_alone(prompts):
    first, second = prompts
    sampling = Sampling(SamplingConfig(), 4, 7)
    seed = sampling.prompt_seed(first, 0)
    assert Sampling(SamplingConfig(temperature=0.5), 8, 7).prompt_seed(first, 0) == seed
    others = {
        sampling.prompt_seed(second, 0),
        sampling.prompt_seed(first, 1),
        Sampling(SamplingConfig(), 4, 8).prompt_seed(first, 0),
    }
    assert seed not in others and len(others) == 3
