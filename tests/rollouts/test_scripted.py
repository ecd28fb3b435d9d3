"""The scripted engine keeps an engine's promises: order, versions, limits, one logprob a token."""

import pytest
import torch

from rl_avr.contracts import Prompt
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine


@pytest.fixture
def prompts(puzzle):
    return [Prompt(name, puzzle, "cot", "Which?", b"") for name in ("first", "second")]


def test_groups_in_order_each_with_its_own_words(prompts):
    engine = ScriptedEngine(lambda prompt, index: f"{prompt.prompt_id}{index}")
    groups = engine.generate(prompts, 3, SamplingConfig(), seed=0)
    assert [group.prompt for group in groups] == prompts
    assert [[c.text for c in group.completions] for group in groups] == [
        ["first0", "first1", "first2"],
        ["second0", "second1", "second2"],
    ]


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
    (group, _) = engine.generate(prompts, 1, SamplingConfig(max_new_tokens=limit), seed=0)
    (completion,) = group.completions
    assert completion.text == kept
    assert completion.token_ids == tuple(map(ord, kept))
    assert len(completion.sampling_logprobs) == len(kept)
    assert completion.finish_reason == reason


def test_the_limit_counts_the_given_encoding_s_tokens(prompts):
    engine = ScriptedEngine(
        lambda prompt, index: "one two three", lambda text: [len(word) for word in text.split()]
    )
    (group, _) = engine.generate(prompts, 1, SamplingConfig(max_new_tokens=2), seed=0)
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
        before = engine.generate(prompts, 1, SamplingConfig(), seed=0)
        engine.sync_weights(weights())
        after = engine.generate(prompts, 1, SamplingConfig(), seed=0)
    assert seen == ["a", "b"]
    assert [group[0].completions[0].weights_version for group in (before, after)] == [0, 1]
