"""Every family of small policies: its picture, its prompt, its parts, and its folder."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl_avr.chat import banned_token_ids, decode_image, unexpanded_prompt_ids
from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig, SmallPolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.freezing import PARTS, part_of, train_only
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import build_small_policy, save_small_policy
from rl_avr.modeling.tokenizer import build_tokenizer
from rl_avr.prompts import COT_PROMPT, single_token_phrases
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.grammar import single
from rl_avr.puzzles.render import render_png

# modules by hand; a name belongs to the longest that it begins with
QWEN_PARTS = {
    "model.visual": "vision_tower",
    "model.visual.merger": "connector",
    "model.visual.deepstack_merger_list": "connector",
    "model.language_model": "language_model",
    "lm_head": "language_model",
}
PART_MODULES = {
    "qwen2_5_vl": QWEN_PARTS,
    "qwen3_vl": QWEN_PARTS,
    "llava_next": {
        "model.vision_tower": "vision_tower",
        "model.multi_modal_projector": "connector",
        "model.image_newline": "connector",
        "model.language_model": "language_model",
        "lm_head": "language_model",
    },
    "idefics3": {
        "model.vision_model": "vision_tower",
        "model.connector": "connector",
        "model.text_model": "language_model",
        "lm_head": "language_model",
    },
}
IMAGE_TOKENS = {
    # one a cell of the picture of five by four
    "qwen2_5_vl": 20,
    "qwen3_vl": 20,
    # 4 x 4 of the reduced picture, 10 x 8 of the tiles, a line's end for each of the 10
    "llava_next": 16 + 10 * 8 + 10,
    # one a cell and one for the reduced picture
    "idefics3": 21,
}
QWEN_MARKS = {
    *("<|image_pad|>", "<|video_pad|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
}
BANNED = {
    "qwen2_5_vl": QWEN_MARKS,
    "qwen3_vl": QWEN_MARKS,
    "llava_next": {"<image>"},
    "idefics3": {
        *("<image>", "<fake_token_around_image>", "<global-img>"),
        *(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)),
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tiny_config, tmp_path_factory):
    """A tiny policy of the family; read it, never write to it."""
    folder = tmp_path_factory.mktemp(family)
    save_small_policy(dataclasses.replace(tiny_config, family=family), folder)
    return folder


@pytest.fixture(scope="module")
def processor(folder):
    return load_processor(str(folder))


@pytest.fixture
def model(folder):
    return load_policy(PolicyConfig(path=str(folder))).eval()


def inputs_of(processor, *puzzles):
    """One prompt with an image of each puzzle."""
    content = [*({"type": "image"} for _ in puzzles), {"type": "text", "text": COT_PROMPT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    images = [decode_image(render_png(puzzle, RenderConfig(36))) for puzzle in puzzles]
    return processor(images=[images], text=[text], return_tensors="pt")


def test_the_shipped_shape_is_small(family):
    model, _ = build_small_policy(SmallPolicyConfig(family=family))
    assert 5e5 < sum(p.numel() for p in model.parameters()) < 2.2e6


@pytest.mark.parametrize("num_images", [1, 2])
def test_one_placeholder_an_image_goes_in_and_its_tokens_come_out(
    family, processor, puzzle, num_images
):
    image_id = processor.image_token_id
    ids = unexpanded_prompt_ids(processor, COT_PROMPT, num_images)
    assert ids.count(image_id) == num_images
    expanded = inputs_of(processor, *[puzzle] * num_images)["input_ids"][0].tolist()
    assert expanded.count(image_id) == num_images * IMAGE_TOKENS[family]
    # the words around the images are the same
    banned = set(banned_token_ids(processor)) | set(processor.tokenizer("\n").input_ids)
    assert [i for i in ids if i not in banned] == [i for i in expanded if i not in banned]


def test_the_chat_form_by_hand(family, processor):
    content = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    qwen = "<|vision_start|><|image_pad|><|vision_end|>"
    mark = qwen if family.startswith("qwen") else "<image>"
    assert text == f"<|im_start|>user\n{mark}Which?<|im_end|><|im_start|>assistant\n"


def test_the_assistant_s_words_are_marked_for_the_loss(processor, chain):
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "circle"}]},
        {"role": "assistant", "content": [{"type": "text", "text": chain}]},
    ]
    out = processor.tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    words = [i for i, m in zip(out["input_ids"], out["assistant_masks"], strict=True) if m]
    assert processor.tokenizer.decode(words) == f"{chain}<|im_end|>"


def test_phrases_are_one_token_in_every_vocabulary(family):
    spec = FAMILIES[family]
    tokenizer = build_tokenizer(spec.special_tokens, spec.image_mark)
    for text in (*single_token_phrases(), *spec.special_tokens):
        assert len(tokenizer(text, add_special_tokens=False).input_ids) == 1


def test_the_banned_tokens_are_the_marks_of_images(family, processor):
    banned = banned_token_ids(processor)
    assert set(processor.tokenizer.convert_ids_to_tokens(list(banned))) == BANNED[family]
    assert processor.image_token_id in banned
    assert processor.tokenizer.eos_token_id not in banned


def test_the_picture_decides_the_logits_and_the_seed_the_weights(
    family, model, processor, puzzle, tiny_config
):
    black = single({"type": 5, "size": 5, "color": 9})
    other = dataclasses.replace(puzzle, context=(*puzzle.context[:7], black))
    with torch.no_grad():
        one, two = (model(**inputs_of(processor, p)).logits for p in (puzzle, other))
    assert torch.isfinite(one).all()
    assert (one[0, -1] - two[0, -1]).abs().max() > 1e-5
    again, _ = build_small_policy(dataclasses.replace(tiny_config, family=family))
    loaded = model.state_dict()
    assert all(torch.equal(t, loaded[name]) for name, t in again.state_dict().items())


def test_the_parts_are_the_tower_its_connector_and_the_language_model(family, model):
    modules = PART_MODULES[family]
    seen = set()
    for name, _ in model.named_parameters():
        prefix = max((m for m in modules if f"{name}.".startswith(f"{m}.")), key=len)
        assert part_of(name) == modules[prefix], name
        seen.add(prefix)
    # the head of three families is tied; Qwen3-VL alone has mergers for deeper text layers
    tied = set() if family == "llava_next" else {"lm_head"}
    deep = {"model.visual.deepstack_merger_list"} if family == "qwen2_5_vl" else set()
    assert seen == set(modules) - tied - deep


@pytest.mark.parametrize("part", PARTS)
def test_gradients_stay_within_the_trained_part(family, model, processor, puzzle, part):
    train_only(model, (part,))
    model(**inputs_of(processor, puzzle)).logits.logsumexp(-1).sum().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    trained = {name for name, _ in model.named_parameters() if part_of(name) == part}
    # LLaVA-NeXT takes its features before the tower's last layer, here the second of two
    unused = {n for n in trained if ".encoder.layers.1." in n or ".post_layernorm." in n}
    assert moved == trained - (unused if family == "llava_next" else set())
    assert bool(unused) == (family in ("llava_next", "idefics3") and part == "vision_tower")


def test_a_llava_saved_by_an_older_transformers_loads_alike(tiny_config, tmp_path):
    new = tmp_path / "new"
    save_small_policy(dataclasses.replace(tiny_config, family="llava_next"), new)
    old = shutil.copytree(new, tmp_path / "old")
    weights = {
        name.replace("vision_tower.", "vision_tower.vision_model."): tensor
        for name, tensor in load_file(new / "model.safetensors").items()
    }
    save_file(weights, old / "model.safetensors", metadata={"format": "pt"})
    one, two = (load_policy(PolicyConfig(path=str(f))).state_dict() for f in (new, old))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_an_idefics3_has_no_token_for_a_seventh_row_of_tiles():
    config = SmallPolicyConfig(family="idefics3", patch_size_px=10, image_height_px=140)
    config = dataclasses.replace(config, image_width_px=100)
    with pytest.raises(ConfigError, match=r"more than 6 tiles of 20 px .* patch_size_px 12 or"):
        build_small_policy(config)
