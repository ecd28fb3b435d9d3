"""Trains a policy with GRPO: `rl-avr grpo`, or `accelerate launch rl_avr/grpo.py`."""

import sys

from rl_avr.settings import GrpoSettings


def run(settings: GrpoSettings) -> None:
    """Imports the heavy libraries and trains."""
    from rl_avr.training.grpo import train_grpo

    train_grpo(
        run=settings.run,
        policy=settings.policy,
        data=settings.data,
        rollouts=settings.rollouts,
        rewards=settings.rewards,
        credit=settings.credit,
        trainer=settings.trainer,
    )


if __name__ == "__main__":
    from rl_avr.cli import main

    sys.exit(main(["grpo", *sys.argv[1:]]))
