"""What every engine that loads a policy is checked for."""

import pytest

from rl_avr.chat import unexpanded_prompt_ids
from rl_avr.errors import RolloutError
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling


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
