"""Scores of chains and the answer that they vote for: by hand, through an asker and a run."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from rewards.config import RewardConfig
from rl_avr.algo.voting import METHODS
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.evaluation.asking import Asker, Phases
from rl_avr.evaluation.breakdown import columns
from rl_avr.evaluation.config import EndpointConfig, EvalConfig, VoteConfig
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.reranking import SampleVote
from rl_avr.evaluation.rows import ProblemRow
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.scripted import ScriptedEngine

ROLLOUTS = RolloutConfig(sampling=SamplingConfig(max_new_tokens=10_000))


def by_length(prompt, completions):
    """The longer the better."""
    return [float(len(one.text)) for one in completions]


def test_scores_and_the_vote_by_hand(row_of, puzzle):
    row = row_of("a", 3, [3, 0, 0, None])
    said = tuple(Completion("x" * n, (0,), (), "stop", 0) for n in (9, 1, 2, 20))
    group = RolloutGroup(Prompt("a", puzzle, "cot", "", ()), (), said)
    for method, answer in (("best_of_n", 3), ("self_consistency", 0)):
        found = SampleVote(by_length, VoteConfig("r", method)).reranked(row, group)
        # the longest chain has no answer and no vote
        assert [one.score for one in found.samples] == [9, 1, 2, 20]
        assert found.reranked == answer
        assert columns([found])["reranked"].tolist() == [answer == 3]
        assert ProblemRow.from_json(found.to_json()) == found
    assert "reranked" not in columns([row])
    silent = row_of("a", 3, [None] * 4)
    assert SampleVote(by_length, VoteConfig("r")).reranked(silent, group).reranked is None
    assert columns([replace(found, error="lost", samples=()), found])["reranked"].tolist() == [0, 0]


def test_the_temperature_is_that_of_the_config(row_of, puzzle):
    row = row_of("a", 3, [3, 0, 0])
    said = tuple(Completion("x" * n, (0,), (), "stop", 0) for n in (9, 7, 7))
    group = RolloutGroup(Prompt("a", puzzle, "cot", "", ()), (), said)
    for temperature, answer in ((1.0, 3), (100.0, 0)):
        config = VoteConfig("r", "weighted_softmax", temperature)
        assert SampleVote(by_length, config).reranked(row, group).reranked == answer


def test_what_is_scored_is_what_was_sampled(puzzle):
    """Neither with a beginning of ours, nor with other names of the choices, nor the greedy."""
    seen = []

    def score(prompt, completions):
        seen.append([(prompt.prefill, one.text) for one in completions])
        return [1.0] * len(completions)

    def script(prompt, index):
        return " 3" if prompt.prefill else f"### Answer: {index + 1}"

    engine, reranker = ScriptedEngine(script), SampleVote(score, VoteConfig("r"))
    prompt = Prompt("p", puzzle, "cot", "", ())
    begun = replace(prompt, prompt_id="b", prefill="### Answer:")
    problems = [Problem(one, (), "digits") for one in (prompt, begun)]
    with Asker(engine, ROLLOUTS, RewardConfig(), 2, 0, Phases(), vote=reranker) as asker:
        found = asker.ask(problems)
    assert seen == [
        [("", "### Answer: 1"), ("", "### Answer: 2")],
        [("### Answer:", " 3"), ("### Answer:", " 3")],
    ]
    assert [one.row.reranked for one in found] == [0, 2]
    assert found[0].row.greedy.score is None


def test_a_chain_that_cannot_be_scored_fails_its_problem_alone(puzzle):
    def score(prompt, completions):
        if prompt.prompt_id == "1":
            raise DataError("no numbers")
        return [0.0] * len(completions)

    problems = [Problem(Prompt(str(i), puzzle, "cot", "", ())) for i in range(3)]
    engine = ScriptedEngine(lambda prompt, index: gold_chain(puzzle))
    reranker = SampleVote(score, VoteConfig("r"))
    with Asker(engine, ROLLOUTS, RewardConfig(), 2, 0, Phases(), vote=reranker) as asker:
        found = asker.ask(problems)
    assert [one.row.error for one in found] == [None, "DataError: no numbers", None]


def test_the_config_names_every_method():
    assert set(get_args(get_type_hints(VoteConfig)["method"])) == set(METHODS)
    with pytest.raises(ConfigError, match="temperature"):
        VoteConfig(temperature=0.0)
    endpoint = EndpointConfig(url="http://127.0.0.1:1/v1", model="m")
    with pytest.raises(ConfigError, match="rerank: expected no reference"):
        EvalConfig(endpoint=endpoint, rerank=VoteConfig("r"))
