"""Chains cut and altered: by hand, and read back by the parser."""

import random
from dataclasses import replace

import pytest

from rewards.state import value_of
from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.evaluation.chain_probes import (
    CHAIN_PROBES,
    chain_probed,
    corrupted_chain,
    truncated_chains,
)
from rl_avr.evaluation.config import CHAIN_PROBE_NAMES
from rl_avr.evaluation.probes import PROBES, marked
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.prompts import in_tags, prompt_text


def asked(puzzle, kind="cot", form="mark"):
    return Problem(Prompt("p", puzzle, kind, prompt_text(puzzle, kind, form), ()))


def test_truncated_chains_by_hand(puzzle, chain):
    lines = chain.split("\n")
    found = truncated_chains(asked(puzzle), chain, (0, 0.5, 1))
    assert [one.prompt.prefill for one in found] == [
        "### Answer:",
        "\n".join([*lines[:4], "### Answer:"]),
        "\n".join([*lines[:8], "### Answer:"]),
    ]
    assert found[2].prompt.prefill + " C" == chain
    assert [one.values("variant") for one in found] == [("0",), ("0.5",), ("1",)]
    assert len({one.prompt.prompt_id for one in found}) == 3


def test_truncated_chains_in_tags(puzzle, chain):
    problem = asked(puzzle, form="tags")
    nothing, whole = truncated_chains(problem, in_tags(chain), (0, 1))
    assert nothing.prompt.prefill == "<think>\n</think>\n<answer>"
    assert whole.prompt.prefill + "C</answer>" == in_tags(chain)
    parsed = read(nothing.prompt.prefill + "C</answer>", puzzle, answer_form="tags")
    assert parsed.choice_index == 2


def test_what_has_no_chain_is_not_cut(puzzle, chain):
    assert truncated_chains(asked(puzzle), "no answer at all") == []
    assert truncated_chains(asked(puzzle), "### Answer: C") == []
    assert truncated_chains(asked(puzzle, "direct"), chain) == []
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        truncated_chains(asked(puzzle), chain, (1.5,))


def test_a_corrupted_chain_by_hand(puzzle, chain):
    probes = [corrupted_chain(asked(puzzle), chain, random.Random(k)) for k in range(40)]
    found = {one.prompt.prefill for one in probes}
    lines = chain.split("\n")
    # each of the three attributes has one other value among the choices
    assert found == {
        "\n".join([lines[0], lines[1].removesuffix("hexagon") + "circle"]),
        "\n".join([*lines[:2], lines[2].removesuffix("4") + "3"]),
        "\n".join([*lines[:3], lines[3].removesuffix("7") + "2"]),
    }


def test_a_wrong_prediction_is_neither_kept_nor_put_right(puzzle, chain):
    """The sizes of the choices are 4, the right one, and 3, which the chain predicts."""
    text = chain.replace("progression +1 -> 4", "progression +1 -> 3")
    found = [corrupted_chain(asked(puzzle), text, random.Random(k)) for k in range(40)]
    assert {one.values("changed") for one in found} == {("type",), ("color",)}


def test_the_expected_choices_have_the_altered_value(zoo):
    rng, num = random.Random(0), 0
    for puzzle in zoo:
        for text in (gold_chain(puzzle), fluent_chain(puzzle, random.Random(1))):
            found = corrupted_chain(asked(puzzle), text, rng)
            if found is None:
                continue
            num += 1
            (attribute,), (expected,) = (found.values(name) for name in ("changed", "expected"))
            claim = [
                c
                for c in read(found.prompt.prefill, puzzle).panel_claims
                if c.panel == "missing" and c.attribute == attribute
            ][-1]
            right = value_of(puzzle.answer, attribute, claim.component)
            fitting = [
                index
                for index, choice in enumerate(puzzle.choices)
                if value_of(choice, attribute, claim.component) == claim.value
            ]
            assert claim.value != right
            assert [int(index) for index in expected.split()] == fitting != []
            # nothing after the altered statement gives the old value or the answer away
            assert "### Answer" not in found.prompt.prefill
            assert not found.prompt.prefill.rstrip().endswith(text.split("\n")[-1])
    assert num > len(zoo)


def test_what_predicts_nothing_cannot_be_corrupted(puzzle, annotated):
    rng = random.Random(0)
    assert corrupted_chain(asked(puzzle), "### Answer: C", rng) is None
    assert corrupted_chain(asked(annotated()), "The next one.\n### Answer: C", rng) is None
    assert corrupted_chain(asked(puzzle, "direct"), gold_chain(puzzle), rng) is None


def test_each_problem_of_which_there_is_a_chain_is_probed(puzzle, chain):
    problems = [asked(puzzle), marked(asked(puzzle), "paraphrased", "1")]
    problems += [
        replace(asked(puzzle), prompt=replace(asked(puzzle).prompt, prompt_id=name))
        for name in ("mute", "failed")
    ]
    chains = {one.prompt.prompt_id: chain for one in problems} | {"mute": "no answer"}
    del chains["failed"]
    found = list(chain_probed(problems, chains, ["context_blind", *CHAIN_PROBES], 0))
    made = [one for one in found if isinstance(one, Problem)]
    assert {one.values("of") for one in made} == {("p",)}
    assert [one.values("probe")[0] for one in made] == ["truncated_chain"] * 5 + ["corrupted_chain"]
    refused = [one.where for one in found if isinstance(one, Refused)]
    assert refused == [f"mute, probe {name}" for name in CHAIN_PROBES]
    again = list(chain_probed(problems, chains, CHAIN_PROBES, 0))
    assert [one for one in again if isinstance(one, Problem)] == made


def test_a_chain_that_is_kept_with_letters_does_not_begin_an_answer_by_digits(puzzle, chain):
    problem = replace(asked(puzzle), labels="digits")
    found = list(chain_probed([problem], {"p": chain}, list(CHAIN_PROBES), 0))
    assert [isinstance(one, Refused) for one in found] == [True, True]


def test_every_chain_probe_has_its_name_in_the_config():
    assert tuple(CHAIN_PROBES) == CHAIN_PROBE_NAMES
    assert not set(CHAIN_PROBES) & set(PROBES)
