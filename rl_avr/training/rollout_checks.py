"""What a trainer asks of its rollouts before it learns from them."""

import math
from collections.abc import Sequence

from rl_avr.contracts import GradedGroup
from rl_avr.errors import RolloutError


def check_gap(mean_gap: float, limit: float, step: int) -> None:
    """Raises RolloutError where engine and policy disagree, or one of them gives no number.

    Args:
        mean_gap: mean |engine logprob - policy logprob| of the sampled tokens, in nats.
        limit: the largest allowed.
        step: step of the run.
    """
    if not math.isfinite(mean_gap):
        raise RolloutError(
            f"step {step}: the logprobs of the sampled tokens are not finite: an update before "
            "this step has broken the weights. Lower trainer.learning_rate or "
            "trainer.max_grad_norm; the last checkpoint may be whole"
        )
    if mean_gap > limit:
        raise RolloutError(
            f"step {step}: the engine and the policy disagree: mean |logprob gap| of sampled "
            f"tokens is {mean_gap:.2e}, expected at most rollouts.parity_max_mean_gap "
            f"{limit:.2e}. The policy that samples would not be the policy that is trained. Check "
            "that dtype and sampling (top_p 1, no top_k) agree; in bfloat16 a gap below 1.5e-2 is "
            "usual"
        )


def check_prompt_ids(trainer_ids: Sequence[int], group: GradedGroup) -> None:
    """Raises RolloutError where the engine saw other prompt ids than the trainer's."""
    engine_ids = group.group.prompt_token_ids
    if tuple(trainer_ids) == engine_ids:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(trainer_ids, engine_ids, strict=False)) if a != b),
        min(len(trainer_ids), len(engine_ids)),
    )
    raise RolloutError(
        f"prompt {group.group.prompt.prompt_id}: the engine saw {len(engine_ids)} prompt ids, the "
        f"trainer has {len(trainer_ids)}, different from position {first} on; expected the same "
        "ids, one run of placeholders an image. Image processors of the two sides must agree"
    )


def check_not_empty(groups: Sequence[GradedGroup]) -> None:
    """Raises RolloutError where a completion has no token, not even the one that ends it."""
    for group in groups:
        for index, completion in enumerate(group.group.completions):
            if not completion.token_ids:
                raise RolloutError(
                    f"prompt {group.group.prompt.prompt_id}: completion {index} has no token "
                    f"(finish_reason {completion.finish_reason}); expected at least the one that "
                    "ends it. The engine gave it up: see its log"
                )
