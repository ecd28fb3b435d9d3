"""Logprobs of the trained tokens of conversations, several of them a sequence, images once.

`enable_conversation_pass` gives a policy's forward one more keyword:

    output = model(conversations=batch)                  batch: ConversationBatch
    output.logprobs, output.entropies, output.is_top1    (S,), conversation by conversation

Inside, conversations are packed (`algo.conversation_packs`), each at its own positions and
seeing itself alone. An image that several conversations of a batch show is encoded once, and
images of like shape together. Without the keyword the policy does what it did before.

L: tokens of a conversation, N: tokens of a pack, S: trained tokens of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.utils import ModelOutput

from rl_avr.algo.conversation_packs import ConversationPack, make_conversation_packs
from rl_avr.modeling.image_features import FeatureCache, encoded, image_digest, vision_parameters
from rl_avr.modeling.packed_pass import (
    LOGITS_AT_ONCE,
    Scored,
    add_keyword,
    concatenated,
    own_positions,
    run_backbone,
    score,
)


@dataclass(frozen=True)
class Conversation:
    """One conversation as the model reads it, on the CPU, where packs are laid out.

    Args:
        ids_L: token ids with the images' placeholders, without padding.
        trained_L: True for the tokens that count in the loss; never the first.
        images: what the processor made of its images, as keyword arguments of the model's
            `get_image_features`; empty without images.
        token_types_L: 1 at the placeholders; None where they tell by their ids.
        digest: tells its images from others.
    """

    ids_L: torch.Tensor
    trained_L: torch.Tensor
    images: Mapping[str, torch.Tensor]
    token_types_L: torch.Tensor | None = None
    digest: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Looks at the pixels."""
        if self.images and not self.digest:
            object.__setattr__(self, "digest", image_digest(self.images))

    @property
    def num_trained(self) -> int:
        """How many of its tokens count in the loss."""
        return int(self.trained_L.sum())


@dataclass(frozen=True)
class ConversationBatch:
    """Conversations that go through a policy together.

    Args:
        conversations: in order.
        with_metrics: also compute entropies, and whether a token is the likeliest one.
        spare: one with an image, which goes along where no other has one; nothing of it counts.
    """

    conversations: tuple[Conversation, ...]
    with_metrics: bool = False
    spare: Conversation | None = None

    @property
    def passengers(self) -> tuple[Conversation, ...]:
        """All that go through the policy, those that count first.

        Ranks add up gradients in the order in which backward makes them, so each of them must
        come by the vision tower: DeepSpeed would mix up those of different layers.
        """
        if self.spare is None or any(one.images for one in self.conversations):
            return self.conversations
        return (*self.conversations, self.spare)

    @property
    def num_trained(self) -> int:
        """How many tokens count in the loss."""
        return sum(one.num_trained for one in self.conversations)


@dataclass
class ConversationOutput(ModelOutput):
    """Of every trained token: those of the first conversation first, in its order.

    Args:
        logprobs: (S,) in nats.
        entropies: (S,) in nats, without gradient; None where not asked for.
        is_top1: (S,) whether it is the likeliest token; None where not asked for.
    """

    logprobs: torch.Tensor | None = None
    entropies: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None


@dataclass(frozen=True)
class ConversationSettings:
    """How packs are made and read.

    Args:
        token_budget: most tokens of a pack; None for one pack a call.
        cache: keeps the features of images where nothing of the vision tower and its
            connector is trained; without one, a call computes them for its own use.
        logits_at_once: most numbers in the logits of a chunk.
    """

    token_budget: int | None = None
    cache: FeatureCache | None = None
    logits_at_once: int = LOGITS_AT_ONCE


def enable_conversation_pass(model: Any, settings: ConversationSettings) -> None:
    """Gives a policy's forward the keyword `conversations`; to be called once for a policy.

    Args:
        model: a policy of transformers, or one with peft's adapters around it.
        settings: of every call.

    Raises:
        ConfigError: the policy's layers are of a kind that cannot read packs.
    """
    add_keyword(model, "conversations", lambda base, batch: _Pass(base, settings, batch).run())


class _Pass:
    """One call: its packs, and the features of its images, each computed once."""

    def __init__(self, base: Any, settings: ConversationSettings, batch: ConversationBatch) -> None:
        self._base = base
        self._settings = settings
        self._batch = batch
        self._conversations = batch.passengers
        self._device = base.device

    def run(self) -> ConversationOutput:
        packs = make_conversation_packs(
            [conversation.ids_L for conversation in self._conversations],
            [conversation.trained_L for conversation in self._conversations],
            self._settings.token_budget,
            self._device,
        )
        features = self._features()
        num_tokens = sum(len(pack.before_S) for pack in packs)
        parts = [self._run_pack(pack, features, num_tokens) for pack in packs]
        order_S = _batch_order(packs, [c.num_trained for c in self._conversations])
        order_S = order_S[: self._batch.num_trained].to(self._device)
        logprobs, entropies, is_top1 = (concatenated(values) for values in zip(*parts, strict=True))
        assert logprobs is not None, "a batch without conversations"
        return ConversationOutput(
            logprobs[order_S],
            None if entropies is None else entropies.detach()[order_S],
            None if is_top1 is None else is_top1[order_S],
        )

    def _features(self) -> dict[bytes, Any]:
        """Returns digest -> features of the images of all conversations."""
        images = {c.digest: c.images for c in self._conversations if c.images}
        cache = self._settings.cache
        there = [
            {name: tensor.to(self._device) for name, tensor in one.items()}
            for one in images.values()
        ]
        if cache is None or any(p.requires_grad for p in vision_parameters(self._base)):
            found = encoded(self._base.base_model, there)
        else:
            found = cache.all_features(self._base, there, list(images))
        return dict(zip(images, found, strict=True))

    def _run_pack(
        self, pack: ConversationPack, features: Mapping[bytes, Any], num_tokens: int
    ) -> Scored:
        backbone = self._base.base_model
        members = [self._conversations[i] for i in pack.members]
        positions = [
            _positions(backbone, member, length)
            for member, length in zip(members, pack.lengths, strict=True)
        ]
        num_axes = max(len(own) for own in positions)
        # one axis, that of text, stands for all
        positions_AN = torch.cat([own.expand(num_axes, -1) for own in positions], dim=1)
        hidden_NH = run_backbone(
            backbone,
            pack.ids_N.to(self._device),
            positions_AN.to(self._device),
            pack.spans,
            [features[member.digest] for member in members if member.images],
        )
        return score(
            self._base.get_output_embeddings(),
            hidden_NH[pack.before_S.to(self._device)],
            pack.labels_S.to(self._device),
            with_entropy=self._batch.with_metrics,
            with_top1=self._batch.with_metrics,
            logits_at_once=self._settings.logits_at_once,
            num_tokens=num_tokens,
        )


def _positions(backbone: Any, conversation: Conversation, length: int) -> torch.Tensor:
    types_L = conversation.token_types_L
    return own_positions(
        backbone,
        conversation.ids_L[:length],
        conversation.images,
        None if types_L is None else types_L[:length],
    )


def _batch_order(packs: list[ConversationPack], num_trained: list[int]) -> torch.Tensor:
    """Returns (S,): for each trained token of the batch its place in the packs, as they come."""
    members = torch.tensor([member for pack in packs for member in pack.members])
    counts = torch.tensor(num_trained)[members]
    return members.repeat_interleave(counts).argsort(stable=True)
