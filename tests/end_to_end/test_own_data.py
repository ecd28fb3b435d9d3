"""The example of docs/own_data.md from the command line: a dry run, then training."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
FILES = {"json": "mine.jsonl", "yaml": "mine.yaml", "python": "brief.py"}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with the example's files, its commands run in order, and what each printed."""
    folder = tmp_path_factory.mktemp("example")
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))
    for language, name in FILES.items():
        (folder / name).write_text(blocks[language])
    (folder / "photos").mkdir()
    for name in re.findall(r'"photo": "([^"]+)"', blocks["json"]):
        Image.new("RGB", (90, 120), (40, 80, 120)).save(folder / name)
    outputs = []
    for line in blocks["sh"].strip().splitlines():
        program, *words = line.split()
        assert program == "rl-avr"
        done = subprocess.run(
            [sys.executable, "-m", "rl_avr.cli", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        outputs.append(done.stdout)
        if "--dry-run" in words:
            assert [path.name for path in (folder / "runs" / "mine").iterdir()] == ["dry_run"]
    return folder, outputs


def test_the_dry_run_shows_thirty_two_chains(example):
    _, (shown, _) = example
    body = shown.split("\nEvery chain\n")[1].split("\n\n")[0]
    chains = [line.split()[0] for line in body.splitlines() if re.match(r" +\d+ ", line)]
    assert chains == [str(index) for index in range(32)]
    assert "How many fish are there?" in shown and "<|image_pad|>×" in shown
    assert all(name in body for name in ("choice", "format", "brief", "advantage"))


def test_two_steps_are_trained_on_the_rows(example):
    folder, _ = example
    run = folder / "runs" / "mine"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    steps = [line for line in lines if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2]
    assert all(0 <= line["rewards/choice/mean"] <= 1 for line in steps)
    groups = [json.loads(line) for line in (run / "rollouts" / "rank0.jsonl").open()]
    assert len(groups) == 2
    assert {group["prompt_id"] for group in groups} <= {f"row-{i}/cot" for i in range(4)}
    assert (run / "policy" / "model.safetensors").is_file()
