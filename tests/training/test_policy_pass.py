"""The update through the real trainer: shared prefixes against plain rows, groups kept whole."""

import logging
from copy import deepcopy

import pytest
import torch

from rl_avr.elicitation.chains import gold_chain
from rl_avr.modeling.config import PolicyConfig
from rl_avr.modeling.freezing import train_only
from rl_avr.modeling.loading import load_policy
from rl_avr.training.config import UpdateConfig
from rl_avr.training.policy_pass import group_prompt, plain_rows, split_by_group
from rollouts.prompt_inputs import prompt_images
from tests.training.scripted_trainer import prompts_of_different_lengths, scripted_trainer

GROUP, NUM_PUZZLES = 4, 4
PLAIN = UpdateConfig(shared_prefix=False)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """Prompts of different lengths, so that rows are padded."""
    return prompts_of_different_lengths(tmp_path_factory.mktemp("data"), 2 * NUM_PUZZLES)


def script(prompt, index):
    return (gold_chain(prompt.puzzle), "### Answer: A", "### Answer:", "Size: 1")[index]


@pytest.fixture
def make(tiny_folder, processor, prompts, tmp_path):
    def made(update, parts=("language_model",), beta=0.0, **block):
        model = load_policy(PolicyConfig(path=str(tiny_folder)))
        train_only(model, parts)
        block = {"gradient_accumulation_steps": 2, "max_steps": 2, "beta": beta, **block}
        return scripted_trainer(
            tmp_path,
            tiny_folder,
            processor,
            prompts,
            script,
            GROUP,
            block,
            model=model,
            update=update,
        )

    return made


def trained(trainer):
    """Returns the weights, the logged losses, and how often the vision tower was asked."""
    asked = []
    for model in filter(None, (trainer.model, trainer.ref_model)):
        model.model.visual.register_forward_pre_hook(lambda *_: asked.append(1))
    with trainer.collector:
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return dict(trainer.model.named_parameters()), losses, len(asked)


@pytest.mark.parametrize(
    ("parts", "beta"),
    [
        (("language_model",), 0.0),
        (("language_model",), 0.1),
        (("vision_tower", "connector", "language_model"), 0.0),
    ],
)
def test_sharing_prefixes_trains_as_plain_rows_do(make, parts, beta):
    shared, losses, _ = trained(make(UpdateConfig(), parts, beta))
    plain, plain_losses, _ = trained(make(PLAIN, parts, beta))
    assert losses == pytest.approx(plain_losses, abs=1e-6)
    for name, weight in plain.items():
        torch.testing.assert_close(shared[name], weight, rtol=1e-3, atol=2e-5, msg=name)


def test_the_vision_tower_is_asked_once_a_puzzle_where_it_is_frozen(make):
    """Old logprobs, reference and training; and once for the rows of the check beside it."""
    _, _, asked = trained(make(UpdateConfig(), beta=0.1))
    assert asked <= 2 * NUM_PUZZLES + 2


def test_where_it_is_trained_it_is_asked_once_a_puzzle_and_pass(make):
    parts = ("vision_tower", "connector", "language_model")
    _, _, asked = trained(make(UpdateConfig(), parts))
    assert asked <= 2 * 2 * NUM_PUZZLES + 2


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"])
def test_every_loss_goes_through(make, loss_type):
    block = {"loss_type": loss_type, "max_steps": 1, "epsilon_high": 0.28}
    shared, *_ = trained(make(UpdateConfig(), **block))
    plain, *_ = trained(make(PLAIN, **block))
    for name, weight in plain.items():
        torch.testing.assert_close(shared[name], weight, rtol=1e-3, atol=2e-5, msg=name)


def test_why_rows_are_plain_is_said_once(make, caplog):
    class Windowed(torch.nn.Module):
        """A policy whose layers see a window of the text alone."""

        def __init__(self, trained):
            super().__init__()
            self.config = deepcopy(trained.config)
            self.config.text_config.layer_types = ["sliding_attention"]

    trainer = make(UpdateConfig())
    with caplog.at_level(logging.WARNING, logger="rl_avr"):
        for _ in range(2):
            trainer._pass.enable(Windowed(trainer.model))
    (record,) = caplog.records
    assert "sliding_attention" in record.getMessage()
    assert "sliding_attention" in trainer._pass.why_plain
    shared, *_ = trained(trainer)
    plain, *_ = trained(make(PLAIN))
    assert all(torch.equal(shared[name], weight) for name, weight in plain.items())


def test_every_part_has_whole_groups():
    batch = {
        "completion_ids": torch.arange(12).view(12, 1),
        "advantages": torch.arange(12.0),
        "num_items_in_batch": torch.tensor(7),
        "group_prompts": ["a", "b", "c", "d"],
    }
    first, second = split_by_group(batch, 3, 2, lambda n: [2, 0, 3, 1])
    assert first["completion_ids"].flatten().tolist() == [6, 7, 8, 0, 1, 2]
    assert second["advantages"].tolist() == [9, 10, 11, 3, 4, 5]
    assert (first["group_prompts"], second["group_prompts"]) == (["c", "a"], ["d", "b"])
    assert first["num_items_in_batch"] == second["num_items_in_batch"] == 7


def test_plain_rows_are_what_the_processor_makes_of_a_padded_batch(processor, prompts):
    """With two prompts of different lengths, each twice."""
    chosen = prompts[:2]
    made = [group_prompt(processor, prompt, torch.device("cpu")) for prompt in chosen]
    length = max(len(prompt.inputs.ids_P) for prompt in made)
    rows = plain_rows(made, 2, length, 3)
    twice = [prompt for prompt in chosen for _ in range(2)]
    processor.tokenizer.padding_side = "left"
    expected = processor.apply_chat_template(
        [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": prompt_images(prompt)[0]},
                        {"type": "text", "text": prompt.text},
                    ],
                }
            ]
            for prompt in twice
        ],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    assert rows["num_images"] == [1] * 4
    assert torch.equal(rows["pixel_values"], expected["pixel_values"])
    assert torch.equal(rows["image_grid_thw"], expected["image_grid_thw"])
    image_id = processor.image_token_id
    types = (expected["input_ids"] == image_id).int()
    assert torch.equal(rows["mm_token_type_ids"][:, :length].int(), types)
    assert not rows["mm_token_type_ids"][:, length:].any()
