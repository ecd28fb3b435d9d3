"""The implicit reward against plain forward passes, for policies and for adapters."""

import dataclasses

import pytest
import torch

from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.inference.implicit_reward import ImplicitReward, completion_ids, load_pair
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.loading import load_policy
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzle
from tests.inference.pairs import plain_row, processor_of, save_adapters, save_policies


@pytest.fixture(scope="module")
def folders(tiny_config, tmp_path_factory):
    """Two tiny policies; read them, never write to them."""
    return save_policies(tiny_config, tmp_path_factory.mktemp("pair"), (0, 1))


@pytest.fixture(scope="module")
def prompt():
    puzzle = sample_puzzle("held_out", 0, 7, PuzzleConfig())
    return Prompt("p", puzzle, "cot", COT_PROMPT, (render_png(puzzle, RenderConfig(36)),))


def texts_of(prompt):
    gold = gold_chain(prompt.puzzle)
    return [gold, "### Answer: A", gold[:40]]


def check_rows(rewards, folders, prompt, ids):
    """Holds every row equal to a plain pass of its own."""
    policy, reference = folders
    processor = processor_of(policy)
    assert rewards.mask.sum(1).tolist() == [len(row) for row in ids]
    for g, row in enumerate(ids):
        for found, path in ((rewards.policy, policy), (rewards.reference, reference)):
            expected = plain_row(path, processor, prompt, row)
            torch.testing.assert_close(found[g, : len(row)], expected, atol=2e-5, rtol=1e-5)
            assert not found[g, len(row) :].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_that_of_a_plain_pass(family, tiny_config, prompt, tmp_path):
    config = dataclasses.replace(tiny_config, family=family)
    folders = save_policies(config, tmp_path, (0, 1))
    scorer = load_pair(*map(str, folders), device="cpu")
    tokenizer = scorer.processor.tokenizer
    ids = [completion_ids(tokenizer, text) for text in texts_of(prompt)]
    rewards = scorer.score(prompt, ids)
    check_rows(rewards, folders, prompt, ids)
    assert scorer.why_plain is None
    expected = (rewards.policy - rewards.reference).sum(1)
    torch.testing.assert_close(rewards.total, expected)
    assert rewards.reward[0].abs().max() > 1e-3
    # a text is its tokens and the end
    again = scorer.score(prompt, texts_of(prompt))
    assert torch.equal(again.reward, rewards.reward)


def test_plain_rows_in_pieces_give_the_same(folders, prompt):
    scorer = load_pair(*map(str, folders), device="cpu")
    shared = scorer.score(prompt, texts_of(prompt))
    plain = load_pair(*map(str, folders), device="cpu", pack_tokens=1)
    plain._pass.why_plain = "asked for by this test"
    found = plain.score(prompt, texts_of(prompt))
    torch.testing.assert_close(found.policy, shared.policy, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.reference, shared.reference, atol=2e-5, rtol=1e-5)


def test_a_policy_without_a_shared_form_says_why(folders, prompt, processor):
    models = [load_policy(PolicyConfig(path=str(folder))) for folder in folders]
    # it is read by nobody but the check
    models[1].config.text_config.final_logit_softcapping = 30.0
    scorer = ImplicitReward(*models, processor)
    assert "final_logit_softcapping" in scorer.why_plain
    rewards = scorer.score(prompt, texts_of(prompt))
    ids = [completion_ids(processor.tokenizer, text) for text in texts_of(prompt)]
    check_rows(rewards, folders, prompt, ids)


@pytest.mark.parametrize("is_reference", [False, True])
def test_adapters_on_their_base_share_its_weights(folders, prompt, tmp_path, is_reference):
    base, _ = folders
    adapter = save_adapters(base, tmp_path / "adapter", 3)
    pair = (str(base), str(adapter)) if is_reference else (str(adapter), str(base))
    scorer = load_pair(*pair, device="cpu")
    assert scorer.policy.model is scorer.reference.model
    rewards = scorer.score(prompt, texts_of(prompt))
    row = completion_ids(scorer.processor.tokenizer, texts_of(prompt)[0])
    plain = plain_row(base, scorer.processor, prompt, row)
    of_base = rewards.policy if is_reference else rewards.reference
    torch.testing.assert_close(of_base[0, : len(row)], plain, atol=2e-5, rtol=1e-5)
    assert rewards.reward[0].abs().max() > 1e-3


def test_two_adapters_are_asked_in_turn(folders, prompt, tmp_path):
    base, _ = folders
    one, two = (save_adapters(base, tmp_path / str(seed), seed) for seed in (3, 4))
    both = load_pair(str(one), str(two), device="cpu").score(prompt, texts_of(prompt))
    first = load_pair(str(one), str(base), device="cpu").score(prompt, texts_of(prompt))
    second = load_pair(str(two), str(base), device="cpu").score(prompt, texts_of(prompt))
    torch.testing.assert_close(both.policy, first.policy, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(both.reference, second.policy, atol=2e-5, rtol=1e-5)
    assert both.reward.abs().max() > 1e-3


def test_scoring_leaves_a_model_as_it_was(folders, prompt, processor):
    policy, reference = (load_policy(PolicyConfig(path=str(folder))) for folder in folders)
    policy.train()
    ImplicitReward(policy, reference, processor).score(prompt, texts_of(prompt))
    assert policy.training and all(p.grad is None for p in policy.parameters())


def test_empty_completions(folders, prompt):
    scorer = load_pair(*map(str, folders), device="cpu")
    none = scorer.score(prompt, [])
    assert none.reward.shape == (0, 0) and none.total.shape == (0,)
    empty = scorer.score(prompt, [[], []])
    assert empty.reward.shape == (2, 0) and empty.total.tolist() == [0.0, 0.0]
    mixed = scorer.score(prompt, [[], [9, 8]])
    assert mixed.lengths.tolist() == [0, 2] and mixed.total[0] == 0 != mixed.total[1]


def test_a_completion_with_a_placeholder_is_refused(folders, prompt):
    scorer = load_pair(*map(str, folders), device="cpu")
    with pytest.raises(DataError, match="p, completion 1: has the image placeholder"):
        scorer.score(prompt, ["A", "A<|image_pad|>"])


def test_an_image_that_the_policy_cannot_take_is_named(folders, prompt):
    scorer = load_pair(*map(str, folders), device="cpu")
    with pytest.raises(DataError, match="expected an image that Pillow can read"):
        scorer.score(dataclasses.replace(prompt, images=(b"no image",)), ["A"])


def test_weights_that_are_no_numbers_are_told(folders, prompt, processor):
    models = [load_policy(PolicyConfig(path=str(folder))) for folder in folders]
    with torch.no_grad():
        next(iter(models[0].get_decoder().parameters())).fill_(float("nan"))
    scorer = ImplicitReward(*models, processor)
    with pytest.raises(DataError, match="p: logprobs that are no numbers"):
        scorer.score(prompt, ["### Answer: A"])
