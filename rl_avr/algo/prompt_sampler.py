"""Which prompts a batch holds.

    uniform    every prompt once a pass, in trl's own order
    sec        a bandit over categories that looks for the ones that teach most:
               p(c)  = exp(Q_c / temperature) / sum over c' of exp(Q_c' / temperature)
               Q_c  <- (1 - alpha) Q_c + alpha r_c
               r_c   = mean |A| over the completions of the batch's prompts in c

Q starts at 0. For right and wrong answers normalised by the standard deviation,
E|A| = 2 sqrt(p (1 - p)) at a share p of right ones, so the bandit goes where p is near 1/2.
Groups without a right or without a wrong answer have |A| = 0 and count: leaving them out would
hold every category for equally good.

A sampler draws for all ranks at once. It takes its numbers from the seed and from how often it
was asked, so equal samplers that learn equal things draw equal prompts, and the state is small.

Source: SEC (2505.14970). Its code gives a category that is not in the batch r_c = 0, so that Q
forgets at every step (`decay`); the bandit of a textbook leaves it as it is (`keep`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch

from rl_avr.seeding import derive_seed


class PromptSampler(Protocol):
    """Draws the prompts of one batch after another, and hears what became of each batch."""

    def draw(self, num_prompts: int) -> list[int]:
        """Returns the places in the data set of the next batch's prompts, of all ranks."""
        ...

    def update(self, indices: Sequence[int], mean_abs_advantages: Sequence[float]) -> None:
        """Learns from the batch: per prompt the mean |A| of its group."""
        ...

    def probabilities(self) -> dict[str, float]:
        """Returns category -> p for the next batch, to be logged; empty where there are none."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values, from which `load_state_dict` goes on exactly."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; raises ValueError, KeyError or TypeError where it is none."""
        ...


class UniformSampler:
    """Draws in the order of trl's `RepeatSampler`; what a pass leaves over is left out.

    Args:
        num_prompts: prompts of the data set.
        seed: of the shuffling.
        is_shuffled: False goes through the data set in its own order.
    """

    def __init__(self, num_prompts: int, seed: int, is_shuffled: bool = True) -> None:
        self._num_prompts = num_prompts
        self._seed = seed
        self._is_shuffled = is_shuffled
        self._start()

    def _start(self) -> None:
        self._generator = torch.Generator().manual_seed(self._seed)
        self._num_passes = 0
        self._place = 0
        self._order: list[int] = []

    def draw(self, num_prompts: int) -> list[int]:
        """Returns the next batch of the pass, or the first of the next pass.

        Raises:
            ValueError: the data set is smaller than one batch.
        """
        if num_prompts > self._num_prompts:
            raise ValueError(f"a batch of {num_prompts} prompts from only {self._num_prompts}")
        if self._place + num_prompts > len(self._order):
            self._next_pass()
        batch = self._order[self._place : self._place + num_prompts]
        self._place += num_prompts
        return batch

    def _next_pass(self) -> None:
        self._order = list(range(self._num_prompts))
        if self._is_shuffled:
            self._order = torch.randperm(self._num_prompts, generator=self._generator).tolist()
        self._num_passes += 1
        self._place = 0

    def update(self, indices: Sequence[int], mean_abs_advantages: Sequence[float]) -> None:
        """Learns nothing."""

    def probabilities(self) -> dict[str, float]:
        """Returns nothing: there are no categories."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the pass, the place in it, and what the order hangs on."""
        return {**self._shape(), "num_passes": self._num_passes, "place": self._place}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state.

        Raises:
            ValueError or KeyError: it is that of another data set or another seed.
        """
        found = {name: state[name] for name in self._shape()}
        if found != self._shape():
            raise ValueError(f"an order of {self._shape()}, not of {found}")
        self._start()
        for _ in range(int(state["num_passes"])):
            self._next_pass()
        self._place = int(state["place"])

    def _shape(self) -> dict[str, Any]:
        return {
            "num_prompts": self._num_prompts,
            "seed": self._seed,
            "is_shuffled": self._is_shuffled,
        }


class SecSampler:
    """Draws categories by what their prompts teach, and prompts of a category uniformly.

    No prompt stands twice in a batch; a category whose prompts are all in it is closed until
    the next. One that has never been drawn has Q = 0, the least that Q can be.

    Args:
        categories: of each prompt of the data set.
        seed: of the draws.
        alpha: how much of Q the newest batch is, in (0, 1].
        temperature: of the draw of categories, above 0; high is uniform over categories.
        unsampled: whether Q of a category that is not in the batch decays or keeps.
    """

    def __init__(
        self,
        categories: Sequence[str],
        seed: int,
        alpha: float = 0.5,
        temperature: float = 1.0,
        unsampled: Literal["decay", "keep"] = "decay",
    ) -> None:
        self._categories = list(categories)
        self._members: dict[str, list[int]] = {name: [] for name in sorted(set(categories))}
        for index, name in enumerate(categories):
            self._members[name].append(index)
        self._seed = seed
        self._alpha = alpha
        self._temperature = temperature
        self._unsampled = unsampled
        self._num_draws = 0
        self.values = dict.fromkeys(self._members, 0.0)
        """Q of each category."""

    def probabilities(self) -> dict[str, float]:
        """Returns p of each category, for the first prompt of a batch; they sum to 1."""
        weights = boltzmann(list(self.values.values()), self._temperature)
        return dict(zip(self.values, weights.tolist(), strict=True))

    def draw(self, num_prompts: int) -> list[int]:
        """Returns one prompt after another, the category of each drawn first.

        Raises:
            ValueError: the data set is smaller than one batch.
        """
        if num_prompts > len(self._categories):
            raise ValueError(f"a batch of {num_prompts} prompts from only {len(self._categories)}")
        rng = np.random.default_rng(derive_seed("sec", self._seed, self._num_draws))
        self._num_draws += 1
        left: dict[str, list[int]] = {}
        is_open = dict.fromkeys(self._members, True)
        batch = []
        for _ in range(num_prompts):
            names = [name for name in self._members if is_open[name]]
            weights = boltzmann([self.values[name] for name in names], self._temperature)
            name = names[int(rng.choice(len(names), p=weights))]
            if name not in left:
                left[name] = rng.permutation(self._members[name]).tolist()
            batch.append(left[name].pop())
            is_open[name] = bool(left[name])
        return batch

    def update(self, indices: Sequence[int], mean_abs_advantages: Sequence[float]) -> None:
        """Moves Q of the batch's categories towards their prompts' mean |A|."""
        found: dict[str, list[float]] = {}
        for index, value in zip(indices, mean_abs_advantages, strict=True):
            found.setdefault(self._categories[index], []).append(value)
        for name, old in self.values.items():
            if name in found:
                reward = sum(found[name]) / len(found[name])
            elif self._unsampled == "decay":
                reward = 0.0
            else:
                continue
            self.values[name] = (1 - self._alpha) * old + self._alpha * reward

    def state_dict(self) -> dict[str, Any]:
        """Returns Q, how often was drawn, and the seed."""
        return {"seed": self._seed, "num_draws": self._num_draws, "values": dict(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state.

        Raises:
            ValueError, KeyError or TypeError: it is that of other categories or another seed.
        """
        values = {str(name): float(value) for name, value in state["values"].items()}
        if set(values) != set(self._members) or state["seed"] != self._seed:
            raise ValueError(
                f"a bandit over {sorted(values)} with seed {state['seed']}, expected one over "
                f"{sorted(self._members)} with seed {self._seed}"
            )
        self.values = {name: values[name] for name in self._members}
        self._num_draws = int(state["num_draws"])


def boltzmann(values: Sequence[float], temperature: float) -> np.ndarray:
    """Returns probabilities proportional to exp(value / temperature).

    >>> boltzmann([0.0, np.log(3)], 1.0).round(2).tolist()
    [0.25, 0.75]
    """
    scaled = np.asarray(values, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()
