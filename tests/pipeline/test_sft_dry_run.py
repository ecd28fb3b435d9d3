"""A dry run of SFT: what the stage would train on, with nothing trained and little written."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.pipeline.config import SampleConfig
from rl_avr.pipeline.sft_dry_run import dry_run, wanted_shares
from rl_avr.puzzles.config import RenderConfig
from rl_avr.settings import SftSettings, load_settings
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import puzzle_row, write_rows
from sft_warmstart.config import ElicitationConfig, ReplayConfig, SftConfig, ValidationConfig

BLOCK = {
    "use_cpu": True,
    "bf16": False,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "gradient_checkpointing": False,
    "max_steps": 10,
    "max_length": None,
}
SFT = SftConfig(
    stage="reasoning",
    mixture={"perception": 1.0, "chain": 3.0},
    elicitation=ElicitationConfig(num_coarse=1, num_fine=2),
)


@pytest.fixture
def settings(tmp_path, tiny_folder, puzzles):
    write_puzzles(puzzles[:20], tmp_path / "data" / "train.parquet", RenderConfig(36))
    write_puzzles(puzzles[20:24], tmp_path / "data" / "held_out.parquet", RenderConfig(36))
    return SftSettings(
        run=RunConfig(dir=str(tmp_path / "run")),
        policy=PolicyConfig(path=str(tiny_folder), freeze=("vision_tower",)),
        data=DataConfig(path=str(tmp_path / "data")),
        sft=SFT,
        dry_run=SampleConfig(is_on=True, num_samples=5),
        trainer=BLOCK,
    )


def cells(text, title):
    body = text.split(f"\n{title}\n")[1].split("\n\n")[0]
    return [re.split(r" {2,}", line.strip()) for line in body.splitlines()[1:]]


def test_a_dry_run_shows_the_stage_and_trains_nothing(settings, tiny_folder):
    before = (tiny_folder / "model.safetensors").read_bytes()
    text = dry_run(settings)
    assert cells(text, "Mixture") == [
        ["perception", "25.0%", "25.0%", "10"],
        ["chain", "75.0%", "75.0%", "30"],
    ]
    assert "40 conversations in 10 steps of 4 on this one process" in text
    assert "connector, language_model trained" in text and "conversations are packed" in text
    assert "validation: none" in text
    chain, perception, total = cells(text, "Tokens")
    assert (chain[:2], perception[:2]) == (["chain", "30"], ["perception", "10"])
    # every conversation was read, so the sum is exact
    assert total[0].startswith("in all ")
    samples = text.split("Samples, what is trained on in ⟦ ⟧\n")[1]
    assert len(re.findall(r"^  \d+\. .*, (?:chain|perception): ", samples, re.MULTILINE)) == 5
    assert "⟦This is a regular puzzle." in samples and "### Answer: " in samples
    assert "<|image_pad|>×20" in samples and "×20⟧" not in samples
    assert (tiny_folder / "model.safetensors").read_bytes() == before


def test_memory_is_what_the_weights_say(settings, tiny_folder):
    weights = load_file(tiny_folder / "model.safetensors")
    trained = {k: w for k, w in weights.items() if "visual" not in k or "merger" in k}
    sizes = [sum(w.numel() for w in part.values()) for part in (weights, trained)]
    rows = {
        row[0]: float(row[1].replace(",", "")) * 2**20
        for row in cells(dry_run(settings), "Memory of this process")
        if row[1] != "—"
    }
    rounding = 0.06 * 2**20
    assert rows["weights of the policy"] == pytest.approx(4 * sizes[0], abs=rounding)
    assert rows["gradients"] == pytest.approx(4 * sizes[1], abs=rounding)
    assert rows["optimizer's states"] == pytest.approx(8 * sizes[1], abs=rounding)
    kept = rows["kept for backward, a micro-batch"]
    assert kept > 0
    held = 4 * sizes[0] + 12 * sizes[1]
    assert rows["the update in all"] == pytest.approx(held + kept, abs=3 * rounding)


def test_nothing_is_written_but_its_own_folder_and_a_second_one_replaces_it(settings, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    first = dry_run(settings)
    assert {path.name for path in tmp_path.iterdir()} == before | {"run"}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dry_run"]
    folder = tmp_path / "run" / "dry_run"
    assert {"dry_run.txt", "samples.html", "config.yaml"} <= {p.name for p in folder.iterdir()}
    assert not (folder / "policy").exists() and not any((folder / "checkpoints").iterdir())
    saved = load_settings(SftSettings, [folder / "config.yaml"])
    assert saved == replace(settings, dry_run=replace(settings.dry_run, is_on=False))
    page = (folder / "samples.html").read_text()
    # five images, and a legend before the samples
    assert page.count("data:image/png;base64,") == 5 and page.count("<article>") == 5
    assert page.count("<mark>") > 5 and "conversations in 10 steps" in page
    again = dry_run(settings)
    for title in ("Mixture", "Tokens"):
        assert cells(again, title) == cells(first, title)
    assert again.startswith((folder / "dry_run.txt").read_text().rstrip())


def test_a_new_small_policy_is_made_in_its_own_folder_alone(settings, tmp_path):
    policy = PolicyConfig(path=str(tmp_path / "new"), make_small=True, freeze=())
    text = dry_run(replace(settings, policy=policy))
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "run" / "dry_run" / "policy").is_dir()
    assert "(100.0%)" in text


def test_what_would_stop_the_run_stops_the_dry_run(settings):
    validation = ValidationConfig(every_steps=5, num_puzzles=5)
    wrong = replace(settings, sft=replace(SFT, validation=validation))
    with pytest.raises(DataError, match=r"sft\.validation\.split held_out, num_puzzles 5"):
        dry_run(wrong)
    right = replace(SFT, validation=replace(validation, num_puzzles=4, num_questions=2))
    text = dry_run(replace(settings, sft=right))
    assert "4 chains and 8 questions of the split held_out" in text
    with pytest.raises(DataError, match="tokens with its images; expected at most 40"):
        dry_run(replace(settings, trainer={**BLOCK, "max_length": 40}))


def test_rows_and_a_processor_that_do_not_fit_stop_it(settings, tmp_path, tiny_folder, annotated):
    shutil.copytree(tiny_folder, tmp_path / "policy")
    path = tmp_path / "policy" / "processor_config.json"
    config = json.loads(path.read_text())
    config["image_processor"]["patch_size"] = 9
    path.write_text(json.dumps(config))
    policy = replace(settings.policy, path=str(tmp_path / "policy"))
    with pytest.raises(ConfigError, match=r"patch_size: the processor has 9, the policy's"):
        dry_run(replace(settings, policy=policy))
    row = puzzle_row(annotated(chain="### Answer: A"), b"")
    write_rows([row], tmp_path / "data" / "train.parquet")
    with pytest.raises(DataError, match=r"row 0: column 'image'.*\n.*gold answer 'C', got 'A'"):
        dry_run(settings)


def test_several_processes_are_refused(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected one process; got 2"):
        dry_run(settings)
    assert not (tmp_path / "run").exists()


def test_wanted_shares_have_replay_and_format_samples_in_them():
    sft = replace(SFT, num_format_samples=10, replay=ReplayConfig(path="x.json", share=0.1))
    found = wanted_shares(sft, 100)
    # 0.8 of the mixture is left; format samples are half direct, half chains
    expected = {"perception": 0.2, "chain": 0.65, "direct": 0.05, "replay": 0.1}
    assert found == pytest.approx(expected)


def test_the_resolved_page_is_that_of_the_stage(settings):
    text = dry_run(replace(settings, sft=replace(SFT, stage="perception")))
    assert "stage perception: connector, vision_tower trained" in text
    assert cells(text, "Mixture") == [["perception", "100.0%", "100.0%", "40"]]
    assert Path(settings.run.dir, "dry_run", "samples.html").is_file()
