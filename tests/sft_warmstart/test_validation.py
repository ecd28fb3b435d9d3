"""Validation: gold answers score 1, wrong ones 0; batches answer as single prompts do."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from rl_avr.chat import banned_token_ids
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.families import FAMILIES
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import write_puzzles
from rl_avr.training.puzzle_files import puzzle_row, write_rows
from rollouts.config import RolloutConfig, SamplingConfig
from rollouts.engine import Sampling
from rollouts.transformers_engine import TransformersEngine
from sft_warmstart.config import ValidationConfig
from sft_warmstart.validation import GreedyWriter, answered, as_it_was, validation_puzzles
from sft_warmstart.validation_panels import joined
from tests.rollouts.small_policies import save_policy

NUM = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory, puzzles, zoo):
    """Center puzzles and others, one of them of scenes, in the split that is held out."""
    folder = tmp_path_factory.mktemp("data")
    chosen = [*puzzles[:3], zoo[12], zoo[40], zoo[-1]]
    write_puzzles(chosen, folder / "held_out.parquet", RenderConfig(36))
    return DataConfig(path=str(folder))


@pytest.fixture(scope="module")
def asked(data):
    return validation_puzzles(data, ValidationConfig(num_puzzles=NUM, num_questions=3))


def totals(*args):
    return answered(*args).totals


class Scripted:
    """A policy that answers by a function of the prompt's text; every row is padded alike."""

    device = torch.device("cpu")

    def __init__(self, processor, answer):
        self._tokenizer = processor.tokenizer
        self._answer = answer
        self.generation_config = SimpleNamespace(eos_token_id=None)
        self.batch_sizes = []

    def generate(self, input_ids, generation_config, attention_mask, **_):
        self.batch_sizes.append(len(input_ids))
        rows = []
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            # nothing but padding is masked, and it stands before the prompt
            assert mask.sort().values.equal(mask)
            text = self._tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
            answer = self._tokenizer(self._answer(text), add_special_tokens=False).input_ids
            rows.append([*answer, self._tokenizer.eos_token_id][: generation_config.max_new_tokens])
        longest = max(map(len, rows))
        pad = self._tokenizer.pad_token_id
        new = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
        return torch.cat([input_ids, new], dim=1)


def gold(asked):
    """Returns a function: text of a prompt -> its gold answer, by what it ends with."""
    texts = {}
    for one in asked:
        for question in one.questions:
            texts[question.text] = question.answer
    chains = iter([gold_chain(one.prompt.puzzle) for one in asked])

    def answer(text):
        found = [known for known in texts if known in text]
        return texts[max(found, key=len)] if found else next(chains)

    return answer


def test_gold_answers_score_one_and_others_nothing(asked, processor):
    num = sum(len(one.questions) for one in asked)
    assert num == 3 * NUM
    right = totals(Scripted(processor, gold(asked)), processor, asked, 800, 4)
    assert right == pytest.approx(np.array([[num, num], [NUM, NUM], [NUM, NUM], [NUM, NUM]]))
    wrong = totals(Scripted(processor, lambda text: "no idea"), processor, asked, 800, 4)
    assert wrong[:, 0].tolist() == [0, 0, 0, 0]
    assert wrong[:, 1].tolist() == right[:, 1].tolist()


def test_a_chain_that_is_cut_is_not_parsed(asked, processor):
    found = totals(Scripted(processor, gold(asked)), processor, asked, 30, 4)
    assert found[3].tolist() == [0, NUM] and found[1].tolist() == [0, NUM]
    assert found[0, 0] == found[0, 1]


def test_as_many_prompts_at_once_as_asked_for(asked, processor):
    model = Scripted(processor, lambda text: "1")
    totals(model, processor, asked, 8, 4)
    assert model.batch_sizes == [4, 4, 4, 4, 2, 4, 2]


def test_what_ranks_measure_sums_up_to_the_whole(asked, processor):
    def answer(text):
        return "2" if len(text) % 2 else "square"

    whole, first, second, none = (
        totals(Scripted(processor, answer), processor, part, 8, 4)
        for part in (asked, asked[0::2], asked[1::2], [])
    )
    parts = [
        answered(Scripted(processor, answer), processor, part, 8, 4)
        for part in (asked[0::2], asked[1::2])
    ]
    assert np.array_equal(joined(parts).totals, whole)
    assert 0 < whole[0, 0] < whole[0, 1]
    assert np.array_equal(first + second, whole)
    assert not none.any() and none.shape == whole.shape


def test_every_measurement_asks_the_same(data, asked):
    again = validation_puzzles(data, ValidationConfig(num_puzzles=NUM, num_questions=3))
    assert again == asked
    levels = {question.level for one in asked for question in one.questions}
    assert not levels & {"coarse", "middle"}


def test_puzzles_that_are_trained_on_are_refused(data):
    config = ValidationConfig(split="held_out", num_puzzles=NUM)
    with pytest.raises(ConfigError, match=r"sft\.validation\.split held_out: expected another"):
        validation_puzzles(replace(data, split="held_out"), config)


def test_too_few_puzzles_are_refused_by_the_name_of_the_setting(data):
    with pytest.raises(
        DataError, match=r"sft\.validation\.split held_out, num_puzzles 7: .*6 rows"
    ):
        validation_puzzles(data, ValidationConfig(num_puzzles=NUM + 1))


def test_puzzles_without_questions_are_refused(tmp_path, annotated, puzzle):
    image = render_png(puzzle, RenderConfig(36))
    write_rows([puzzle_row(annotated(perception=()), image)], tmp_path / "held_out.parquet")
    with pytest.raises(DataError, match="no puzzle can be asked what is seen"):
        validation_puzzles(DataConfig(path=str(tmp_path)), ValidationConfig(num_puzzles=1))


def test_random_states_and_modes_are_what_they_were():
    layers = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 2)).train()
    layers[1].eval()

    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = drawn()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with as_it_was(layers):
        layers.eval()
        drawn()
    assert drawn() == expected
    assert [layer.training for layer in layers.modules()] == [True, True, False]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_answered_as_its_prompts_are_one_by_one(family, tmp_path, asked):
    """Prompts of different lengths, so that most are padded."""
    save_policy(family, tmp_path)
    processor = load_processor(str(tmp_path))
    model = load_policy(PolicyConfig(path=str(tmp_path))).eval()
    # a checkpoint's own settings of generation must not matter
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.do_sample = True
    banned = banned_token_ids(processor)

    def favour_banned(_, __, logits):
        logits[..., list(banned)] += 100
        return logits

    model.get_output_embeddings().register_forward_hook(favour_banned)
    prompts = [replace(one.prompt, text=one.questions[0].text) for one in asked]
    assert len({len(prompt.text) for prompt in prompts}) > 3
    with tqdm(disable=True) as bar:
        found = list(GreedyWriter(model, processor, 4, bar).answers(prompts, 12))
    config = RolloutConfig(engine="transformers", max_model_len=1024)
    sampling = Sampling(SamplingConfig(temperature=0.0, max_new_tokens=12), 1, 0)
    with TransformersEngine(str(tmp_path), "float32", config, processor, banned) as engine:
        groups = engine.generate(prompts, sampling)
    expected = [(g.completions[0].text, g.completions[0].finish_reason) for g in groups]
    assert found == expected
    assert len(set(found)) > 1
