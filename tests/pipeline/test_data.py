"""Making a set: same bytes however it is made, no duplicate, and every way to be stopped."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from rl_avr.errors import ConfigError, DataError, PuzzleError
from rl_avr.pipeline import data as data_module
from rl_avr.pipeline import data_duplicates, data_shards
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import describe_data, make_data
from rl_avr.pipeline.data_manifest import read_manifest
from rl_avr.pipeline.data_shards import WORK_FOLDER
from rl_avr.pipeline.processes import run_jobs
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training import puzzle_files
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.puzzle_files import iter_rows, split_files

ROOT = Path(__file__).parents[2]
PUZZLES = PuzzleConfig(
    num_train=22,
    num_held_out=7,
    seed=3,
    mix={"center_single": 1.0, "distribute_four": 1.0, "rotation": 1.0},
    render=RenderConfig(panel_size_px=12),
)
# so small a world that most draws repeat another
SMALL_WORLD = "rotation"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(data_module, "tqdm", _NoBar)


class _NoBar:
    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, count):
        pass


def config(folder, **changes):
    return MakeConfig(**{"path": str(folder), "num_workers": 1, "shard_size": 5, **changes})


def contents(folder):
    """Every file of a set with its bytes; the card names its folder, so it is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


def hashes(folder, split):
    return [row["state_hash"] for _, _, row in iter_rows(folder, split, ["state_hash"])]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole set, made in one process; read it, never write to it."""
    folder = tmp_path_factory.mktemp("made") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "tqdm", _NoBar)
        make_data(config(folder), PUZZLES)
    return folder


@pytest.fixture
def repeats(monkeypatch):
    """Makes every third puzzle of the stream the same as the one before it."""

    def repeating(split, index, puzzles):
        return replace(
            draw(split, index - 1 if index % 3 == 2 and index < 22 else index, puzzles),
            puzzle_id=f"{split}-{index}",
        )

    draw = data_shards.draw
    monkeypatch.setattr(data_shards, "draw", repeating)
    monkeypatch.setattr(data_duplicates.find_replacements, "__defaults__", (repeating,))


def test_a_set_is_cut_into_shards_with_a_card_and_a_manifest(made):
    names = [path.name for path in sorted(made.iterdir())]
    train = [f"train-{i:05d}-of-00005.parquet" for i in range(5)]
    held_out = [f"held_out-{i:05d}-of-00002.parquet" for i in range(2)]
    assert names == sorted(["README.md", "manifest.json", *train, *held_out])
    sizes = [pq.read_metadata(path).num_rows for path in split_files(made, "train")]
    assert sizes == [5, 5, 5, 5, 2]
    manifest = read_manifest(made)
    assert manifest.is_complete and manifest.settings["puzzles"]["seed"] == 3
    assert {"python", "numpy", "pillow", "commit"} <= set(manifest.versions)


def test_the_puzzles_are_those_of_the_stream(made):
    prompts = read_prompts(DataConfig(path=str(made)))
    assert len(prompts) == 22
    expected = [data_shards.draw("train", index, PUZZLES) for index in range(22)]
    assert [prompt.puzzle for prompt in prompts] == expected
    kinds = {row["kind"] for _, _, row in iter_rows(made, "train", ["kind"])}
    assert kinds == {"center_single", "distribute_four", "rotation"}


def test_the_card_has_the_counts_and_the_splits(made):
    _, head, body = (made / "README.md").read_text().split("---\n", 2)
    files = yaml.safe_load(head)["configs"][0]["data_files"]
    assert files == [
        {"split": "train", "path": "train-*.parquet"},
        {"split": "held_out", "path": "held_out-*.parquet"},
    ]
    assert "| all | 22 | 7 |" in body
    assert "seed: 3" in body


def test_datasets_loads_the_folder_without_this_package(made, tmp_path):
    script = (
        "import sys, datasets\n"
        "found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "row = found['held_out'][0]\n"
        "print({name: len(split) for name, split in found.items()}, row['image'].size)\n"
        "assert not [name for name in sys.modules if name.startswith('rl_avr')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(made), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'train': 22, 'held_out': 7} (48, 60)")


def test_the_bytes_do_not_depend_on_the_number_of_processes(made, tmp_path):
    make_data(config(tmp_path / "two", num_workers=2), PUZZLES)
    assert contents(tmp_path / "two") == contents(made)


def test_another_seed_shares_nothing(made, tmp_path):
    make_data(config(tmp_path / "next"), replace(PUZZLES, seed=4))
    for split in ("train", "held_out"):
        both = {*hashes(made, "train"), *hashes(made, "held_out")}
        assert not both & set(hashes(tmp_path / "next", split))


def test_a_second_run_makes_only_what_is_missing(made, tmp_path, monkeypatch):
    make_data(config(tmp_path / "set"), PUZZLES)
    lost = tmp_path / "set" / "train-00002-of-00005.parquet"
    lost.unlink()
    drawn = []
    draw = data_shards.draw

    def watched(split, index, puzzles):
        drawn.append((split, index))
        return draw(split, index, puzzles)

    monkeypatch.setattr(data_shards, "draw", watched)
    make_data(config(tmp_path / "set"), PUZZLES)
    assert drawn == [("train", index) for index in range(10, 15)]
    assert contents(tmp_path / "set") == contents(made)
    drawn.clear()
    make_data(config(tmp_path / "set"), PUZZLES)
    assert drawn == []


def test_duplicates_are_replaced_the_same_way_by_any_number_of_shards(repeats, tmp_path):
    for size in (4, 5, 100):
        make_data(config(tmp_path / str(size), shard_size=size), PUZZLES)
        found = hashes(tmp_path / str(size), "train")
        assert len(set(found)) == len(found) == 22
        assert found == hashes(tmp_path / "4", "train")
    replaced = read_manifest(tmp_path / "4").replacements["train"]
    # rows 2, 5, 8, … showed what the row before them shows
    assert [r.row for r in replaced] == list(range(2, 22, 3))
    assert all(r.index >= 22 for r in replaced)
    rows = [row for _, _, row in iter_rows(tmp_path / "4", "train")]
    assert len({row["puzzle_id"] for row in rows}) == 22
    for item in replaced:
        assert rows[item.row]["kind"] == item.kind


def test_a_lost_shard_with_replacements_comes_back_as_it_was(repeats, tmp_path):
    make_data(config(tmp_path), PUZZLES)
    before = contents(tmp_path)
    (tmp_path / "train-00001-of-00005.parquet").unlink()
    make_data(config(tmp_path), PUZZLES)
    assert contents(tmp_path) == before


def test_no_duplicate_in_a_kind_with_few_puzzles(tmp_path):
    puzzles = replace(PUZZLES, num_train=400, num_held_out=40, mix={SMALL_WORLD: 1})
    make_data(config(tmp_path, shard_size=100), puzzles)
    train, held_out = hashes(tmp_path, "train"), hashes(tmp_path, "held_out")
    assert len({*train, *held_out}) == 440


def test_an_exhausted_kind_is_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(data_duplicates, "_MAX_DRAWS", 3)

    def same(split, index, puzzles):
        return draw(split, index % 2, puzzles)

    draw = data_shards.draw
    monkeypatch.setattr(data_shards, "draw", same)
    monkeypatch.setattr(data_duplicates.find_replacements, "__defaults__", (same,))
    with pytest.raises(PuzzleError, match="split 'train': no puzzle of the kind .* that differs"):
        make_data(config(tmp_path), PUZZLES)


def test_a_set_of_other_code_is_not_mixed_with_todays(tmp_path, monkeypatch):
    make_data(config(tmp_path), PUZZLES)
    (tmp_path / "train-00001-of-00005.parquet").unlink()
    draw = data_shards.draw
    monkeypatch.setattr(data_shards, "draw", lambda s, i, c: draw(s, i + 50, c))
    with pytest.raises(DataError, match="made again it holds other puzzles"):
        make_data(config(tmp_path), PUZZLES)
    assert not (tmp_path / "train-00001-of-00005.parquet").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "puzzles.seed 3 there, 4 now"),
        ({"render": RenderConfig(panel_size_px=13)}, "puzzles.render.panel_size_px 12 there, 13"),
        ({"mix": {"center_single": 1.0}}, "puzzles.mix.rotation 1"),
    ],
)
def test_other_settings_are_refused_by_name(made, change, named):
    before = contents(made)
    for ask in (make_data, describe_data):
        with pytest.raises(DataError) as caught:
            ask(config(made), replace(PUZZLES, **change))
        assert named in str(caught.value) and "data.path" in str(caught.value)
    with pytest.raises(DataError, match="shard_size 5 there, 6 now"):
        make_data(config(made, shard_size=6), PUZZLES)
    assert contents(made) == before


def test_files_without_a_manifest_are_not_written_over(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"train\.parquet and others lie here without a manifest"):
        make_data(config(tmp_path), PUZZLES)
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_a_broken_manifest_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text('{"settings": 1}')
    with pytest.raises(DataError, match=r"manifest\.json: expected the manifest of a set"):
        make_data(config(tmp_path), PUZZLES)


def test_what_cannot_be_made_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="mix.centre: no such puzzle; nearest: center_single"):
        make_data(config(tmp_path / "a"), replace(PUZZLES, mix={"centre": 1}))
    with pytest.raises(ConfigError, match="min_difficulty: 90 asked for"):
        make_data(config(tmp_path / "a"), replace(PUZZLES, min_difficulty=90))
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.path .*file: cannot be written"):
        make_data(config(tmp_path / "file"), PUZZLES)


class FullDisk(io.FileIO):
    """A file on a disk without room."""

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_what_is_whole_and_the_next_run_completes(made, tmp_path, monkeypatch):
    opened = []

    def third_finds_no_room(path, mode):
        opened.append(path)
        return FullDisk(path, mode) if len(opened) == 3 else open(path, mode)

    monkeypatch.setattr(puzzle_files, "open", third_finds_no_room, raising=False)
    with pytest.raises(DataError) as caught:
        make_data(config(tmp_path), PUZZLES)
    message = str(caught.value)
    assert message.startswith(f"{str(opened[2]).removesuffix('.partial')}: cannot be written: No ")
    assert "free some space and run the same command again" in message
    drafts = sorted(path.name for path in (tmp_path / WORK_FOLDER).iterdir())
    assert drafts == [f"train-0000{i}-of-00005.parquet" for i in range(2)]
    with pytest.raises(DataError, match="no such file, nor train-00000-of"):
        read_prompts(DataConfig(path=str(tmp_path)))
    make_data(config(tmp_path), PUZZLES)
    assert contents(tmp_path) == contents(made)


def test_a_full_disk_at_the_very_end_is_no_loss_either(made, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_card = data_module.write_card
    monkeypatch.setattr(data_module, "write_card", full)
    with pytest.raises(DataError, match=f"{tmp_path}: cannot be written: No space left on device"):
        make_data(config(tmp_path), PUZZLES)
    monkeypatch.setattr(data_module, "write_card", write_card)
    make_data(config(tmp_path), PUZZLES)
    assert contents(tmp_path) == contents(made)


def test_going_on_with_other_versions_is_said(tmp_path, monkeypatch, caplog):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_module, "write_final", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_data(config(tmp_path), PUZZLES)
    monkeypatch.undo()
    monkeypatch.setattr(data_module, "tqdm", _NoBar)
    monkeypatch.setattr(data_module, "versions", lambda libraries: {"numpy": "9"})
    make_data(config(tmp_path), PUZZLES)
    assert "it goes on with {'numpy': '9'}" in caplog.text
    caplog.clear()
    make_data(config(tmp_path), PUZZLES)
    assert not caplog.text


@pytest.mark.parametrize("stop", range(1, 8))
def test_stopped_while_the_files_become_final_it_goes_on(repeats, tmp_path, monkeypatch, stop):
    make_data(config(tmp_path / "whole"), PUZZLES)
    write_final, calls = data_module.write_final, []

    def stopped(job, tick):
        calls.append(job)
        if len(calls) == stop:
            raise KeyboardInterrupt
        write_final(job, tick)

    monkeypatch.setattr(data_module, "write_final", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_data(config(tmp_path / "set"), PUZZLES)
    if stop == 3:
        # some files are there: a reader must not take them for the split
        with pytest.raises(DataError, match="3 files of the split 'train' are missing"):
            read_prompts(DataConfig(path=str(tmp_path / "set")))
    make_data(config(tmp_path / "set"), PUZZLES)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_killed_in_the_middle_the_same_command_completes_the_set(tmp_path):
    puzzles = replace(PUZZLES, num_train=200, num_held_out=20)
    make_data(config(tmp_path / "whole", shard_size=10), puzzles)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "data": {"path": str(tmp_path / "set"), "num_workers": 2, "shard_size": 10},
                "puzzles": {
                    "num_train": 200,
                    "num_held_out": 20,
                    "seed": 3,
                    "mix": dict(PUZZLES.mix),
                    "render": {"panel_size_px": 12},
                },
            }
        )
    )
    command = [sys.executable, "-m", "rl_avr.cli", "data", "make"]
    command += ["--config", str(tmp_path / "config.yaml")]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    work = tmp_path / "set" / WORK_FOLDER
    deadline = time.monotonic() + 60
    while len(list(work.glob("*.parquet"))) < 3 and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    # its workers, who are in its group, see that it is gone
    while _is_alive(running.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(running.pid)
    assert not list((tmp_path / "set").glob("*.parquet"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'set'}: 200 train, 20 held_out\n"
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def _is_alive(group):
    """Returns whether a process of the group is left that is not merely waiting to be reaped."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(found) == group and state != "Z":
            return True
    return False


def test_two_at_once_in_one_folder_are_refused(tmp_path):
    with data_module._written_by_one(tmp_path), pytest.raises(DataError, match="another `rl-avr"):
        make_data(config(tmp_path), PUZZLES)


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(made, tmp_path):
    text = describe_data(config(tmp_path / "new", shard_size=10), PUZZLES)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["center_single"] == ["33.3%", "7", "2"]
    assert rows["all"] == ["100%", "22", "7"]
    assert rows["files"] == ["3", "1"]
    assert "there already: 0 puzzles; left: 29" in text
    thrown = [line.rsplit(maxsplit=1)[-1] for line in text.splitlines() if "other split" in line]
    assert len(thrown) == 2
    # a tenth of all puzzles is held out
    assert all(2 < float(share.rstrip("%")) < 25 for share in thrown), thrown
    assert not (tmp_path / "new").exists()
    assert "there already: 29 puzzles; left: 0" in describe_data(config(made), PUZZLES)


def _fails(job, tick):
    tick()
    if job == 1:
        raise PuzzleError("job 1 failed")
    time.sleep(0.2 * job)


def _dies(job, tick):
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)


def _counts(job, tick):
    for _ in range(job):
        tick()


def test_the_first_failure_of_a_worker_is_raised_and_stops_the_others():
    started = time.monotonic()
    with pytest.raises(PuzzleError, match="^job 1 failed$"):
        run_jobs(_fails, [1, 300, 300], 2)
    # the others would have slept for two minutes
    assert time.monotonic() - started < 60


def test_a_worker_that_dies_is_reported():
    with pytest.raises(DataError, match="a worker process was killed"):
        run_jobs(_dies, [0, 1, 0], 2)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_progress_counts_every_unit_once(num_workers):
    seen = []
    run_jobs(_counts, [3, 4, 5], num_workers, seen.append)
    assert sum(seen) == 12


def test_a_worker_imports_no_torch():
    script = "import sys, rl_avr.pipeline.data_shards; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n", done.stderr
