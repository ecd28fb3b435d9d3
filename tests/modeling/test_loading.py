"""Loading: what is there comes back in the dtype asked for; what is not is a ConfigError."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl_avr.errors import ConfigError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny policy to damage."""
    return shutil.copytree(tiny_folder, tmp_path / "policy")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_in_the_dtype_asked_for(tiny_folder, model, dtype):
    loaded = load_policy(PolicyConfig(path=str(tiny_folder), dtype=dtype))
    assert {p.dtype for p in loaded.parameters()} == {getattr(torch, dtype)}
    expected = dict(model.named_parameters())
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, expected[name].to(parameter.dtype))


@pytest.mark.parametrize("path", ["{tmp}/nowhere", "./nowhere", "runs/of/nowhere", "nowhere"])
@pytest.mark.parametrize("load", [load_processor, lambda path: load_policy(PolicyConfig(path))])
def test_a_missing_folder_is_named(tmp_path, monkeypatch, path, load):
    monkeypatch.chdir(tmp_path)
    path = path.format(tmp=tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert f"policy.path {path}: no such folder (from {tmp_path})" in message
    assert "config.json, weights and a processor" in message


@pytest.mark.parametrize("load", [load_processor, lambda path: load_policy(PolicyConfig(path))])
def test_an_empty_path_is_refused(load):
    with pytest.raises(ConfigError, match="policy.path is empty"):
        load("")


def without(folder, *names):
    for path in folder.iterdir():
        if any(path.name.startswith(name) for name in names):
            path.unlink()


@pytest.mark.parametrize(
    "missing", [("processor", "tokenizer", "chat"), ("processor",), ("tokenizer",)]
)
def test_a_model_without_a_whole_processor_is_refused(folder, missing):
    without(folder, *missing)
    with pytest.raises(ConfigError) as caught:
        load_processor(str(folder))
    message = str(caught.value)
    assert message.startswith(f"policy.path {folder}: expected a processor with an image part")
    assert "processor.save_pretrained" in message


def test_a_processor_that_is_no_json_is_refused(folder):
    (folder / "processor_config.json").write_text("{")
    with pytest.raises(ConfigError, match="expected a processor with an image part"):
        load_processor(str(folder))


def _truncate(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def _break_config(folder):
    (folder / "config.json").write_text("{")


def _other_model(folder):
    (folder / "config.json").write_text('{"model_type": "qwen2"}')


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: without(folder, "model.safetensors"),
        lambda folder: without(folder, "config.json"),
        _truncate,
        _empty,
        _break_config,
        _other_model,
    ],
    ids=["no weights", "no config", "cut weights", "empty weights", "bad json", "text model"],
)
def test_a_folder_without_a_readable_policy_is_refused(folder, damage):
    damage(folder)
    with pytest.raises(ConfigError) as caught:
        load_policy(PolicyConfig(path=str(folder)))
    message = str(caught.value)
    assert message.startswith(f"policy.path {folder}: expected a vision-language model")
    assert "\n" not in message


def test_a_checkpoint_with_a_weight_missing_is_refused_not_drawn_at_random(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.other.weight"] = weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError) as caught:
        load_policy(PolicyConfig(path=str(folder)))
    message = str(caught.value)
    assert message.startswith(f"policy.path {folder}: expected every weight of Qwen2_5_VLFor")
    assert "1 are missing, first model.language_model.norm.weight, and 1 have names" in message
