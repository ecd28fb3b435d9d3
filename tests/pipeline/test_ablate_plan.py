from dataclasses import replace
from pathlib import Path

import pytest

from rl_avr.errors import ConfigError
from rl_avr.pipeline.ablate_plan import job_settings, plan_jobs, read_tables
from rl_avr.settings import AblateSettings, load_settings

CONFIG = Path(__file__).parents[2] / "configs" / "ablate" / "warm_start.yaml"
SMALL = """
ablate: {{seeds: [0, 7]}}
pictures: {{num_train: 4, num_held_out: 2}}
sets: {{plain: {{num_train: 4, num_held_out: 2}}}}
common: {{trainer: {{max_steps: 3}}}}
starts:
  new:
    minutes: 1
    settings: {{policy: {{path: "{{run}}/new_policy", small: {{seed: "{{seed}}"}}}}}}
tables:
  order:
    title: Order
    trained_tokens: 100
    minutes: 2
    measure: {{ask: questions, data: "{{run}}/sets/plain"}}
    settings: {{policy: {{path: "{{run}}/starts/new/{{seed}}/policy"}}}}
    arms:
      one:
      two: {{settings: {{sft: {{prefix: false}}{extra}}}}}
"""


def settings(tmp_path, extra="", **changes):
    path = tmp_path / "ablate.yaml"
    path.write_text(SMALL.format(extra=extra))
    found = load_settings(AblateSettings, [path], [("run.dir", str(tmp_path / "run"))])
    return replace(found, ablate=replace(found.ablate, **changes))


def test_every_arm_and_seed_is_a_job_after_what_its_paths_name(tmp_path):
    jobs = {job.name: job for job in plan_jobs(settings(tmp_path))}
    assert list(jobs) == [
        *("sets/pictures", "sets/plain", "starts/new/0", "starts/new/7"),
        *("order/one/0", "order/one/7", "order/two/0", "order/two/7"),
    ]
    assert jobs["order/two/7"].needs == ("sets/plain", "starts/new/7")
    assert jobs["starts/new/7"].needs == ()


def test_a_path_needs_the_job_of_that_name_and_none_that_it_begins_with(tmp_path):
    found = settings(tmp_path, seeds=(1, 10))
    jobs = {job.name: job for job in plan_jobs(found)}
    assert jobs["order/one/10"].needs == ("sets/plain", "starts/new/10")


def test_a_start_with_a_seed_is_one_for_all_seeds_of_the_arms(tmp_path):
    path = tmp_path / "ablate.yaml"
    text = SMALL.format(extra="").replace("new/{seed}/policy", "new/policy")
    path.write_text(text.replace("  new:\n", "  new:\n    seed: 5\n"))
    found = load_settings(AblateSettings, [path], [("run.dir", str(tmp_path / "run"))])
    jobs = {job.name: job for job in plan_jobs(found)}
    assert [name for name in jobs if name.startswith("starts")] == ["starts/new"]
    assert jobs["starts/new"].spec["seed"] == 5
    assert jobs["starts/new"].spec["settings"]["policy"]["small"]["seed"] == 5
    assert jobs["order/one/7"].needs == ("sets/plain", "starts/new")


def test_the_settings_of_a_job_are_common_ones_then_the_table_s_then_the_arm_s(tmp_path):
    found = settings(tmp_path)
    jobs = {job.name: job for job in plan_jobs(found)}
    root = tmp_path / "run"
    one, two = (
        job_settings(jobs[name].spec, root / name, root) for name in ("order/one/7", "order/two/7")
    )
    assert one.policy.path == f"{root}/starts/new/7/policy"
    assert one.run.dir == f"{root}/order/one/7"
    assert (one.run.seed, one.run.wandb, one.trainer) == (7, "disabled", {"max_steps": 3})
    assert (one.sft.prefix, two.sft.prefix) == (True, False)
    start = job_settings(jobs["starts/new/7"].spec, root / "starts/new/7", root)
    assert start.policy.small.seed == 7


def test_one_arm_alone_brings_what_it_needs_and_nothing_else(tmp_path):
    jobs = plan_jobs(settings(tmp_path, only="order/two", seeds=(0,)))
    assert [job.name for job in jobs] == ["sets/plain", "starts/new/0", "order/two/0"]
    assert len(plan_jobs(settings(tmp_path, only="order"))) == 7
    with pytest.raises(ConfigError, match="ablate.only: .*got 'ordr', nearest: order"):
        plan_jobs(settings(tmp_path, only="ordr"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (", data: {pth: x}", "tables.order.arms.two: unknown key data.pth; nearest: data.path"),
        (", sft: {prefix: 3}", "twice"),
        ("}, titel: {a: 1", "tables.order.arms.two: unknown key titel; nearest: title"),
    ],
)
def test_a_wrong_key_is_named_with_its_arm(tmp_path, extra, message):
    with pytest.raises(ConfigError, match=message):
        plan_jobs(settings(tmp_path, extra))


def test_missing_keys_of_a_table_are_named(tmp_path):
    found = settings(tmp_path)
    table = {k: v for k, v in found.tables["order"].items() if k != "minutes"}
    with pytest.raises(ConfigError, match="tables.order: keys are missing, of .*minutes"):
        read_tables(replace(found, tables={"order": table}))


def test_the_shipped_table_has_the_papers_arms_and_short_jobs():
    found = load_settings(AblateSettings, [CONFIG])
    tables = read_tables(found)
    numbers = {name: [arm.paper for arm in arms.values()] for name, (_, arms) in tables.items()}
    assert numbers["order"] == [40, 82, 95]
    assert numbers["mixture"] == [62.8, 72.1, 82.7]
    assert [arm.paper_gain for arm in tables["replay"][1].values()] == [None, 3]
    jobs = plan_jobs(found)
    assert all(job.minutes <= found.ablate.max_minutes for job in jobs)
    assert len({job.spec["seed"] for job in jobs if job.kind == "arm"}) == 3
    assert CONFIG.read_text().startswith("# ")


def test_arms_of_a_shipped_table_differ_in_what_they_compare_alone():
    jobs = {job.name: job.spec for job in plan_jobs(load_settings(AblateSettings, [CONFIG]))}
    for table, same in (("order", "elicitation"), ("mixture", "mixture"), ("replay", "replay")):
        specs = [spec for name, spec in jobs.items() if name.startswith(f"{table}/")]
        for spec in specs:
            sft = spec["settings"]["sft"]
            sft.pop(same, None)
            sft.pop("prefix", None)
        first = next(s for s in specs if s["seed"] == 0)
        assert all(spec == first for spec in specs if spec["seed"] == 0)
