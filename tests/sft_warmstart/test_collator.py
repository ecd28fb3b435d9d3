"""Which tokens are the assistant's, in every family and with the templates of real checkpoints."""

import pytest
import torch
from trl import chat_template_utils

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.families import FAMILIES
from sft_warmstart.collator import ConversationCollator, with_images
from tests.modeling.conversation_cases import mixed_rows, pictures, row, trl_inputs
from tests.modeling.shared_prefix_cases import make_policy

REAL = {
    # template of real checkpoints -> family, what ends a turn of the assistant
    "qwen2_5_vl": ("qwen2_5_vl", "<|im_end|>"),
    "qwen3_vl": ("qwen3_vl", "<|im_end|>"),
    "llava_next": ("llava_next", "</s>"),
    "idefics3": ("idefics3", "<end_of_utterance>"),
    "smolvlm": ("idefics3", "<end_of_utterance>"),
}
UNMARKED = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "END{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def shown():
    return pictures()


@pytest.fixture
def rows(shown):
    return mixed_rows(shown)


def collator(processor, max_tokens=2000):
    return ConversationCollator(processor, max_tokens, "trainer.max_length")


def answers_of(processor, conversation):
    """Returns the texts of the stretches of trained tokens."""
    texts, last = [], None
    for place in conversation.trained_L.nonzero()[:, 0].tolist():
        if last is None or place != last + 1:
            texts.append([])
        texts[-1].append(conversation.ids_L[place])
        last = place
    return [processor.tokenizer.decode(torch.stack(ids)) for ids in texts]


def said(one):
    return [m["content"] for m in one["messages"] if m["role"] == "assistant"]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_marks_are_those_of_trl(family, rows):
    _, processor = make_policy(family)
    inputs, labels = trl_inputs(processor, rows)
    made = collator(processor)(rows)
    assert made["kinds"] == ["perception", "chain", "perception", "replay"]
    assert made["names"] == ["row"] * 4
    conversations = made["conversations"].conversations
    for place, one in enumerate(conversations):
        length = int(inputs["attention_mask"][place].sum())
        assert torch.equal(one.ids_L, inputs["input_ids"][place, :length])
        assert torch.equal(one.trained_L, labels[place, :length] != -100)
        assert answers_of(processor, one) == [f"{a}<|im_end|>" for a in said(rows[place])]
    assert [bool(one.images) for one in conversations] == [True, True, True, False]
    assert conversations[0].digest == conversations[1].digest != conversations[2].digest


def real_processor(name):
    """Returns a small processor with the chat template of a real checkpoint, and its end token."""
    family, end = REAL[name]
    _, processor = make_policy(family)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [end]})
    template = vars(chat_template_utils)[f"{name}_chat_template"]
    assert "generation %" not in template
    processor.chat_template = template
    return processor, end


@pytest.mark.parametrize("name", REAL)
def test_templates_of_real_checkpoints_are_marked_as_trl_marks_them(name, rows):
    """trl has templates of its own for these; some train the line feed behind a turn, too."""
    processor, end = real_processor(name)
    training = vars(chat_template_utils)[f"{name}_training_chat_template"]
    inputs, labels = trl_inputs(processor, rows, training)
    for place, one in enumerate(collator(processor)(rows)["conversations"].conversations):
        length = int(inputs["attention_mask"][place].sum())
        assert torch.equal(one.ids_L, inputs["input_ids"][place, :length])
        theirs = labels[place, :length] != -100
        extra = theirs & ~one.trained_L
        assert not (one.trained_L & ~theirs).any()
        assert not processor.tokenizer.decode(one.ids_L[extra]).strip()
        assert [text.strip() for text in answers_of(processor, one)] == [
            f"{answer}{end}" for answer in said(rows[place])
        ]


def test_both_ways_to_the_marks_agree(rows):
    """With generation marks in the template, and with the same template without them."""
    _, processor = make_policy("qwen2_5_vl")
    marked = collator(processor)(rows)["conversations"].conversations
    template = processor.chat_template
    for mark in ("{% generation %}", "{% endgeneration %}"):
        assert mark in template
        template = template.replace(mark, "")
    processor.chat_template = template
    for one, other in zip(
        marked, collator(processor)(rows)["conversations"].conversations, strict=True
    ):
        assert torch.equal(one.ids_L, other.ids_L)
        assert torch.equal(one.trained_L, other.trained_L)


@pytest.mark.parametrize("has_marks", [True, False])
def test_a_template_that_trains_no_end_is_refused(rows, has_marks):
    _, processor = make_policy("qwen2_5_vl")
    processor.chat_template = UNMARKED
    if has_marks:
        text = "{{ part['text'] }}"
        marked = "{% generation %}" + text + "{% endgeneration %}"
        processor.chat_template = UNMARKED.replace(text, marked)
    with pytest.raises(ConfigError, match="row: the chat template trains no end-of-turn token"):
        collator(processor)(rows[3:])


def test_a_template_that_writes_earlier_turns_otherwise_is_refused(rows):
    _, processor = make_policy("qwen2_5_vl")
    written = "{{ part['text'] if message is sameas messages[-1] else '' }}"
    template = UNMARKED.replace("{{ part['text'] }}", written).replace("END", "<|im_end|>")
    processor.chat_template = template
    with pytest.raises(ConfigError, match=r"row: .* turn 2 of 6 otherwise .*generation"):
        collator(processor)(rows[:1])


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Say yes."}],
        [{"role": "user", "content": "Say yes."}, {"role": "user", "content": "Now."}],
    ],
)
@pytest.mark.parametrize("has_marks", [True, False])
def test_a_row_without_an_answer_is_refused(messages, has_marks):
    processor = make_policy("qwen2_5_vl")[1] if has_marks else real_processor("qwen2_5_vl")[0]
    bad = {"messages": messages, "images": [], "kind": "chain", "name": "train.parquet, row 7"}
    with pytest.raises(DataError, match="train.parquet, row 7: none of .* is the assistant's"):
        collator(processor)([bad])


def test_a_row_that_is_too_long_is_refused_with_both_numbers(rows):
    _, processor = make_policy("qwen2_5_vl")
    length = len(collator(processor).conversation(rows[0]).ids_L)
    for limit in (length, None):
        assert len(collator(processor, limit).conversation(rows[0]).ids_L) == length
    with pytest.raises(DataError) as error:
        collator(processor, length - 1).conversation(rows[0])
    assert f"row: {length} tokens with its images" in str(error.value)
    assert f"at most {length - 1}, trainer.max_length" in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [0, 1])
def test_an_image_mark_in_an_answer_is_refused(family, shown, count):
    _, processor = make_policy(family)
    turns = [("What?", f"this {processor.image_token} one")]
    bad = row(turns, shown[:count], name="a.json, row 3")
    with pytest.raises(DataError, match="a.json, row 3: .*"):
        collator(processor).conversation(bad)


def test_images_stand_before_the_first_turn_alone(shown):
    messages = with_images(row([("a", "b"), ("c", "d")])["messages"], shown[:2])
    assert [[part["type"] for part in m["content"]] for m in messages] == [
        ["image", "image", "text"],
        ["text"],
        ["text"],
        ["text"],
    ]
