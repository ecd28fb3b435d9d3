"""What decides whether a problem is asked again."""

from dataclasses import replace

import numpy as np
import pytest

from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.evaluation.panel_images import DrawnImages, Look
from rl_avr.evaluation.problems import Problem
from rl_avr.evaluation.results import append, begin, prompt_digest, read_rows

LOOK = Look(configuration="center_single")


def drawn(value, look=LOOK):
    return DrawnImages(lambda: np.full((16, 160, 160), value, np.uint8), look)


@pytest.fixture
def prompt(puzzle):
    return Prompt("p", puzzle, "cot", "Which?", drawn(0))


def test_images_that_are_drawn_when_they_are_read_count_without_being_drawn(prompt, monkeypatch):
    monkeypatch.setattr("rl_avr.evaluation.panel_images.draw_images", None)
    same = replace(prompt, images=drawn(0))
    others = [
        replace(prompt, images=drawn(1)),
        replace(prompt, images=drawn(0, replace(LOOK, panel_size_px=80))),
        replace(prompt, images=()),
        replace(prompt, prefill="Because"),
    ]
    digests = [prompt_digest(one) for one in (prompt, *others)]
    assert prompt_digest(same) == digests[0] and len(set(digests)) == 5


def test_images_that_cannot_be_read_stop_nothing_before_they_are_asked(prompt):
    def broken():
        raise DataError("the file is torn")

    torn = replace(prompt, images=DrawnImages(broken, LOOK))
    assert prompt_digest(torn) != prompt_digest(prompt)


def test_a_changed_image_is_asked_again_and_a_changed_tag_is_put_right(prompt, row_of, tmp_path):
    problem = Problem(prompt, (("rule", "constant"),))
    begin(tmp_path, {}, [problem], True)
    append(tmp_path, [row_of("p", 2, tags=problem.tags)], {})
    tagged = replace(problem, tags=(("rule", "progression"),))
    (kept,) = begin(tmp_path, {}, [tagged], True)
    assert kept.tags == tagged.tags and read_rows(tmp_path) == [kept]
    changed = replace(problem, prompt=replace(prompt, images=drawn(1)))
    assert begin(tmp_path, {}, [changed], True) == [] == read_rows(tmp_path)


def test_a_problem_that_failed_is_kept_where_it_is_asked_for(prompt, row_of, tmp_path):
    problem = Problem(prompt)
    begin(tmp_path, {}, [problem], True)
    append(tmp_path, [row_of("p", 2, error="lost")], {})
    assert [row.error for row in begin(tmp_path, {}, [problem], True, True)] == ["lost"]
    assert begin(tmp_path, {}, [problem], True) == []
