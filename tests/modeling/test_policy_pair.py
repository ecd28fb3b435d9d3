"""Which pairs of policies are loaded, and which are refused."""

import json
import shutil

import pytest

from rl_avr.errors import ConfigError
from rl_avr.modeling.policy_pair import load_policy_pair
from tests.inference.pairs import processor_of, save_adapters, save_policies


@pytest.fixture(scope="module")
def folders(tiny_config, tmp_path_factory):
    """Two tiny policies; read them, never write to them."""
    return save_policies(tiny_config, tmp_path_factory.mktemp("pair"), (0, 1))


def load(policy, reference):
    return load_policy_pair(str(policy), str(reference), device="cpu")


def test_nothing_of_a_pair_is_trained(folders):
    pair = load(*folders)
    for side in (pair.policy, pair.reference):
        assert not side.model.training
        assert not any(p.requires_grad for p in side.model.parameters())


def test_a_reference_that_is_the_policy_is_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="are the same policy, so every reward would be 0"):
        load(folders[0], folders[0])
    copy = tmp_path / "copy"
    shutil.copytree(folders[0], copy)
    with pytest.raises(ConfigError, match="are the same policy"):
        load(folders[0], copy)
    # other files, the same weights
    (copy / "config.json").write_text(json.dumps(json.loads((copy / "config.json").read_text())))
    with pytest.raises(ConfigError, match="are the same policy"):
        load(folders[0], copy)


def test_adapters_that_change_nothing_are_refused(folders, tmp_path):
    adapter = save_adapters(folders[0], tmp_path / "adapter", 3, scale=0)
    with pytest.raises(ConfigError, match="are the same policy"):
        load(adapter, folders[0])


def test_two_equal_adapters_are_refused(folders, tmp_path):
    one, two = (save_adapters(folders[0], tmp_path / name, 3) for name in ("one", "two"))
    (two / "README.md").unlink(missing_ok=True)
    config = json.loads((two / "adapter_config.json").read_text())
    (two / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="are the same policy"):
        load(one, two)


def test_adapters_of_another_base_are_refused(folders, tmp_path):
    adapter = save_adapters(folders[0], tmp_path / "adapter", 3)
    with pytest.raises(ConfigError, match="are not of one base"):
        load(adapter, folders[1])
    other = save_adapters(folders[1], tmp_path / "other", 3)
    with pytest.raises(ConfigError, match="are not of one base"):
        load(adapter, other)


def test_a_base_that_has_moved_is_taken_with_a_word(folders, tmp_path, caplog):
    adapter = save_adapters(folders[0], tmp_path / "adapter", 3)
    moved = tmp_path / "moved"
    shutil.copytree(folders[0], moved)
    assert load(adapter, moved).reference.adapter == ""
    assert not caplog.records
    file = adapter / "adapter_config.json"
    text = file.read_text().replace(str(folders[0]), str(tmp_path / "gone"))
    file.write_text(text)
    load(adapter, moved)
    assert "are the same cannot be seen by their files" in caplog.text


def test_different_chat_templates_are_refused(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folders[1], other)
    file = other / "chat_template.jinja"
    file.write_text(file.read_text() + "{# another #}")
    with pytest.raises(ConfigError, match="have different chat templates"):
        load(folders[0], other)


def test_different_tokenizers_are_refused(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folders[1], other)
    processor = processor_of(other)
    processor.tokenizer.add_tokens(["quincunx"])
    processor.save_pretrained(other)
    with pytest.raises(ConfigError, match="have different tokenizers"):
        load(folders[0], other)


def test_broken_adapters_are_named(folders, tmp_path):
    adapter = save_adapters(folders[0], tmp_path / "adapter", 3)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(ConfigError, match="adapter_config.json: expected peft's config"):
        load(adapter, folders[0])


def test_adapters_of_another_name_stay_beside_the_active_ones(folders, tmp_path):
    one, two = (save_adapters(folders[0], tmp_path / str(seed), seed) for seed in (3, 4))
    pair = load(one, two)
    assert pair.policy.model.active_adapter == "default"
    with pair.reference.asked():
        assert pair.policy.model.active_adapter == "reference"
    assert pair.policy.model.active_adapter == "default"
