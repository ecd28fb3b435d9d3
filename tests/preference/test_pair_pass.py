"""Both ways of the pass over pairs, in every family."""

import logging

import pytest
import torch
from accelerate import Accelerator
from trl.trainer.utils import add_fused_lm_head

from rl_avr.modeling.config import SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.small_policy import build_small_policy
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.pair_pass import PairPass
from rl_avr.preference.pair_record import read_pairs
from rl_avr.preference.train_config import CountedConfig
from rl_avr.training.config import UpdateConfig
from tests.modeling.shared_prefix_cases import SHAPE
from tests.preference.pair_cases import PLAIN, make_pairs


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), blind={1})


def made(family, pairs_folder):
    """Returns a policy as trl's DPO trainer prepares it, and a batch of its pairs."""
    torch.set_num_threads(1)
    model, processor = build_small_policy(SmallPolicyConfig(**{**vars(SHAPE), "family": family}))
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    pairs = list(read_pairs(pairs_folder))
    collator = PairCollator(processor, pairs, pairs_folder, CountedConfig())
    return model.eval(), collator.batch(range(len(pairs)))


@pytest.mark.parametrize("family", FAMILIES)
def test_both_ways_give_the_same_logprobs_and_gradients(family, pairs_folder):
    model, batch = made(family, pairs_folder)
    found, gradients = [], []
    for update in (UpdateConfig(), PLAIN):
        pair_pass = PairPass(update, 0, 8, Accelerator(cpu=True))
        pair_pass.enable(model)
        logprobs_BC, entropies_BC = pair_pass(model, batch)
        assert (pair_pass.why_plain is None) == update.shared_prefix
        model.zero_grad()
        (logprobs_BC * batch.weights_BC).sum().backward()
        gradients.append(model.get_decoder().layers[0].mlp.up_proj.weight.grad.clone())
        found.append((logprobs_BC.detach(), entropies_BC))
        assert not entropies_BC.requires_grad
    for shared, plain in zip(*found, strict=True):
        torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
        # rows that fill up a question have nothing
        assert not plain[~batch.completion_mask_BC.bool()].any()
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-4


def test_a_policy_without_a_form_goes_the_plain_way_with_a_word(pairs_folder, caplog):
    model, batch = made("qwen2_5_vl", pairs_folder)
    expected, _ = PairPass(PLAIN, 0, 8, Accelerator(cpu=True))(model, batch)
    model.config.text_config.final_logit_softcapping = 30.0
    pair_pass = PairPass(UpdateConfig(), 0, 8, Accelerator(cpu=True))
    with caplog.at_level(logging.WARNING):
        pair_pass.enable(model)
        found, _ = pair_pass(model, batch)
    reason = "changes its logits by final_logit_softcapping"
    assert reason in pair_pass.why_plain and reason in caplog.text
    assert found.equal(expected)
