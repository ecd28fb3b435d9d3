"""The whole ablation with a policy of a few thousand weights and a step or two a job."""

import json
from pathlib import Path

import pytest
import yaml

from rl_avr.cli import main

ROOT = Path(__file__).parents[2]
TINY = {
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 1,
    "intermediate_size": 32,
    "vision_hidden_size": 32,
    "vision_depth": 1,
    "vision_num_heads": 2,
    "vision_intermediate_size": 32,
}


def tiny(path):
    """Writes shipped tables with less of everything; a new policy stands for the shipped one."""
    config = yaml.safe_load((ROOT / "configs/ablate/warm_start.yaml").read_text())
    config["ablate"] = {"seeds": [0], "num_jobs": 2}
    del config["tables"]["mixture"]
    config["starts"] = {
        name: start for name, start in config["starts"].items() if not name.startswith("reader")
    }
    del config["sets"]["read"]
    del config["tables"]["order"]["arms"]["elicitation_shuffled"]
    del config["tables"]["replay"]["arms"]["without"]
    config["pictures"] = {"num_train": 12, "num_held_out": 4}
    for puzzles in config["sets"].values():
        puzzles |= {"num_train": 12, "num_held_out": 4}
    config["common"]["trainer"] |= {"logging_steps": 1, "save_steps": 1, "warmup_steps": 0}
    for name, start in config["starts"].items():
        policy = {"path": f"{{run}}/new_{name}", "make_small": True, "small": TINY}
        start["settings"]["policy"] = policy
        if start["settings"]["trainer"]["max_steps"]:
            start["settings"]["trainer"] = {"max_steps": 1, "per_device_train_batch_size": 2}
    for table in config["tables"].values():
        table["trained_tokens"] = 300
        table["settings"]["trainer"] = {"per_device_train_batch_size": 2}
        table["settings"]["sft"]["elicitation"] = {"num_coarse": 1, "num_fine": 3}
        table["measure"] |= {"num_puzzles": 4, "max_new_tokens": 4}
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_arms_are_trained_on_as_many_tokens_and_measured_and_nothing_runs_twice(tmp_path, capsys):
    config, run = tiny(tmp_path / "tiny.yaml"), tmp_path / "run"
    words = ["ablate", "warm-start", "--config", str(config), "--run.dir", str(run)]
    assert main(words) == 0
    results = {
        str(path.parent.relative_to(run)): json.loads(path.read_text())
        for path in run.glob("*/*/*/result.json")
        if "starts" not in path.parts
    }
    assert sorted(results) == ["order/base_shuffled/0", "order/sequential/0", "replay/with/0"]
    for result in results.values():
        assert abs(result["trained_tokens"] - 300) < 0.35 * 300
        assert len(result["right"]) == len(result["chance"]) == 4
    order = [results[f"order/{arm}/0"] for arm in ("sequential", "base_shuffled")]
    assert order[0]["trained_tokens"] == order[1]["trained_tokens"]
    assert order[0]["num_steps"] > 1
    assert "| grid order |" in (run / "table.md").read_text()
    assert not list(run.glob("*/*/*/checkpoints"))
    # nothing is left to do: no job runs again
    log = (run / "order/sequential/0/log.txt").read_text()
    capsys.readouterr()
    assert main(words) == 0
    assert (run / "order/sequential/0/log.txt").read_text() == log
