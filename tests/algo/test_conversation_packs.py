"""Packs of conversations: whole, within the budget, every trained token once."""

import pytest
import torch

from rl_avr.algo.conversation_packs import first_fit, make_conversation_packs
from rl_avr.algo.shared_prefix import blocks_of
from rl_avr.errors import DataError

CPU = torch.device("cpu")


def made(lengths, trained, budget):
    """Conversation i has the tokens 100 i, 100 i + 1, …; `trained` are places in each."""
    ids = [100 * i + torch.arange(length) for i, length in enumerate(lengths)]
    marks = [
        torch.tensor([place in places for place in range(length)])
        for length, places in zip(lengths, trained, strict=True)
    ]
    return make_conversation_packs(ids, marks, budget, CPU)


def test_a_pack_by_hand():
    """Cut before the last trained token: 6, 2 and 4 tokens, the shortest first."""
    (pack,) = made([8, 3, 5], [{2, 6}, {1, 2}, {4}], None)
    assert pack.members == (1, 2, 0)
    assert pack.lengths == (2, 4, 6)
    assert pack.ids_N.tolist() == [100, 101, 200, 201, 202, 203, 0, 1, 2, 3, 4, 5]
    assert pack.before_S.tolist() == [0, 1, 5, 7, 11]
    assert pack.labels_S.tolist() == [101, 102, 204, 2, 6]
    (span,) = pack.spans
    assert (span.start, span.completions_start, span.end) == (0, 0, 12)
    assert [(b.start, b.end, b.num_completions) for b in span.blocks] == [
        *((0, 2, 1), (2, 6, 1), (6, 12, 1))
    ]


def test_conversations_attend_by_length_without_padding_on_a_cpu():
    (pack,) = made([5, 6, 5, 9], [{4}, {5}, {4}, {8}], None)
    (span,) = pack.spans
    assert pack.lengths == (4, 4, 5, 8)
    assert [b.num_completions for b in span.blocks] == [2, 1, 1]
    assert all(b.slots is None for b in span.blocks)
    assert [b.num_completions for b in blocks_of(pack.lengths, CPU)] == [3, 1]


def test_no_pack_is_over_the_budget_but_for_a_conversation_that_is():
    packs = made([9, 4, 30, 5, 3, 8], [{8}, {3}, {29}, {4}, {2}, {7}], 12)
    assert sorted(m for pack in packs for m in pack.members) == list(range(6))
    assert [sorted(pack.members) for pack in packs] == [[0, 1], [2], [3, 4], [5]]
    assert [len(pack.ids_N) for pack in packs] == [11, 29, 6, 7]


def test_first_fit_fills_a_bin_that_was_left():
    assert first_fit([6, 6, 2, 3, 4], 8) == [[0, 2], [1], [3, 4]]
    assert first_fit([6, 6], None) == [[0, 1]]
    assert first_fit([], None) == first_fit([], 5) == []


@pytest.mark.parametrize("places", [set(), {0}, {0, 2}])
def test_a_first_token_or_no_token_to_train_is_refused(places):
    with pytest.raises(DataError, match="conversation 1 of the batch"):
        made([3, 4], [{1}, places], None)
