"""Rows of every shape of conversation, and trl's own way with them."""

import copy

import torch
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from rl_avr.chat import decode_image
from rl_avr.puzzles.config import PuzzleConfig, RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.puzzles.sampler import sample_puzzles
from sft_warmstart.collator import ConversationCollator

MAX_TOKENS = 2000


def pictures(count=3, panel_size_px=36):
    puzzles = sample_puzzles("train", count, 0, PuzzleConfig())
    return [decode_image(render_png(puzzle, RenderConfig(panel_size_px))) for puzzle in puzzles]


def row(turns, images=(), kind="perception", name="row"):
    messages = []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "images": list(images), "kind": kind, "name": name}


def mixed_rows(shown):
    """Several turns; the same image once more; two images; no image at all."""
    chain = "Type: circle circle circle | square square square\n### Answer: C"
    return [
        row([("circle?", "yes"), ("Which size?", "4 and 5, or 6"), ("More?", "no")], shown[:1]),
        row([("Solve it, with a reason.", chain)], shown[:1], "chain"),
        row([("Which is larger?", "the first"), ("By how much?", "A B C")], shown[1:3]),
        row([("Say yes.", "yes yes")], [], "replay"),
    ]


def batch_of(processor, rows):
    return ConversationCollator(processor, MAX_TOKENS, "here")(rows)["conversations"]


def conversations(processor, rows):
    return batch_of(processor, rows).conversations


def trl_inputs(processor, rows, chat_template=None):
    """Returns what trl's collator gives the model, and the labels."""
    collator = DataCollatorForVisionLanguageModeling(
        processor, assistant_only_loss=True, chat_template=chat_template
    )
    inputs = collator(copy.deepcopy(rows))
    return inputs, inputs.pop("labels")


def plain(model, processor, rows):
    """Returns (S,) logprobs and entropies, and what is likeliest, by the model's own forward."""
    inputs, labels = trl_inputs(processor, rows)
    is_trained = labels[:, 1:] != -100
    logits_SV = model(**inputs).logits[:, :-1][is_trained].float()
    labels_S = labels[:, 1:][is_trained]
    log_p_SV = logits_SV.log_softmax(dim=-1)
    logprobs_S = log_p_SV.gather(-1, labels_S[:, None])[:, 0]
    return logprobs_S, -(log_p_SV.exp() * log_p_SV).sum(-1), logits_SV.argmax(-1) == labels_S


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(found, expected):
    """Within 1e-4 of their size, parameter by parameter."""
    assert found.keys() == expected.keys()
    assert any(gradient.norm() > 1e-3 for gradient in expected.values())
    for name, gradient in expected.items():
        gap = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-9)
        # a bias before a softmax has no gradient but rounding: keys are shifted alike
        assert gap < 1e-4 or gradient.norm() < 1e-5, (name, gap, gradient.norm())


def weighted(logprobs_S):
    """A loss in which every token has its own weight."""
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(len(logprobs_S), generator=generator) * logprobs_S).sum()
