"""The command line: what each subcommand calls, what help shows, how errors end."""

import subprocess
import sys
import types
from dataclasses import fields
from pathlib import Path

import pytest

from rl_avr.cli import COMMANDS, attribute_docs, main, parse_overrides
from rl_avr.errors import ConfigError, RolloutError
from rl_avr.settings import (
    DemoSettings,
    GrpoSettings,
    SftSettings,
    load_settings,
    settings_keys,
)
from rollouts.config import RolloutConfig

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "trl", "vllm", "numpy")
TARGETS = {
    "demo": ("rl_avr.pipeline.demo", "run_demo"),
    "data make": ("rl_avr.pipeline.data", "make_data"),
    "data make --dry-run": ("rl_avr.pipeline.data", "describe_data"),
    "data show": ("rl_avr.pipeline.data_show", "show_data"),
    "data stats": ("rl_avr.pipeline.data_stats", "write_stats"),
    "the tables of data stats": ("rl_avr.pipeline.data_stats", "describe_stats"),
    "data import": ("rl_avr.pipeline.data_import", "import_data"),
    "data export": ("rl_avr.pipeline.data_raven", "export_data"),
    "sft": ("sft_warmstart.train", "train_sft"),
    "sft --dry-run": ("rl_avr.pipeline.sft_dry_run", "dry_run"),
    "grpo": ("rl_avr.training.grpo", "train_grpo"),
    "grpo --dry-run": ("rl_avr.pipeline.grpo_dry_run", "dry_run"),
    "eval": ("rl_avr.evaluation.runner", "evaluate"),
    "eval --dry-run": ("rl_avr.evaluation.runner", "describe_evaluation"),
    "eval compare": ("rl_avr.evaluation.comparing", "compare_runs"),
    "eval export": ("rl_avr.evaluation.exporting", "export_samples"),
    "eval export-task": ("rl_avr.evaluation.exporting", "export_task"),
    "eval show": ("rl_avr.pipeline.eval_show", "write_browser"),
    "rollout": ("rl_avr.pipeline.rollout", "make_rollouts"),
    "rollout --dry-run": ("rl_avr.pipeline.rollout", "describe_rollouts"),
    "rewards score": ("rl_avr.pipeline.rewards_score", "score_rollouts"),
    "rewards explain": ("rl_avr.pipeline.rewards_explain", "explain_completion"),
    "the arguments of rewards explain": ("rl_avr.pipeline.rewards_explain", "Asked"),
    "export": ("rl_avr.modeling.adapters", "export_merged"),
    "report": ("rl_avr.pipeline.report_runs", "write_reports"),
}


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Puts fakes in the place of the modules that do the work; runs in an empty folder."""
    seen: list[tuple[str, tuple, dict]] = []

    def fake(name):
        # a made set is counted, a shown one has files, and so has a report
        results = {"make_data": {"train": 5}, "show_data": ("page", "sheet")}
        result = (results | {"write_reports": ("page",)}).get(name)

        def called(*args, **kwargs):
            seen.append((name, args, kwargs))
            return result

        return called

    modules = {name: types.ModuleType(name) for name, _ in TARGETS.values()}
    for module_name, function in TARGETS.values():
        setattr(modules[module_name], function, fake(function))
    for module_name, module in modules.items():
        monkeypatch.setitem(sys.modules, module_name, module)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.chdir(tmp_path)
    return seen


def test_every_subcommand_has_one_row():
    data = [f"data {name}" for name in ("make", "show", "stats", "import", "export")]
    rewards = ["rewards score", "rewards explain"]
    assert list(COMMANDS) == [
        *("demo", *data, "sft", "dpo", "grpo", "eval", "eval compare"),
        *("eval export", "eval export-task", "eval show"),
        *("rollout", "pairs", "credit", "credit auroc", "rounds"),
        *("rerank", "rerank study", "serve", "serve-rollouts", *rewards),
        *("export", "ablate warm-start", "report"),
    ]
    assert all(command.help.endswith(".") for command in COMMANDS.values())


def test_grpo_gets_its_sections_and_saves_the_resolved_config(calls, tmp_path):
    (tmp_path / "a.yaml").write_text("trainer:\n  beta: 0.1\n")
    (tmp_path / "b.yaml").write_text("trainer:\n  max_steps: 2\n")
    (tmp_path / "c.yaml").write_text("run:\n  seed: 9\n")
    line = ["grpo", "--config", "a.yaml", "b.yaml", "--config", "c.yaml", "--run.dir", "out"]
    assert main([*line, "--trainer.learning_rate", "1e-5", "--trainer.temperature=0.5"]) == 0
    ((name, args, kwargs),) = calls
    assert (name, args) == ("train_grpo", ())
    assert set(kwargs) == {field.name for field in fields(GrpoSettings)} - {"dry_run"}
    assert kwargs["run"].seed == 9
    assert kwargs["trainer"] == {
        "beta": 0.1,
        "max_steps": 2,
        "learning_rate": 1e-5,
        "temperature": 0.5,
    }
    saved = load_settings(GrpoSettings, [tmp_path / "out" / "config.yaml"])
    assert saved == GrpoSettings(**kwargs)


def test_a_dry_run_of_grpo_leaves_the_folder_to_its_function(calls, tmp_path):
    assert main(["grpo", "--dry-run", "--run.dir", "out"]) == 0
    ((name, (settings,), _),) = calls
    assert name == "dry_run" and settings.dry_run.is_on and settings.run.dir == "out"
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_sft_leaves_the_folder_to_its_function(calls, tmp_path):
    assert main(["sft", "--dry-run", "--run.dir", "out"]) == 0
    ((name, (settings,), _),) = calls
    assert name == "dry_run" and settings.dry_run.is_on and settings.run.dir == "out"
    assert not (tmp_path / "out").exists()
    assert main(["sft", "--run.dir", "out", "--run.seed", "9"]) == 0
    assert calls[1][0] == "train_sft"
    assert load_settings(SftSettings, [tmp_path / "out" / "config.yaml"]).run.seed == 9


@pytest.mark.parametrize(
    "stage", [["--stage", "reasoning"], ["--stage=reasoning"], ["--sft.stage", "reasoning"]]
)
def test_sft_takes_its_stage_in_short(calls, stage):
    assert main(["sft", *stage]) == 0
    ((name, _, kwargs),) = calls
    assert name == "train_sft"
    assert set(kwargs) == {"run", "policy", "data", "sft", "trainer"}
    assert kwargs["sft"].stage == "reasoning"


def test_a_wrong_stage_is_refused_by_its_full_name(calls, capsys):
    assert main(["sft", "--stage", "both"]) == 2
    assert "sft.stage: expected one of 'perception', 'reasoning', got 'both'" in (
        capsys.readouterr().err
    )


def test_data_eval_report_and_demo_reach_their_functions(calls, tmp_path):
    (tmp_path / "configs" / "demo").mkdir(parents=True)
    (tmp_path / "configs" / "demo" / "demo.yaml").write_text("run:\n  seed: 4\n")
    assert main(["data", "make", "--puzzles.num_train", "5"]) == 0
    assert main(["eval", "--eval.num_samples=3"]) == 0
    assert main(["report", "runs/x"]) == 0
    assert main(["demo"]) == 0
    data, evaluation, report, demo = calls
    assert data[0] == "make_data" and data[1][1].num_train == 5
    assert set(evaluation[2]) == {"run", "policy", "data", "rollouts", "rewards", "config"}
    assert evaluation[2]["config"].num_samples == 3
    assert report == ("write_reports", ([Path("runs/x")], None, None), {})
    assert isinstance(demo[1][0], DemoSettings) and demo[1][0].run.seed == 4
    assert (tmp_path / "runs" / "demo" / "config.yaml").is_file()
    assert not (tmp_path / "runs" / "x").exists()


def test_the_other_commands_of_eval_leave_no_folder(calls, tmp_path):
    assert main(["eval", "--dry-run", "--run.dir", "out", "--eval.num_puzzles", "7"]) == 0
    assert main(["eval", "compare", "a", "b", "--markdown", "c.md"]) == 0
    dry, compared = calls[:2]
    assert dry[0] == "describe_evaluation" and dry[1][2].num_puzzles == 7
    assert compared == ("compare_runs", ([Path("a"), Path("b")], Path("c.md")), {})
    assert main(["eval", "export", "a", "--out", "b"]) == 0
    assert main(["eval", "export-task", "raven", "a", "--out", "b", "--limit", "3"]) == 0
    assert calls[2:] == [
        ("export_samples", (Path("a"), Path("b")), {}),
        ("export_task", ("raven", Path("a"), Path("b"), 3, 512), {}),
    ]
    assert not (tmp_path / "out").exists()
    assert main(["eval", "--run.dir", "out"]) == 0
    assert (tmp_path / "out" / "config.yaml").is_file()


def test_the_data_commands_reach_their_functions(calls, capsys):
    assert main(["data", "make", "--dry-run", "--puzzles.mix", "{rotation: 2}"]) == 0
    assert main(["data", "show", "runs/x", "--num", "3", "--split", "held_out"]) == 0
    assert main(["data", "stats", "runs/x"]) == 0
    assert main(["data", "import", "a.jsonl", "--format", "annotated", "--out", "b"]) == 0
    assert main(["data", "import", "a", "--format=raven", "--out=b", "--strict"]) == 0
    assert main(["data", "export", "runs/x", "--out", "c"]) == 0
    dry, show, stats, tables, annotated, raven, export = calls
    assert dry[0] == "describe_data" and dry[1][0].is_dry_run
    assert dry[1][1].mix == {"rotation": 2.0}
    assert show == ("show_data", (Path("runs/x"), ["held_out"], 3, None), {})
    assert stats == ("write_stats", (Path("runs/x"),), {}) and tables[0] == "describe_stats"
    assert annotated[1] == (Path("a.jsonl"), "annotated", Path("b"), False, 160)
    assert raven[1] == (Path("a"), "raven", Path("b"), True, 160)
    assert export[1] == (Path("runs/x"), Path("c"), None)
    assert capsys.readouterr().out.startswith("None\nwritten: page\nwritten: sheet\n")


def test_the_reward_commands_reach_their_functions(calls, capsys):
    assert main(["rewards", "score", "a.jsonl", "runs/b", "--config", "c.yaml", "--out", "d"]) == 0
    assert main(["rewards", "explain", "a.jsonl", "--prompt-id", "p/cot", "--index", "3"]) == 0
    own = ["--puzzle", "set", "--id", "p", "--text", "-", "--kind", "direct", "--html", "x.html"]
    assert main(["rewards", "explain", *own]) == 0
    score, first, explain, second, page = calls
    sources = [Path("a.jsonl"), Path("runs/b")]
    assert score == ("score_rollouts", (sources, Path("c.yaml"), Path("d")), {})
    nothing = dict.fromkeys(("rollouts", "prompt_id", "puzzle", "puzzle_id", "text"))
    asked = {"rollouts": Path("a.jsonl"), "prompt_id": "p/cot", "index": 3, "kind": "cot"}
    assert first == ("Asked", (), nothing | asked)
    assert explain == ("explain_completion", (None, None, None), {})
    asked = {"puzzle": Path("set"), "puzzle_id": "p", "text": "-", "kind": "direct", "index": 0}
    assert second == ("Asked", (), nothing | asked)
    assert page[1] == (None, None, Path("x.html"))
    assert capsys.readouterr().out.endswith("None\nwritten: x.html\n")


def test_rollout_reaches_its_functions_and_leaves_the_folder_to_them(calls, tmp_path):
    line = ["rollout", "--run.dir", "out", "--rollout.num_generations", "4"]
    assert main([*line, "--dry-run"]) == 0
    assert main(line) == 0
    dry, real = calls
    assert dry[0] == "describe_rollouts" and dry[1][0].rollout.is_dry_run
    assert real[0] == "make_rollouts" and real[1][0].rollout.num_generations == 4
    # a folder that holds other rollouts keeps its config
    assert not (tmp_path / "out").exists()


def test_export_reaches_its_function_with_float32_unless_told(calls, capsys):
    line = ["export", "--model", "runs/base", "--adapter", "runs/x/adapter", "--out", "merged"]
    assert main(line) == 0
    assert main([*line, "--dtype", "bfloat16"]) == 0
    folders = ("runs/base", Path("runs/x/adapter"), Path("merged"))
    assert [args for _, args, _ in calls] == [(*folders, "float32"), (*folders, "bfloat16")]
    assert capsys.readouterr().out == "written: merged\n" * 2


def test_rewards_alone_says_what_to_type(calls, capsys):
    assert main(["rewards", "--config", "a.yaml"]) == 2
    expected = (
        "rl-avr rewards: error: expected one of score, explain after 'rewards', got '--config'\n"
    )
    assert capsys.readouterr().err == expected
    assert calls == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], "expected one of make, show, stats, import, export after 'data', got nothing"),
        (["mkae"], "expected one of make, show, stats, import, export after 'data', got 'mkae'"),
        (
            ["--config", "configs/demo/data.yaml", "--puzzles.seed", "1"],
            "got '--config'; to make puzzles: "
            "rl-avr data make --config configs/demo/data.yaml --puzzles.seed 1",
        ),
    ],
)
def test_data_alone_says_what_to_type(calls, capsys, line, expected):
    assert main(["data", *line]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rl-avr data: error: ") and err.endswith(f"{expected}\n")
    assert calls == []


def test_a_flag_takes_no_value():
    flags = {"dry-run": ("data.is_dry_run", "true")}
    assert list(parse_overrides(["--dry-run", "--a", "1"], flags=flags)) == [
        ("data.is_dry_run", "true"),
        ("a", "1"),
    ]
    with pytest.raises(ConfigError, match="got 'yes'"):
        list(parse_overrides(["--dry-run", "yes"], flags=flags))


def test_only_the_main_process_writes(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["grpo", "--run.dir", "out"]) == 0
    assert len(calls) == 1 and not (tmp_path / "out").exists()
    monkeypatch.setenv("RANK", "0")
    assert main(["grpo", "--run.dir", "out"]) == 0
    assert (tmp_path / "out" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["--run.seeed", "1"], "command line: unknown key run.seeed; nearest: run.seed, "),
        (["--run.seed"], "command line: --run.seed: expected a value after it"),
        (["--run.seed", "--run.dir", "a"], "command line: --run.seed: expected a value after it"),
        (["word"], "command line: expected --key value, got 'word'"),
        (["--config", "no.yaml"], "no.yaml: no such config file"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(calls, capsys, line, expected):
    assert main(["grpo", *line]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"rl-avr grpo: error: {expected}")
    assert err.count("\n") == 1 and "Traceback" not in err
    assert calls == []


def test_eval_show_is_a_command_beside_eval(calls, capsys):
    assert main(["eval", "show", "runs/x", "--num", "3", "--out", "p.html"]) == 0
    assert calls == [("write_browser", (Path("runs/x"), 3, 4, Path("p.html")), {})]
    assert main(["eval", "show", "runs/x", "--a", "1"]) == 2
    assert "rl-avr eval show: error: command line: expected folder" in capsys.readouterr().err


def test_report_takes_nothing_but_its_arguments(calls, capsys):
    assert main(["report", "runs/x", "--a", "1"]) == 2
    expected = "rl-avr report: error: command line: expected folders, --out, --markdown alone"
    assert expected in capsys.readouterr().err
    assert calls == []


def test_errors_of_the_work_itself_and_interrupts(calls, capsys, monkeypatch):
    def stop(error):
        def train_grpo(**_):
            raise error

        return types.SimpleNamespace(train_grpo=train_grpo)

    monkeypatch.setitem(sys.modules, "rl_avr.training.grpo", stop(RolloutError("no weights")))
    assert main(["grpo"]) == 2
    assert capsys.readouterr().err == "rl-avr grpo: error: no weights\n"
    monkeypatch.setitem(sys.modules, "rl_avr.training.grpo", stop(KeyboardInterrupt()))
    assert main(["grpo"]) == 130
    err = capsys.readouterr().err
    assert err == "rl-avr grpo: interrupted; run the same command again to continue\n"


def test_overrides_take_values_with_dashes_and_equals_signs():
    tokens = ["--a.b", "-1e-5", "--c=x=y", "--d="]
    assert list(parse_overrides(tokens)) == [("a.b", "-1e-5"), ("c", "x=y"), ("d", "")]
    with pytest.raises(ConfigError, match="got '--'"):
        list(parse_overrides(["--", "a"]))


def test_negative_numbers_pass_through_the_whole_command_line(calls):
    assert main(["grpo", "--trainer.a", "-1", "--trainer.b", "-1e-5", "--trainer.c=-2"]) == 0
    assert calls[0][2]["trainer"] == {"a": -1, "b": -1e-5, "c": -2}


def test_help_lists_keys_types_choices_defaults_and_docstrings(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["sft", "--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    for part in (
        "--run.seed  a whole number (0)",
        "--policy.dtype  one of 'float32', 'bfloat16', 'float16' ('float32')",
        "Folder or hub name of a vision-language model with its processor.",
        "--stage is short for --sft.stage",
        "--trainer.*",
        "Any field of trl's SFTConfig.",
    ):
        assert part in shown


def test_every_key_of_every_subcommand_is_in_its_help(capsys):
    for name, command in COMMANDS.items():
        with pytest.raises(SystemExit):
            main([*name.split(), "--help"])
        shown = capsys.readouterr().out
        if command.settings is not None:
            assert all(f"--{key}" in shown for key in settings_keys(command.settings()))
        assert all(argument in shown for argument in command.arguments)


def test_help_of_the_group_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("make", "show", "stats", "import", "export"))


def test_help_says_what_a_mapping_holds(capsys):
    with pytest.raises(SystemExit):
        main(["data", "make", "--help"])
    shown = capsys.readouterr().out
    assert "--puzzles.mix.*  a mapping with names as keys, each value a number ({" in shown
    assert "--dry-run is short for --data.is_dry_run true" in shown


def test_docstrings_of_attributes_are_read():
    docs = attribute_docs(RolloutConfig)
    assert docs["max_model_len"] == "Longest prompt plus completion, in tokens."
    assert "sampling" not in docs
    assert attribute_docs(SftSettings) == {"trainer": "Any field of trl's SFTConfig."}


ROUTES = {
    "rl-avr grpo --help": "from rl_avr.cli import main; main(['grpo', '--help'])",
    "rl-avr data show --help": "from rl_avr.cli import main; main(['data', 'show', '--help'])",
    "rl-avr rewards score --help": (
        "from rl_avr.cli import main; main(['rewards', 'score', '--help'])"
    ),
    "rl-avr --help": "from rl_avr.cli import main; main(['--help'])",
    "python rl_avr/grpo.py --help": (
        "import runpy; sys.argv = ['grpo.py', '--help'];"
        "sys.path[0] = 'rl_avr'; runpy.run_path('rl_avr/grpo.py', run_name='__main__')"
    ),
    "python rl_avr/sft.py --help": (
        "import runpy; sys.argv = ['sft.py', '--help'];"
        "sys.path[0] = 'rl_avr'; runpy.run_path('rl_avr/sft.py', run_name='__main__')"
    ),
}


@pytest.mark.parametrize("route", ROUTES)
def test_help_imports_nothing_heavy(route):
    indented = f"try:\n    {ROUTES[route]}\nexcept SystemExit as stop:\n    code = stop.code\n"
    script = (
        f"import sys\nsys.path.append({str(ROOT)!r})\n{indented}"
        f"print('code', code, [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rl-avr")
    assert done.stdout.splitlines()[-1] == "code 0 []"
