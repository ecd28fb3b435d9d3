"""Where the time of a run goes: sampling, grading, updating, bringing new weights to the engine.

Phases exclude each other: what runs inside another phase is taken out of the outer one. What is
in none of them (data, checkpoints, logs) is not measured. Each rank measures itself.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from transformers import TrainerCallback

from rl_avr.metric_names import phase_seconds, tokens_per_second

Phase = Literal["rollout", "reward", "update", "sync"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class PhaseClock:
    """Sums seconds by phase, and the tokens that they were spent on.

    Args:
        now: seconds on a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._running: list[Phase] = []
        self._since = 0.0
        self._seconds: defaultdict[Phase, float] = defaultdict(float)
        self._sampled = self._trained = 0

    def begin(self, phase: Phase) -> None:
        """Enters a phase; the one around it stands still."""
        self._charge()
        self._running.append(phase)

    def end(self) -> None:
        """Leaves the innermost phase; does nothing outside of all."""
        self._charge()
        if self._running:
            self._running.pop()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Is in a phase for as long as its block runs."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end()

    def count(self, sampled: int = 0, trained: int = 0) -> None:
        """Adds tokens of completions: sampled and graded, or gone through the update."""
        self._sampled += sampled
        self._trained += trained

    def take(self) -> dict[str, float]:
        """Returns seconds and tokens a second of every phase since the last call, and forgets them.

        Tokens of the update are those that it trained; of all other phases those sampled. A
        phase that did not run is left out.
        """
        self._charge()
        metrics: dict[str, float] = {}
        for phase in PHASES:
            seconds = self._seconds[phase]
            if seconds > 0:
                tokens = self._trained if phase == "update" else self._sampled
                metrics[phase_seconds(phase)] = seconds
                metrics[tokens_per_second(phase)] = tokens / seconds
        self._seconds.clear()
        self._sampled = self._trained = 0
        return metrics

    def _charge(self) -> None:
        now = self._now()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now


class OptimizerTime(TrainerCallback):
    """Counts the optimizer's own step to the update."""

    def __init__(self, clock: PhaseClock) -> None:
        self._clock = clock

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begins it."""
        self._clock.begin("update")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends it."""
        self._clock.end()
