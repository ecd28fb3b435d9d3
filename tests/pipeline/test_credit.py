"""`rl-avr credit` and `rl-avr credit auroc`: from recorded chains to pages and tables."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.cli import main
from rl_avr.contracts import Completion, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.inference.credit_config import CreditStudyConfig
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.credit_auroc import PREDICTORS, Claims, claims_of_chains, measured
from rl_avr.pipeline.data import make_data
from rl_avr.pipeline.recorded_chains import with_images
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.settings import RecordedSettings, save_resolved
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from rollouts.recorder import append_groups
from tests.inference.pairs import save_policies
from tests.inference.test_credit import credit_of

NUM = 6


@pytest.fixture(scope="module")
def folders(tiny_config, tmp_path_factory):
    """Two tiny policies; read them, never write to them."""
    return save_policies(tiny_config, tmp_path_factory.mktemp("pair"), (0, 1))


def with_wrong_size(text):
    start = text.index("Size: ") + len("Size: ")
    return text[:start] + str((int(text[start]) + 1) % 6) + text[start + 1 :]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as `rl-avr rollout` leaves it: a right and a wrong chain a puzzle."""
    folder = tmp_path_factory.mktemp("run")
    render = RenderConfig(panel_size_px=36)
    puzzles = PuzzleConfig(num_train=1, num_held_out=NUM, render=render)
    make_data(MakeConfig(path=str(folder / "data"), num_workers=1), puzzles)
    data = DataConfig(path=str(folder / "data"), split="held_out")
    save_resolved(RecordedSettings(data=data), folder)
    groups = []
    for prompt in read_prompts(data):
        gold = gold_chain(prompt.puzzle)
        texts = (gold, with_wrong_size(gold))
        done = tuple(Completion(text, (1,), (), "stop", 0) for text in texts)
        groups.append(grade(RolloutGroup(prompt, (), done), RewardConfig()))
    append_groups(folder / "rollouts" / "rank0.jsonl", groups)
    return folder


def command(run, folders, *words):
    pair = ["--policy", str(folders[1]), "--reference", str(folders[0])]
    return main(["credit", str(run), *pair, *words])


def test_the_command_writes_page_pictures_and_numbers(run, folders, tmp_path, capsys):
    assert command(run, folders, "--chains", "2", "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "Chain 0: implicit reward" in printed and "perception" in printed
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"credit.html", "credit.json", "chain-0.png", "chain-1.png"}
    page = (tmp_path / "out" / "credit.html").read_text(encoding="utf-8")
    assert page.count("✗ false") == 1 and page.count("data:image/png;base64,") == 1
    right, wrong = json.loads((tmp_path / "out" / "credit.json").read_text())
    assert "".join(token["text"] for token in wrong["tokens"]) == wrong["text"]
    assert sum(token["credit"] for token in wrong["tokens"]) == pytest.approx(wrong["reward"])
    assert sum(token["centred"] for token in wrong["tokens"]) == pytest.approx(0, abs=1e-4)
    assert all(claim["is_true"] for claim in right["claims"])


def test_a_recorded_chain_is_scored_on_its_own_image(run, folders, tmp_path, capsys):
    def reward():
        return json.loads((tmp_path / "credit.json").read_text())[0]["reward"]

    out = ["--out", str(tmp_path)]
    assert command(run, folders, *out) == 0
    recorded = reward()
    prompts = read_prompts(DataConfig(path=str(run / "data"), split="held_out"))
    (tmp_path / "text").write_text(gold_chain(prompts[0].puzzle), encoding="utf-8")
    pair = ["--policy", str(folders[1]), "--reference", str(folders[0])]
    on_image = []
    for prompt in prompts[:2]:
        words = ["--puzzle", str(run / "data"), "--id", prompt.puzzle.puzzle_id]
        assert main(["credit", *words, "--text", str(tmp_path / "text"), *pair, *out]) == 0
        on_image.append(reward())
    assert recorded == pytest.approx(on_image[0], abs=1e-4)
    assert recorded != pytest.approx(on_image[1], abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chains", "0"], "--chains: expected 1 or more, got 0"),
        (["--index", "7"], "--index: expected 0 to 1"),
        (["--prompt-id", "nobody"], "no prompt 'nobody'"),
    ],
)
def test_what_is_not_there_is_said(run, folders, tmp_path, capsys, words, message):
    assert command(run, folders, *words, "--out", str(tmp_path / "out")) == 2
    assert message in capsys.readouterr().err


def test_a_recording_without_a_config_or_of_another_set_is_refused(run, folders, tmp_path, capsys):
    lone = tmp_path / "lone.jsonl"
    lone.write_bytes((run / "rollouts" / "rank0.jsonl").read_bytes())
    assert command(lone, folders) == 2
    assert "expected config.yaml beside the rollouts" in capsys.readouterr().err
    make_data(
        MakeConfig(path=str(tmp_path / "data"), num_workers=1),
        PuzzleConfig(num_train=1, num_held_out=1, seed=5, render=RenderConfig(panel_size_px=36)),
    )
    data = DataConfig(path=str(tmp_path / "data"), split="held_out")
    save_resolved(RecordedSettings(data=data), tmp_path)
    assert command(lone, folders) == 2
    assert "expected the set that config.yaml names" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["text", "puzzle"])
def test_another_question_by_the_same_name_is_not_taken_for_the_recorded_one(run, change):
    prompt, other = read_prompts(DataConfig(path=str(run / "data"), split="held_out"))[:2]
    recorded = replace(prompt, images=())
    found = with_images(recorded, {prompt.prompt_id: prompt}, "here")
    assert found.images == prompt.images and prompt.images != other.images
    changed = replace(prompt, **{change: "What?" if change == "text" else other.puzzle})
    with pytest.raises(DataError, match=f"here: prompt {prompt.prompt_id} asks something else"):
        with_images(recorded, {prompt.prompt_id: changed}, "here")


def test_a_reference_that_is_the_policy_is_refused(run, folders, capsys):
    assert command(run, (folders[0], folders[0])) == 2
    assert "are the same policy, so every reward would be 0" in capsys.readouterr().err


def test_auroc_writes_a_table_for_every_arm_and_family(run, folders, tmp_path, capsys):
    arm = f"{{policy: {folders[1]}, reference: {folders[0]}, rollouts: {run}}}"
    config = tmp_path / "study.yaml"
    config.write_text(
        f"run: {{dir: {tmp_path / 'study'}}}\n"
        f"study: {{num_resamples: 20, arms: {{x/0: {arm}, x/1: {arm}}}}}\n"
    )
    assert main(["credit", "auroc", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    written = tmp_path / "study" / "credit_auroc.json"
    arms = json.loads(written.read_text())
    assert list(arms) == ["x/0", "x/1"]
    cells = [cell for one in arms.values() for cell in one["cells"]]
    whole = [cell for cell in cells if cell["kind"] == "all" and cell["arm"] == "x/0"]
    assert [cell["predictor"] for cell in whole] == list(PREDICTORS)
    assert whole[0]["num_false"] == NUM and whole[0]["area"]["n"] == NUM
    assert "x (mean of 2)" in printed and "standard deviation 0.000" in printed
    # claims of a kind that are all true cannot be told apart
    assert {cell["kind"] for cell in cells} == {"all", "perception"}
    # what was measured before is not measured again, unless something that decides it changed
    before = written.read_text()
    arms["x/0"]["cells"][0]["area"]["value"] = 0.125
    arms["x/1"]["asked"] = "of other files"
    arms["x/1"]["cells"] = []
    written.write_text(json.dumps(arms))
    assert main(["credit", "auroc", "--config", str(config)]) == 0
    assert "0.125" in capsys.readouterr().out
    again = json.loads(written.read_text())
    assert again["x/1"] == json.loads(before)["x/1"]
    assert main(["credit", "auroc", "--config", str(config), "--study.num_resamples", "30"]) == 0
    assert "0.125" not in capsys.readouterr().out
    written.write_text("half a li")
    assert main(["credit", "auroc", "--config", str(config)]) == 0
    assert written.read_text() == before


def test_every_judged_claim_is_a_case_with_its_numbers(puzzle):
    chains = credit_of(puzzle, gold_chain(puzzle), with_wrong_size(gold_chain(puzzle)))
    found = claims_of_chains([("a", chains[0]), ("b", chains[1]), ("a", chains[1])])
    num = [len(chain.claims) for chain in chains]
    assert len(found.is_true_N) == num[0] + 2 * num[1]
    assert (~found.is_true_N).sum() == 2
    assert found.puzzles_N.tolist() == [0] * num[0] + [1] * num[1] + [0] * num[1]
    one, row = chains[0].claims[5], {name: values[5] for name, values in found.scores.items()}
    tokens = chains[0].credit_T[one.tokens[0] : one.tokens[1]]
    assert row["credit"] == pytest.approx(tokens.mean().item())
    assert row["credit, sum"] == pytest.approx(tokens.sum().item())
    assert row["credit, least"] == tokens.min().item()
    mean = chains[0].credit_T.mean().item()
    assert row["credit, centred"] == pytest.approx(row["credit"] - mean, abs=1e-4)
    assert (row["logprob"], row["length"]) == (-1.0, -len(tokens))
    assert row["reference"] == pytest.approx(-1.0 - row["credit"])
    assert row["chain length"] == -len(chains[0].credit_T)


def test_credit_that_knows_and_a_baseline_that_does_not():
    rng = np.random.default_rng(0)
    truths, puzzles = rng.random(600) < 0.8, np.repeat(np.arange(30), 20)
    scores = {name: rng.normal(size=600) for name in PREDICTORS}
    scores["credit"] = truths + 0.1 * rng.normal(size=600)
    kinds = np.array(["perception", "rules"] * 300, dtype=object)
    cells = measured("arm", Claims(kinds, truths, puzzles, scores), CreditStudyConfig(), seed=0)
    found = {(cell.kind, cell.predictor): cell for cell in cells}
    assert found["all", "credit"].area.value > 0.99
    assert found["all", "credit"].gain.low > 0.3
    assert found["rules", "logprob"].gain.value == 0
    assert found["perception", "credit"].num_true == truths[::2].sum()
    assert ("answer", "credit") not in found


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({}, "study.arms: expected one policy or more"),
        ({"x": {"policy": "a"}}, "arms.x: expected policy, reference, rollouts"),
    ],
)
def test_a_study_without_what_it_needs_is_refused(arms, message, tmp_path, capsys):
    words = [f"--study.arms={json.dumps(arms)}", f"--run.dir={tmp_path}"]
    assert main(["credit", "auroc", *words]) == 2
    assert message in capsys.readouterr().err
