"""The main job, end to end: puzzles, warm start, GRPO, evaluation, report."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rl_avr.errors import ConfigError
from rl_avr.evaluation.metrics import bootstrap_difference
from rl_avr.pipeline.report import write_report
from rl_avr.pipeline.steps import Step, run_steps
from rl_avr.reporting.tables import results_table
from rl_avr.settings import DemoSettings, EvalSettings, load_settings

_ACCELERATE = Path("configs/accelerate/single_cpu.yaml")
_POLICIES = {"warm": "eval_warm", "grpo": "eval_grpo"}


def run_demo(settings: DemoSettings) -> dict[str, Any]:
    """Runs every step that is not done; prints the table; returns what results.json holds.

    Raises:
        StepError: a step failed; the same command goes on from there.
    """
    folder = Path(settings.run.dir)
    seconds = run_steps(demo_steps(settings), folder)
    results = collect_results(folder, settings)
    results["seconds"] = seconds
    partial = folder / "results.json.partial"
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.rename(folder / "results.json")
    write_report(folder)
    print(f"\n{results_table(results)}\n")
    print(f"Report: {folder / 'report.html'}   Curves: wandb sync {folder / 'wandb'}")
    return results


def demo_steps(settings: DemoSettings) -> tuple[Step, ...]:
    """Returns the steps; every one is a command that a user can run alone."""
    run, configs = Path(settings.run.dir), Path(settings.configs)
    if not (configs / "grpo.yaml").is_file():
        raise ConfigError(f"configs {configs}: expected a folder with grpo.yaml; run from the root")
    seed = str(settings.run.seed)
    data = ("--data.path", str(run / "data"))

    def command(name: str, config: str, *overrides: str) -> tuple[str, ...]:
        return ("-m", "rl_avr.cli", *name.split(), "--config", str(configs / config), *overrides)

    def in_folder(sub: str) -> tuple[str, ...]:
        return ("--run.dir", str(run / sub), "--run.seed", seed, *data)

    perception = run / "sft_perception" / "policy"
    make_data = command("data make", "data.yaml", *data, "--puzzles.seed", seed)
    stage_1 = command("sft", "sft_perception.yaml", *in_folder("sft_perception"))
    new_policy = ("--policy.path", str(run / "new_policy"))
    stage_2 = command("sft", "sft_reasoning.yaml", *in_folder("sft_reasoning"))
    launch = ("-m", "accelerate.commands.launch", "--config_file", str(_ACCELERATE))
    grpo = (*launch, "rl_avr/grpo.py", "--config", str(configs / "grpo.yaml"))
    warm = command("eval", "eval.yaml", *in_folder("eval_warm"))
    after = command("eval", "eval.yaml", *in_folder("eval_grpo"))
    return (
        Step("data", "Puzzles, training and held out", make_data),
        Step("sft_perception", "SFT stage 1: perception questions", (*stage_1, *new_policy)),
        Step(
            "sft_reasoning",
            "SFT stage 2: questions and chains of thought",
            (*stage_2, "--policy.path", str(perception)),
        ),
        Step("eval_warm", "Evaluation of the warm start", warm),
        Step("grpo", "GRPO", (*grpo, "--run.dir", str(run), "--run.seed", seed, *data)),
        Step(
            "eval_grpo",
            "Evaluation after GRPO",
            (*after, "--policy.path", str(run / "policy")),
        ),
    )


def collect_results(folder: Path, settings: DemoSettings) -> dict[str, Any]:
    """Returns policy -> metric -> interval, and the paired differences."""
    evals = {
        name: json.loads((folder / sub / "eval.json").read_text())
        for name, sub in _POLICIES.items()
    }
    results: dict[str, Any] = {name: found["metrics"] for name, found in evals.items()}
    config = load_settings(EvalSettings, [Path(settings.configs) / "eval.yaml"], []).eval
    before, after = (evals[name]["per_puzzle"] for name in _POLICIES)
    results["difference"] = {
        metric: bootstrap_difference(
            np.array(after[metric]),
            np.array(before[metric]),
            config.num_bootstrap,
            config.confidence,
            settings.run.seed,
        ).as_dict()
        for metric in before
    }
    return results
