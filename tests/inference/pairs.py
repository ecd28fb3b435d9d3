"""Two policies of one kind, and folders of them, for the tests of this room."""

import dataclasses

import torch

from rl_avr.modeling.adapters import add_adapters
from rl_avr.modeling.config import LoraConfig, PolicyConfig
from rl_avr.modeling.loading import load_policy, load_processor
from rl_avr.modeling.small_policy import save_small_policy


def save_policies(config, folder, seeds):
    """Writes a policy for each seed; returns their folders."""
    folders = []
    for seed in seeds:
        folders.append(folder / f"policy{seed}")
        save_small_policy(dataclasses.replace(config, seed=seed), folders[-1])
    return folders


def save_adapters(base, folder, seed, scale=0.2):
    """Writes adapters on the policy in `base` that change it; with scale 0 they do not."""
    torch.manual_seed(seed)
    model = load_policy(PolicyConfig(path=str(base)))
    model = add_adapters(model, LoraConfig(rank=2, alpha=4.0), ("language_model",))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=scale) if scale else weight.zero_()
    model.save_pretrained(folder)
    return folder


def plain_row(path, processor, prompt, ids):
    """Returns a completion's logprobs by one plain forward pass of the policy in a folder."""
    from rollouts.prompt_inputs import processed_prompt

    model = load_policy(PolicyConfig(path=str(path))).eval()
    return row_logprobs(model, processed_prompt(processor, prompt), ids)


def row_logprobs(model, inputs, ids):
    """Returns the logprobs of ids behind a processed prompt."""
    row = torch.tensor([ids])
    inputs = dict(inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], row], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        zeros = torch.zeros_like(row)
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], zeros], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, -len(ids) - 1 : -1].log_softmax(-1)
    return logits.gather(1, row[0, :, None])[:, 0]


def processor_of(folder):
    """Returns the processor of a policy."""
    return load_processor(str(folder))
