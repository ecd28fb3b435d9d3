import json

import numpy as np
import pytest

from rl_avr.chat import decode_image
from rl_avr.contracts import Prompt
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.grading import grade_answer
from rl_avr.pipeline import ablate_measure
from rl_avr.pipeline.ablate_measure import commonest_answers, questions_of, sort_of
from rl_avr.pipeline.ablate_pictures import REPLAY_FILE, pictures, write_pictures
from rl_avr.pipeline.ablate_plan import Measure
from rl_avr.prompts import prompt_text
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzles
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts


class Writer:
    """Stands for a policy: answers what a function of the prompt says."""

    def __init__(self, answer):
        self._answer = answer

    def answers(self, prompts, max_new_tokens):
        return [(self._answer(prompt), "stop") for prompt in prompts]


def prompts(num=20, seed=3):
    puzzles = sample_puzzles("held_out", num, seed, PuzzleConfig())
    return [Prompt(p.puzzle_id, p, "cot", prompt_text(p, "cot"), (b"",)) for p in puzzles]


def measured(monkeypatch, tmp_path, answer, measure, found):
    monkeypatch.setattr(ablate_measure, "read_prompts", lambda config: found)
    monkeypatch.setattr(ablate_measure, "load_policy", lambda config: Model())
    monkeypatch.setattr(ablate_measure, "load_processor", lambda path: None)
    monkeypatch.setattr(ablate_measure, "GreedyWriter", lambda *_: Writer(answer))
    return ablate_measure.measure_policy(tmp_path, measure, tmp_path)


class Model:
    def eval(self):
        return self


def test_gold_chains_are_all_right_and_chance_is_one_over_the_choices(monkeypatch, tmp_path):
    found = prompts()
    measure = Measure("chain", "data")
    result = measured(monkeypatch, tmp_path, lambda p: gold_chain(p.puzzle), measure, found)
    assert result.right_P.tolist() == [1.0] * 20
    assert result.chance_P.tolist() == [1 / 8] * 20
    result = measured(monkeypatch, tmp_path, lambda p: "no idea", measure, found)
    assert result.right_P.tolist() == [0.0] * 20


def test_gold_answers_are_all_right_and_blind_ones_as_often_as_chance_says(monkeypatch, tmp_path):
    found = prompts(40)
    measure = Measure("questions", "data", num_questions=8)
    asked = questions_of(found, 8)
    gold = {(a.prompt.prompt_id, a.question.text): a.question.answer for a in asked}
    result = measured(monkeypatch, tmp_path, lambda p: gold[p.prompt_id, p.text], measure, found)
    assert result.right_P.tolist() == [1.0] * 40
    assert 0.1 < result.chance_P.mean() < 0.5
    commonest = commonest_answers([a.question for a in asked])
    blind = {(a.prompt.prompt_id, a.question.text): commonest[sort_of(a.question)] for a in asked}
    result = measured(monkeypatch, tmp_path, lambda p: blind[p.prompt_id, p.text], measure, found)
    assert np.array_equal(result.right_P, result.chance_P)


def test_every_policy_is_asked_the_same_questions_coarse_ones_among_them():
    found = prompts(5)
    asked = questions_of(found, 8)
    assert asked == questions_of(found, 8)
    assert [sum(a.puzzle == i for a in asked) for i in range(5)] == [8] * 5
    levels = [a.question.level for a in asked if a.puzzle == 0]
    assert (levels.count("coarse"), levels.count("fine")) == (2, 6)


def test_pictures_are_a_set_and_a_replay_file_of_the_same(tmp_path):
    write_pictures(tmp_path, 30, 5)
    train = read_prompts(DataConfig(str(tmp_path), "train"))
    held_out = read_prompts(DataConfig(str(tmp_path), "held_out"))
    assert (len(train), len(held_out)) == (30, 5)
    records = json.loads((tmp_path / REPLAY_FILE).read_text())
    for record, prompt in zip(records, train, strict=True):
        said = [turn["value"] for turn in record["conversations"]]
        assert said[0].startswith("<image>\n")
        said[0] = said[0].removeprefix("<image>\n")
        gold = prompt.puzzle.annotation.perception
        assert said == [text for pair in gold for text in pair]
        assert (tmp_path / record["image"]).read_bytes() == prompt.images[0]
    sizes = {decode_image(prompt.images[0]).size for prompt in train}
    assert sizes == {(36, 36), (72, 72)}
    assert {len(record["conversations"]) for record in records} == {2, 6}
    gold = [dict(prompt.puzzle.annotation.perception) for prompt in train]
    for one in questions_of(train, 1):
        assert grade_answer(one.question, gold[one.puzzle][one.question.text])


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_picture_depends_on_its_split_and_number_alone(split):
    few, many = list(pictures(split, 3)), list(pictures(split, 6))
    assert few == many[:3]
    other = list(pictures("held_out" if split == "train" else "train", 3))
    assert few != other
