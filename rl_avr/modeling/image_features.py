"""What a policy's vision tower makes of a prompt's images, once for all passes over it."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rl_avr.errors import check_range

_KEPT = ("pooler_output", "deepstack_features")
"""What the text part reads: the placeholders' embeddings, and what Qwen3-VL adds later on."""


def image_features(backbone: Any, images: Mapping[str, torch.Tensor]) -> Any:
    """Returns the features of one prompt's images, as the model's own kind of output.

    Args:
        backbone: the model without its output head.
        images: keyword arguments of its `get_image_features`.
    """
    output = backbone.get_image_features(**images, return_dict=True)
    return type(output)(**{name: output[name] for name in _KEPT if name in output})


def encoded(backbone: Any, images: Sequence[Mapping[str, torch.Tensor]]) -> list[Any]:
    """Returns the features of several prompts' images, those of like shape in one go.

    Args:
        backbone: the model without its output head.
        images: of each prompt, keyword arguments of the model's `get_image_features`.
    """
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, one in enumerate(images):
        shapes = tuple((name, one[name].dtype, one[name].shape) for name in sorted(one))
        places.setdefault(shapes, []).append(place)
    found: dict[int, Any] = {}
    for alike in places.values():
        together = {n: torch.cat([images[place][n] for place in alike]) for n in images[alike[0]]}
        features = image_features(backbone, together)
        found.update(zip(alike, divided(features, len(alike)), strict=True))
    return [found[place] for place in range(len(images))]


def divided(features: Any, count: int) -> list[Any]:
    """Returns the features of each of `count` prompts with images of like shape.

    The inverse of `joined`.
    """
    parts = {name: _parts(features[name], count) for name in features}
    return [type(features)(**{name: parts[name][i] for name in parts}) for i in range(count)]


def _parts(value: Any, count: int) -> list[Any]:
    if not isinstance(value, torch.Tensor) and value and not isinstance(value[0], torch.Tensor):
        layers = [_parts(layer, count) for layer in value]
        return [list(part) for part in zip(*layers, strict=True)]
    assert len(value) % count == 0, f"{len(value)} images of {count} prompts of like shape"
    size = len(value) // count
    return [value[i * size : (i + 1) * size] for i in range(count)]


def joined(features: Sequence[Any]) -> Any:
    """Returns the features of several prompts as one output, their images in a row."""
    first = features[0]
    return type(first)(**{name: _concatenated([each[name] for each in features]) for name in first})


def _concatenated(values: Sequence[Any]) -> Any:
    """Joins tensors along images, sequences of an item an image, or those of each layer."""
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values))
    if values[0] and isinstance(values[0][0], torch.Tensor):
        return [image for value in values for image in value]
    return [_concatenated(layer) for layer in zip(*values, strict=True)]


def vision_parameters(model: Any) -> list[torch.nn.Parameter]:
    """Returns the parameters outside the language model, its embedding and its output head."""
    head = model.get_output_embeddings()
    text = {id(p) for module in (model.get_decoder(), head) for p in module.parameters()}
    return [p for p in model.parameters() if id(p) not in text]


class FeatureCache:
    """Features of the last prompts that a frozen tower has seen, found by the pixels.

    Policies that share a frozen tower's weights, such as a policy and its reference, may
    share a cache. It empties itself where a policy's tower has changed since it last asked.

    Args:
        num_prompts: how many prompts' features are kept; the oldest go first.
    """

    def __init__(self, num_prompts: int) -> None:
        check_range("num_prompts", num_prompts, 1)
        self._num_prompts = num_prompts
        self._features: OrderedDict[bytes, Any] = OrderedDict()
        self._towers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._features)

    def features(self, model: Any, images: Mapping[str, torch.Tensor]) -> Any:
        """Returns the features of one prompt's images, without gradient, computed once.

        Args:
            model: a policy of whose vision tower nothing is trained.
            images: keyword arguments of its `get_image_features`.
        """
        return self.all_features(model, [images], [image_digest(images)])[0]

    def all_features(
        self, model: Any, images: Sequence[Mapping[str, torch.Tensor]], digests: Sequence[bytes]
    ) -> list[Any]:
        """Returns the same for several prompts, whose images are all different.

        Args:
            model: a policy of whose vision tower nothing is trained.
            images: of each prompt.
            digests: of the images.
        """
        self._check_tower(model)
        new = [i for i, digest in enumerate(digests) if digest not in self._features]
        with torch.no_grad():
            features = encoded(model.base_model, [images[i] for i in new])
        self._features.update(zip((digests[i] for i in new), features, strict=True))
        for digest in digests:
            self._features.move_to_end(digest)
        found = [self._features[digest] for digest in digests]
        while len(self._features) > self._num_prompts:
            self._features.popitem(last=False)
        return found

    def _check_tower(self, model: Any) -> None:
        tower = hash(tuple((p.data_ptr(), p._version) for p in vision_parameters(model)))
        if self._towers.setdefault(id(model), tower) != tower:
            self._features.clear()
            self._towers = {id(model): tower}


def image_digest(images: Mapping[str, torch.Tensor]) -> bytes:
    """Returns what tells one prompt's images from another's, by their pixels."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(images):
        tensor = images[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.digest()
