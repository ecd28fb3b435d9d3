"""The runner on an engine that says what it is told; numbers worked by hand."""

import json
import math

import pytest

from rewards.config import RewardConfig
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import RolloutError
from rl_avr.evaluation.config import EvalConfig
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
    """Puzzle 0 is always solved, 1 by samples 0 to 2 of 4, 2 says nothing."""
    number = next(i for i, name in enumerate(NAMES) if name in prompt.prompt_id)
    if number == 2:
        return ""
    is_right = number == 0 or index < 3
    return gold_chain(prompt.puzzle) if is_right else wrong_letter(prompt.puzzle)


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

    def go(engine=None, name="eval", seed=0, **changes):
        return evaluate(
            run=RunConfig(dir=str(tmp_path / name), seed=seed),
            policy=PolicyConfig(path="nobody"),
            data=data,
            rollouts=RolloutConfig(sampling=SamplingConfig(max_new_tokens=10_000)),
            rewards=RewardConfig(),
            config=EvalConfig(**({"num_samples": 4, "num_bootstrap": 50} | changes)),
            make=lambda *_: engine or FaultyEngine(),
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


def test_a_dry_run_shows_prompts_tags_and_chains(data):
    text = describe_evaluation(data, RewardConfig(), EvalConfig(num_samples=4), 0)
    assert f"{NAMES[0]}/cot (cot; images of" in text
    assert "split: held_out 3" in text
    assert "3 problems, 0 refused; 15 chains: one greedy and 4 sampled of each" in text
