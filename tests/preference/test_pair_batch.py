"""Pairs as the policy reads them: rows, ids, what counts, and what is refused."""

import pytest
import torch

from rl_avr.errors import DataError
from rl_avr.preference.lengths import check_lengths
from rl_avr.preference.pair_batch import PairCollator
from rl_avr.preference.pair_record import read_pairs
from rl_avr.preference.train_config import CountedConfig
from tests.preference.pair_cases import LAYOUT, TEXTS, make_pair, make_pairs


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def make(processor, pairs_folder):
    def made(counted=None, folder=pairs_folder):
        pairs = list(read_pairs(folder))
        return PairCollator(processor, pairs, folder, counted or CountedConfig())

    return made


def alone(processor, *pairs):
    """Returns a collator of pairs without images."""
    return PairCollator(processor, pairs, None, CountedConfig())


def text(processor, ids):
    return processor.tokenizer.decode(ids)


def test_a_question_and_a_completion_stand_once(make, processor):
    batch = make().batch(range(4))
    assert len(batch.prompts) == 2 and batch.group_size == 5
    assert batch.completion_mask_BC.any(dim=1).tolist() == [True] * 5 + [True] * 2 + [False] * 3
    # chosen 0 of the first two pairs is one row; the third has none of theirs
    assert batch.chosen_N.tolist() == [0, 0, 3, 5]
    assert batch.rejected_N.tolist() == [1, 2, 4, 6]
    assert batch.names == ("pair-0", "pair-1", "pair-2", "pair-3")
    for side, rows in ((1, batch.chosen_N), (2, batch.rejected_N)):
        for pair, row in zip(LAYOUT, rows.tolist(), strict=False):
            ids = batch.completion_ids_BC[row][batch.completion_mask_BC[row].bool()]
            assert text(processor, ids) == TEXTS[pair[side]] + "<|im_end|>"
    lengths = [len(prompt.inputs.ids_P) for prompt in batch.prompts]
    assert lengths[0] != lengths[1]
    assert batch.prompt_lengths_B.tolist() == [lengths[0]] * 5 + [lengths[1]] * 5


def test_a_prompt_is_what_rollouts_were_asked(make, processor):
    prompt = make().batch([3]).prompts[0]
    shown = text(processor, prompt.inputs.ids_P)
    assert shown.endswith("Solve it. A <|im_end|><|im_start|>assistant\n")
    assert prompt.num_images == 1 and "pixel_values" in prompt.inputs.images


def test_recorded_ids_are_kept_and_those_of_another_tokenizer_are_not(processor):
    tokenizer = processor.tokenizer
    # the same text letter by letter, as a sampled chain may spell it
    spelled = tuple(tokenizer.convert_tokens_to_ids(list("Ġcircle")))
    assert tokenizer.decode(spelled) == " circle"
    assert spelled != tuple(tokenizer(" circle", add_special_tokens=False).input_ids)
    ours = {"chosen": " circle", "chosen_ids": (*spelled, tokenizer.eos_token_id)}
    foreign = {"rejected": "no", "rejected_ids": (7, 8, 9)}
    collator = alone(processor, make_pair(0, 0, 0, 1, **ours, **foreign))
    ((chosen, rejected),) = collator.tokens
    assert tuple(chosen.tolist()) == ours["chosen_ids"]
    assert text(processor, rejected) == "no<|im_end|>"


def test_a_text_that_was_cut_off_has_no_end(processor):
    collator = alone(processor, make_pair(0, 0, 0, 1, chosen_finish="length"))
    ((chosen, rejected),) = collator.tokens
    assert text(processor, chosen) == TEXTS[0]
    assert text(processor, rejected) == TEXTS[1] + "<|im_end|>"


@pytest.mark.parametrize("change", [{"chosen": "", "chosen_finish": "length"}, {"chosen_ids": ()}])
def test_a_completion_without_a_token_is_refused(processor, change):
    pair = make_pair(0, 0, 0, 1, **{"chosen": "", "chosen_finish": "length", **change})
    with pytest.raises(DataError, match="pair pair-0: a completion has not one token"):
        _ = alone(processor, pair).tokens


def test_an_image_placeholder_in_a_completion_is_refused(processor):
    pair = make_pair(0, 0, 0, 1, rejected=f"see {processor.image_token}")
    with pytest.raises(DataError, match="pair pair-0: a completion has the image placeholder"):
        _ = alone(processor, pair).tokens


@pytest.mark.parametrize("words", [1, 2, 4, 9, 100])
def test_the_first_words_are_those_of_the_released_code(make, processor, words):
    collator = make(CountedConfig(first=words))
    exact = 0
    for ids in (ids for pair in collator.tokens for ids in pair):
        number = collator.num_counted(ids)
        kept, expected = text(processor, ids[:number]), text(processor, ids).split(" ")[:words]
        assert " ".join(expected).startswith(kept)
        # a token may hold the end of one word and the beginning of the next
        assert number == len(ids) or text(processor, ids[: number + 1]).count(" ") >= words
        exact += kept == " ".join(expected)
    assert exact >= len(collator.tokens)


def test_tokens_are_counted_and_what_is_cut_is_not_there(make):
    collator = make(CountedConfig(first=3, unit="tokens", weights="linear"))
    batch = collator.batch(range(4))
    assert batch.completion_ids_BC.shape[1] == 3
    torch.testing.assert_close(batch.weights_BC[0], torch.tensor([1.0, 2 / 3, 1 / 3]))
    whole = collator.batch(range(4), is_whole=True)
    assert whole.completion_ids_BC.shape[1] == max(len(i) for p in collator.tokens[:4] for i in p)
    assert whole.weights_BC.equal(whole.completion_mask_BC.float())


def test_pairs_that_are_longer_than_the_policy_reads_are_refused_before_training(make):
    collator = make()
    longest = max(
        len(collator.question(place).inputs.ids_P) + max(map(len, collator.tokens[place]))
        for place in range(len(LAYOUT))
    )
    check_lengths(collator, longest, "here")
    check_lengths(collator, None, "nothing")
    with pytest.raises(DataError) as error:
        check_lengths(collator, longest - 1, "the context of the policy")
    for word in (
        "of 8 pairs are longer",
        f"{longest - 1} tokens, the context",
        "row ",
        "raise that",
    ):
        assert word in str(error.value)
    assert f": {longest} tokens" in str(error.value)


def test_an_image_that_cannot_be_read_is_refused(make, tmp_path):
    folder = make_pairs(tmp_path)
    (image, *_) = (folder / "images").iterdir()
    image.write_bytes(b"no image")
    with pytest.raises(DataError, match="pair pair-.*expected an image"):
        check_lengths(make(folder=folder), 10_000, "here")
    with pytest.raises(DataError, match="damaged"):
        make(folder=folder).batch(range(8))
