"""Trains a policy with GRPO: `rl-avr grpo`, or `accelerate launch rl_avr/grpo.py`."""

import os
import sys

from rl_avr.settings import GrpoSettings, save_resolved


def run(settings: GrpoSettings) -> None:
    """Imports the heavy libraries and trains, or shows what would be trained on."""
    if settings.dry_run.is_on:
        from rl_avr.pipeline.grpo_dry_run import dry_run

        print(dry_run(settings))
        return
    # every process of a distributed run comes here; one of them writes
    if os.environ.get("RANK", "0") == "0":
        save_resolved(settings, settings.run.dir)
    from rl_avr.training.grpo import train_grpo

    train_grpo(
        run=settings.run,
        policy=settings.policy,
        data=settings.data,
        rollouts=settings.rollouts,
        rewards=settings.rewards,
        credit=settings.credit,
        update=settings.update,
        methods=settings.methods,
        trainer=settings.trainer,
    )


if __name__ == "__main__":
    from rl_avr.cli import main

    sys.exit(main(["grpo", *sys.argv[1:]]))
