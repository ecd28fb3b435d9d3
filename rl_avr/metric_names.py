"""The one table of metric names: what the trainer logs and what curves and pages read.

Names with a slash follow trl's logs, so that wandb groups them.
"""

REWARD = "reward"
REWARD_STD = "reward_std"
ZERO_STD_SHARE = "frac_reward_zero_std"
REWARD_PARTS = ("choice", "format", "perception", "rule", "total")
ADMITTED_SHARE = "groups/admitted"
USEFUL_SHARE = "groups/useful"
"""Share of all groups sampled whose outcomes differ; those thrown away count too."""
REFILL_ROUNDS = "groups/refill_rounds"
"""Rounds in which fresh puzzles were drawn; the mean over ranks."""
SAMPLED_PER_TRAINED = "groups/sampled_per_trained"
TRUNCATED_SHARE = "completions/truncated"
"""Share of all completions sampled that were cut at the limit."""
PARITY_GAP = "sampling/parity_gap"
COMPLETION_LENGTH = "completions/mean_length"
ENTROPY = "entropy"


def reward_part(name: str) -> str:
    """Returns the name under which the mean of a part of the reward is logged.

    >>> reward_part("choice")
    'rewards/choice/mean'
    """
    return f"rewards/{name}/mean"
