"""Weight of the KL penalty over a run: beta as a function of how far the run has come.

    constant    beta(x) = beta
    grpo_d      beta(x) = mid - (mid - b_min) x / turn                          x <= turn
                        = b_min + (b_max - b_min) (x - turn) / (1 - turn)       x >  turn
                mid = (b_min + b_max) / 2

x is step / steps of the whole run, in [0, 1]. `grpo_d` is a V, not a rise: it starts half-way,
falls to `b_min` at `turn`, and only then rises to `b_max`. Its mean over a run,
turn (mid + b_min) / 2 + (1 - turn) (b_min + b_max) / 2, is the constant to compare it with.

Source: GRPO-D, OThink-MR1 (2503.16081); turn 0.3, b_min 0.04 and b_max 0.1, or 0 and 0.02.
"""

from collections.abc import Callable

KlSchedule = Callable[[float], float]
"""Share of the run that is done, in [0, 1] -> beta, at least 0."""


def constant(beta: float) -> KlSchedule:
    """Returns the schedule that is `beta` all along.

    >>> constant(0.04)(0.7)
    0.04
    """
    return lambda _: beta


def grpo_d(b_min: float, b_max: float, turn: float) -> KlSchedule:
    """Returns the V of GRPO-D; where `b_min` equals `b_max` it is that constant, exactly.

    Args:
        b_min: least weight, reached at `turn`; at least 0.
        b_max: weight at the end; at least `b_min`.
        turn: share of the run after which the weight rises, in (0, 1).

    >>> [round(grpo_d(0.04, 0.1, 0.3)(x), 3) for x in (0.0, 0.15, 0.3, 0.65, 1.0)]
    [0.07, 0.055, 0.04, 0.07, 0.1]
    """
    mid = (b_min + b_max) / 2

    def beta(progress: float) -> float:
        if progress <= turn:
            return mid - (mid - b_min) * (progress / turn)
        return b_min + (b_max - b_min) * ((progress - turn) / (1 - turn))

    return beta
