"""What every engine refuses, in the same words."""

import math
from collections.abc import Iterable

from rl_avr.contracts import Completion, Prompt
from rl_avr.errors import PromptError, RolloutError


def check_num_images(prompts: Iterable[Prompt], limit: int) -> None:
    """Raises PromptError for a prompt with more images than the engine was made for."""
    for prompt in prompts:
        if len(prompt.images) > limit:
            raise PromptError(
                f"prompt {prompt.prompt_id} has {len(prompt.images)} images; expected at most "
                f"rollouts.max_images_per_prompt {limit}"
            )


def prompt_too_long(prompt_id: str, num_tokens: int, max_model_len: int) -> PromptError:
    """Returns the error for a prompt that leaves no room for a single new token."""
    return PromptError(
        f"prompt {prompt_id} has {num_tokens} tokens, its images' included; "
        f"rollouts.max_model_len is {max_model_len} and holds the prompt and its completion. "
        "Raise it (to the prompt plus rollouts.sampling.max_new_tokens), or make the images "
        "smaller; nothing was sampled"
    )


def check_finite(
    prompt_id: str, completions: Iterable[Completion], step: int | None = None
) -> None:
    """Raises RolloutError where the policy gave no number for a sampled token.

    Args:
        prompt_id: of the prompt.
        completions: of the prompt; they name the sync that brought the weights, 0 are those
            of the policy's folder.
        step: step of the run at which that sync was; None where the run has no steps.
    """
    for completion in completions:
        for position, logprob in enumerate(completion.sampling_logprobs):
            if not math.isfinite(logprob):
                version = completion.weights_version
                origin = (
                    f"sync {version}{'' if step is None else f', at step {step} of the run,'} "
                    "brought such weights: the update before it has broken them. "
                    "Lower trainer.learning_rate or trainer.max_grad_norm; the last checkpoint "
                    "may be whole"
                    if version
                    else "the weights of the policy's folder were not replaced yet: are they whole?"
                )
                raise RolloutError(
                    f"prompt {prompt_id}: token {position + 1} was sampled with logprob {logprob}, "
                    f"so the policy's logits are not finite; {origin}"
                )
