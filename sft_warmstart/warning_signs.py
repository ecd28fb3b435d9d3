"""Signs that a warm start fails, read from what a run has logged.

    perception_falling   each of the last `patience` measurements of perception is below the
                         best one before them, by more than chance
    shortcut             with questions in grid order: at each of the last `patience`
                         measurements the loss is at most half of the first that was logged,
                         and perception is not above its first measurement by more than chance

More than chance is more than twice the standard error of the difference of two shares p and
q of n answers each:

    2 sqrt((p (1 - p) + q (1 - q)) / n)

Source: LLaVA-AVR (arXiv 2504.01324): in grid order questions are answered from the order
alone, the loss falls fast and perception falls to 40%; without general data it falls slowly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl_avr.metric_names import PERCEPTION_ACCURACY, PERCEPTION_FALLING, SHORTCUT

_FAST = 0.5
"""Of the first loss; what is at most this has fallen fast."""
_NUM_ERRORS = 2.0


@dataclass(frozen=True)
class Measured:
    """One measurement during training.

    Args:
        step: optimizer steps done.
        perception: share of questions answered rightly.
        loss: mean of the losses logged since the measurement before; None where there are none.
    """

    step: int
    perception: float
    loss: float | None


def measurements(history: Iterable[Mapping[str, Any]]) -> tuple[list[Measured], float | None]:
    """Returns the measurements among the rows of a log, and the first loss in it."""
    found: list[Measured] = []
    losses: list[float] = []
    first: float | None = None
    for row in history:
        if "loss" in row:
            first = row["loss"] if first is None else first
            losses.append(row["loss"])
        if PERCEPTION_ACCURACY in row:
            loss = sum(losses) / len(losses) if losses else None
            found.append(Measured(row["step"], row[PERCEPTION_ACCURACY], loss))
            losses = []
    return found, first


def falling(measured: Sequence[Measured], num_asked: int, patience: int) -> str | None:
    """Returns what to say where perception falls; None where it does not.

    Args:
        measured: in the order of their steps.
        num_asked: questions of one measurement.
        patience: measurements in a row that must be below the best one.
    """
    before, last = measured[:-patience], measured[-patience:]
    if not before:
        return None
    best = max(before, key=lambda one: one.perception)
    if not all(_is_above(best.perception, one.perception, num_asked) for one in last):
        return None
    return (
        f"perception falls: {best.perception:.1%} of the questions were right at step {best.step}, "
        f"now {last[-1].perception:.1%}, and the last {patience} measurements are all below by "
        "more than chance. Lower trainer.learning_rate; give perception more weight in "
        "sft.mixture, or general data with sft.replay; or go back to the checkpoint of step "
        f"{best.step}"
    )


def shortcut(
    measured: Sequence[Measured], first_loss: float | None, num_asked: int, patience: int
) -> str | None:
    """Returns what to say where the loss falls by a shortcut; None where it does not.

    For runs whose questions are in grid order.

    Args:
        measured: in the order of their steps; the first one is what others are compared with.
        first_loss: the first that was logged.
        num_asked: questions of one measurement.
        patience: measurements in a row that must show it.
    """
    first, last = measured[:-patience][:1], measured[-patience:]
    if not first or not first_loss:
        return None
    start = first[0].perception
    for one in last:
        has_fallen = one.loss is not None and one.loss <= _FAST * first_loss
        if not has_fallen or _is_above(one.perception, start, num_asked):
            return None
    return (
        f"a shortcut: the loss fell from {first_loss:.3g} to {last[-1].loss:.3g} while perception "
        f"does not rise, {start:.1%} at step {first[0].step} and {last[-1].perception:.1%} now. "
        "Questions in grid order can be answered from the order alone: set sft.elicitation.order "
        "elicitation_shuffled"
    )


def warnings_of(
    history: Iterable[Mapping[str, Any]], num_asked: int, patience: int, is_sequential: bool
) -> dict[str, str | None]:
    """Returns metric -> what to say, or None, after the newest measurement.

    Args:
        history: rows of the trainer's log.
        num_asked: questions of one measurement.
        patience: measurements in a row.
        is_sequential: whether questions are in grid order.
    """
    measured, first_loss = measurements(history)
    return {
        PERCEPTION_FALLING: falling(measured, num_asked, patience),
        SHORTCUT: shortcut(measured, first_loss, num_asked, patience) if is_sequential else None,
    }


def _is_above(high: float, low: float, num_asked: int) -> bool:
    variance = (high * (1 - high) + low * (1 - low)) / num_asked
    return high - low > _NUM_ERRORS * variance**0.5
