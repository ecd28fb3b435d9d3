"""Parts of a policy: which names belong where, and how many numbers are left to train."""

import pytest
import torch

from rl_avr.errors import ConfigError
from rl_avr.modeling.freezing import part_of, train_only


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.patch_embed.proj.weight", "vision"),
        ("model.visual.merger.mlp.0.bias", "vision"),
        ("visual.blocks.0.norm1.weight", "vision"),
        ("model.vision_tower.encoder.layers.3.mlp.fc1.weight", "vision"),
        ("model.vision_model.head.weight", "vision"),
        ("model.multi_modal_projector.linear_1.weight", "vision"),
        ("model.connector.modality_projection.proj.weight", "vision"),
        ("model.language_model.embed_tokens.weight", "language"),
        ("lm_head.weight", "language"),
        # a whole part of the dotted name decides, no piece of a word
        ("model.language_model.layers.0.visualizer.weight", "language"),
    ],
)
def test_parts_by_name(name, part):
    assert part_of(name) == part


class _Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Linear(3, 4)
        self.language_model = torch.nn.Linear(5, 2, bias=False)


@pytest.mark.parametrize(
    ("parts", "count"),
    [(("vision",), 3 * 4 + 4), (("language",), 5 * 2), (("vision", "language"), 26)],
)
def test_counts_by_hand(parts, count):
    model = _Two()
    assert train_only(model, parts) == count
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {{"vision": "visual", "language": "language_model"}[part] for part in parts}


def test_the_two_parts_of_a_policy_are_all_of_it_and_gradients_stay_within(model):
    vision = train_only(model, ("vision",))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    language = train_only(model, ("language",))
    assert {name for name, p in model.named_parameters() if p.requires_grad} == frozen
    assert min(vision, language) > 0
    assert vision + language == sum(p.numel() for p in model.parameters())
    loss = model(input_ids=torch.tensor([[5, 6, 7]])).logits.logsumexp(-1).sum()
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == frozen


def test_a_later_call_undoes_an_earlier_one():
    model = _Two()
    train_only(model, ("vision",))
    train_only(model, ("vision", "language"))
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_without_the_part_is_refused():
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="no parameter of Sequential belongs to vision"):
        train_only(plain, ("vision",))
