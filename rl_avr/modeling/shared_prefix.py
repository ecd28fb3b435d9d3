"""Logprobs of a group's completions with its image and its prompt computed once.

`enable_shared_prefix` gives a policy's forward one more keyword:

    output = model(shared_prefix=batch)      batch: SharedPrefixBatch
    output.logprobs, output.entropies        (B, C), as trl's `_get_per_token_logps_and_entropies`

The call goes through whatever wraps the policy (an adapter, a distributed engine). Inside,
completions are packed behind their prompts (`algo.shared_prefix`), the layers attend by the
structure of the pack (`shared_prefix_attention`), and only the tokens of completions go
through the output head, in chunks that are computed again in backward. Without the keyword
the policy does what it did before.

`shared_prefix_check` compares both ways on a few tokens of a run before a policy goes this one.

P: tokens of a prompt, B: completions, C: longest completion, S: tokens of completions in a
pack, V: vocabulary, A: axes of positions.
"""

import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput

from rl_avr.algo.shared_prefix import Pack, make_packs
from rl_avr.algo.token_logprobs import token_logprobs
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.image_features import (
    FeatureCache,
    image_features,
    joined,
    vision_parameters,
)
from rl_avr.modeling.shared_prefix_attention import enable_shared_prefix_attention

_LOGITS_AT_ONCE = 1 << 25
"""Numbers in the logits of one chunk: 128 MiB in float32."""


@dataclass(frozen=True)
class PromptInputs:
    """One prompt as the model reads it.

    Args:
        ids_P: token ids with the images' placeholders, without padding.
        images: what the processor made of its images, as keyword arguments of the model's
            `get_image_features`; empty without images.
        token_types_P: 1 at the placeholders; None where they tell by their ids.
    """

    ids_P: torch.Tensor
    images: Mapping[str, torch.Tensor]
    token_types_P: torch.Tensor | None = None


@dataclass(frozen=True)
class SharedPrefixBatch:
    """Prompts once each, and as many completions for every one.

    Args:
        prompts: in order.
        completion_ids_BC: those of the first prompt first.
        completion_mask_BC: 1 for a row's tokens, which come first; a row may have none.
        compute_entropy: also compute entropies.
    """

    prompts: tuple[PromptInputs, ...]
    completion_ids_BC: torch.Tensor
    completion_mask_BC: torch.Tensor
    compute_entropy: bool = False


@dataclass
class SharedPrefixOutput(ModelOutput):
    """Of every token of every completion; 0 where the mask is 0.

    Args:
        logprobs: (B, C) logprobs after the temperature, in nats.
        entropies: (B, C) in nats; None where not asked for. With gradient.
    """

    logprobs: torch.Tensor | None = None
    entropies: torch.Tensor | None = None


@dataclass(frozen=True)
class SharedPrefixSettings:
    """How packs are made and read.

    Args:
        temperature: logits are divided by it.
        token_budget: most tokens of a pack; None for one pack a call.
        cache: keeps the features of images where nothing of the vision tower and its
            connector is trained; without one, a call computes them once for its own use.
        logits_at_once: most numbers in the logits of a chunk.
    """

    temperature: float = 1.0
    token_budget: int | None = None
    cache: FeatureCache | None = None
    logits_at_once: int = _LOGITS_AT_ONCE


def enable_shared_prefix(model: Any, settings: SharedPrefixSettings) -> None:
    """Gives a policy's forward the keyword `shared_prefix`; to be called once for a policy.

    Args:
        model: a policy of transformers, or one with peft's adapters around it.
        settings: of every call.

    Raises:
        ConfigError: the policy's layers are of a kind that has no shared-prefix form.
    """
    base = base_of(model)
    check_architecture(base)
    enable_shared_prefix_attention(base.get_decoder())
    before = base.forward

    # generation reads the parameters of forward
    @functools.wraps(type(base).forward)
    def forward(self: Any, *args: Any, shared_prefix: Any = None, **kwargs: Any) -> Any:
        if shared_prefix is None:
            return before(*args, **kwargs)
        return _Pass(self, settings, shared_prefix).run()

    base.forward = types.MethodType(forward, base)


def check_architecture(base: Any) -> None:
    """Raises ConfigError where a language model cannot share prefixes, by its config."""
    text = base.config.get_text_config()
    kinds = set(text.to_dict().get("layer_types") or ()) - {"full_attention"}
    scaled = [
        name
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")
        if text.to_dict().get(name) not in (None, 1.0)
    ]
    reason = None
    if kinds:
        reason = f"has layers of the kind {', '.join(sorted(kinds))}, expected full_attention"
    elif scaled:
        reason = f"changes its logits by {', '.join(scaled)}, expected a plain output head"
    elif any(hasattr(p, "ds_id") for p in base.parameters()):
        reason = (
            "is partitioned by ZeRO-3, whose ranks must call every layer equally often, and packs "
            "differ in number; ZeRO-2 has no such need"
        )
    if reason:
        raise ConfigError(f"no shared-prefix form: {type(base).__name__} {reason}")


class _Pass:
    """One call: its packs, and the features of its prompts, each computed once."""

    def __init__(self, base: Any, settings: SharedPrefixSettings, batch: SharedPrefixBatch) -> None:
        self._base = base
        self._settings = settings
        self._batch = batch
        self._features: dict[int, Any] = {}
        trained = any(p.requires_grad for p in vision_parameters(base))
        self._cache = None if trained else settings.cache

    def run(self) -> SharedPrefixOutput:
        batch = self._batch
        self._check_placeholders()
        packs = make_packs(
            [prompt.ids_P for prompt in batch.prompts],
            batch.completion_ids_BC,
            batch.completion_mask_BC,
            self._settings.token_budget,
        )
        num_tokens = sum(len(pack.rows_S) for pack in packs)
        parts = [self._run_pack(pack, num_tokens) for pack in packs]
        if not parts:
            return self._nothing()
        where = (
            torch.cat([pack.rows_S for pack in packs]),
            torch.cat([pack.columns_S for pack in packs]),
        )
        logprobs_BC = self._table(where, [logprobs for logprobs, _ in parts])
        entropies = [entropies for _, entropies in parts if entropies is not None]
        return SharedPrefixOutput(logprobs_BC, self._table(where, entropies) if entropies else None)

    def _table(
        self, where: tuple[torch.Tensor, torch.Tensor], parts_S: list[torch.Tensor]
    ) -> torch.Tensor:
        values_S = torch.cat(parts_S)
        table_BC = values_S.new_zeros(self._batch.completion_ids_BC.shape)
        return table_BC.index_put(where, values_S)

    def _nothing(self) -> SharedPrefixOutput:
        """Returns zeros for a batch without a single token, whose gradient is zero."""
        zeros_BC = torch.zeros(
            self._batch.completion_ids_BC.shape, device=self._batch.completion_ids_BC.device
        )
        for parameter in self._base.parameters():
            if parameter.requires_grad:
                zeros_BC = zeros_BC + 0.0 * parameter.sum()
        return SharedPrefixOutput(zeros_BC, zeros_BC if self._batch.compute_entropy else None)

    def _check_placeholders(self) -> None:
        batch = self._batch
        if not any(prompt.images for prompt in batch.prompts):
            return
        image_id = self._base.config.image_token_id
        if ((batch.completion_ids_BC == image_id) & batch.completion_mask_BC.bool()).any():
            raise DataError(
                f"a completion has the image placeholder {image_id}: there is no image for it; "
                "expected a rollout engine that never samples it"
            )
        if any(prompt.ids_P[-1] == image_id for prompt in batch.prompts):
            raise DataError("a prompt ends with an image: expected a text token behind it")

    def _run_pack(self, pack: Pack, num_tokens: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns (S,) logprobs, and (S,) entropies where asked for."""
        backbone, prompts = self._base.base_model, self._batch.prompts
        groups = [span.group for span in pack.spans]
        images = [self._features_of(group) for group in groups if prompts[group].images]
        positions_AN = pack.positions(
            {group: _prompt_positions(backbone, prompts[group]) for group in groups}
        )
        hidden_NH = backbone(
            input_ids=pack.ids_N[None],
            # one axis (1, N), several (A, 1, N)
            position_ids=positions_AN if len(positions_AN) == 1 else positions_AN[:, None],
            # a mask of four axes is passed on as it is; without one, some models would build
            # (N, N) from the positions
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=pack.ids_N.device),
            use_cache=False,
            shared_prefix_spans=pack.spans,
            **({"mm_encoder_outputs": {"image": joined(images)}} if images else {}),
        ).last_hidden_state[0]
        labels_S = self._batch.completion_ids_BC[pack.rows_S, pack.columns_S]
        return self._score(hidden_NH[pack.completion_index_S], labels_S, num_tokens)

    def _features_of(self, group: int) -> Any:
        if group not in self._features:
            images = self._batch.prompts[group].images
            self._features[group] = (
                self._cache.features(self._base, images)
                if self._cache is not None
                else image_features(self._base.base_model, images)
            )
        return self._features[group]

    def _score(
        self, hidden_SH: torch.Tensor, labels_S: torch.Tensor, num_tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        head = self._base.get_output_embeddings()
        size = max(1, self._settings.logits_at_once // head.weight.shape[0])
        score = functools.partial(
            _score_chunk, head, self._settings.temperature, self._batch.compute_entropy
        )
        if num_tokens > size and torch.is_grad_enabled():
            # else the logits of every chunk would be kept for backward
            score = functools.partial(checkpoint, score, use_reentrant=False)
        chunks = [
            score(hidden, labels)
            for hidden, labels in zip(hidden_SH.split(size), labels_S.split(size), strict=True)
        ]
        entropies = [entropies for _, entropies in chunks if entropies is not None]
        return torch.cat([logprobs for logprobs, _ in chunks]), (
            torch.cat(entropies) if entropies else None
        )


def _score_chunk(
    head: Any, temperature: float, with_entropy: bool, hidden_SH: torch.Tensor, labels_S: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if not torch.is_autocast_enabled(hidden_SH.device.type):
        hidden_SH = hidden_SH.to(head.weight.dtype)
    return token_logprobs(head(hidden_SH), labels_S, temperature, with_entropy)


def _prompt_positions(backbone: Any, prompt: PromptInputs) -> torch.Tensor:
    """Returns (A, P): the model's own positions of a prompt."""
    ids_1P = prompt.ids_P[None]
    if "image_grid_thw" not in prompt.images or not hasattr(backbone, "get_rope_index"):
        return torch.arange(ids_1P.shape[1], device=ids_1P.device)[None]
    types_P = prompt.token_types_P
    if types_P is None:
        types_P = (prompt.ids_P == backbone.config.image_token_id).int()
    positions_A1P, _ = backbone.get_rope_index(
        ids_1P, mm_token_type_ids=types_P[None], image_grid_thw=prompt.images["image_grid_thw"]
    )
    return positions_A1P[:, 0]


def base_of(model: Any) -> Any:
    """Returns transformers' model inside peft's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
