"""Every YAML in configs/ is complete, loads, and says its hardware."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from trl import DPOConfig, GRPOConfig, SFTConfig

from rl_avr.pipeline.rollout import rollouts_file
from rl_avr.preference.train import dpo_arguments
from rl_avr.preference.train_config import CountedConfig, PairLossConfig
from rl_avr.settings import (
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
    SftSettings,
    load_settings,
)
from rl_avr.training.config import (
    CreditConfig,
    KlConfig,
    MethodsConfig,
    SamplerConfig,
    TransformConfig,
)
from rl_avr.training.methods import check_methods
from rl_avr.training.trainer_block import check_trainer_block
from sft_warmstart.config import LossConfig, OwnChainsConfig

CONFIGS = Path(__file__).parents[1] / "configs"
KINDS = {
    "credit": CreditStudySettings,
    "data": DataSettings,
    "demo": DemoSettings,
    "dpo": DpoSettings,
    "eval": EvalSettings,
    "grpo": GrpoSettings,
    "pairs": PairsSettings,
    "rerank": RerankSettings,
    "rollout": RolloutSettings,
    "rounds": RoundsSettings,
    "sft": SftSettings,
}
TRL = {DpoSettings: DPOConfig, GrpoSettings: GRPOConfig, SftSettings: SFTConfig}
RUN_CONFIGS = sorted(
    p
    for p in CONFIGS.glob("*/*.yaml")
    if p.parent.name not in ("accelerate", "methods", "pairs", "preference", "sft", "ablate")
)


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_config_loads_with_its_trainer_block(path):
    kind = KINDS[path.stem.split("_")[0]]
    settings = load_settings(kind, [path], [])
    if kind in TRL:
        assert settings.trainer
        check_trainer_block(settings.trainer, TRL[kind], {})
    head = path.read_text().splitlines()[0]
    assert head.startswith("# ")


def test_the_lora_overlay_changes_the_demo_s_grpo_and_leaves_the_rest():
    plain, lora = (
        load_settings(GrpoSettings, [CONFIGS / "demo" / name for name in names], [])
        for names in (["grpo.yaml"], ["grpo.yaml", "grpo_lora.yaml"])
    )
    assert not plain.policy.lora.is_on
    assert (lora.policy.lora.rank, lora.policy.lora.alpha) == (8, 16.0)
    assert lora.policy.path == plain.policy.path
    assert lora.policy.freeze == plain.policy.freeze == ("vision_tower", "connector")
    assert lora.run.dir != plain.run.dir
    assert lora.trainer == {**plain.trainer, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("grpo_d", {"kl": KlConfig("grpo_d", 0.04, 0.1, 0.3)}),
        ("stcr", {"advantages": TransformConfig("stcr", 20.0)}),
        ("sec", {"sampler": SamplerConfig("sec", 0.5, 0.2)}),
    ],
)
@pytest.mark.parametrize("below", ["demo", "qwen2_5_vl_3b", "qwen2_5_vl_7b", "llava_next_7b"])
def test_a_method_s_overlay_changes_one_place_and_can_be_laid_over_any_run(name, changed, below):
    files = [CONFIGS / below / "grpo.yaml", CONFIGS / "methods" / f"{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(GrpoSettings, files[:n], []) for n in (1, 2))
    assert plain.methods == MethodsConfig()
    assert ours.methods == replace(MethodsConfig(), **changed)
    assert ours.run.dir == f"runs/{name}"
    beta = {"beta": 0.0655} if name == "grpo_d" else {}
    assert ours.trainer == {**plain.trainer, **beta}
    same = {"run": plain.run, "methods": plain.methods, "trainer": plain.trainer}
    assert replace(ours, **same) == plain
    args = SimpleNamespace(beta=ours.trainer.get("beta", 0.0), use_liger_kernel=False)
    check_methods(ours.methods, args, ours.rollouts.dynamic)


_PAIR = {"policy": "runs/demo/dpo/policy", "reference": "assets/warm_policy"}
_START = {"policy": "assets/warm_policy", "reference": "assets/warm_policy"}
CREDIT_OVERLAYS = {
    "credit_claims": CreditConfig(source="claims", claim_weight=1.0),
    "credit_implicit": CreditConfig(source="implicit", **_PAIR),
    "credit_both": CreditConfig(source="both", claim_weight=1.0, **_PAIR),
    "credit_refreshed": CreditConfig(source="implicit", refresh_steps=10, **_START),
}


@pytest.mark.parametrize("name", CREDIT_OVERLAYS)
@pytest.mark.parametrize("below", ["demo", "qwen2_5_vl_3b", "qwen2_5_vl_7b", "llava_next_7b"])
def test_an_overlay_of_credit_changes_credit_alone(name, below):
    files = [CONFIGS / below / "grpo.yaml", CONFIGS / "methods" / f"{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(GrpoSettings, files[:n], []) for n in (1, 2))
    assert ours.credit == CREDIT_OVERLAYS[name]
    assert ours.run.dir == f"runs/{name}"
    assert replace(ours, run=plain.run, credit=plain.credit) == plain


def test_every_method_s_overlay_is_tested():
    found = {p.stem for p in (CONFIGS / "methods").iterdir()}
    assert found == {"grpo_d", "stcr", "sec", *CREDIT_OVERLAYS}


@pytest.mark.parametrize("folder", ["qwen2_5_vl_3b", "qwen2_5_vl_7b", "llava_next_7b"])
def test_a_large_model_has_every_stage_and_each_reads_what_the_one_before_wrote(folder):
    loaded = {
        name: yaml.safe_load((CONFIGS / folder / f"{name}.yaml").read_text())
        for name in ("data", "sft_perception", "sft_reasoning", "grpo")
    }
    for earlier, later in (("sft_perception", "sft_reasoning"), ("sft_reasoning", "grpo")):
        assert loaded[later]["policy"]["path"] == loaded[earlier]["run"]["dir"] + "/policy"
    assert len({config["data"]["path"] for config in loaded.values()}) == 1
    assert loaded["grpo"]["trainer"]["num_generations"] == 32
    # the values of LLaVA-AVR
    for stage, values in (("perception", (1e-5, 4, 2)), ("reasoning", (2e-6, 1, 4))):
        keys = ("learning_rate", "num_train_epochs", "per_device_train_batch_size")
        block = loaded[f"sft_{stage}"]["trainer"]
        assert tuple(block[key] for key in keys) == values
        assert loaded[f"sft_{stage}"]["sft"]["stage"] == stage
        assert loaded[f"sft_{stage}"]["sft"]["replay"] == {"share": 0.1}


SFT_OVERLAYS = {
    "entropy": {"loss": LossConfig("entropy", 0.8, 0.8)},
    "curriculum": {
        "mixture": {"perception": 0.2, "chain": 0, "yes_no": 0.3, "direct": 0.3, "open": 0.2},
        "curriculum": ("yes_no", "direct", "open"),
    },
    "own_chains": {
        "own_chains": OwnChainsConfig("runs/demo/rollout_warm/rollouts/rank0.jsonl", 0.9, 4, "gold")
    },
    "critique": {"mixture": {"perception": 0.2, "chain": 0.4, "critique": 0.4}},
    "schedule": {
        "mixture": {"perception": 0.8, "chain": 0.2},
        "mixture_end": {"perception": 0.1, "chain": 0.9},
    },
}


@pytest.mark.parametrize("name", SFT_OVERLAYS)
def test_an_overlay_of_sft_changes_what_it_says_and_leaves_the_rest(name):
    files = [CONFIGS / "demo" / "sft_reasoning.yaml", CONFIGS / "sft" / f"{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(SftSettings, files[:n], []) for n in (1, 2))
    assert ours.sft == replace(plain.sft, **SFT_OVERLAYS[name])
    assert ours.sft != plain.sft
    assert ours.run.dir == f"runs/sft_{name}"
    puzzles = {"data": replace(plain.data, num_puzzles=200)} if name == "own_chains" else {}
    assert replace(plain, run=ours.run, sft=ours.sft, **puzzles) == ours


def test_every_overlay_of_sft_is_tested():
    assert {p.stem for p in (CONFIGS / "sft").iterdir()} == set(SFT_OVERLAYS)


DPO_OVERLAYS = {
    "aft": ({"loss": PairLossConfig("aft", 0.5, "boundary", 0.5)}, {}),
    "dpo_sft": ({}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}),
    "ipo": ({}, {"loss_type": ["ipo"], "beta": 0.1}),
    "orpo": ({"loss": PairLossConfig("orpo")}, {"beta": 0.1}),
    "simpo": ({"loss": PairLossConfig("simpo", 0.5)}, {"beta": 2.0}),
    "truncate90": ({"counted": CountedConfig(90, "words")}, {}),
}


@pytest.mark.parametrize("name", DPO_OVERLAYS)
def test_an_overlay_of_preference_training_changes_what_it_says_and_leaves_the_rest(name):
    files = [CONFIGS / "demo" / "dpo.yaml", CONFIGS / "preference" / f"{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(DpoSettings, files[:n], []) for n in (1, 2))
    preference, trainer = DPO_OVERLAYS[name]
    assert ours.preference == replace(plain.preference, **preference)
    assert ours.trainer == {**plain.trainer, **trainer}
    assert ours.run.dir == f"runs/{name if name == 'dpo_sft' else f'dpo_{name}'}"
    assert ours != replace(plain, run=ours.run)
    same = {"run": plain.run, "preference": plain.preference, "trainer": plain.trainer}
    assert replace(ours, **same) == plain
    dpo_arguments(ours.run, ours.preference, ours.trainer)


def test_every_overlay_of_preference_training_is_tested():
    assert {p.stem for p in (CONFIGS / "preference").iterdir()} == set(DPO_OVERLAYS)


def test_dpo_of_a_large_model_has_llava_reasoner_s_values():
    settings = load_settings(DpoSettings, [CONFIGS / "qwen2_5_vl_7b" / "dpo.yaml"], [])
    keys = ("learning_rate", "num_train_epochs", "beta", "lr_scheduler_type", "warmup_steps")
    assert tuple(settings.trainer[key] for key in keys) == (5e-7, 1, 0.1, "cosine", 0.03)
    eight = settings.trainer["per_device_train_batch_size"] * 8
    assert eight * settings.trainer["gradient_accumulation_steps"] == 32
    assert settings.policy.freeze == ("vision_tower", "connector")


NO_RANDOM = {"random": 0}
PAIR_OVERLAYS = {
    "hard": {"ways": NO_RANDOM | {"hard_choice": 2, "hard_perception": 1, "perception_graded": 1}},
    "length_matched": {"ways": NO_RANDOM | {"length_matched": 3}, "length_gap": 0.05},
    "star": {
        "ways": NO_RANDOM | {"gold_vs_own_error": 3},
        "min_accuracy": 0.0,
        "max_accuracy": 0.5,
    },
}


@pytest.mark.parametrize("name", PAIR_OVERLAYS)
def test_an_overlay_of_pairs_changes_what_it_says_and_leaves_the_rest(name):
    files = [CONFIGS / "demo" / "pairs.yaml", CONFIGS / "pairs" / f"{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(PairsSettings, files[:n], []) for n in (1, 2))
    assert ours.pairs == replace(plain.pairs, **PAIR_OVERLAYS[name]) != plain.pairs
    assert ours.run == replace(plain.run, dir=f"runs/pairs_{name}")


@pytest.mark.parametrize(("name", "temperature"), [("choice", 1.2), ("short", 1.0)])
def test_rollouts_for_pairs_have_llava_reasoner_s_temperatures(name, temperature):
    files = [CONFIGS / "demo" / "rollout.yaml", CONFIGS / "pairs" / f"rollout_{name}.yaml"]
    assert files[1].read_text().startswith("# ")
    plain, ours = (load_settings(RolloutSettings, files[:n], []) for n in (1, 2))
    assert ours.rollouts.sampling.temperature == temperature
    assert ours.rollout.num_generations == 32
    assert ours.run.dir == f"runs/rollout_{name}"
    data = replace(plain.data, ask="perception", num_questions=4) if name == "short" else plain.data
    assert ours.data == data


def test_every_overlay_of_pairs_is_tested():
    names = {p.stem for p in (CONFIGS / "pairs").iterdir()}
    assert names == {*PAIR_OVERLAYS, "rollout_choice", "rollout_short"}


def test_the_demo_s_pairs_are_made_of_its_rollouts_and_read_by_its_training():
    pairs = load_settings(PairsSettings, [CONFIGS / "demo" / "pairs.yaml"])
    rollouts = load_settings(RolloutSettings, [CONFIGS / "demo" / "rollout.yaml"])
    training = load_settings(DpoSettings, [CONFIGS / "demo" / "dpo.yaml"])
    assert pairs.pairs.rollouts == (rollouts.run.dir,)
    assert pairs.pairs.held_out == (f"{rollouts.data.path}:held_out",)
    assert training.preference.pairs == pairs.run.dir
    assert (pairs.pairs.min_accuracy, pairs.pairs.max_accuracy) == (0.25, 0.85)
    assert (pairs.pairs.ways, pairs.pairs.balance) == ({"random": 24}, "answer")


def test_own_chains_are_read_where_the_demo_s_rollouts_are_written():
    chains = load_settings(SftSettings, [CONFIGS / "sft" / "own_chains.yaml"])
    rollouts = load_settings(RolloutSettings, [CONFIGS / "demo" / "rollout.yaml"])
    assert chains.sft.own_chains.path == str(rollouts_file(Path(rollouts.run.dir)))
    assert chains.data.num_puzzles == rollouts.data.num_puzzles
    assert chains.data.path == rollouts.data.path and chains.data.split == rollouts.data.split


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=lambda p: p.stem
)
def test_an_accelerate_config_has_only_known_keys(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes % config.num_machines == 0
