"""What every engine that loads a policy is checked for."""

from dataclasses import replace

import pytest

from rl_avr.chat import unexpanded_prompt_ids
from rl_avr.errors import RolloutError
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling
from rollouts.prompt_inputs import processed_prompt


def assert_images_count_among_the_tokens(engine, make_prompt_of_length, processor):
    """Asks an engine of 256 tokens: the text with one mark an image would fit, what it sees not."""
    sampling = Sampling(SamplingConfig(max_new_tokens=40), 2, 1)
    fits, long = make_prompt_of_length(0, 255), make_prompt_of_length(1, 256)
    assert len(unexpanded_prompt_ids(processor, long.text, 1)) == 256 - 19
    with pytest.raises(
        RolloutError,
        match="prompt 1/cot has 256 tokens, its images' included; rollouts.max_model_len is 256",
    ):
        engine.generate([fits, long], sampling)
    (group,) = engine.generate([fits], sampling)
    assert len(group.prompt_token_ids) == 255
    assert {(len(c.token_ids), c.finish_reason) for c in group.completions} == {(1, "length")}


def assert_goes_on_from_a_prefill(engine, prompt, processor):
    """Begins the turn with the first half of the engine's own greedy chain; the rest must follow.

    The chain is long enough that no other beginning would lead to its end.
    """
    greedy = Sampling(SamplingConfig(temperature=0.0, max_new_tokens=112), 1, 1)
    (whole,) = engine.generate([prompt], greedy)
    (chain,) = whole.completions
    half = len(chain.token_ids) // 2
    text = processor.tokenizer.decode(chain.token_ids[:half])
    begun = replace(prompt, prompt_id=f"{prompt.prompt_id}#begun", prefill=text)
    # what stands beside it in the call begins with nothing
    (group, free) = engine.generate([begun, prompt], greedy)
    assert free.prompt_token_ids == whole.prompt_token_ids
    assert group.prompt_token_ids == whole.prompt_token_ids + chain.token_ids[:half]
    assert group.prompt_token_ids == tuple(processed_prompt(processor, begun)["input_ids"][0])
    assert half > 10 and group.completions[0].token_ids == chain.token_ids[half:]
    assert text + group.completions[0].text == chain.text
    ended = replace(begun, prefill=text + processor.tokenizer.eos_token)
    with pytest.raises(RolloutError, match=rf"{prompt.prompt_id}#begun: expected words .* got the"):
        engine.generate([ended], greedy)
