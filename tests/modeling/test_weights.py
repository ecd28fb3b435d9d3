"""Weights on their way to an engine, and logits without the banned tokens."""

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import part_of, train_only
from rl_avr.modeling.loading import load_policy
from rl_avr.modeling.weights import mask_logits, named_weights


def test_every_parameter_comes_once_and_tied_ones_under_the_input_embedding(model):
    sent = list(named_weights(model))
    names = [name for name, _ in sent]
    assert len(set(names)) == len(names)
    assert "model.language_model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    assert {t.data_ptr() for _, t in sent} == {p.data_ptr() for p in model.parameters()}
    assert not any(tensor.requires_grad for _, tensor in sent)


def test_sent_weights_make_another_policy_equal(model, tiny_config):
    from rl_avr.modeling.small_policy import build_small_policy

    other, _ = build_small_policy(tiny_config)
    ids = torch.tensor([[9, 8, 7, 300]])
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert not torch.equal(other(input_ids=ids).logits, model(input_ids=ids).logits)
        missing, unexpected = other.load_state_dict(dict(named_weights(model)), strict=False)
        assert torch.equal(other.eval()(input_ids=ids).logits, model(input_ids=ids).logits)
    assert unexpected == []
    assert missing == ["lm_head.weight"]


def test_masked_tokens_have_no_probability_and_the_others_share_it(model, processor):
    banned = list(banned_token_ids(processor))
    ids = torch.tensor([[9, 8, 7, 300]])
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        mask_logits(model, banned)
        masked = model(input_ids=ids).logits
    logprobs = torch.log_softmax(masked, -1)
    probabilities = logprobs.exp()
    assert (probabilities[..., banned] == 0).all()
    kept = [i for i in range(plain.shape[-1]) if i not in banned]
    assert torch.equal(masked[..., kept], plain[..., kept])
    # renormalised: log p - log(sum of the kept probabilities)
    before = torch.log_softmax(plain, -1)[..., kept]
    expected = before - before.logsumexp(-1, keepdim=True)
    assert torch.allclose(logprobs[..., kept], expected, atol=1e-6)
    assert torch.isfinite(logprobs).all()


def test_masked_tokens_move_no_weight_and_nothing_becomes_nan(model, processor):
    banned = list(banned_token_ids(processor))
    mask_logits(model, banned)
    logprobs = torch.log_softmax(model(input_ids=torch.tensor([[20, 21, 22]])).logits, -1)
    entropy = -(logprobs.exp() * logprobs).sum()
    assert torch.isfinite(entropy)
    entropy.backward()
    gradients = model.get_input_embeddings().weight.grad
    assert torch.isfinite(gradients).all()
    # tied to the head: a token that was neither read nor possible gets no gradient
    assert (gradients[banned] == 0).all()
    assert (gradients[10:100] != 0).any()


def test_low_precision_is_masked_too(model):
    ids = torch.tensor([[9, 8]])
    mask_logits(model, [3, 4])
    for dtype in (torch.bfloat16, torch.float16):
        copy = model.to(dtype)
        with torch.no_grad():
            probabilities = torch.softmax(copy(input_ids=ids).logits.float(), -1)
        assert (probabilities[..., [3, 4]] == 0).all()
        assert torch.allclose(probabilities.sum(-1), torch.ones(1, 2), atol=1e-5)


def test_without_banned_tokens_nothing_changes(model):
    ids = torch.tensor([[9, 8, 7]])
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        mask_logits(model, [])
        assert torch.equal(model(input_ids=ids).logits, plain)


@pytest.mark.parametrize("part", ["language_model", "vision_tower", "connector"])
def test_a_part_of_which_nothing_is_trained_is_left_out_whole(model, part):
    train_only(model, (part,))
    names = [name for name, _ in named_weights(model, skip_frozen=True)]
    assert names == [name for name, _ in model.named_parameters() if part_of(name) == part]
    assert len(list(named_weights(model))) > len(names) > 0


def test_a_part_is_sent_whole_although_some_of_it_is_frozen(model):
    train_only(model, ("language_model",))
    model.get_input_embeddings().weight.requires_grad_(False)
    names = [name for name, _ in named_weights(model, skip_frozen=True)]
    assert "model.language_model.embed_tokens.weight" in names


def test_trl_s_fused_head_has_no_probability_for_them_either(model, processor):
    """It reads weight and bias of the output head, and never calls the module."""
    from trl.trainer.utils import add_fused_lm_head

    banned = list(banned_token_ids(processor))
    ids = torch.tensor([[9, 8, 20, 300, 21]])
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    with torch.no_grad():
        before = model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs
        mask_logits(model, banned)
        fused = model(input_ids=ids, labels=ids, fused_lm_head=True)
        logprobs = torch.log_softmax(model(input_ids=ids).logits[:, :-1] / 0.7, -1)
    expected = logprobs.gather(-1, ids[:, 1:, None])[..., 0]
    assert torch.allclose(fused.log_probs, expected, atol=1e-6)
    assert (fused.log_probs > before + 1e-4).all()
    assert torch.isfinite(fused.entropy).all()


def test_a_masked_policy_sends_and_saves_what_it_did_before(model, tmp_path):
    names = [name for name, _ in named_weights(model)]
    mask_logits(model, [3, 4])
    assert [name for name, _ in named_weights(model)] == names
    assert "lm_head.bias" not in model.state_dict()
    model.save_pretrained(tmp_path)
    assert load_policy(PolicyConfig(path=str(tmp_path))).lm_head.bias is None


def test_an_output_head_with_a_bias_of_its_own_is_refused(model):
    model.lm_head = torch.nn.Linear(32, model.lm_head.out_features)
    with pytest.raises(ConfigError, match="Qwen2_5_VL.* has a bias of its own"):
        mask_logits(model, [3])
