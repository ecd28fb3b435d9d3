"""The runner on an engine that says what it is told; numbers worked by hand."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from rewards.config import RewardConfig
from rewards.state import value_of
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, RolloutError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.config import EndpointConfig, EvalConfig, RetentionConfig, VoteConfig
from rl_avr.evaluation.reranking import SampleVote
from rl_avr.evaluation.results import read_rows
from rl_avr.evaluation.runner import describe_evaluation, evaluate
from rl_avr.modeling.config import PolicyConfig
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.config import DataConfig, RunConfig
from rl_avr.training.puzzle_data import write_puzzles
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

PUZZLES = list(sample_puzzles("held_out", 3, 5, PuzzleConfig()))
NAMES = [puzzle.puzzle_id for puzzle in PUZZLES]
FILES = ("problems.jsonl", "greedy.jsonl", "sampled.jsonl")


def wrong_letter(puzzle):
    letter = "ABCDEFGH"[(puzzle.answer_index + 1) % 8]
    return gold_chain(puzzle).replace(
        f"### Answer: {puzzle.answer_letter}", f"### Answer: {letter}"
    )


def script(prompt, index):
    """Puzzle 0 is always solved, 1 by samples 0 to 2 of 4, 2 says nothing.

    Of a turn that has begun, puzzle 0 is answered by the choice that fits what was said last,
    and puzzle 1 rightly behind a whole chain alone.
    """
    number = next(i for i, name in enumerate(NAMES) if name in prompt.prompt_id)
    if number == 2:
        return ""
    if prompt.prefill:
        return goes_on(prompt, number)
    is_right = number == 0 or index < 3
    return gold_chain(prompt.puzzle) if is_right else wrong_letter(prompt.puzzle)


def goes_on(prompt, number):
    puzzle = prompt.puzzle
    if prompt.prefill.endswith("### Answer:"):
        is_whole = prompt.prompt_id.endswith("-1")
        index = puzzle.answer_index + (number == 1 and not is_whole)
        return f" {'ABCDEFGH'[index % 8]}"
    if number == 1:
        return f"\n### Answer: {puzzle.answer_letter}"
    said = read(prompt.prefill, puzzle).panel_claims[-1]
    fitting = [value_of(choice, said.attribute, 0) == said.value for choice in puzzle.choices]
    return f"\n### Answer: {'ABCDEFGH'[fitting.index(True)]}"


class FaultyEngine(ScriptedEngine):
    """Refuses every call with a prompt whose id ends in one of `refused`; counts the others."""

    def __init__(self, refused=(), killed_after=math.inf):
        super().__init__(script)
        self.refused = tuple(refused)
        self.num_calls = 0
        self.killed_after = killed_after

    def generate(self, prompts, sampling):
        for prompt in prompts:
            if any(name in prompt.prompt_id for name in self.refused):
                raise RolloutError(f"prompt {prompt.prompt_id} is too long")
        self.num_calls += 1
        if self.num_calls > self.killed_after:
            raise KeyboardInterrupt
        return super().generate(prompts, sampling)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set of three puzzles."""
    folder = tmp_path_factory.mktemp("data")
    write_puzzles(PUZZLES, folder / "held_out.parquet", RenderConfig())
    return DataConfig(path=str(folder), split="held_out")


@pytest.fixture
def run(data, tmp_path):
    """Evaluates with an engine into `tmp_path / name`; keywords are the evaluation's."""

    def go(engine=None, name="eval", seed=0, make_vote=None, **changes):
        return evaluate(
            run=RunConfig(dir=str(tmp_path / name), seed=seed),
            policy=PolicyConfig(path="nobody"),
            data=data,
            rollouts=RolloutConfig(sampling=SamplingConfig(max_new_tokens=10_000)),
            rewards=RewardConfig(),
            config=EvalConfig(**({"num_samples": 4, "num_bootstrap": 50} | changes)),
            make=lambda *_: engine or FaultyEngine(),
            make_vote=make_vote,
        )

    return go


def test_numbers_by_hand(run, tmp_path):
    found = run()
    values = found["per_puzzle"]
    assert values["greedy"] == [1, 1, 0]
    assert values["pass@1"] == [1, 0.75, 0]
    assert values["pass@4"] == [1, 1, 0]
    assert values["majority@4"] == [1, 1, 0]
    assert values["perception"] == [1, 1, 0]
    assert found["metrics"]["pass@1"]["value"] == pytest.approx(1.75 / 3)
    lines = (tmp_path / "eval" / "sampled.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["completions"]) for line in lines] == [4, 4, 4]
    written = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert written["metrics"] == found["metrics"]
    assert {"loading", "prompts", "generation", "grading", "statistics"} == set(found["seconds"])


def test_the_size_of_batches_changes_no_file(run, tmp_path):
    run(name="one", batch_size=1)
    run(name="all", batch_size=50)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_a_killed_run_goes_on_and_ends_with_every_problem_once(run, tmp_path):
    run(name="whole", batch_size=1)
    # two calls a problem: the second problem is stopped between its greedy and sampled chains
    with pytest.raises(KeyboardInterrupt):
        run(FaultyEngine(killed_after=3), batch_size=1)
    assert len(read_rows(tmp_path / "eval")) == 1
    # what a kill between two writes leaves: chains without a row, and half a line
    greedy = tmp_path / "eval" / "greedy.jsonl"
    other = (tmp_path / "whole" / "greedy.jsonl").read_text().splitlines(keepends=True)
    greedy.write_text(greedy.read_text() + other[1] + other[2][:40])
    engine = FaultyEngine()
    run(engine, batch_size=1)
    assert engine.num_calls == 4
    for name in FILES:
        assert (tmp_path / "eval" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_run_asks_nothing_again(run):
    first = run()
    engine = FaultyEngine()
    second = run(engine, num_bootstrap=60)
    assert engine.num_calls == 0
    assert second["per_puzzle"] == first["per_puzzle"]


def test_with_a_cache_another_folder_asks_nothing(run, tmp_path):
    cache = str(tmp_path / "cache.sqlite")
    first = run(cache=cache)
    engine = FaultyEngine()
    second = run(engine, name="other", cache=cache)
    assert engine.num_calls == 0
    assert second["per_puzzle"] == first["per_puzzle"]
    for name in FILES:
        assert (tmp_path / "eval" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_another_seed_or_more_samples_are_asked_anew(run, tmp_path):
    run()
    for changes in ({"seed": 1}, {"num_samples": 5}):
        engine = FaultyEngine()
        run(engine, **changes)
        assert engine.num_calls == 2
        assert len((tmp_path / "eval" / "greedy.jsonl").read_text().splitlines()) == 3


def test_a_problem_that_fails_is_named_and_counted_wrong(run, tmp_path, capsys):
    found = run(FaultyEngine(refused=[NAMES[0]]))
    assert found["per_puzzle"]["greedy"] == [0, 1, 0]
    assert found["per_puzzle"]["pass@1"] == [0, 0.75, 0]
    assert found["per_puzzle"]["perception"] == [None, 1, 0]
    ((name, why),) = found["failed"].items()
    assert NAMES[0] in name and "too long" in why
    out = capsys.readouterr().out
    assert "1 failed, counted wrong" in out and why in out
    # where the fault is gone, the problem is asked again, and stands in its place
    assert run()["per_puzzle"]["greedy"] == [1, 1, 0]
    assert [NAMES[0] in row.prompt_id for row in read_rows(tmp_path / "eval")] == [1, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 2, 50])
def test_a_policy_that_answers_nothing_stops_the_run(run, tmp_path, batch_size):
    with pytest.raises(RolloutError, match="2 problems failed one behind the other"):
        run(FaultyEngine(refused=NAMES[1:]), max_failures=2, batch_size=batch_size)
    assert len(read_rows(tmp_path / "eval")) == 1
    run(FaultyEngine(refused=NAMES[1:]), max_failures=3, batch_size=batch_size)
    assert len(read_rows(tmp_path / "eval")) == 3


def test_probes_are_asked_beside_the_problems_and_read(run, tmp_path, capsys):
    found = run(probes=("context_blind", "relabelled"))
    assert found["per_puzzle"]["greedy"] == [1, 1, 0]
    rows = read_rows(tmp_path / "eval")
    assert [row.values("probe") for row in rows] == [(), ("context_blind",)] * 3
    (blind,) = (one for one in found["readings"] if one["probe"] == "context_blind")
    assert blind["value"]["value"] == pytest.approx(1.75 / 3)
    assert blind["reference"] == 1 / 8
    # an image of ours has letters drawn in it
    assert ["relabelled" in one["where"] for one in found["refused"]] == [True] * 3
    assert "3 refused" in capsys.readouterr().out


CHAIN_PROBES = ("truncated_chain", "corrupted_chain")


def test_chain_probes_go_on_from_the_policys_own_chains(run, tmp_path):
    found = run(probes=("paraphrased", *CHAIN_PROBES))
    values = {
        (one["probe"], one["measure"]): one["value"]["value"]
        for one in found["readings"]
        if one["probe"] in CHAIN_PROBES
    }
    early = {
        share: values["truncated_chain", f"same answer, {share}% of the chain"]
        for share in (0, 25, 50, 75, 100)
    }
    assert early == {0: 0.5, 25: 0.5, 50: 0.5, 75: 0.5, 100: 1}
    assert values["corrupted_chain", "follows the chain"] == 0.5
    # the third problem has no chain to begin with, and other probes' problems have no probes
    assert [one["where"] for one in found["refused"]] == [
        f"{NAMES[2]}/cot, probe {name}" for name in CHAIN_PROBES
    ]
    rows = read_rows(tmp_path / "eval")
    assert [row.values("probe") for row in rows[-12:]] == [
        *[("truncated_chain",)] * 5,
        ("corrupted_chain",),
    ] * 2
    assert rows[-12].greedy.is_right and rows[-12].greedy.status != "ok"
    # the chains on record are whole
    line = (tmp_path / "eval" / "greedy.jsonl").read_text().splitlines()[-8]
    said = json.loads(line)["completions"][0]
    assert said["text"] == gold_chain(PUZZLES[0]) and said["num_tokens"] == 2


def test_a_run_with_chain_probes_that_was_killed_goes_on(run, tmp_path):
    settings = {"probes": CHAIN_PROBES, "batch_size": 2}
    whole = run(name="whole", **settings)
    num = FaultyEngine()
    run(num, name="counted", **settings)
    for kept in range(1, num.num_calls):
        with pytest.raises(KeyboardInterrupt):
            run(FaultyEngine(killed_after=kept), **settings)
        engine = FaultyEngine()
        found = run(engine, **settings)
        # a batch of which one of the two passes was done is asked again
        assert engine.num_calls == num.num_calls - kept // 2 * 2
        assert found["readings"] == whole["readings"]
        for name in FILES:
            assert (tmp_path / "eval" / name).read_bytes() == (
                tmp_path / "whole" / name
            ).read_bytes()
        shutil.rmtree(tmp_path / "eval")


@pytest.mark.parametrize(("begins", "num_calls"), [("", 2), ("Well.\n", 4)])
def test_another_chain_is_probed_anew_and_the_same_one_is_not(run, tmp_path, begins, num_calls):
    run(probes=CHAIN_PROBES)
    idle = FaultyEngine()
    run(idle, probes=CHAIN_PROBES)
    assert idle.num_calls == 0
    # the first problem's row is lost, and the policy may say something else to it
    rows = tmp_path / "eval" / "problems.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:]))
    engine = FaultyEngine()
    engine._script = lambda prompt, index: (
        script(prompt, index) if prompt.prefill else begins + wrong_letter(prompt.puzzle)
    )
    run(engine, probes=CHAIN_PROBES)
    assert engine.num_calls == num_calls
    found = read_rows(tmp_path / "eval")
    assert len(found) == 15 and not found[0].greedy.is_right


def test_with_a_cache_chain_probes_ask_nothing_again(run, tmp_path):
    cache = str(tmp_path / "cache.sqlite")
    first = run(cache=cache, probes=CHAIN_PROBES)
    engine = FaultyEngine()
    second = run(engine, name="other", cache=cache, probes=CHAIN_PROBES)
    assert engine.num_calls == 0 and second["readings"] == first["readings"]


def test_a_problem_that_failed_keeps_its_row_beside_chain_probes(run, tmp_path):
    found = run(FaultyEngine(refused=[NAMES[0]]), probes=CHAIN_PROBES)
    assert list(found["failed"]) == [f"{NAMES[0]}/cot"]
    rows = read_rows(tmp_path / "eval")
    assert len(rows) == 3 + 6 and {row.values("of") for row in rows} == {(), (f"{NAMES[1]}/cot",)}
    assert len(read_rows(tmp_path / "eval")) == len({row.prompt_id for row in rows})


def test_splits_and_a_general_set_stand_in_the_table(run, data, tmp_path, capsys):
    """Trained on the first puzzle; the others are more difficult."""
    assert PUZZLES[0].difficulty < min(puzzle.difficulty for puzzle in PUZZLES[1:])
    write_puzzles(PUZZLES[:1], tmp_path / "trained" / "train.parquet", RenderConfig())
    general = list(sample_puzzles("held_out", 2, 77, PuzzleConfig()))
    write_puzzles(general, tmp_path / "general" / "test.parquet", RenderConfig())
    retention = RetentionConfig("own", str(tmp_path / "general"), LoadConfig(split="test"))
    engine = FaultyEngine()
    engine._script = lambda prompt, index: (
        script(prompt, index)
        if prompt.prompt_id.removesuffix("/cot") in NAMES
        else gold_chain(prompt.puzzle)
    )
    run()
    first = (tmp_path / "eval" / "problems.jsonl").read_text()
    assert "shift" not in first
    found = run(engine, retention=retention, trained_on=str(tmp_path / "trained"))
    # the tags of what was there are those of now; the general set alone was asked
    assert engine.num_calls == 2
    assert found["per_puzzle"]["greedy"] == [1, 1, 0]
    shares = {name: (one["value"], one["n"]) for name, one in found["splits"].items()}
    assert shares == {
        "pass@1, in distribution": (1, 1),
        "pass@1, harder": (0.375, 2),
        "pass@1, retention": (1, 2),
    }
    kinds = [row.values("shift") for row in read_rows(tmp_path / "eval")]
    assert kinds == [("in_distribution",), ("harder",), ("harder",), (), ()]
    printed = capsys.readouterr().out
    assert "pass@1, harder" in printed and "pass@1, retention" in printed


def test_a_dry_run_shows_prompts_tags_and_chains(data):
    text = describe_evaluation(data, RewardConfig(), EvalConfig(num_samples=4), 0)
    assert f"{NAMES[0]}/cot (cot; images of" in text
    assert "split: held_out 3" in text
    assert "3 problems, 0 refused; 15 chains: one greedy and 4 sampled of each" in text
    probed = describe_evaluation(data, RewardConfig(), EvalConfig(probes=CHAIN_PROBES), 0)
    assert "truncated_chain, corrupted_chain: more problems, made of the greedy chains" in probed


def test_a_reranker_is_made_where_a_reference_is_named_and_decides_rows(run, tmp_path):
    def last_one(prompt, completions):
        return list(range(len(completions)))

    made = []

    def make(policy, config):
        made.append((policy.path, config.rerank.reference))
        return SampleVote(last_one, config.rerank)

    best = VoteConfig("before", "best_of_n")
    assert "reranked" not in run(make_vote=make)["metrics"] and not made
    engine = FaultyEngine()
    found = run(engine, make_vote=make, rerank=best)
    assert made == [("nobody", "before")] and engine.num_calls == 2
    # the last of four chains is right for the first puzzle alone
    assert found["per_puzzle"]["reranked"] == [1, 0, 0]
    assert found["per_puzzle"]["best@4"] == [1, 0, 0]
    assert "reranking" in found["seconds"]
    run(make_vote=make, rerank=best)
    assert len(made) == 1
    vote = replace(best, method="self_consistency")
    assert run(make_vote=make, rerank=vote)["per_puzzle"]["reranked"] == [1, 1, 0]
    assert len(made) == 2


def test_an_endpoint_is_asked_for_no_chain_probes():
    endpoint = EndpointConfig(url="http://127.0.0.1:1/v1", model="m")
    with pytest.raises(ConfigError, match="probes: corrupted_chain: expected a rollout engine"):
        EvalConfig(endpoint=endpoint, probes=("context_blind", "corrupted_chain"))
