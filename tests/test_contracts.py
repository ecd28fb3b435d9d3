"""Values: JSON round trip, answers, and hashing."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from rl_avr.contracts import (
    Annotation,
    PanelClaim,
    ParsedCompletion,
    Passage,
    Prompt,
    Puzzle,
    Rule,
    RuleClaim,
    Scene,
    Score,
    Span,
    VerdictClaim,
)
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.grammar import CONFIGURATIONS
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.sampler import sample_puzzles


def test_json_round_trip_keeps_every_puzzle(puzzles):
    names = [*CONFIGURATIONS, *KINDS]
    config = PuzzleConfig(
        mix=dict.fromkeys(names, 1.0), has_angle_noise=True, has_uniformity_noise=True
    )
    mixed = list(sample_puzzles("train", 60, 2, config))
    assert {p.family for p in mixed} == {"rpm", "nonregular"}
    for puzzle in [*puzzles, *mixed, annotated()]:
        text = puzzle.to_json()
        assert "\n" not in text
        back = Puzzle.from_json(text)
        assert back == puzzle
        assert hash(back) == hash(puzzle)


def test_json_by_hand(puzzle):
    raw = json.loads(puzzle.to_json())
    assert raw["answer_index"] == 2
    # one component, uniformity 3, one entity: type, size, color, angle, slot
    assert raw["context"][3] == [[3, [[5, 1, 1, 3, 0]]]]
    assert raw["rules"][1] == {
        "attribute": "size",
        "kind": "progression",
        "parameter": 1,
        "component": 0,
    }


def annotated(answer_index=1):
    annotation = Annotation(
        "Which comes next?", ("A", "B", "C"), "B", (("How many rows?", "2"),), prefix="Look."
    )
    return Puzzle(
        "own-1", "annotated", "sequence", (), (), answer_index, (), 0, 0, annotation=annotation
    )


def test_a_puzzle_without_state_says_so():
    puzzle = annotated()
    assert (puzzle.has_state, puzzle.num_choices, puzzle.answer_letter) == (False, 3, "B")
    with pytest.raises(ValueError, match="own-1: its state is not known"):
        _ = puzzle.answer
    with pytest.raises(ValueError, match="own-1: an open question has no letter"):
        _ = annotated(None).answer_letter


def test_an_answer_that_is_no_choice_is_refused(puzzle):
    text = puzzle.to_json().replace('"answer_index":2', '"answer_index":8')
    with pytest.raises(ValueError, match="answer_index 8: expected 0 to 7"):
        Puzzle.from_json(text)


def test_how_an_open_answer_is_graded_survives_json_and_is_checked():
    free = Annotation("How many?", (), "4", accepted=("four",), answer_kind="count")
    puzzle = Puzzle("own-2", "annotated", "photo", (), (), None, (), 0, 0, annotation=free)
    assert Puzzle.from_json(puzzle.to_json()) == puzzle
    with pytest.raises(ValueError, match="answer_kind 'much': expected one of.*'count'"):
        Puzzle.from_json(puzzle.to_json().replace('"count"', '"much"'))


def test_the_values_of_a_scene():
    scene = Scene((("turn", 2), ("count", 5)))
    assert scene.value("count") == 5
    with pytest.raises(KeyError):
        scene.value("tone")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "{}", '{"context": 3}'])
def test_text_that_is_no_puzzle_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Puzzle.from_json(text)


def test_unknown_and_missing_keys_are_refused(puzzle):
    raw = json.loads(puzzle.to_json())
    with pytest.raises(TypeError, match="colour"):
        Puzzle.from_json(json.dumps({**raw, "colour": 1}))
    del raw["seed"]
    with pytest.raises(TypeError, match="seed"):
        Puzzle.from_json(json.dumps(raw))


def test_permuting_the_choices_permutes_the_answer(puzzle):
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = rng.permutation(8).tolist()
        moved = dataclasses.replace(
            puzzle,
            choices=tuple(puzzle.choices[i] for i in order),
            answer_index=order.index(puzzle.answer_index),
        )
        assert moved.answer == puzzle.answer
        assert moved.answer_letter == "ABCDEFGH"[order.index(2)]


def test_a_part_that_cannot_judge_is_none_and_an_unknown_one_an_error():
    score = Score(0.5, (("choice", 1.0), ("rule", None)))
    assert score.part("choice") == 1.0
    assert score.part("rule") is None
    with pytest.raises(KeyError):
        score.part("style")


def test_a_prompt_s_repr_leaves_the_image_out(puzzle):
    assert "PNG" not in repr(Prompt("p", puzzle, "cot", "text", (b"\x89PNG" * 1000,)))


def of_two_passages():
    """Returns the same claims as passages at offsets 10 and 0, and listed by hand."""
    size = PanelClaim("missing", "size", 4, 6, 7)
    rule, verdict = Rule("size", "constant"), VerdictClaim(1, "size", True, 8, 11)
    line = Passage("size", [size], [RuleClaim(rule, 0, 5)], [verdict])
    fields = (2, ("size", "missing"), (Span(10, 21), Span(30, 37)), "C", 9)
    passages = ((10, line), (0, Passage(None, [size._replace(start=36, end=37)], [], [])))
    plain = ParsedCompletion(
        "ok",
        (size._replace(start=16, end=17), size._replace(start=36, end=37)),
        (RuleClaim(rule, 10, 15),),
        (verdict._replace(start=18, end=21),),
        *fields,
    )
    return ParsedCompletion.of_passages("ok", passages, *fields), plain


def test_the_claims_of_passages_stand_where_the_text_has_them():
    parsed, plain = of_two_passages()
    assert parsed.panel_claims == plain.panel_claims
    assert parsed.rule_claims == plain.rule_claims
    assert parsed.verdict_claims == plain.verdict_claims


def test_a_completion_of_passages_is_like_one_of_claims():
    parsed, plain = of_two_passages()
    assert pickle.loads(pickle.dumps(parsed)) == plain
    assert parsed == plain
    assert (hash(parsed), repr(parsed)) == (hash(plain), repr(plain))
    assert vars(parsed).keys() > {field.name for field in dataclasses.fields(parsed)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.panel_claims = ()


def test_changed_claims_are_those_of_the_passages():
    parsed, plain = of_two_passages()
    assert dataclasses.replace(parsed, choice_index=3) == dataclasses.replace(plain, choice_index=3)
    ((offset, passage),) = dataclasses.replace(parsed, panel_claims=()).passages
    assert (offset, passage.section, passage.panels) == (0, None, ())
    assert (passage.rules, passage.verdicts) == (plain.rule_claims, plain.verdict_claims)
