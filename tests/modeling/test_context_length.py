"""The least of two limits."""

from types import SimpleNamespace

import pytest

from rl_avr.modeling.context_length import max_tokens


@pytest.mark.parametrize(
    ("max_length", "context", "limit"),
    [
        (100, 4096, (100, "trainer.max_length")),
        (10_000, 4096, (4096, "the context of the policy")),
        (None, 4096, (4096, "the context of the policy")),
        (100, None, (100, "trainer.max_length")),
        (None, None, (None, "nothing")),
    ],
)
def test_the_least_of_both_lengths_is_the_limit(max_length, context, limit):
    named = {} if context is None else {"max_position_embeddings": context}
    text = SimpleNamespace(to_dict=lambda: named)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))
    assert max_tokens(max_length, model) == limit
