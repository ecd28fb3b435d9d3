"""From a set on disk to graded groups: every kind of question through the collector."""

import pytest

from rewards.config import RewardConfig
from rl_avr.collector import Collector
from rl_avr.elicitation.chains import direct_answer, gold_chain
from rl_avr.pipeline.config import MakeConfig
from rl_avr.pipeline.data import make_data
from rl_avr.prompts import ANSWER_MARK, in_tags
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_prompts
from rollouts.config import SamplingConfig
from rollouts.scripted import ScriptedEngine

PUZZLES = PuzzleConfig(
    num_train=9,
    num_held_out=1,
    seed=5,
    mix={"center_single": 1.0, "distribute_four": 1.0, "nesting": 1.0},
    render=RenderConfig(panel_size_px=8),
)
SAMPLING = SamplingConfig(max_new_tokens=4000)
WRONG = {"letter": "H", "yes_no": "perhaps", "count": "77", "exact": "a fish", "tuple": "type fish"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked") / "set"
    make_data(MakeConfig(path=str(folder), num_workers=1), PUZZLES)
    return folder


def gold(prompt, answer_form):
    if prompt.kind == "cot":
        text = gold_chain(prompt.puzzle)
        return in_tags(text) if answer_form == "tags" else text
    answer = direct_answer(prompt.puzzle)
    return f"<answer>{answer}</answer>" if answer_form == "tags" else answer


def wrong(prompt, answer_form):
    note = prompt.puzzle.annotation
    answer = WRONG[note.answer_kind] if note else f"{(prompt.puzzle.answer_index + 1) % 4}"
    return in_tags(f"{ANSWER_MARK} {answer}") if answer_form == "tags" else answer


def collected(made, ask, answer_form, rewards=None):
    prompts = read_prompts(
        DataConfig(path=str(made), ask=ask, num_questions=12), answer_form=answer_form
    )
    texts = (
        lambda p: gold(p, answer_form),
        lambda p: wrong(p, answer_form),
        lambda p: p.text,
        lambda p: "\x00 <answer>\n### garbage",
    )
    engine = ScriptedEngine(lambda prompt, index: texts[index](prompt))
    rewards = rewards or RewardConfig(answer_form=answer_form)
    return Collector(engine, SAMPLING, rewards, seed=0).collect(prompts, len(texts))


@pytest.mark.parametrize("answer_form", ["mark", "tags"])
@pytest.mark.parametrize("ask", ["puzzle", "perception", "yes_no", "open"])
def test_gold_is_worth_one_and_what_is_wrong_nothing(made, ask, answer_form):
    groups = collected(made, ask, answer_form)
    sizes = {"puzzle": 9, "perception": 9 * 12, "yes_no": 9 * 2, "open": 9}
    assert len(groups) == sizes[ask]
    for graded in groups:
        prompt = graded.group.prompt
        assert [s.total for s in graded.scores] == pytest.approx([1.0, 0.0, 0.0, 0.0]), prompt.text
        assert graded.is_admitted
        if ask != "puzzle":
            parts = dict(graded.scores[0].parts)
            assert {name for name, value in parts.items() if value is None} == {
                "perception",
                "rule",
                "consistency",
                "detail",
                "knowledge",
            }


def test_a_question_is_graded_alike_in_both_stages(made):
    stage = RewardConfig(stage="perception")
    for ask in ("perception", "yes_no", "open"):
        assert [g.scores for g in collected(made, ask, "mark", stage)] == [
            g.scores for g in collected(made, ask, "mark")
        ]


def test_every_form_of_answer_is_among_the_questions(made):
    kinds = {
        prompt.puzzle.annotation.answer_kind
        for prompt in read_prompts(DataConfig(path=str(made), ask="perception"))
    }
    assert kinds == {"exact", "count", "letter", "yes_no"}
