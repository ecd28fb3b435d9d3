"""Held-out puzzles are recognised by what they show, not by their names."""

from dataclasses import replace

import pytest

from rl_avr.contracts import CHOICE_LETTERS
from rl_avr.elicitation.asking import ask_puzzle
from rl_avr.errors import DataError
from rl_avr.preference.leakage import content_keys, leak_sentence, leaks, read_held_out
from rl_avr.preference.pair_statistics import PairFacts, QuestionRow

PNG = b"\x89PNG a"


def row(puzzle, images=(PNG,), num_pairs=1, **changes):
    pair = PairFacts("random", (5, 6), (50, 60), (1.0, 0.5), ("A", "B"))
    given = {
        "prompt_id": f"{puzzle.puzzle_id}/cot",
        "puzzle_id": puzzle.puzzle_id,
        "category": "center_single",
        "keys": content_keys(puzzle, images),
        "fate": "kept" if num_pairs else "too_easy",
        "num_right": 1,
        "num_judged": 2,
        "num_completions": 2,
        "num_different": 2,
        "num_cut": 0,
        "num_unreadable": 0,
        "pairs": (pair,) * num_pairs,
    }
    return QuestionRow(**given | changes)


def test_another_name_order_of_choices_and_picture_make_no_other_puzzle(puzzle):
    held_out = read_held_out({"test": [(puzzle, (PNG,))]})
    turned = replace(puzzle, puzzle_id="mine", choices=puzzle.choices[::-1], answer_index=5, seed=9)
    assert CHOICE_LETTERS[turned.answer_index] != puzzle.answer_letter
    assert leaks([row(turned, (b"\x89PNG other",))], held_out) == {"test": ["mine"]}


def test_a_question_about_a_held_out_image_is_found_by_the_image(puzzle):
    held_out = read_held_out({"test": [(puzzle, (PNG,))]})
    one = ask_puzzle(puzzle, "perception")[0]
    assert leaks([row(one)], held_out) == {"test": [one.puzzle_id]}
    assert leaks([row(one, (b"\x89PNG other",))], held_out) == {}


def test_images_count_together_and_in_order(annotated):
    held_out = read_held_out({"test": [(annotated(), (b"a", b"b"))]})
    photo = annotated()
    assert leaks([row(photo, (b"a", b"b"))], held_out)
    for images in ((b"a",), (b"b", b"a"), (b"ab",), ()):
        assert leaks([row(photo, images)], held_out) == {}


def test_only_puzzles_of_pairs_count_and_each_set_is_named(puzzle, grid):
    held_out = read_held_out({"one": [(puzzle, ())], "two": [(grid, ()), (puzzle, ())]})
    assert held_out.sizes == {"one": 1, "two": 2}
    rows = [row(puzzle), row(grid), row(grid), row(puzzle, num_pairs=0)]
    found = leaks(rows, held_out)
    assert found == {"one": ["by-hand"], "two": ["grid-by-hand", "grid-by-hand"]}
    assert leak_sentence(found) == "1 in one: by-hand; 1 in two: grid-by-hand"


def test_the_sentence_has_the_number_and_the_first_ids():
    found = {"test": [f"p{k}" for k in range(7)]}
    assert leak_sentence(found) == "7 in test: p0, p1, p2, p3, p4 …"


def test_another_puzzle_of_the_same_name_is_no_leak(puzzle, grid):
    held_out = read_held_out({"test": [(puzzle, (PNG,))]})
    other = replace(grid, puzzle_id=puzzle.puzzle_id)
    assert leaks([row(other, (b"\x89PNG other",))], held_out) == {}


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="test: expected puzzles .*, found none"):
        read_held_out({"test": []})


def test_the_digest_is_of_what_is_held_out(puzzle, grid):
    one = read_held_out({"a": [(puzzle, ()), (grid, ())]})
    assert read_held_out({"b": [(grid, ()), (puzzle, ())]}).digest == one.digest
    assert read_held_out({"a": [(puzzle, ())]}).digest != one.digest
