"""Trains one stage of the warm start: `rl-avr sft`, or `accelerate launch rl_avr/sft.py`."""

import os
import sys

from rl_avr.settings import SftSettings, save_resolved


def run(settings: SftSettings) -> None:
    """Imports the heavy libraries and trains, or shows what would be trained on."""
    if settings.dry_run.is_on:
        from rl_avr.pipeline.sft_dry_run import dry_run

        print(dry_run(settings))
        return
    # every process of a distributed run comes here; one of them writes
    if os.environ.get("RANK", "0") == "0":
        save_resolved(settings, settings.run.dir)
    from sft_warmstart.train import train_sft

    train_sft(
        run=settings.run,
        policy=settings.policy,
        data=settings.data,
        sft=settings.sft,
        trainer=settings.trainer,
    )


if __name__ == "__main__":
    from rl_avr.cli import main

    sys.exit(main(["sft", *sys.argv[1:]]))
