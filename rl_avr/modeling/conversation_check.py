"""Whether packed conversations give a policy the logprobs that each has on its own.

L: tokens of a conversation, S: trained tokens.
"""

from dataclasses import replace
from typing import Any

import torch

from rl_avr.algo.token_logprobs import token_logprobs
from rl_avr.modeling.conversation_pass import Conversation, ConversationBatch
from rl_avr.modeling.packed_pass import base_of, check_architecture
from rl_avr.modeling.shared_prefix_check import evaluating, reason_against

_TRAINED_TOKENS = 32
"""Of each conversation that is compared, at most."""


def refusal(model: Any, batch: ConversationBatch) -> str | None:
    """Returns why a policy must go the plain way, or None where both ways agree.

    To be called after `enable_conversation_pass`, with a batch of the run.
    """
    return reason_against(base_of(model), "packed", lambda: check_conversation_pass(model, batch))


@torch.no_grad()
def check_conversation_pass(model: Any, batch: ConversationBatch) -> float:
    """Returns the largest |logprob gap| between both ways, on the shortest conversations.

    One with images is among them, where there is one. A batch of one conversation is packed
    with itself.

    Raises:
        ConfigError: the policy's layers are of a kind that cannot read packs.
    """
    base = base_of(model)
    check_architecture(base)
    by_length = sorted(map(_cut, batch.conversations), key=lambda c: (not c.images, len(c.ids_L)))
    # the shortest one with images, and the shortest of the others, which may have none
    chosen = [by_length[0], min(by_length[1:] or by_length, key=lambda c: len(c.ids_L))]
    with evaluating(base):
        packed = base(conversations=ConversationBatch(tuple(chosen))).logprobs
        plain = torch.cat([_plain_logprobs(base, conversation) for conversation in chosen])
    return (packed - plain).abs().max().item()


def _cut(conversation: Conversation) -> Conversation:
    """Returns a conversation up to its first few trained tokens."""
    end = int(conversation.trained_L.nonzero()[:_TRAINED_TOKENS][-1]) + 1
    types_L = conversation.token_types_L
    return replace(
        conversation,
        ids_L=conversation.ids_L[:end],
        trained_L=conversation.trained_L[:end],
        token_types_L=None if types_L is None else types_L[:end],
    )


def _plain_logprobs(base: Any, conversation: Conversation) -> torch.Tensor:
    """Returns (S,) logprobs of one conversation as the model takes it alone."""
    ids_1L = conversation.ids_L[None].to(base.device)
    inputs = {name: tensor.to(base.device) for name, tensor in conversation.images.items()}
    if conversation.token_types_L is not None:
        inputs["mm_token_type_ids"] = conversation.token_types_L[None].to(base.device)
    places_S = conversation.trained_L.nonzero()[:, 0].to(base.device)
    logits_1SV = base(
        input_ids=ids_1L,
        attention_mask=torch.ones_like(ids_1L),
        use_cache=False,
        logits_to_keep=places_S - 1,
        **inputs,
    ).logits
    logprobs_S, _ = token_logprobs(logits_1SV[0], ids_1L[0, places_S], with_entropy=False)
    return logprobs_S
