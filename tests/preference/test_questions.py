"""A graded group as a question: equal texts once, counts of all, gold in the policy's form."""

from dataclasses import replace
from fractions import Fraction

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.preference.questions import gold_text, question_of
from rl_avr.prompts import prompt_text


def asked(puzzle, *completions, kind="cot", rewards=None):
    """Returns a question; completions are texts, or (text, finish reason)."""
    rewards = rewards or RewardConfig()
    prompt = Prompt("p", puzzle, kind, prompt_text(puzzle, kind, rewards.answer_form), ())
    given = [(c, "stop") if isinstance(c, str) else c for c in completions]
    group = RolloutGroup(
        prompt, (), tuple(Completion(t, (0,) * len(t.split()), (), f, 0) for t, f in given)
    )
    return question_of(grade(group, rewards), rewards)


def test_equal_texts_are_one_sample_and_count_in_the_accuracy(puzzle, chain):
    question = asked(puzzle, chain, "### Answer: A", chain, chain)
    assert [sample.text for sample in question.samples] == [chain, "### Answer: A"]
    assert question.accuracy == Fraction(3, 4)
    assert (question.num_completions, question.num_judged) == (4, 4)
    good, bad = question.samples
    assert (good.is_right, good.is_whole, good.answer, good.perception) == (True, True, "C", 1.0)
    assert (bad.is_right, bad.is_whole, bad.is_answered, bad.answer) == (False, False, True, "A")
    assert good.num_tokens == len(chain.split()) and good.parts["rule"] == 1.0


def test_cut_and_unreadable_completions_are_counted_apart(puzzle, chain):
    told = ((chain, "length"), (f"{chain}\n", "abort"), "?", "### Answer: Z", "### Answer: A")
    question = asked(puzzle, *told)
    assert (question.num_cut, question.num_unreadable) == (2, 2)
    assert [sample.is_answered for sample in question.samples] == [False, False, True, False, False]
    # the right answer of a chain that was cut at the limit does not count
    assert question.accuracy == Fraction(1, 5)


def test_of_equal_texts_the_one_that_ended_stands(puzzle, chain):
    (sample,) = asked(puzzle, (chain, "length"), chain).samples
    assert sample.is_whole and sample.is_right


def test_without_a_gold_answer_nothing_is_judged(annotated):
    question = asked(annotated(choices=(), answer=" "), "### Answer: 3")
    assert question.accuracy is None and question.samples == () and question.gold is None


def test_gold_is_the_chain_graded_as_the_samples_are(puzzle, chain):
    gold = asked(puzzle, chain, "### Answer: A").gold
    assert gold.text == chain
    assert (gold.is_right, gold.is_whole, gold.perception) == (True, True, 1.0)


def test_gold_has_the_opening_sentence_only_where_the_policy_writes_it(puzzle, chain):
    bare = chain.partition("\n")[2]
    assert asked(puzzle, "### Answer: A", bare).gold.text == bare


def test_gold_is_in_tags_where_the_prompt_asks_for_them(puzzle, chain):
    rewards = RewardConfig(answer_form="tags")
    gold = asked(puzzle, "This is a regular puzzle.", rewards=rewards).gold
    assert gold.text.startswith("<think>\nThis is") and gold.text.endswith("<answer>C</answer>")
    assert gold.is_right and gold.is_whole


@pytest.mark.parametrize("form", ["mark", "tags"])
def test_a_direct_prompt_has_the_answer_alone_as_gold(puzzle, annotated, form):
    rewards = RewardConfig(answer_form=form)
    for one, answer in ((puzzle, "C"), (annotated(choices=(), answer="two tiles"), "two tiles")):
        gold = asked(one, "x", kind="direct", rewards=rewards).gold
        assert gold.text == (answer if form == "mark" else f"<answer>{answer}</answer>")
        assert gold.is_right and gold.is_whole


def test_there_is_no_gold_chain_where_nobody_wrote_one(annotated, puzzle):
    assert asked(annotated(chain=None), "### Answer: A").gold is None
    prompt = Prompt("p", replace(puzzle, rules=()), "cot", "Which?", ())
    assert gold_text(prompt, []) is None
