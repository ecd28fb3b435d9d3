"""The tokenizer of small policies: one token a phrase, no text lost, the loss mask exact."""

import pytest

from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.questions import elicitation
from rl_avr.modeling.tokenizer import SPECIAL_TOKENS, build_tokenizer
from rl_avr.prompts import COT_PROMPT, single_token_phrases
from rl_avr.seeding import rng_for


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("phrase", single_token_phrases())
def test_every_template_phrase_is_one_token(tokenizer, phrase):
    ids = encode(tokenizer, phrase)
    assert len(ids) == 1
    assert tokenizer.decode(ids) == phrase


def test_the_tokens_of_a_chain_by_hand(tokenizer, chain):
    # prefix 1; an attribute line: label 1, values 8, bars 2, arrow with rule 1, arrow 1,
    # ninth 1; missing 1 + 3; choices: letter 1 and two a verdict; answer 1 + 1
    expected = 1 + 3 * 14 + 4 + (1 + 2) + (1 + 4) + (1 + 6) + 2
    assert len(encode(tokenizer, chain)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\t\r\n  ",
        "a .b , c ' s n't  double  space ",
        "Type: squares circled hexagonal 12 007",
        " A Apple B: nothing yes,no",
        "ärger Ωmega 图形 شكل ٣ é e\u0301",
        "🙂👩‍👩‍👧 \u2028\u00a0\ufeff",
        "\x00\x01\x7f",
        "### Answer: ### Answer:\n### Answer: C",
        "$\\frac{1}{2}$ <b>x</b> | -> ->|",
        "x" * 3000,
    ],
)
def test_any_text_comes_back_as_it_went_in(tokenizer, text):
    assert tokenizer.decode(encode(tokenizer, text)) == text
    assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=True) == text


def test_every_gold_text_comes_back(tokenizer, puzzles):
    for puzzle in puzzles[:40]:
        questions = elicitation(puzzle, 48, rng_for("test", puzzle.puzzle_id))
        for text in (gold_chain(puzzle), *(f"{q.text}{q.answer}" for q in questions)):
            assert tokenizer.decode(encode(tokenizer, text)) == text


def test_special_tokens_are_one_id_each_and_left_out_on_request(tokenizer):
    for token in SPECIAL_TOKENS:
        assert encode(tokenizer, token) == [tokenizer.convert_tokens_to_ids(token)]
    ids = encode(tokenizer, "C<|im_end|><|endoftext|>")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "C"
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_two_builds_are_the_same(tokenizer):
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_a_saved_tokenizer_reads_the_same(tokenizer, processor, puzzles):
    for text in (gold_chain(puzzles[0]), COT_PROMPT, "图形 \n x"):
        assert encode(processor.tokenizer, text) == encode(tokenizer, text)


def masked_words(tokenizer, messages):
    out = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = out["input_ids"], out["assistant_masks"]
    assert len(ids) == len(mask)
    return tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m])


def test_the_mask_has_the_assistant_s_words_and_end_tokens_alone(tokenizer, chain):
    messages = [
        {"role": "user", "content": COT_PROMPT},
        {"role": "assistant", "content": chain},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "circle"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "square"}]},
    ]
    assert masked_words(tokenizer, messages) == f"{chain}<|im_end|>square<|im_end|>"
    assert masked_words(tokenizer, messages[:1]) == ""


def test_the_chat_form_by_hand(tokenizer):
    content = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Which?<|im_end|>"
        "<|im_start|>assistant\n"
    )


def test_a_conversation_begins_with_its_prompt(tokenizer):
    # sampling goes on from the prompt; training reads the whole: the first must begin the second
    messages = [{"role": "user", "content": COT_PROMPT}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    whole = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": "This is a regular puzzle."}], return_dict=True
    )
    start = prompt["input_ids"]
    assert whole["input_ids"][: len(start)] == start
