"""The transformers engine: parity, one reading a puzzle, the same bits whatever the batch."""

import dataclasses

import pytest
import torch

from rl_avr.chat import banned_token_ids
from rl_avr.errors import RolloutError
from rl_avr.modeling.weights import named_weights
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.transformers_engine import TransformersEngine
from tests.rollouts.engine_checks import (
    assert_goes_on_from_a_prefill,
    assert_images_count_among_the_tokens,
)

SAMPLING = SamplingConfig(max_new_tokens=40)


@pytest.fixture
def make_engine(warm_path, warm_processor):
    def make(**settings):
        config = RolloutConfig(engine="transformers", max_images_per_prompt=2, **settings)
        banned = banned_token_ids(warm_processor)
        return TransformersEngine(warm_path, "float32", config, warm_processor, banned)

    return make


@pytest.fixture
def engine(make_engine):
    with make_engine() as engine:
        yield engine


def move(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


def test_the_protocol(engine, policy, make_prompt, check_engine):
    check_engine(engine, [make_prompt(0), make_prompt(1, 2)], lambda: named_weights(policy.model))


def test_logprobs_and_prompt_ids_are_the_policys(engine, policy, make_prompt):
    groups = engine.generate([make_prompt(0), make_prompt(3, 2)], Sampling(SAMPLING, 4, 1))
    assert policy.gaps(groups).max() < 1e-4
    assert policy.gaps(groups).mean() < 1e-5


def test_a_turn_that_has_begun_goes_on(engine, make_prompt, warm_processor):
    assert_goes_on_from_a_prefill(engine, make_prompt(0), warm_processor)


def test_a_puzzle_is_processed_and_encoded_once(engine, make_prompt, warm_processor, monkeypatch):
    preprocess = type(warm_processor.image_processor).preprocess
    processed, encoded = [], []

    def counted(self, images, *args, **kwargs):
        processed.append(images)
        return preprocess(self, images, *args, **kwargs)

    monkeypatch.setattr(type(warm_processor.image_processor), "preprocess", counted)
    tower = engine._model.model.visual
    tower.register_forward_pre_hook(
        lambda _, args, kwargs: encoded.append(kwargs["grid_thw"].shape[0]), with_kwargs=True
    )
    engine.generate([make_prompt(0), make_prompt(1)], Sampling(SAMPLING, 32, 1))
    assert len(processed) == 2
    assert sum(encoded) == 2


def test_a_group_is_the_same_bits_in_any_batch(engine, make_prompt):
    first, second, third = (make_prompt(i) for i in range(3))
    together = engine.generate([first, second, third], Sampling(SAMPLING, 4, 1))
    assert engine.generate([third, first], Sampling(SAMPLING, 4, 1)) == [together[2], together[0]]
    assert engine.generate([first], Sampling(SAMPLING, 4, 2))[0] != together[0]


def test_the_global_random_state_is_left_alone(engine, make_prompt):
    before = torch.get_rng_state()
    engine.generate([make_prompt(0)], Sampling(SAMPLING, 2, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_greedy_is_the_policys_own_generate(engine, policy, make_prompt, warm_processor):
    from rollouts.prompt_inputs import processed_prompt

    prompt = make_prompt(0)
    greedy = SamplingConfig(temperature=0, max_new_tokens=40)
    (group,) = engine.generate([prompt], Sampling(greedy, 1, 1))
    inputs = processed_prompt(warm_processor, prompt)
    theirs = policy.model.generate(**inputs, do_sample=False, max_new_tokens=40)
    assert group.completions[0].token_ids == tuple(
        theirs[0, inputs["input_ids"].shape[1] :].tolist()
    )
    assert policy.gaps([group]).max() < 1e-4


def test_a_large_group_grows_in_parts(make_engine, make_prompt):
    with make_engine(max_num_seqs=3) as engine:
        (group,) = engine.generate([make_prompt(0)], Sampling(SAMPLING, 8, 1))
    assert len(group.completions) == 8
    assert len({c.token_ids for c in group.completions}) > 1


def test_temperature_and_cut_shape_what_is_drawn(engine, policy, make_prompt):
    """At a low temperature and a small top_p every token is the likeliest, with logprob 0."""
    sharp = SamplingConfig(temperature=0.5, top_p=1e-6, max_new_tokens=12)
    greedy = SamplingConfig(temperature=0, max_new_tokens=12)
    (cut,) = engine.generate([make_prompt(0)], Sampling(sharp, 2, 1))
    (likeliest,) = engine.generate([make_prompt(0)], Sampling(greedy, 1, 1))
    assert {c.token_ids for c in cut.completions} == {likeliest.completions[0].token_ids}
    assert cut.completions[0].sampling_logprobs == (0.0,) * 12


def test_after_a_sync_it_samples_from_the_new_weights(engine, policy, make_prompt):
    move(policy.model)
    before = engine.generate([make_prompt(0)], Sampling(SAMPLING, 4, 1))
    assert policy.gaps(before).max() > 0.05
    engine.sync_weights(named_weights(policy.model))
    after = engine.generate([make_prompt(0)], Sampling(SAMPLING, 4, 1))
    assert policy.gaps(after).max() < 1e-4
    assert {c.weights_version for c in after[0].completions} == {1}
    own = {p.data_ptr() for p in engine._model.parameters()}
    assert not own & {p.data_ptr() for p in policy.model.parameters()}


def test_vision_tokens_are_never_sampled(engine, policy, make_prompt, warm_processor):
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(0.0)
    engine.sync_weights(named_weights(policy.model))
    (flat,) = engine.generate([make_prompt(0)], Sampling(SAMPLING, 16, 3))
    sampled = {token for c in flat.completions for token in c.token_ids}
    assert len(sampled) > 100
    assert not sampled & set(banned_token_ids(warm_processor))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: {**w, "nothing": torch.zeros(2)}, r"sync 1: weight nothing \(2,\): .*no such"),
        (lambda w: dict(list(w.items())[1:]), "sync 1: 1 weights never came, first model.visual"),
        (lambda w: {n: t[:1] for n, t in w.items()}, r"weight model.visual\S+ \(1, .*has shape \("),
    ],
)
def test_weights_that_do_not_fit_are_refused(engine, policy, change, expected):
    weights = change(dict(named_weights(policy.model)))
    with pytest.raises(RolloutError, match=expected):
        engine.sync_weights(weights.items())
    assert engine.weights_version == 0


def test_a_later_sync_may_leave_out_what_did_not_change(engine, policy):
    weights = dict(named_weights(policy.model))
    engine.sync_weights(weights.items())
    engine.sync_weights(list(weights.items())[3:])
    assert engine.weights_version == 2


def test_a_prompt_that_does_not_fit_is_named_before_anything_is_sampled(engine, make_prompt):
    fits = make_prompt(0)
    long = dataclasses.replace(make_prompt(1), text="word " * 60)
    with pytest.raises(
        RolloutError, match=r"prompt 1/cot has \d{3} tokens, .*max_model_len is 256"
    ):
        engine.generate([fits, long], Sampling(SAMPLING, 2, 1))
    three = dataclasses.replace(make_prompt(2), images=fits.images * 3)
    with pytest.raises(RolloutError, match="2/cot has 3 images; .*max_images_per_prompt 2"):
        engine.generate([fits, three], Sampling(SAMPLING, 2, 1))


def test_a_completion_that_reaches_the_context_is_marked(make_engine, make_prompt):
    with make_engine(max_model_len=50) as engine:
        (group,) = engine.generate([make_prompt(0)], Sampling(SAMPLING, 2, 1))
    room = 50 - len(group.prompt_token_ids)
    assert {(len(c.token_ids), c.finish_reason) for c in group.completions} == {(room, "length")}


def test_a_prompt_too_long_only_with_its_images_tokens_is_named_with_both_numbers(
    engine, make_prompt_of_length, warm_processor
):
    assert_images_count_among_the_tokens(engine, make_prompt_of_length, warm_processor)


def test_logits_that_are_no_numbers_name_the_step_and_the_sync_that_brought_them(
    engine, policy, make_prompt
):
    engine.sync_weights(
        [(name, torch.full_like(w, torch.nan)) for name, w in named_weights(policy.model)], step=7
    )
    origin = "sync 1, at step 7 of the run, brought"
    with pytest.raises(RolloutError, match=f"0/cot: token 1 .*nan.*{origin}"):
        engine.generate([make_prompt(0)], Sampling(SAMPLING, 2, 1))


def test_a_folder_without_a_policy_is_named(tmp_path, warm_processor):
    with pytest.raises(RolloutError, match="engine transformers: cannot load the policy"):
        TransformersEngine(str(tmp_path), "float32", RolloutConfig(), warm_processor, ())
