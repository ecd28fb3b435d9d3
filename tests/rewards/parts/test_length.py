"""Length: DAPO's soft punishment between 0 and 1."""

import dataclasses

import pytest

from rewards.parts.length import length
from rl_avr.parsing import parse


def of(text, num_tokens, finish="stop"):
    return dataclasses.replace(parse(text, 8, finish), num_tokens=num_tokens)


@pytest.mark.parametrize(
    ("num_tokens", "buffer", "value"),
    [
        (0, 40, 1.0),
        (59, 40, 1.0),
        (60, 40, 1.0),
        (61, 40, 39 / 40),
        (80, 40, 0.5),
        (99, 40, 1 / 40),
        (100, 40, 0.0),
        (101, 40, 0.0),
        (10**9, 40, 0.0),
        # no buffer: a step
        (99, 0, 1.0),
        (100, 0, 0.0),
        # nothing but buffer
        (0, 100, 1.0),
        (1, 100, 0.99),
        (50, 100, 0.5),
    ],
)
def test_by_hand(chain, num_tokens, buffer, value):
    assert length(of(chain, num_tokens), 100, buffer) == pytest.approx(value)


def test_it_never_rises_with_the_length(chain):
    for buffer in (0, 1, 7, 50):
        values = [length(of(chain, n), 50, buffer) for n in range(60)]
        assert values == sorted(values, reverse=True)
        assert set(values[50:]) == {0.0}


@pytest.mark.parametrize("text", ["", "C", "### Answer: C", "### Answer: C\n### Answer: C"])
def test_an_empty_or_malformed_text_does_not_earn_by_being_short(text):
    assert length(of(text, 3), 100, 40) == 0.0


def test_a_truncated_text_earns_nothing_even_below_the_limit(chain):
    assert length(of(chain, 50, "length"), 100, 40) == 0.0


def test_without_a_number_of_tokens_it_cannot_be_judged(chain):
    for text in (chain, ""):
        assert length(of(text, None), 100, 40) is None
