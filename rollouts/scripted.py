"""An engine that says what it is told; for tests of everything around an engine."""

from collections.abc import Callable, Iterable, Sequence

import torch

from rl_avr.closing import Closing
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rollouts.config import SamplingConfig
from rollouts.engine import Sampling


def _code_points(text: str) -> list[int]:
    return [ord(character) for character in text]


class ScriptedEngine(Closing):
    """An `Engine` whose completions come from a function.

    Args:
        script: (prompt, index within the group) -> text, what comes behind the prompt's prefill.
        encode: text -> token ids; by default one id a character.
    """

    def __init__(
        self,
        script: Callable[[Prompt, int], str],
        encode: Callable[[str], Sequence[int]] = _code_points,
    ) -> None:
        self._script = script
        self._encode = encode
        self.weights_version = 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns the scripted completions; a text beyond the limit is cut there."""
        return [
            RolloutGroup(
                prompt,
                (),
                tuple(
                    self._completion(prompt, i, sampling.config)
                    for i in range(sampling.num_generations)
                ),
            )
            for prompt in prompts
        ]

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Counts the sync and reads every weight."""
        for _ in named_weights:
            pass
        self.weights_version += 1

    def close(self) -> None:
        """Does nothing."""

    def _completion(self, prompt: Prompt, index: int, sampling: SamplingConfig) -> Completion:
        whole = text = self._script(prompt, index)
        while len(ids := tuple(self._encode(text))) > sampling.max_new_tokens:
            text = text[:-1]
        is_cut = text != whole
        return Completion(
            text, ids, (0.0,) * len(ids), "length" if is_cut else "stop", self.weights_version
        )
