"""Draws the prompts of a batch when it is generated, and keeps how far it has come.

trl's data loader reads one batch ahead, so what it holds was drawn before the batch in front
of it was graded: a sampler that learns would always be one batch late. Here trl's sampler says
only how many batches there are and how often each comes; whose prompts a batch holds is drawn
at the start of its generation, after the one before was learned from. Batches that a resumed
run skips draw nothing.

Every rank draws the whole batch and takes its own part, the one that accelerate would give
it; what the batch taught is exchanged, so the samplers of all ranks stay equal.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from rl_avr.algo.prompt_sampler import PromptSampler
from rl_avr.contracts import GradedGroup
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError

logger = logging.getLogger(__name__)

_STATE = "prompt_order.json"


class PromptOrder:
    """The prompts of a run, one generation after another.

    Args:
        sampler: draws for all ranks.
        prompt_ids: of the data set, in its order.
        num_prompts: of one generation, all ranks together.
        accelerator: knows the ranks.
    """

    def __init__(
        self, sampler: PromptSampler, prompt_ids: Sequence[str], num_prompts: int, accelerator: Any
    ) -> None:
        self.sampler = sampler
        self._index = {prompt_id: i for i, prompt_id in enumerate(prompt_ids)}
        self._num_prompts = num_prompts
        self._accelerator = accelerator

    def draw(self) -> list[int]:
        """Returns the places in the data set of this rank's next prompts."""
        batch = self.sampler.draw(self._num_prompts)
        num_mine = self._num_prompts // self._accelerator.num_processes
        first = self._accelerator.process_index * num_mine
        return batch[first : first + num_mine]

    def learn(self, groups: Sequence[GradedGroup], advantages_B: torch.Tensor) -> None:
        """Tells the sampler the mean |A| of each group of the batch, on every rank.

        Args:
            groups: of this rank.
            advantages_B: of their completions, as normalised, before any weight.
        """
        means = advantages_B.abs().view(len(groups), -1).mean(1).tolist()
        mine = [
            (self._index[group.group.prompt.prompt_id], mean)
            for group, mean in zip(groups, means, strict=True)
        ]
        indices, values = zip(*gather_object(mine), strict=True)
        self.sampler.update(indices, values)

    def save(self, checkpoint: Path) -> None:
        """Writes the sampler's state into a checkpoint."""
        write_json(checkpoint / _STATE, self.sampler.state_dict())

    def load(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint; one without a state is warned of, and draws as at the start.

        Raises:
            DataError: the state is not one of this sampler and data.
        """
        path = checkpoint / _STATE
        if not path.is_file():
            logger.warning("%s is missing: prompts are drawn as at the start of a run", path)
            return
        try:
            self.sampler.load_state_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: expected the state of the prompt sampler of this config and data; got: "
                f"{error!r}. To change data, seed or sampler, begin a run in another run.dir"
            ) from error
