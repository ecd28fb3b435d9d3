"""Adapters: where they stand, what an engine gets of them, and what a folder of them becomes."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl_avr.chat import banned_token_ids, decode_image
from rl_avr.errors import ConfigError
from rl_avr.modeling.adapters import (
    adapter_layers,
    add_adapters,
    export_merged,
    load_adapter,
    target_layers,
)
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.freezing import PARTS, part_of, trained_parts
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import save_small_policy
from rl_avr.modeling.weights import mask_logits, named_weights
from rl_avr.prompts import COT_PROMPT
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png

LORA = LoraConfig(rank=4, alpha=8.0)
IDS = torch.tensor([[9, 8, 20, 300, 21]])
TEXT_LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module", params=FAMILIES)
def family_folder(request, tiny_config, tmp_path_factory):
    """A tiny policy of each family; read it, never write to it."""
    folder = tmp_path_factory.mktemp(request.param)
    save_small_policy(dataclasses.replace(tiny_config, family=request.param), folder)
    return folder


def plain(folder):
    return load_policy(PolicyConfig(path=str(folder))).eval()


def adapted(model, parts=PARTS, lora=LORA):
    """Adapters that change something: B is zero when they are new."""
    torch.manual_seed(0)
    model = add_adapters(model, lora, parts).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.2)
    return model


def image_inputs(folder, puzzle):
    processor = load_processor(str(folder))
    content = [{"type": "image"}, {"type": "text", "text": COT_PROMPT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    image = decode_image(render_png(puzzle, RenderConfig(36)))
    return processor(images=[[image]], text=[text], return_tensors="pt")


def logits(model, inputs=None):
    with torch.no_grad():
        return (model(**inputs) if inputs is not None else model(input_ids=IDS)).logits


def test_every_linear_layer_of_a_part_but_the_head_is_a_target(family_folder):
    model = plain(family_folder)
    found = target_layers(model, (), ("language_model",))
    assert {name.rpartition(".")[2] for name in found} == TEXT_LAYERS
    assert len(found) == len(TEXT_LAYERS)  # of one layer
    for part in ("vision_tower", "connector"):
        names = target_layers(model, (), (part,))
        assert names and {part_of(name) for name in names} == {part}
    assert "lm_head" not in target_layers(model, (), PARTS)


def test_targets_are_whole_ends_of_names(model):
    only = target_layers(model, ("q_proj", "mlp.up_proj"), ("language_model",))
    prefix = "model.language_model.layers.0"
    assert only == [f"{prefix}.self_attn.q_proj", f"{prefix}.mlp.up_proj"]


@pytest.mark.parametrize("targets", [("q_prj",), ("q_proj", "q_prj"), ("proj_q",), ("lm_head",)])
def test_a_target_that_is_not_there_names_those_that_are(model, targets):
    with pytest.raises(ConfigError) as caught:
        target_layers(model, targets, ("language_model",))
    message = str(caught.value)
    assert f"policy.lora.targets {targets[-1]}: Qwen2_5_VL" in message
    assert ", ".join(sorted(TEXT_LAYERS)) in message


def test_a_policy_whose_parts_are_all_frozen_gets_none(model):
    with pytest.raises(ConfigError, match="no such linear layer in no part; there are: none"):
        add_adapters(model, LORA, ())


@pytest.mark.parametrize(
    ("name", "value"), [("rank", -1), ("alpha", 0.0), ("dropout", 1.0), ("dropout", -0.1)]
)
def test_sizes_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"^{name}: expected a number"):
        LoraConfig(**{name: value})


def test_new_adapters_change_nothing_and_are_all_that_is_trained(model):
    before = logits(model)
    model = add_adapters(model, LORA, ("language_model",))
    assert torch.equal(logits(model), before)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(TEXT_LAYERS)
    assert all(".lora_" in name for name in trained)
    assert trained_parts(model) == {"language_model"}


def test_merged_weights_make_a_plain_policy_equal(family_folder, puzzle):
    inputs = image_inputs(family_folder, puzzle)
    model, other = adapted(plain(family_folder)), plain(family_folder)
    names = [name for name, _ in other.named_parameters()]
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    sent = [(name, weight.clone()) for name, weight in named_weights(model)]
    assert [name for name, _ in sent] == names
    assert (logits(other, inputs) - logits(model, inputs)).abs().max() > 1e-2
    _, unexpected = other.load_state_dict(dict(sent), strict=False)
    assert unexpected == []
    assert (logits(other, inputs) - logits(model, inputs)).abs().max() < 1e-5
    # nothing was merged in the policy that is trained
    assert all(torch.equal(p, kept[name]) for name, p in model.named_parameters())


def test_a_merged_weight_by_hand(model):
    model = adapted(model, ("language_model",))
    name = "model.language_model.layers.0.mlp.up_proj"
    layer = dict(adapter_layers(model))[name]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = layer.base_layer.weight + 8.0 / 4 * (b @ a)
    assert torch.allclose(dict(named_weights(model))[f"{name}.weight"], expected, atol=1e-7)


def test_merged_weights_have_the_base_s_precision(tiny_folder):
    model = load_policy(PolicyConfig(path=str(tiny_folder), dtype="bfloat16"))
    model = adapted(model)
    assert {p.dtype for n, p in model.named_parameters() if ".lora_" in n} == {torch.float32}
    assert {weight.dtype for _, weight in named_weights(model)} == {torch.bfloat16}


def test_only_parts_with_adapters_are_sent_again(family_folder):
    model = adapted(plain(family_folder), ("connector",))
    sent = [name for name, _ in named_weights(model, skip_frozen=True)]
    every = [name for name, _ in plain(family_folder).named_parameters()]
    assert sent == [name for name in every if part_of(name) == "connector"]


@pytest.mark.parametrize("skip_frozen", [False, True])
def test_adapters_apart_come_last_and_beside_the_weights_as_they_are(model, skip_frozen):
    untouched = {name: p.detach().clone() for name, p in model.named_parameters()}
    model = adapted(model)
    sent = list(named_weights(model, skip_frozen, ("language_model",)))
    plain_names = [name for name, _ in sent if ".lora_" not in name]
    assert [name for name, _ in sent[len(plain_names) :] if ".lora_" not in name] == []
    weights = dict(sent)
    language = {name for name in untouched if part_of(name) == "language_model"}
    # the base is frozen: it comes once
    assert language & weights.keys() == (set() if skip_frozen else language)
    assert all(torch.equal(weights[name], untouched[name]) for name in language & weights.keys())
    assert not torch.equal(
        weights["model.visual.merger.mlp.0.weight"], untouched["model.visual.merger.mlp.0.weight"]
    )
    pairs = {name for name in weights if ".lora_" in name}
    prefix = "model.language_model.layers.0."
    assert all(name.startswith(prefix) for name in pairs)
    assert len(pairs) == 2 * len(TEXT_LAYERS)
    a = weights[f"{prefix}mlp.up_proj.lora_A.weight"]
    b = weights[f"{prefix}mlp.up_proj.lora_B.weight"]
    assert (a.shape, b.shape) == ((4, 32), (32, 4))


def test_a_policy_without_adapters_takes_the_word_apart_for_nothing(model):
    names = [name for name, _ in model.named_parameters()]
    sent = [name for name, _ in named_weights(model, adapters_apart=("language_model",))]
    assert sent == names


def test_a_frozen_reference_adapter_beside_the_trained_one_is_not_sent(model):
    model = adapted(model, ("language_model",))
    before = {name: weight.clone() for name, weight in named_weights(model)}
    model.add_adapter("ref", model.peft_config["default"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ref." in name:
                parameter.fill_(7.0)
    after = dict(named_weights(model))
    assert after.keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


def test_banned_tokens_have_no_probability_with_adapters_or_without(model, processor):
    """With adapters off it is the reference that trl asks; its fused head reads the same bias."""
    from trl.trainer.utils import add_fused_lm_head

    banned = list(banned_token_ids(processor))
    model = adapted(model, ("language_model",))
    names = [name for name, _ in named_weights(model)]
    add_fused_lm_head(model.get_base_model(), temperature=1.0, outputs=("log_probs", "entropy"))
    mask_logits(model, banned)
    with_adapters = logits(model).softmax(-1)
    with model.disable_adapter():
        without = logits(model).softmax(-1)
    assert (with_adapters[..., banned] == 0).all() and (without[..., banned] == 0).all()
    assert (with_adapters - without).abs().max() > 1e-4
    fused = model(input_ids=IDS, labels=IDS, fused_lm_head=True).log_probs
    expected = with_adapters[:, :-1].log().gather(-1, IDS[:, 1:, None])[..., 0]
    assert torch.allclose(fused, expected, atol=1e-5)
    assert [name for name, _ in named_weights(model)] == names


@pytest.fixture
def saved(model, tmp_path):
    """A folder of adapters on language model and connector, and the logits with them."""
    model = adapted(model, ("connector", "language_model"))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", logits(model)


def test_a_saved_adapter_comes_back(saved, tiny_folder):
    folder, expected = saved
    before = logits(plain(tiny_folder))
    assert (before - expected).abs().max() > 1e-2
    assert torch.equal(logits(load_adapter(plain(tiny_folder), folder).eval()), expected)


def test_an_exported_policy_is_plain_and_equals_its_adapters(family_folder, puzzle, tmp_path):
    inputs = image_inputs(family_folder, puzzle)
    model = adapted(plain(family_folder))
    model.save_pretrained(tmp_path / "adapter")
    export_merged(str(family_folder), tmp_path / "adapter", tmp_path / "out", "float32")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == load_file(family_folder / "model.safetensors").keys()
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    merged = plain(tmp_path / "out")
    assert (logits(merged, inputs) - logits(model, inputs)).abs().max() < 1e-5
    again = image_inputs(tmp_path / "out", puzzle)
    assert torch.equal(again["input_ids"], inputs["input_ids"])


def test_an_export_has_the_precision_asked_for(saved, tiny_folder, tmp_path):
    export_merged(str(tiny_folder), saved[0], tmp_path / "out", "bfloat16")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.bfloat16}


def test_an_export_into_its_own_base_is_refused(saved, tiny_folder):
    with pytest.raises(ConfigError, match="expected another folder than the base's own"):
        export_merged(str(tiny_folder), saved[0], tiny_folder, "float32")


def _no_config(folder):
    (folder / "adapter_config.json").unlink()


def _no_weights(folder):
    (folder / "adapter_model.safetensors").unlink()


def _cut_weights(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [_no_config, _no_weights, _cut_weights])
def test_a_folder_that_holds_no_adapters_is_named(saved, model, damage):
    damage(saved[0])
    with pytest.raises(ConfigError, match="expected adapter_config.json and adapter_model.safete"):
        load_adapter(model, saved[0])


def _changed(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_an_adapter_of_another_kind_or_without_a_rank_is_refused(saved, model):
    _changed(saved[0], r=0)
    with pytest.raises(ConfigError, match="expected LoRA of rank 1 or more, got .*LORA of rank 0"):
        load_adapter(model, saved[0])
    _changed(saved[0], r=4, peft_type="IA3")
    with pytest.raises(
        ConfigError, match="expected LoRA of rank 1 or more, got .*IA3 of rank none"
    ):
        load_adapter(model, saved[0])


@pytest.mark.parametrize(
    "change",
    [{"intermediate_size": 64}, {"hidden_size": 64, "num_heads": 2}, {"family": "idefics3"}],
    ids=lambda change: next(iter(change)),
)
def test_an_adapter_of_another_base_is_refused(saved, tiny_config, tiny_folder, tmp_path, change):
    other = tmp_path / "other"
    save_small_policy(dataclasses.replace(tiny_config, **change), other)
    with pytest.raises(ConfigError) as caught:
        load_adapter(plain(other), saved[0])
    message = str(caught.value)
    assert f"adapter {saved[0]}: made for another base than " in message
    assert str(other) in message and f"expected {tiny_folder}" in message


def test_an_adapter_with_a_weight_too_few_is_refused(saved, model):
    path = saved[0] / "adapter_model.safetensors"
    weights = load_file(path)
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, path)
    with pytest.raises(ConfigError, match=r"1 weights do not fit, first .*lora_A.weight \(missing"):
        load_adapter(model, saved[0])
