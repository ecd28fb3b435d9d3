"""Iterated preference training: rollout -> pairs -> DPO -> rollout …, from one config.

    RUN/round_1/rollout, RUN/round_1/pairs, RUN/round_1/dpo      what `rl-avr rollout` … write
    RUN/steps.json                                               the steps that are done
    RUN/rounds.json                                              what came of each round

Every step is a command of its own that goes on where it was stopped, so the whole does, between
rounds and within them. Each round samples from what the one before it trained, with other seeds,
and that policy is its reference.
"""

import json
from pathlib import Path
from typing import Any

from rl_avr.difficulty_record import DifficultyRecord, write_json
from rl_avr.errors import ConfigError, DataError
from rl_avr.metric_names import REWARD_ACCURACY, REWARD_MARGIN
from rl_avr.pipeline.steps import Step, run_steps
from rl_avr.pipeline.text_table import text_table
from rl_avr.preference.pair_record import read_manifest
from rl_avr.seeding import derive_seed
from rl_avr.settings import (
    DpoSettings,
    PairsSettings,
    RolloutSettings,
    RoundsSettings,
    load_settings,
    save_resolved,
    to_dict,
)
from rl_avr.training.run_folder import prepare_run

_LARGEST_SEED = 2**32
_BEGUN = "begun.json"


def run_rounds(settings: RoundsSettings) -> Path:
    """Runs every step that is not done and prints what came of each round.

    Returns:
        The folder of the last policy.

    Raises:
        ConfigError: a config file cannot be used, or the folder holds rounds of other settings.
        StepError: a step failed; the same command goes on from there.
    """
    folder = Path(settings.run.dir)
    steps = round_steps(settings)
    prepare_run(settings.run)
    _claim(folder, settings)
    save_resolved(settings, folder)
    run_steps(steps, folder)
    found = [round_figures(folder / _name(k)) for k in range(1, settings.rounds.num_rounds + 1)]
    write_json(folder / "rounds.json", found)
    print(f"\n{rounds_table(found)}\n")
    out = folder / _name(settings.rounds.num_rounds) / "dpo" / "policy"
    print(f"written: {out}")
    return out


def round_steps(settings: RoundsSettings) -> tuple[Step, ...]:
    """Returns the steps of all rounds; every one is a command that a user can run alone.

    Raises:
        ConfigError: a config file that its command would refuse.
    """
    rounds, folder = settings.rounds, Path(settings.run.dir)
    for kind, files in (
        (RolloutSettings, rounds.rollout),
        (PairsSettings, rounds.pairs),
        (DpoSettings, rounds.dpo),
    ):
        load_settings(kind, files)
    launch: tuple[str, ...] = ("-m", "rl_avr.cli", "dpo")
    if rounds.accelerate:
        module = ("-m", "accelerate.commands.launch", "--config_file", rounds.accelerate)
        launch = (*module, "rl_avr/dpo.py")
    steps: list[Step] = []
    policy = rounds.policy
    for number in range(1, rounds.num_rounds + 1):
        name = _name(number)
        here = folder / name
        seed = str(derive_seed("rounds", settings.run.seed, number) % _LARGEST_SEED)
        dirs = {step: str(here / step) for step in ("rollout", "pairs", "dpo")}
        common = {step: ("--run.dir", dirs[step], "--run.seed", seed) for step in dirs}
        steps += [
            Step(
                f"{name}_rollout",
                f"Round {number}: chains of {policy}",
                (
                    *("-m", "rl_avr.cli", "rollout", "--config", *rounds.rollout),
                    *(*common["rollout"], "--policy.path", policy),
                ),
            ),
            Step(
                f"{name}_pairs",
                f"Round {number}: pairs",
                (
                    *("-m", "rl_avr.cli", "pairs", "--config", *rounds.pairs),
                    *(*common["pairs"], "--pairs.rollouts", json.dumps([dirs["rollout"]])),
                ),
            ),
            Step(
                f"{name}_dpo",
                f"Round {number}: preference training",
                (
                    *(*launch, "--config", *rounds.dpo, *common["dpo"]),
                    *("--policy.path", policy, "--preference.pairs", dirs["pairs"]),
                ),
            ),
        ]
        policy = str(here / "dpo" / "policy")
    return tuple(steps)


def round_figures(folder: Path) -> dict[str, Any]:
    """Returns what came of a finished round.

    Raises:
        DataError: its files cannot be read.
    """
    record = DifficultyRecord.load(folder / "rollout" / "rollouts" / "difficulty.json")
    passed, seen = (sum(tally[i] for tally in record.to_dict()["puzzles"].values()) for i in (0, 1))
    path = folder / "dpo" / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        last = [line for line in lines if REWARD_MARGIN in line][-1]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: expected the metrics of a run; got: {error!r}") from error
    return {
        "accuracy": passed / seen,
        "num_pairs": read_manifest(folder / "pairs")["num_pairs"],
        REWARD_ACCURACY: last[REWARD_ACCURACY],
        REWARD_MARGIN: last[REWARD_MARGIN],
    }


def rounds_table(found: list[dict[str, Any]]) -> str:
    """Returns a line for each round; accuracy is that of the policy that the round began with."""
    rows = [("round", "accuracy before", "pairs", "pairs in order", "margin")]
    for number, one in enumerate(found, start=1):
        shares = (f"{one['accuracy']:.3f}", f"{one['num_pairs']}", f"{one[REWARD_ACCURACY]:.2f}")
        rows.append((str(number), *shares, f"{one[REWARD_MARGIN]:.3f}"))
    return text_table(rows)


def _name(number: int) -> str:
    return f"round_{number}"


def _claim(folder: Path, settings: RoundsSettings) -> None:
    """Refuses a folder whose steps were made of other settings; more rounds may be added."""
    about = {**to_dict(settings.rounds), "seed": settings.run.seed}
    about = json.loads(json.dumps({k: v for k, v in about.items() if k != "num_rounds"}))
    path = folder / _BEGUN
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else about
    changed = sorted(name for name in about if before.get(name) != about[name])
    if changed:
        raise ConfigError(
            f"run.dir {folder}: its rounds were begun with another {', '.join(changed)}; name "
            "another run.dir, or set it as it was"
        )
    write_json(path, about)
