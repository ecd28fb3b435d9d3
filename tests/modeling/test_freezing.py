"""Parts of a policy: which names belong where, and how many numbers are left to train."""

import itertools

import pytest
import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.freezing import PARTS, part_of, train_only, trained_by, trained_parts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.patch_embed.proj.weight", "vision_tower"),
        ("visual.blocks.0.norm1.weight", "vision_tower"),
        ("model.vision_tower.encoder.layers.3.mlp.fc1.weight", "vision_tower"),
        ("model.vision_model.head.weight", "vision_tower"),
        ("model.visual.merger.mlp.0.bias", "connector"),
        ("model.visual.deepstack_merger_list.2.linear_fc1.weight", "connector"),
        ("model.multi_modal_projector.linear_1.weight", "connector"),
        ("model.image_newline", "connector"),
        ("model.connector.modality_projection.proj.weight", "connector"),
        ("model.language_model.embed_tokens.weight", "language_model"),
        ("model.text_model.layers.0.mlp.up_proj.weight", "language_model"),
        ("lm_head.weight", "language_model"),
        # a whole part of the dotted name decides, no piece of a word
        ("model.language_model.layers.0.visualizer.weight", "language_model"),
        # a merger is the connector in Qwen's tower alone
        ("model.language_model.merger.weight", "language_model"),
        # as adapters name them
        ("base_model.model.model.visual.merger.mlp.0.lora_A.default.weight", "connector"),
        ("base_model.model.model.visual.blocks.0.attn.qkv.base_layer.bias", "vision_tower"),
    ],
)
def test_parts_by_name(name, part):
    assert part_of(name) == part


class _Three(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Linear(3, 4)
        self.connector = torch.nn.Linear(4, 5)
        self.language_model = torch.nn.Linear(5, 2, bias=False)


COUNTS = {"vision_tower": 3 * 4 + 4, "connector": 4 * 5 + 5, "language_model": 5 * 2}
MODULES = {"vision_tower": "visual", "connector": "connector", "language_model": "language_model"}
SUBSETS = [s for size in (0, 1, 2) for s in itertools.combinations(PARTS, size)]


@pytest.mark.parametrize("frozen", SUBSETS, ids="+".join)
def test_any_parts_are_frozen_by_name(frozen):
    model, parts = _Three(), trained_by(frozen)
    assert train_only(model, parts) == sum(COUNTS[part] for part in parts)
    assert trained_parts(model) == set(parts) == set(PARTS) - set(frozen)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {MODULES[part] for part in parts}


def test_the_parts_of_a_policy_are_all_of_it_and_gradients_stay_within(model):
    counts = [train_only(model, (part,)) for part in PARTS]
    assert min(counts) > 0
    assert sum(counts) == sum(p.numel() for p in model.parameters())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    loss = model(input_ids=torch.tensor([[5, 6, 7]])).logits.logsumexp(-1).sum()
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trained


def test_a_later_call_undoes_an_earlier_one():
    model = _Three()
    train_only(model, ("vision_tower",))
    train_only(model, PARTS)
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_without_the_part_is_refused_and_says_what_it_has():
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="of Sequential belongs to connector.*it has language_m"):
        train_only(plain, ("connector",))


def test_all_parts_frozen_is_refused():
    with pytest.raises(ConfigError, match="belongs to no part, so nothing would be trained"):
        train_only(_Three(), trained_by(PARTS))
