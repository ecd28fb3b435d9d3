"""Own chains: the right ones of recorded rollouts, and only for puzzles that are trained on."""

from dataclasses import replace

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.prompts import in_tags, prompt_text
from rollouts.recorder import append_groups
from sft_warmstart.config import OwnChainsConfig
from sft_warmstart.own_chains import read_own_chains


def record(path, puzzle, *texts, kind="cot", finish_reason="stop"):
    prompt = Prompt(f"{puzzle.puzzle_id}/{kind}", puzzle, kind, prompt_text(puzzle, kind), ())
    completions = tuple(Completion(text, (1, 2), (), finish_reason, 0) for text in texts)
    append_groups(path, [grade(RolloutGroup(prompt, (), completions), RewardConfig())])


def kept(path, puzzles, seed=0, **changes):
    known = {puzzle.puzzle_id: puzzle.to_json() for puzzle in puzzles}
    found = read_own_chains(OwnChainsConfig(path=str(path), **changes), known, seed)
    return {name: [text for _, text in chains] for name, chains in found.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rank0.jsonl"


def test_without_a_file_there_are_none(puzzle):
    assert read_own_chains(OwnChainsConfig(), {puzzle.puzzle_id: puzzle.to_json()}, 0) == {}


def test_a_chain_with_the_right_answer_is_kept_with_its_prompt(path, puzzle, chain):
    record(path, puzzle, chain.replace("Answer: C", "Answer: B"), chain, "### Answer: D")
    known = {puzzle.puzzle_id: puzzle.to_json()}
    found = read_own_chains(OwnChainsConfig(path=str(path), num_chains=9), known, 0)
    assert found == {"by-hand": ((prompt_text(puzzle, "cot"), chain),)}


def test_a_truncated_chain_is_not_kept(path, puzzle, chain):
    record(path, puzzle, chain, finish_reason="length")
    with pytest.raises(DataError, match="none of 1 chains in 1 groups is right"):
        kept(path, [puzzle])


def test_perception_can_be_asked_for(path, puzzle, chain):
    blind = chain.replace("Size: 0 1 2 | 1 2 3", "Size: 5 5 5 | 5 5 5")
    record(path, puzzle, blind, chain)
    assert kept(path, [puzzle], num_chains=2)["by-hand"] in ([blind, chain], [chain, blind])
    assert kept(path, [puzzle], num_chains=2, min_perception=0.99)["by-hand"] == [chain]


def test_without_a_state_perception_cannot_be_asked_for(path, annotated):
    puzzle = annotated()
    record(path, puzzle, gold_chain(puzzle))
    assert kept(path, [puzzle]) == {"photo-1": [gold_chain(puzzle)]}
    with pytest.raises(DataError, match=r"perception of at least 0\.5"):
        kept(path, [puzzle], min_perception=0.5)


def test_several_chains_are_different_texts_chosen_by_the_seed(path, puzzle, chain):
    others = [chain.replace("Color: 3", f"Color: {k}") for k in (1, 2, 4, 5, 6)]
    record(path, puzzle, chain, chain, *others[:2])
    record(path, puzzle, *others[2:], chain)
    everything = kept(path, [puzzle], num_chains=9)["by-hand"]
    assert sorted(everything) == sorted([chain, *others])
    one, again = (kept(path, [puzzle], num_chains=3)["by-hand"] for _ in range(2))
    assert one == again
    assert len(set(one)) == 3
    picks = {tuple(kept(path, [puzzle], seed=seed)["by-hand"]) for seed in range(30)}
    assert len(picks) == 6


def test_a_group_that_asks_for_no_chain_is_left_out(path, puzzle, chain):
    record(path, puzzle, "C", kind="direct")
    with pytest.raises(DataError, match="none of 0 chains in 0 groups"):
        kept(path, [puzzle])
    record(path, puzzle, chain)
    assert kept(path, [puzzle]) == {"by-hand": [chain]}


def test_rollouts_over_other_puzzles_are_refused_with_their_number(path, puzzle, grid, chain):
    record(path, puzzle, chain)
    record(path, grid, gold_chain(grid))
    message = r"1 of 2 groups are not about the 1 puzzles .* grid-by-hand \(line 2\), which is not"
    with pytest.raises(DataError, match=message):
        kept(path, [puzzle])


def test_another_puzzle_of_the_same_name_is_refused(path, puzzle, chain):
    record(path, puzzle, chain)
    with pytest.raises(DataError, match=r"by-hand \(line 1\), which is another puzzle there"):
        kept(path, [replace(puzzle, choices=puzzle.choices[::-1], answer_index=5)])


def test_a_file_that_is_not_there_is_named(tmp_path, puzzle):
    with pytest.raises(DataError, match=r"no\.jsonl: expected recorded rollouts"):
        kept(tmp_path / "no.jsonl", [puzzle])


def test_answers_in_tags_are_read_as_their_prompt_asks(path, puzzle, chain):
    text = prompt_text(puzzle, "cot", "tags")
    prompt = Prompt("by-hand/cot", puzzle, "cot", text, ())
    texts = in_tags(chain), chain
    completions = tuple(Completion(one, (1, 2), (), "stop", 0) for one in texts)
    append_groups(path, [grade(RolloutGroup(prompt, (), completions), RewardConfig())])
    known = {puzzle.puzzle_id: puzzle.to_json()}
    found = read_own_chains(OwnChainsConfig(path=str(path), num_chains=9), known, 0)
    assert found == {"by-hand": ((text, in_tags(chain)),)}
