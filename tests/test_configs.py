"""Every YAML in configs/ is complete, loads, and says its hardware."""

from pathlib import Path

import pytest
import yaml
from trl import GRPOConfig, SFTConfig

from rl_avr.settings import (
    DataSettings,
    DemoSettings,
    EvalSettings,
    GrpoSettings,
    RolloutSettings,
    SftSettings,
    load_settings,
)
from rl_avr.training.trainer_block import check_trainer_block

CONFIGS = Path(__file__).parents[1] / "configs"
KINDS = {
    "data": DataSettings,
    "demo": DemoSettings,
    "eval": EvalSettings,
    "grpo": GrpoSettings,
    "rollout": RolloutSettings,
    "sft": SftSettings,
}
TRL = {GrpoSettings: GRPOConfig, SftSettings: SFTConfig}
RUN_CONFIGS = sorted(p for p in CONFIGS.glob("*/*.yaml") if p.parent.name != "accelerate")


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_config_loads_with_its_trainer_block(path):
    kind = KINDS[path.stem.split("_")[0]]
    settings = load_settings(kind, [path], [])
    if kind in TRL:
        assert settings.trainer
        check_trainer_block(settings.trainer, TRL[kind])
    head = path.read_text().splitlines()[0]
    assert head.startswith("# ")


@pytest.mark.parametrize("folder", ["qwen2_5_vl_3b", "llava_next_7b"])
def test_a_large_model_has_every_stage_and_each_reads_what_the_one_before_wrote(folder):
    loaded = {
        name: yaml.safe_load((CONFIGS / folder / f"{name}.yaml").read_text())
        for name in ("data", "sft_perception", "sft_reasoning", "grpo")
    }
    for earlier, later in (("sft_perception", "sft_reasoning"), ("sft_reasoning", "grpo")):
        assert loaded[later]["policy"]["path"] == loaded[earlier]["run"]["dir"] + "/policy"
    assert len({config["data"]["path"] for config in loaded.values()}) == 1
    assert loaded["grpo"]["trainer"]["num_generations"] == 32


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=lambda p: p.stem
)
def test_an_accelerate_config_has_only_known_keys(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes % config.num_machines == 0
