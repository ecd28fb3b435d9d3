"""The most tokens that a policy reads at once."""

from typing import Any


def max_tokens(max_length: int | None, model: Any) -> tuple[int | None, str]:
    """Returns the most tokens of a sequence, and what sets this limit.

    Args:
        max_length: as the trainer has it; None for no limit of its own.
        model: the policy, whose config may name the length of its context.
    """
    context = model.config.get_text_config().to_dict().get("max_position_embeddings")
    limits = [
        (number, name)
        for number, name in (
            (max_length, "trainer.max_length"),
            (context, "the context of the policy"),
        )
        if number is not None
    ]
    return min(limits, default=(None, "nothing"))
