"""Trains a policy on preference pairs: `rl-avr dpo`, or `accelerate launch rl_avr/dpo.py`."""

import os
import sys

from rl_avr.settings import DpoSettings, save_resolved


def run(settings: DpoSettings) -> None:
    """Imports the heavy libraries and trains, or shows what would be trained on."""
    if settings.dry_run.is_on:
        from rl_avr.pipeline.dpo_dry_run import dry_run

        print(dry_run(settings))
        return
    # every process of a distributed run comes here; one of them writes
    if os.environ.get("RANK", "0") == "0":
        save_resolved(settings, settings.run.dir)
    from rl_avr.preference.train import train_dpo

    train_dpo(
        run=settings.run,
        policy=settings.policy,
        preference=settings.preference,
        update=settings.update,
        trainer=settings.trainer,
    )


if __name__ == "__main__":
    from rl_avr.cli import main

    sys.exit(main(["dpo", *sys.argv[1:]]))
