"""The rewards as other frameworks call them: signatures, columns, and what is refused."""

import json
import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rewards.adapters import easyr1_reward, plain_reward, trl_reward, trl_rewards, verl_reward
from rewards.config import RewardConfig
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.errors import ConfigError, RewardError
from rl_avr.prompts import in_tags
from rl_avr.seeding import rng_for

WEIGHTS = RewardConfig(consistency=0.3, detail=0.2, knowledge=0.1, length=0.1, length_limit=5000)


def messages(text):
    """A completion as trl has it where the prompts are conversational and hold an image."""
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def called_as_trl_does(functions, completions, **columns):
    """Returns one column of rewards for each function, and the metrics that were logged."""
    metrics = {}
    prompts = [[{"role": "user", "content": [{"type": "image"}]}] for _ in completions]
    rows = [
        function(
            prompts=prompts,
            completions=completions,
            completion_ids=[[1, 2, 3]] * len(completions),
            trainer_state=SimpleNamespace(global_step=0),
            log_extra=lambda column, values: None,
            log_metric=metrics.__setitem__,
            **columns,
        )
        for function in functions
    ]
    return rows, metrics


def test_the_names_and_weights_that_trl_gets():
    functions, weights = trl_rewards(RewardConfig())
    assert [f.__name__ for f in functions] == ["choice", "format", "perception", "rule"]
    # 1, 0.1, 0.2 and 0.1 of 1.4
    assert weights == pytest.approx([1 / 1.4, 0.1 / 1.4, 0.2 / 1.4, 0.1 / 1.4])
    assert trl_reward(RewardConfig()).__name__ == "total"


@pytest.mark.parametrize("form", ["mark", "tags"])
def test_gold_chains_of_every_kind_are_worth_1_in_every_part(zoo, form):
    config = replace(WEIGHTS, answer_form=form)
    texts = [gold_chain(p) for p in zoo] + [fluent_chain(p, rng_for("t", p.puzzle_id)) for p in zoo]
    if form == "tags":
        texts = [in_tags(text) for text in texts]
    puzzles = [puzzle.to_json() for puzzle in zoo] * 2
    functions, _ = trl_rewards(config)
    rows, metrics = called_as_trl_does(
        [*functions, trl_reward(config)], [messages(t) for t in texts], puzzle=puzzles
    )
    assert len(rows) == 9
    assert all(row == [1.0] * len(texts) for row in rows)
    assert set(metrics.values()) == {1.0} and "part/perception" in metrics


def test_the_weighted_sum_is_the_total_where_all_parts_judge(puzzle, chain):
    texts = [
        chain,
        chain.replace("Answer: C", "Answer: D"),
        chain.replace("square", "circle"),
        "### Answer: C",
        "",
    ]
    functions, weights = trl_rewards(WEIGHTS)
    rows, _ = called_as_trl_does(functions, texts, puzzle=[puzzle] * len(texts))
    ((*totals,),), _ = called_as_trl_does([trl_reward(WEIGHTS)], texts, puzzle=[puzzle] * 5)
    columns = list(zip(*rows, strict=True))
    sums = [sum(w * v for w, v in zip(weights, column, strict=True)) for column in columns]
    assert sums == pytest.approx(totals)
    assert totals[0] == 1.0 and totals[1] == totals[4] == 0.0


def test_the_gate_closes_completion_by_completion(puzzle, chain):
    wrong = chain.replace("Answer: C", "Answer: D")
    perception = plain_reward(RewardConfig(), "perception")
    assert perception(["?"] * 2, [chain, wrong], puzzle=[puzzle] * 2) == [1.0, 0.0]
    ungated = plain_reward(RewardConfig(gate="none"), "perception")
    assert ungated(["?"] * 2, [chain, wrong], puzzle=[puzzle] * 2) == [1.0, 1.0]


def test_the_streams_are_two_functions(puzzle, chain):
    functions, weights = trl_rewards(RewardConfig(gate="stream", stream_weight=0.5))
    assert [f.__name__ for f in functions] == ["outcome", "perception"]
    assert weights == pytest.approx([2 / 3, 1 / 3])
    wrong = chain.replace("Answer: C", "Answer: D")
    rows, _ = called_as_trl_does(functions, [chain, wrong], puzzle=[puzzle] * 2)
    # choice 0 and format 1, by the weights 1 and 0.1
    assert rows == [[1.0, pytest.approx(0.1 / 1.1)], [1.0, 1.0]]


def test_only_image_question_and_answer():
    config = RewardConfig(gate="none")
    columns = {"answer": ["B", "3", "sea lion"], "choices": [["2", "3"], ["2", "3"], None]}
    texts = ["It is 3.\n### Answer: B", "### Answer: A", "### Answer: The sea-lion."]
    assert plain_reward(config, "choice")(None, texts, **columns) == [1.0, 0.0, 1.0]
    assert plain_reward(config, "perception")(None, texts, **columns) == [None] * 3
    # a right answer in the right form is all that there is to judge
    assert plain_reward(config)(None, texts, **columns) == pytest.approx([1.0, 0.1 / 1.1, 1.0])


def test_open_questions_by_kind_of_answer():
    columns = {
        "answer": [4, 4, 4],
        "accepted": [["many"], None, None],
        "answer_kind": ["exact", "count", None],
    }
    texts = ["### Answer: many", "### Answer: four", "### Answer: four"]
    assert plain_reward(RewardConfig(), "choice")(None, texts, **columns) == [1.0, 1.0, 0.0]


def test_a_data_set_may_mix_puzzles_and_answers(puzzle, chain):
    found = plain_reward(RewardConfig())(
        None, [chain, "### Answer: 7"], puzzle=[puzzle.to_json(), None], answer=[None, "7"]
    )
    assert found == [1.0, 1.0]


def test_what_nothing_can_judge_is_none(puzzle, chain):
    config = RewardConfig(choice=0, format=0, perception=1, rule=0)
    assert plain_reward(config)(None, ["### Answer: 7"], answer=["7"]) == [None]
    assert plain_reward(config)(None, [chain], puzzle=[puzzle]) == [1.0]


def test_length_comes_from_the_ids_and_truncation_from_its_column(puzzle, chain):
    config = RewardConfig(length=1, length_limit=10, length_buffer=10)
    length = plain_reward(config, "length")
    ids = [[0] * 5, [0] * 10]
    # (10 - 5) / 10, and the limit itself
    assert length(None, [chain] * 2, completion_ids=ids, puzzle=[puzzle] * 2) == [0.5, 0.0]
    assert length(None, [chain], num_tokens=[2], puzzle=[puzzle]) == [0.8]
    assert length(None, [chain], puzzle=[puzzle]) == [None]
    cut = plain_reward(RewardConfig())(
        None, [chain] * 2, puzzle=[puzzle] * 2, finish_reason=["length", None]
    )
    assert cut == [0.0, 1.0]


def test_the_kind_of_prompt_routes(puzzle):
    found = plain_reward(RewardConfig())(
        None, ["C", "C"], puzzle=[puzzle] * 2, prompt_kind=["direct", "cot"]
    )
    assert found == [1.0, 0.0]


def test_a_later_batch_is_not_the_one_before(puzzle, chain):
    total = plain_reward(RewardConfig())
    wrong = chain.replace("Answer: C", "Answer: D")
    found = [total(None, [text], puzzle=[puzzle]) for text in (chain, wrong, chain, chain)]
    assert found == [[1.0], [0.0], [1.0], [1.0]]
    assert total(None, [], puzzle=[]) == []


@pytest.mark.parametrize(
    "completion",
    [
        None,
        [],
        {},
        [{"role": "assistant", "content": None}],
        [{"role": "assistant"}],
        [{"role": "user", "content": "### Answer: C"}],
        [{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": 3}, 7]}],
        "\ud800\x00",
        "### Answer: C" * 10_000,
    ],
    ids=repr,
)
def test_no_completion_raises_and_none_of_these_is_worth_anything(puzzle, completion):
    assert plain_reward(RewardConfig())(None, [completion], puzzle=[puzzle]) == [0.0]


def test_messages_of_the_assistant_are_one_text(puzzle, chain):
    head, _, tail = chain.partition("\nMissing")
    turns = [
        {"role": "assistant", "content": head},
        {"role": "tool", "content": "### Answer: A"},
        {"content": [{"type": "text", "text": "Missing"}, {"type": "text", "text": tail}]},
    ]
    assert plain_reward(RewardConfig())(None, [turns], puzzle=[puzzle]) == [1.0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "expected a column 'puzzle' .* or 'answer' .*; got no column"),
        ({"image": [1, 2], "label": [1, 2]}, "got image, label"),
        ({"answer": ["a"]}, "column 'answer': expected a list with one entry for each of 2"),
        ({"answer": "ab"}, "column 'answer': .* got str: 'ab'"),
        ({"answer": ["a", None]}, "row 1: expected 'puzzle' or 'answer', got neither"),
        ({"answer": ["a", " "]}, "row 1: column 'answer': expected a text, got str: ' '"),
        ({"answer": ["a", True]}, "row 1: column 'answer': expected a text, got bool: True"),
        ({"puzzle": ["{}", "{}"]}, "row 0: column 'puzzle': .* got str: '{}': KeyError"),
        ({"puzzle": [3, 3]}, "row 0: column 'puzzle': expected JSON or a Puzzle, got int: 3"),
        ({"answer": ["A", "C"], "choices": [["x", "y"]] * 2}, "row 1: .* A to B or the text"),
        ({"answer": ["A", "x"], "choices": [["x", "x"]] * 2}, "row 1: .* one choice, got 'x'"),
        ({"answer": ["A", "A"], "choices": [["x"]] * 2}, "row 0: .* 2 to 8 choices, got 1"),
        ({"answer": ["A", "A"], "choices": ["xy", "xy"]}, "row 0: column 'choices': expected a"),
        ({"answer": ["a", "a"], "answer_kind": ["exact", "fuzzy"]}, "row 1: column 'answer_kind'"),
        ({"answer": ["3", "a\nb"]}, "row 1: column 'answer': expected one line"),
        (
            {"answer": ["A"] * 2, "choices": [["x", "y"]] * 2, "accepted": [["B"]] * 2},
            "row 0: columns 'accepted' and 'answer_kind' are for open questions",
        ),
        ({"answer": ["a"] * 2, "finish_reason": ["stop", "eos"]}, "row 1: column 'finish_reason'"),
        ({"answer": ["a"] * 2, "num_tokens": [1, -1]}, "row 1: column 'num_tokens'"),
        ({"answer": ["a"] * 2, "prompt_kind": ["cot", "xyz"]}, "row 1: column 'prompt_kind'"),
    ],
)
def test_a_column_that_cannot_be_used_is_named_with_its_row(columns, expected):
    with pytest.raises(RewardError, match=expected):
        plain_reward(RewardConfig())(["?", "?"], ["a", "b"], **columns)


def test_what_no_model_can_write_is_refused(puzzle):
    with pytest.raises(RewardError, match="row 1: completions: expected a text or a list of mess"):
        plain_reward(RewardConfig())(None, ["a", 3], puzzle=[puzzle] * 2)
    with pytest.raises(RewardError, match="column 'prompts': .* each of 2 completions, got list"):
        plain_reward(RewardConfig())(["?"], ["a", "b"], puzzle=[puzzle] * 2)


def test_a_puzzle_that_no_text_can_be_read_for_is_refused(puzzle):
    other = puzzle.to_json().replace("center_single", "center_double")
    with pytest.raises(RewardError, match="row 0: configuration: expected one of center_single"):
        plain_reward(RewardConfig())(None, ["a"], puzzle=[other])


def test_what_only_a_whole_group_can_do_is_refused():
    with pytest.raises(ConfigError, match="difficulty_slope: expected 0"):
        trl_rewards(RewardConfig(difficulty_slope=1.0))
    with pytest.raises(ConfigError, match="part: expected one of choice, .* nearest: perception"):
        plain_reward(RewardConfig(), "percepton")
    with pytest.raises(ConfigError, match="own: expected none"):
        verl_reward(RewardConfig(own={"a.py:b": 1.0}))


def test_functions_can_be_sent_to_another_process(puzzle, chain):
    functions, _ = trl_rewards(RewardConfig())
    choice = pickle.loads(pickle.dumps(functions[0]))
    assert choice.__name__ == "choice"
    assert choice(None, [chain], puzzle=[puzzle]) == [1.0]


def test_the_users_own_functions_count(tmp_path, puzzle, chain):
    (tmp_path / "mine.py").write_text(
        "def half(completion, prompt, answer): return 0.5 if answer == 'C' else 0.0\n"
    )
    config = RewardConfig(format=0, perception=0, rule=0, own={f"{tmp_path}/mine.py:half": 1.0})
    functions, weights = trl_rewards(config)
    try:
        assert [f.__name__ for f in functions] == ["choice", "half"] and weights == [0.5, 0.5]
        rows = [f(["?"], [chain], puzzle=[puzzle]) for f in functions]
        assert rows == [[1.0], [0.5]]
    finally:
        functions[0].close()


def test_verl_scores_one_completion(puzzle, chain):
    compute_score = verl_reward(RewardConfig())
    found = compute_score(
        data_source="puzzles",
        solution_str=chain,
        ground_truth=puzzle.to_json(),
        extra_info={"index": 3, "num_turns": None, "finish_reason": "stop"},
        reward_router_address="not read",
    )
    assert found["score"] == found["acc"] == found["perception"] == 1.0
    cut = compute_score("puzzles", chain, puzzle.to_json(), {"finish_reason": "length"})
    assert cut["score"] == cut["acc"] == 0.0
    bare = compute_score("own", "### Answer: A", json.dumps({"answer": "A", "choices": ["x", "y"]}))
    assert bare["score"] == 1.0 and math.isnan(bare["rule"])
    # verl makes columns of these, so they are the same for every completion
    assert list(bare) == list(found)
    assert compute_score("own", "### Answer: {x}", "{x}")["score"] == 1.0
    in_info = compute_score("own", "### Answer: B", "ignored", {"puzzle": puzzle.to_json()})
    assert in_info["acc"] == 0.0


def test_easyr1_scores_a_batch(puzzle, chain):
    compute_score = easyr1_reward(RewardConfig(length=1, length_limit=10))
    rows = [
        {"response": chain, "response_length": 9, "ground_truth": puzzle.to_json()},
        {"response": "### Answer: A", "response_length": 99, "ground_truth": puzzle.to_json()},
        {"response": "### Answer: 4", "ground_truth": "4", "multi_modal_data": None},
    ]
    right, wrong, own = compute_score(rows)
    assert right["overall"] == right["choice"] == right["length"] == 1.0
    assert wrong["overall"] == wrong["choice"] == wrong["length"] == 0.0
    assert own["overall"] == 1.0 and math.isnan(own["length"])
    assert compute_score(rows[0]) == right


@pytest.mark.slow
def test_a_real_step_of_trl(tmp_path, processor, puzzle, chain):
    """Trains one step of a tiny language model; then trl grades a gold chain."""
    from datasets import Dataset
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = processor.tokenizer
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer)}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, **heads))
    functions, weights = trl_rewards(RewardConfig())
    rows = [{"prompt": "Which?", "puzzle": puzzle.to_json(), "kind": "center_single"}] * 4
    args = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to=[],
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        reward_weights=[*weights, 0.0],
    )
    trainer = GRPOTrainer(
        model=model,
        args=args,
        reward_funcs=[*functions, trl_reward(RewardConfig())],
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    (logged,) = [row for row in trainer.state.log_history if "reward" in row]
    assert logged["reward"] == logged["rewards/perception/mean"] == logged["part/format"] == 0.0
    graded = trainer._calculate_rewards(rows[:1], ["Which?"], [messages(chain)], [[1, 2]])
    assert graded.tolist() == [[1.0] * 5]
