"""Trains one stage of the warm start: `rl-avr sft`, or `accelerate launch rl_avr/sft.py`."""

import sys

from rl_avr.settings import SftSettings


def run(settings: SftSettings) -> None:
    """Imports the heavy libraries and trains."""
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
