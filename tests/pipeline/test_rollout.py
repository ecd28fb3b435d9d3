"""Offline rollouts: exactly the puzzles asked for, once each, whatever happened on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rewards.config import RewardConfig
from rl_avr.difficulty_record import DifficultyRecord
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError, RolloutError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.config import MakeConfig, OfflineConfig
from rl_avr.pipeline.data import make_data
from rl_avr.pipeline.pass_rates import pass_rate_histogram
from rl_avr.pipeline.rewards_score import rollout_files
from rl_avr.pipeline.rollout import describe_rollouts, make_rollouts
from rl_avr.pipeline.rollout_manifest import policy_digest
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.settings import RolloutSettings, load_settings
from rl_avr.training.config import DataConfig, RunConfig
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.recorder import read_groups
from rollouts.scripted import ScriptedEngine

ROOT = Path(__file__).parents[2]
NUM, GROUP = 7, 4


class SeededEngine(ScriptedEngine):
    """Chains depend on the prompt's seed; `fail_at` raises at that call of `generate`."""

    def __init__(self, fail_at=-1):
        super().__init__(self._say)
        self._fail_at = fail_at
        self.asked = []

    def generate(self, prompts, sampling):
        self.asked.append([prompt.prompt_id for prompt in prompts])
        if len(self.asked) - 1 == self._fail_at:
            raise RolloutError("the engine broke")
        self._sampling = sampling
        return super().generate(prompts, sampling)

    def _say(self, prompt, index):
        seed = self._sampling.prompt_seed(prompt, self.weights_version) + index
        return gold_chain(prompt.puzzle) if seed % 3 else f"seed {seed} 图形"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    puzzles = PuzzleConfig(num_train=NUM, num_held_out=1, render=RenderConfig(panel_size_px=36))
    make_data(MakeConfig(path=str(folder), num_workers=1), puzzles)
    return folder


@pytest.fixture
def settings(data, tmp_path):
    """Returns a maker of settings in a folder of its own."""

    def made(folder="run", batch_size=3, num_generations=GROUP, num_puzzles=0, seed=0, **changes):
        return replace(
            RolloutSettings(
                run=RunConfig(dir=str(tmp_path / folder), seed=seed),
                policy=PolicyConfig(path=str(tmp_path / "policy")),
                data=DataConfig(path=str(data), num_puzzles=num_puzzles),
                rollouts=RolloutConfig(sampling=SamplingConfig(max_new_tokens=3000)),
                rollout=OfflineConfig(num_generations=num_generations, batch_size=batch_size),
            ),
            **changes,
        )

    return made


def run(settings, engine=None):
    """Returns the bytes of the file of groups."""
    return make_rollouts(settings, lambda _: engine or SeededEngine()).read_bytes()


def no_engine(_):
    raise AssertionError("no engine is needed")


@pytest.fixture
def whole(settings):
    return run(settings("whole"))


def test_every_puzzle_is_there_once_in_order_and_graded(settings, whole, data, tmp_path, capsys):
    path = tmp_path / "whole/rollouts/rank0.jsonl"
    groups = list(read_groups(path))
    ids = [recorded.group.prompt.prompt_id for recorded in groups]
    assert len(ids) == len(set(ids)) == NUM
    assert all(len(recorded.group.completions) == GROUP for recorded in groups)
    for recorded in groups:
        texts = [c.text for c in recorded.group.completions]
        rights = [float(text.startswith("This")) for text in texts]
        assert list(recorded.outcomes) == rights
    record = DifficultyRecord.load(path.with_name("difficulty.json"))
    assert record.puzzle_ids == tuple(recorded.group.prompt.puzzle.puzzle_id for recorded in groups)
    assert record.pass_rate(record.puzzle_ids[0]) == sum(groups[0].outcomes) / GROUP
    kept = load_settings(RolloutSettings, [tmp_path / "whole/config.yaml"])
    assert kept == settings("whole")


def test_at_the_end_stand_the_table_and_the_pass_rates(settings, capsys, tmp_path):
    run(settings())
    shown = capsys.readouterr().out
    assert "perception" in shown
    assert f"None of {NUM * GROUP} recorded totals changed." in shown
    assert "pass rate" in shown
    assert shown.rstrip().endswith(f"written: {tmp_path}/run/rollouts/rank0.jsonl")


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_the_chains_do_not_depend_on_the_batches(settings, whole, batch_size):
    assert run(settings(batch_size=batch_size)) == whole


def test_other_seeds_sample_other_chains(settings, whole):
    assert run(settings(seed=1)) != whole


@pytest.mark.parametrize("fail_at", range(3))
def test_a_run_whose_engine_broke_goes_on(settings, whole, fail_at):
    with pytest.raises(RolloutError, match="the engine broke"):
        run(settings(), SeededEngine(fail_at))
    engine = SeededEngine()
    assert run(settings(), engine) == whole
    assert sum(map(len, engine.asked)) == NUM - 3 * fail_at


def test_a_run_killed_at_any_byte_ends_as_the_whole_one(settings, whole, tmp_path):
    """Lines are only ever appended, so what a kill leaves is the head of the file."""
    run(settings())
    path = tmp_path / "run/rollouts/rank0.jsonl"
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    around = {end + shift for end in ends for shift in (-1, 0, 1)}
    cuts = sorted({*around, 0, 1, len(whole) // 2, *range(0, len(whole), 4999)})
    for cut in cuts[:-1] if cuts[-1] > len(whole) else cuts:
        path.write_bytes(whole[:cut])
        engine = SeededEngine()
        assert run(settings(), engine) == whole, cut
        asked = [name for call in engine.asked for name in call]
        assert len(asked) == NUM - whole[:cut].count(b"\n"), cut


def test_a_finished_run_needs_no_engine(settings, whole):
    assert make_rollouts(settings("whole"), no_engine).read_bytes() == whole


def test_more_puzzles_may_be_asked_for(settings, whole):
    first = run(settings(num_puzzles=2))
    assert whole.startswith(first) and first.count(b"\n") == 2
    engine = SeededEngine()
    assert run(settings(batch_size=9), engine) == whole
    assert sum(map(len, engine.asked)) == NUM - 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 5}, "run.seed 0 there, 5 now"),
        ({"num_generations": 8}, "rollout.num_generations 4 there, 8 now"),
        ({"num_puzzles": 2}, "7 prompts asked for there, 2 now"),
        ({"rewards": RewardConfig(format=0.5)}, "rewards.format 0.1 there, 0.5 now"),
        (
            {"rollouts": RolloutConfig(sampling=SamplingConfig(max_new_tokens=9))},
            "rollouts.sampling.max_new_tokens 3000 there, 9 now",
        ),
        ({"policy": PolicyConfig(path="other")}, "other' now"),
    ],
)
def test_what_decides_the_chains_may_not_change(settings, whole, tmp_path, changes, expected):
    config = (tmp_path / "whole/config.yaml").read_text()
    with pytest.raises(DataError, match="rollouts of another kind lie here") as caught:
        make_rollouts(settings("whole", **changes), no_engine)
    assert expected in str(caught.value)
    assert (tmp_path / "whole/rollouts/rank0.jsonl").read_bytes() == whole
    assert (tmp_path / "whole/config.yaml").read_text() == config


def test_how_fast_chains_come_may_change(settings, whole):
    now = settings("whole", batch_size=1)
    now = replace(now, rollouts=replace(now.rollouts, max_num_seqs=8, cpu_kv_cache_gib=2))
    assert make_rollouts(now, no_engine).read_bytes() == whole


def test_a_policy_or_puzzles_that_changed_in_their_folder_are_seen(settings, data, tmp_path):
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "model.safetensors").write_bytes(b"\0" * 9_000_000)
    run(settings(num_puzzles=3))
    with (policy / "model.safetensors").open("r+b") as stream:
        stream.seek(10)
        stream.write(b"1")
    with pytest.raises(DataError, match="policy.path .*: its files have changed"):
        run(settings())
    with (policy / "model.safetensors").open("r+b") as stream:
        stream.seek(10)
        stream.write(b"\0")
    other = tmp_path / "data"
    data.rename(other)
    try:
        render = RenderConfig(panel_size_px=24)
        puzzles = PuzzleConfig(num_train=NUM, num_held_out=1, render=render)
        make_data(MakeConfig(path=str(data), num_workers=1), puzzles)
        with pytest.raises(DataError, match="data.path .*: its puzzles have changed"):
            run(settings())
    finally:
        for file in data.iterdir():
            file.unlink()
        data.rmdir()
        other.rename(data)


def test_a_digest_of_no_folder_is_empty(tmp_path):
    assert policy_digest(tmp_path / "no") == ""


def test_a_folder_of_a_training_run_is_left_alone(settings, tmp_path):
    folder = tmp_path / "run/rollouts"
    folder.mkdir(parents=True)
    (folder / "rank0.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="`rl-avr rollout` did not write"):
        make_rollouts(settings(), no_engine)
    assert (folder / "rank0.jsonl").read_text() == "{}\n"


def test_foreign_lines_are_named(settings, whole, tmp_path):
    path = tmp_path / "whole/rollouts/rank0.jsonl"
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2]]))
    with pytest.raises(DataError, match="line 2: expected .*-1/cot, got .*-2/cot"):
        make_rollouts(settings("whole"), no_engine)
    path.write_bytes(whole + lines[0])
    with pytest.raises(DataError, match="line 8: expected the end"):
        make_rollouts(settings("whole"), no_engine)


def test_greedy_chains_are_one_a_puzzle(settings):
    greedy = RolloutConfig(sampling=SamplingConfig(temperature=0))
    with pytest.raises(ConfigError, match="expected rollout.num_generations 1"):
        make_rollouts(settings(rollouts=greedy), no_engine)


def test_without_resume_an_old_file_is_refused(settings, whole, tmp_path):
    again = settings("whole", run=RunConfig(dir=str(tmp_path / "whole"), resume=False))
    with pytest.raises(ConfigError, match="run.resume false"):
        make_rollouts(again, no_engine)


def test_one_process_writes_the_file(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected one process"):
        make_rollouts(settings(), no_engine)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_and_writes_nothing(settings, whole, tmp_path):
    told = describe_rollouts(settings("new"), lambda _: SeededEngine())
    assert f"{NUM} prompts, {GROUP} chains each; there already: 0, left: {NUM}" in told
    assert f"at most {NUM * GROUP * 3000:,} new tokens in {NUM * GROUP} chains" in told
    assert f"of {NUM} puzzles: " in told and "tokens a second; all that is left: about" in told
    assert not (tmp_path / "new").exists()
    told = describe_rollouts(settings("whole"), no_engine)
    assert f"there already: {NUM}, left: 0" in told
    assert run(settings("whole")) == whole


def test_a_folder_stands_for_its_rollouts_without_those_thrown_away(whole, tmp_path):
    folder = tmp_path / "whole/rollouts"
    (folder / "dropped_rank0.jsonl").write_bytes(whole)
    assert rollout_files(tmp_path / "whole") == [folder / "rank0.jsonl"]


def test_pass_rates_by_hand():
    table = pass_rate_histogram([0.0, 0.0, 1.0, 0.3, 0.29, 0.999, None])
    rows = {line[2:14].strip(): line[14:].split() for line in table.splitlines()}
    assert rows["0"] == ["2", "28.6%", "#" * 40]
    assert rows["1"] == ["1", "14.3%", "#" * 20]
    assert rows["0.3 to 0.4"][0] == rows["0.2 to 0.3"][0] == rows["0.9 to 1.0"][0] == "1"
    assert rows["0.5 to 0.6"] == ["0", "0.0%"]
    assert rows["not judged"] == ["1", "14.3%"]


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(data, tmp_path):
    """SIGKILL once a first batch is written; vLLM and the warm policy."""
    command = [
        *(sys.executable, "-m", "rl_avr.cli", "rollout", "--config", "configs/demo/rollout.yaml"),
        *("--run.dir", str(tmp_path), "--data.path", str(data), "--data.num_puzzles", str(NUM)),
        *("--rollout.num_generations", "8", "--rollout.batch_size", "1"),
    ]
    path = tmp_path / "rollouts/rank0.jsonl"
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (path.is_file() and path.stat().st_size):
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        told = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, told[-3000:]
    before = path.read_bytes()
    assert 0 < before.count(b"\n") < NUM
    # half a line, as a kill between two writes of the system would leave
    path.write_bytes(before + before[:1000])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    after = path.read_bytes()
    assert after.startswith(before[: before.rindex(b"\n") + 1])
    rows = [json.loads(line) for line in after.splitlines()]
    assert len({row["prompt_id"] for row in rows}) == len(rows) == NUM
    assert all(len(row["completions"]) == 8 for row in rows)
    assert f"{NUM * 8} recorded totals changed" in done.stdout and "pass rate" in done.stdout
