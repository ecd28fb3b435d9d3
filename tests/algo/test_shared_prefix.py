"""Packs by hand, and what must hold for every pack."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_avr.algo.shared_prefix import make_packs
from rl_avr.errors import DataError

PROMPTS = [torch.tensor([1, 2, 3]), torch.tensor([4, 5])]
COMPLETIONS = torch.tensor([[11, 12, 0], [13, 0, 0], [21, 0, 0], [22, 23, 24]])
MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]])


def whole(pack):
    """Returns (row, column) of every token that the pack predicts."""
    return list(zip(pack.rows_S.tolist(), pack.columns_S.tolist(), strict=True))


def test_two_groups_by_hand():
    (pack,) = make_packs(PROMPTS, COMPLETIONS, MASK)
    # shortest first; each opens with its prompt's last token and lacks its own
    assert pack.ids_N.tolist() == [1, 2, 3, 3, 11, 4, 5, 5, 22, 23]
    assert whole(pack) == [(1, 0), (0, 0), (0, 1), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert pack.completion_index_S.tolist() == [2, 3, 4, 6, 7, 8, 9]
    assert [(s.group, s.start, s.completions_start, s.end) for s in pack.spans] == [
        (0, 0, 2, 5),
        (1, 5, 6, 10),
    ]


def test_positions_count_on_from_the_prompt_on_every_axis():
    (pack,) = make_packs(PROMPTS, COMPLETIONS, MASK)
    image = torch.tensor([[0, 1, 3], [0, 2, 3]])
    assert pack.positions({0: image, 1: torch.arange(2)[None]}).tolist() == [
        [0, 1, 3, 3, 4, 0, 1, 1, 2, 3],
        [0, 2, 3, 3, 4, 0, 1, 1, 2, 3],
    ]


def test_a_budget_keeps_groups_whole_where_it_can():
    # the groups take 2 + 3 and 1 + 4 tokens
    assert [len(p.ids_N) for p in make_packs(PROMPTS, COMPLETIONS, MASK, 10)] == [10]
    assert [len(p.ids_N) for p in make_packs(PROMPTS, COMPLETIONS, MASK, 9)] == [5, 5]
    assert [len(p.ids_N) for p in make_packs(PROMPTS, COMPLETIONS, MASK, 5)] == [5, 5]


def test_a_group_over_the_budget_is_split_and_each_part_has_the_prompt():
    packs = make_packs(PROMPTS, COMPLETIONS, MASK, 4)
    assert [p.ids_N.tolist() for p in packs] == [
        [1, 2, 3],
        [1, 2, 3, 11],
        [4, 5],
        [4, 5, 22, 23],
    ]
    # a single completion over the budget still is a pack
    assert len(make_packs(PROMPTS, COMPLETIONS, MASK, 1)) == 4


def test_the_rest_of_a_split_group_shares_its_pack_with_the_next():
    prompts = [torch.tensor([1, 2]), torch.tensor([3, 4])]
    completions, mask = torch.ones(6, 2, dtype=torch.long), torch.ones(6, 2)
    packs = make_packs(prompts, completions, mask, 5)
    assert [[s.group for s in p.spans] for p in packs] == [[0], [0], [1], [1]]
    packs = make_packs(prompts, completions[:, :1], mask[:, :1], 3)
    assert [[s.group for s in p.spans] for p in packs] == [[0], [0], [1], [1]]
    packs = make_packs(prompts, completions[:, :1], torch.tensor([[1], [1], [1], [1], [0], [0]]), 3)
    assert [[s.group for s in p.spans] for p in packs] == [[0], [0]] + [[1]]
    packs = make_packs(prompts, completions[:, :1], torch.tensor([[1], [1], [1], [1], [0], [0]]), 4)
    assert [[s.group for s in p.spans] for p in packs] == [[0], [1]]


def test_completions_and_groups_without_tokens_are_in_no_pack():
    mask = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]])
    (pack,) = make_packs(PROMPTS, COMPLETIONS, mask)
    assert pack.ids_N.tolist() == [4, 5, 22, 23]
    assert make_packs(PROMPTS, COMPLETIONS, torch.zeros_like(mask)) == []


def test_a_prompt_of_one_token_has_no_part_of_its_own():
    (pack,) = make_packs([torch.tensor([7])], COMPLETIONS[:1], MASK[:1])
    assert pack.ids_N.tolist() == [7, 11]
    assert (pack.spans[0].start, pack.spans[0].completions_start) == (0, 0)


def test_similar_lengths_share_a_block_and_much_longer_ones_do_not():
    lengths = torch.tensor([10, 14, 15, 16, 40])
    mask = torch.arange(40) < lengths[:, None]
    (pack,) = make_packs([torch.tensor([1, 2])], torch.ones(5, 40, dtype=torch.long), mask)
    blocks = pack.spans[0].blocks
    assert [(b.num_completions, b.longest) for b in blocks] == [(3, 15), (1, 16), (1, 40)]
    assert [(b.start, b.end) for b in blocks] == [(0, 39), (39, 55), (55, 95)]
    assert [b.slots is None for b in blocks] == [False, True, True]


def test_padded_and_back_by_hand():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    (pack,) = make_packs([torch.tensor([9, 8])], COMPLETIONS[:2], mask)
    (block,) = pack.spans[0].blocks
    x_1HND = torch.arange(1.0, 6.0).view(1, 1, 5, 1)
    padded = block.padded(x_1HND)
    assert padded[:, 0, :, 0].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert torch.equal(block.unpadded(padded), x_1HND)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_token_is_predicted_once_and_no_pack_is_over_the_budget(data):
    num_groups, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    lengths = [data.draw(st.integers(0, 9)) for _ in range(num_groups * size)]
    budget = data.draw(st.one_of(st.none(), st.integers(1, 40)))
    prompts = [torch.arange(data.draw(st.integers(1, 8))) for _ in range(num_groups)]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    ids = torch.randint(100, 999, mask.shape)
    packs = make_packs(prompts, ids, mask, budget)
    found = [place for pack in packs for place in whole(pack)]
    assert sorted(found) == [tuple(place) for place in mask.nonzero().tolist()]
    for pack in packs:
        assert budget is None or len(pack.ids_N) <= budget or len(set(pack.rows_S.tolist())) == 1
        for span in pack.spans:
            prompt = prompts[span.group].tolist()
            assert pack.ids_N[span.start : span.completions_start].tolist() == prompt[:-1]
        # before each predicted token stands what stands before it in its row
        for place, (row, column) in zip(pack.completion_index_S.tolist(), whole(pack), strict=True):
            before = ids[row, column - 1] if column else prompts[row // size][-1]
            assert pack.ids_N[place] == before


@pytest.mark.parametrize(
    ("prompts", "mask", "message"),
    [
        (PROMPTS * 2 + PROMPTS[:1], MASK, r"4 completions for prompts of \[3, 2, 3, 2, 3\] tokens"),
        ([PROMPTS[0], torch.tensor([])], MASK, r"prompts of \[3, 0\] tokens"),
        ([], MASK, r"prompts of \[\] tokens"),
        (PROMPTS, torch.tensor([[1, 0, 1]] * 4), "a 1 behind a 0"),
    ],
)
def test_what_cannot_be_packed_is_refused(prompts, mask, message):
    with pytest.raises(DataError, match=message):
        make_packs(prompts, COMPLETIONS, mask)
