"""What each command of `rl-avr` is called, takes and does.

Functions import what they need when they run, so that `--help` and every mistake in a setting
answer at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from rl_avr import dpo, grpo, sft
from rl_avr.modeling.config import Dtype
from rl_avr.settings import (
    AblateSettings,
    ChatSettings,
    CreditStudySettings,
    DataSettings,
    DemoSettings,
    DpoSettings,
    EvalSettings,
    GrpoSettings,
    PairsSettings,
    RerankSettings,
    RolloutSettings,
    RoundsSettings,
    ServeSettings,
    SftSettings,
    save_resolved,
)


def run_demo(settings: DemoSettings) -> None:
    """Runs the whole demo."""
    from rl_avr.pipeline.demo import run_demo as run

    run(settings)


def run_data_make(settings: DataSettings) -> None:
    """Writes both splits of the puzzles, or says what it would write."""
    from rl_avr.pipeline.data import describe_data, make_data

    if settings.data.is_dry_run:
        print(describe_data(settings.data, settings.puzzles))
    else:
        counts = make_data(settings.data, settings.puzzles)
        print(f"{settings.data.path}: {', '.join(f'{n} {split}' for split, n in counts.items())}")


def run_data_show(folder: Path, split: str, num: int, out: Path | None) -> None:
    """Writes a page and a sheet of a set's pictures."""
    from rl_avr.pipeline.data_show import show_data

    for path in show_data(folder, [split], num, out):
        print(f"written: {path}")


def run_data_stats(folder: Path) -> None:
    """Prints what a set holds and whether its answers can be guessed."""
    from rl_avr.pipeline.data_stats import describe_stats, write_stats

    print(describe_stats(write_stats(folder)))


def run_data_import(source: Path, format: str, out: Path, strict: bool, panel_size: int) -> None:
    """Makes a set of other people's puzzles."""
    from rl_avr.pipeline.data_import import import_data

    print(import_data(source, format, out, strict, panel_size))


def run_data_export(folder: Path, out: Path, split: str | None) -> None:
    """Writes a set as RAVEN's files."""
    from rl_avr.pipeline.data_raven import export_data

    print(export_data(folder, out, split))


def run_eval(settings: EvalSettings) -> None:
    """Measures a policy, or says what it would ask."""
    from rl_avr.evaluation.runner import describe_evaluation, evaluate

    if settings.eval.is_dry_run:
        seed = settings.run.seed
        print(describe_evaluation(settings.data, settings.rewards, settings.eval, seed))
        return
    save_resolved(settings, settings.run.dir)
    evaluate(
        run=settings.run,
        policy=settings.policy,
        data=settings.data,
        rollouts=settings.rollouts,
        rewards=settings.rewards,
        config=settings.eval,
    )


def run_eval_compare(folders: list[Path], markdown: Path | None) -> None:
    """Compares finished evaluations."""
    from rl_avr.evaluation.comparing import compare_runs

    print(compare_runs(folders, markdown))


def run_eval_export(folder: Path, out: Path) -> None:
    """Writes an evaluation as another suite's samples."""
    from rl_avr.evaluation.exporting import export_samples

    print(export_samples(folder, out))


def run_eval_export_task(
    benchmark: str, path: Path, out: Path, limit: int, max_new_tokens: int
) -> None:
    """Writes a benchmark as another suite's task."""
    from rl_avr.evaluation.exporting import export_task

    print(export_task(benchmark, path, out, limit, max_new_tokens))


def run_eval_show(folder: Path, num: int, chains: int, out: Path | None) -> None:
    """Writes the page on which an evaluation is browsed."""
    from rl_avr.pipeline.eval_show import write_browser

    print(f"written: {write_browser(folder, num, chains, out)}")


def run_rollout(settings: RolloutSettings) -> None:
    """Samples and grades chains for a set, or says what it would sample."""
    from rl_avr.pipeline.rollout import describe_rollouts, make_rollouts

    if settings.rollout.is_dry_run:
        print(describe_rollouts(settings))
    else:
        make_rollouts(settings)


def run_pairs(settings: PairsSettings) -> None:
    """Makes preference pairs of recorded rollouts, or shows what it would make."""
    from rl_avr.pipeline.pairs import make_pairs, show_pairs

    if settings.pairs.is_dry_run:
        print(show_pairs(settings))
    else:
        make_pairs(settings)


def run_credit(
    policy: str, reference: str, chains: int, out: Path | None, dtype: Dtype, **asked: Any
) -> None:
    """Writes a page of chains coloured by their credit."""
    from rl_avr.pipeline.credit import Pair, write_credit
    from rl_avr.pipeline.rewards_explain import Asked

    asked["puzzle_id"] = asked.pop("id")
    print(write_credit(Asked(**asked), Pair(policy, reference, dtype), chains, out))


def run_credit_auroc(settings: CreditStudySettings) -> None:
    """Measures whether credit tells true claims from false ones."""
    from rl_avr.pipeline.credit_auroc import measure_credit

    print(measure_credit(settings.study, settings.run.seed, Path(settings.run.dir)))


def run_rerank(settings: RerankSettings) -> None:
    """Answers one picture, or every puzzle of a set, by N chains."""
    from rl_avr.pipeline.rerank import rerank_picture, rerank_set

    if settings.rerank.image:
        print(rerank_picture(settings))
    else:
        rerank_set(settings)


def run_rerank_study(
    policy: list[list[str]], out: Path, markdown: Path | None, num_draws: int
) -> None:
    """Compares all ways to rerank on recorded pools."""
    from rl_avr.pipeline.rerank_study import write_study

    for path in write_study(policy, out, markdown, num_draws):
        print(f"written: {path}")


def run_serve(settings: ChatSettings) -> None:
    """Serves a policy with its reranker."""
    from rl_avr.pipeline.serve import serve_chat

    serve_chat(settings)


def run_serve_rollouts(settings: ServeSettings) -> None:
    """Starts rollout servers and keeps them running."""
    from rl_avr.pipeline.serve_rollouts import serve_rollouts

    serve_rollouts(settings.policy, settings.rollouts)


def run_rewards_score(rollouts: list[Path], config: Path | None, out: Path | None) -> None:
    """Grades recorded rollouts again and prints what each part gives."""
    from rl_avr.pipeline.rewards_score import score_rollouts

    print(score_rollouts(rollouts, config, out))


def run_rewards_explain(
    id: str | None, config: Path | None, html: Path | None, **asked: Any
) -> None:
    """Shows one completion with each claim marked right or wrong."""
    from rl_avr.pipeline.rewards_explain import Asked, explain_completion

    print(explain_completion(Asked(puzzle_id=id, **asked), config, html))
    if html:
        print(f"written: {html}")


def run_export(model: str, adapter: Path, out: Path, dtype: Dtype) -> None:
    """Merges adapters into their policy."""
    from rl_avr.modeling.adapters import export_merged

    export_merged(model, adapter, out, dtype)
    print(f"written: {out}")


def run_ablate(settings: AblateSettings) -> None:
    """Runs what is missing of an ablation, or lists it."""
    from rl_avr.pipeline.ablate import describe_ablation, run_ablation

    if settings.ablate.is_dry_run:
        print(describe_ablation(settings))
    else:
        run_ablation(settings)


def run_report(folders: list[Path], out: Path | None, markdown: Path | None) -> None:
    """Writes the report of a run, or of several side by side."""
    from rl_avr.pipeline.report_runs import write_reports

    for path in write_reports(folders, out, markdown):
        print(f"written: {path}")


def run_rounds(settings: RoundsSettings) -> None:
    """Runs what is missing of several rounds of rollouts, pairs and preference training."""
    from rl_avr.pipeline.rounds import run_rounds as run

    run(settings)


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    help: str
    settings: type | None
    """Class of its settings; None for a command that takes arguments instead."""
    run: Callable[..., object]
    """Takes the settings, or the arguments by name, and does the work."""
    configs: tuple[str, ...] = ()
    """Config files where none is named."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Short forms of dotted keys."""
    flags: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Words without a value, and the key and value that each stands for."""
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What argparse's `add_argument` takes, by name; for a command without settings."""
    ignored: tuple[str, ...] = ()
    """Blocks that its config files may hold for other commands."""
    saves_config: bool = True
    """Whether the resolved config is saved before the work; a command that may refuse the folder
    saves it itself."""


_SET = {"type": Path, "help": "folder of a set that `data make` or `data import` wrote"}
_SPLITS = ("train", "held_out", "val", "test")
_REWARDS = {"type": Path, "help": "YAML file with a block `rewards`; default: the defaults"}
_KINDS = ("cot", "direct", "perception")
_CHAIN: dict[str, dict[str, Any]] = {
    "rollouts": {
        "type": Path,
        "nargs": "?",
        "help": "a file of rollouts, or a run's folder",
    },
    "--prompt-id": {"help": "a prompt in it; default: the first"},
    "--index": {
        "type": int,
        "default": 0,
        "help": "which completion of it, from 0; default: 0",
    },
    "--puzzle": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "a set, to grade a text of your own instead",
    },
    "--id": {"help": "a puzzle in it; default: the first"},
    "--text": {"metavar": "FILE", "help": "the text; - for the standard input"},
    "--kind": {
        "choices": _KINDS,
        "default": "cot",
        "help": "what its prompt asks for; default: cot",
    },
}
"""Which chain a command is asked about."""
GROUPS = {
    "ablate": "Train and measure arms that differ in one thing.",
    "data": "Make, look at, measure and convert sets of puzzles.",
    "rewards": "Grade recorded completions again, and show why one got its reward.",
}
COMMANDS: dict[str, Command] = {
    "demo": Command(
        "Run everything small: data, warm start, GRPO, evaluation, report.",
        DemoSettings,
        run_demo,
        configs=("configs/demo/demo.yaml",),
    ),
    "data make": Command(
        "Make the puzzles of both splits; goes on where it was stopped.",
        DataSettings,
        run_data_make,
        flags={"dry-run": ("data.is_dry_run", "true")},
    ),
    "data show": Command(
        "Write a page of puzzles with their questions and chains, and a sheet of pictures.",
        None,
        run_data_show,
        arguments={
            "folder": _SET,
            "--split": {"choices": _SPLITS, "default": "train", "help": "default: train"},
            "--num": {"type": int, "default": 24, "help": "how many puzzles; default: 24"},
            "--out": {"type": Path, "help": "the page; default: FOLDER/gallery.html"},
        },
    ),
    "data stats": Command(
        "Print what a set holds, whether its answers can be guessed, and its duplicates.",
        None,
        run_data_stats,
        arguments={"folder": _SET},
    ),
    "data import": Command(
        "Make a set of RAVEN's files or of people's own images, with a page to review it.",
        None,
        run_data_import,
        arguments={
            "source": {"type": Path, "help": "folder of .npz and .xml files, or a JSONL file"},
            "--format": {"choices": ("raven", "annotated"), "required": True},
            "--out": {"type": Path, "required": True, "help": "folder of the new set"},
            "--strict": {"action": "store_true", "help": "one bad puzzle refuses all"},
            "--panel-size": {
                "type": int,
                "default": 160,
                "help": "of RAVEN's, in px; default: 160",
            },
        },
    ),
    "data export": Command(
        "Write a set's matrix puzzles as RAVEN's .npz and .xml files.",
        None,
        run_data_export,
        arguments={
            "folder": _SET,
            "--out": {"type": Path, "required": True, "help": "folder of the files"},
            "--split": {"choices": _SPLITS, "help": "default: every split"},
        },
    ),
    "sft": Command(
        "Train one stage of the warm start, or show what it would train on.",
        SftSettings,
        sft.run,
        short={"stage": "sft.stage"},
        flags={"dry-run": ("dry_run.is_on", "true")},
        saves_config=False,
    ),
    "dpo": Command(
        "Train a policy on preference pairs, or show what it would train on.",
        DpoSettings,
        dpo.run,
        flags={"dry-run": ("dry_run.is_on", "true")},
        saves_config=False,
    ),
    "grpo": Command(
        "Train a policy with GRPO, or show one group of it.",
        GrpoSettings,
        grpo.run,
        flags={"dry-run": ("dry_run.is_on", "true")},
        saves_config=False,
    ),
    "eval": Command(
        "Measure a policy on puzzles or a benchmark; goes on where it was stopped.",
        EvalSettings,
        run_eval,
        flags={"dry-run": ("eval.is_dry_run", "true")},
        saves_config=False,
    ),
    "eval compare": Command(
        "Compare finished evaluations of the same problems with the first, by paired tests.",
        None,
        run_eval_compare,
        arguments={
            "folders": {"type": Path, "nargs": "+", "help": "run.dir of each, baseline first"},
            "--markdown": {"type": Path, "metavar": "FILE", "help": "write the table there too"},
        },
    ),
    "eval export": Command(
        "Write an evaluation's greedy chains in the layout of lmms-eval's samples.",
        None,
        run_eval_export,
        arguments={
            "folder": {"type": Path, "help": "run.dir of the evaluation"},
            "--out": {"type": Path, "required": True, "help": "file to write, JSONL"},
        },
    ),
    "eval export-task": Command(
        "Write a benchmark as a task that lmms-eval runs from local files.",
        None,
        run_eval_export_task,
        arguments={
            "benchmark": {"help": "whose problems, as in eval.benchmark"},
            "path": {"type": Path, "help": "where its files lie"},
            "--out": {"type": Path, "required": True, "help": "folder of the task"},
            "--limit": {"type": int, "default": 0, "help": "how many problems; default: all"},
            "--max-new-tokens": {
                "type": int,
                "default": 512,
                "help": "most tokens of an answer; default: 512",
            },
        },
    ),
    "eval show": Command(
        "Write a page on which one browses an evaluation's problems and chains by what failed.",
        None,
        run_eval_show,
        arguments={
            "folder": {"type": Path, "help": "folder of the evaluation"},
            "--num": {"type": int, "default": 200, "help": "how many problems; default: 200"},
            "--chains": {
                "type": int,
                "default": 4,
                "help": "sampled chains of each; default: 4",
            },
            "--out": {"type": Path, "help": "the page; default: FOLDER/browse.html"},
        },
    ),
    "rollout": Command(
        "Sample and grade chains for a whole set; goes on where it was stopped.",
        RolloutSettings,
        run_rollout,
        flags={"dry-run": ("rollout.is_dry_run", "true")},
        saves_config=False,
    ),
    "pairs": Command(
        "Make preference pairs of recorded rollouts; goes on where it was stopped.",
        PairsSettings,
        run_pairs,
        flags={"dry-run": ("pairs.is_dry_run", "true")},
        saves_config=False,
    ),
    "credit": Command(
        "Show which tokens and claims of a chain a policy likes more than its reference does.",
        None,
        run_credit,
        arguments={
            **_CHAIN,
            "--policy": {"required": True, "help": "a folder, a hub name or a folder of adapters"},
            "--reference": {"required": True, "help": "what it was trained from, likewise"},
            "--chains": {
                "type": int,
                "default": 1,
                "help": "how many completions, from --index on; default: 1",
            },
            "--out": {"type": Path, "help": "folder to write; default: ROLLOUTS/credit"},
            "--dtype": {
                "choices": get_args(Dtype),
                "default": "float32",
                "help": "of the weights in memory; default: float32",
            },
        },
    ),
    "credit auroc": Command(
        "Measure by the truth of claims whether policies' credit knows where the errors are.",
        CreditStudySettings,
        run_credit_auroc,
    ),
    "rounds": Command(
        "Sample chains, make pairs and train on them, several times; goes on where it was stopped.",
        RoundsSettings,
        run_rounds,
        saves_config=False,
    ),
    "rerank": Command(
        "Answer one picture, or a whole set, by N chains; a set goes on where it was stopped.",
        RerankSettings,
        run_rerank,
        short={
            "model": "policy.path",
            "reference": "rerank.reference",
            "image": "rerank.image",
            "question": "rerank.question",
            "data": "data.path",
            "n": "rerank.num_chains",
            "method": "rerank.method",
        },
        saves_config=False,
    ),
    "rerank study": Command(
        "Compare all methods at every N on pools that `rerank` has recorded, with pass@N above.",
        None,
        run_rerank_study,
        arguments={
            "--policy": {
                "nargs": "+",
                "action": "append",
                "required": True,
                "metavar": ("NAME", "FOLDER"),
                "help": "a policy's name and its run.dir of each seed; once for each policy",
            },
            "--out": {"type": Path, "required": True, "help": "the page"},
            "--markdown": {"type": Path, "metavar": "FILE", "help": "write the tables there too"},
            "--num-draws": {
                "type": int,
                "default": 32,
                "help": "subsamples of a pool for each N; default: 32",
            },
        },
    ),
    "serve": Command(
        "Serve a policy and its reranker to OpenAI clients; Ctrl-C ends it.",
        ChatSettings,
        run_serve,
        short={"model": "policy.path", "reference": "rerank.reference"},
        ignored=("run", "data", "rewards"),
    ),
    "serve-rollouts": Command(
        "Start replicas of vLLM's server for rollouts.engine vllm_server; Ctrl-C ends them.",
        ServeSettings,
        run_serve_rollouts,
        ignored=(
            *("run", "data", "rewards", "credit", "update", "methods", "dry_run", "trainer"),
            *("eval", "rollout"),
        ),
    ),
    "rewards score": Command(
        "Grade recorded rollouts again; print each part by kind of puzzle, and what changed.",
        None,
        run_rewards_score,
        arguments={
            "rollouts": {
                "type": Path,
                "nargs": "+",
                "help": "files of rollouts, or folders of runs",
            },
            "--config": _REWARDS,
            "--out": {"type": Path, "help": "file for the groups with their new grades"},
        },
    ),
    "rewards explain": Command(
        "Show one completion with each claim marked right or wrong, and what its parts are.",
        None,
        run_rewards_explain,
        arguments={
            **_CHAIN,
            "--config": _REWARDS,
            "--html": {"type": Path, "metavar": "FILE", "help": "write a page too"},
        },
    ),
    "export": Command(
        "Merge adapters into their policy and write it as a plain folder that vLLM serves.",
        None,
        run_export,
        arguments={
            "--model": {"required": True, "help": "the policy: a folder or a hub name"},
            "--adapter": {
                "type": Path,
                "required": True,
                "help": "folder of the adapters: RUN/adapter, or a checkpoint of a run with LoRA",
            },
            "--out": {"type": Path, "required": True, "help": "folder to write"},
            "--dtype": {
                "choices": get_args(Dtype),
                "default": "float32",
                "help": "of the weights written; default: float32",
            },
        },
    ),
    "ablate warm-start": Command(
        "Compare orders of questions, mixtures and replay; goes on where it was stopped.",
        AblateSettings,
        run_ablate,
        configs=("configs/ablate/warm_start.yaml",),
        short={"only": "ablate.only", "jobs": "ablate.num_jobs"},
        flags={"dry-run": ("ablate.is_dry_run", "true")},
        saves_config=False,
    ),
    "report": Command(
        "Write the report of a run, or of several side by side, the first one the baseline.",
        None,
        run_report,
        arguments={
            "folders": {"type": Path, "nargs": "+", "help": "run.dir of each"},
            "--out": {"type": Path, "help": "the page; default, for one run: FOLDER/report.html"},
            "--markdown": {"type": Path, "metavar": "FILE", "help": "write the tables there too"},
        },
    ),
}
