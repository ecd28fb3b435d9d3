"""One side of one row of the update benchmark, in the process that is measured.

An update is a policy gradient on one group's completions: their logprobs, with entropies as trl
computes them, and the backward pass. It is measured

    trained   with a vision tower that is trained
    frozen    with one that is not, and another image in every update
    given     with the image's features there already, for ours as for plain rows

trl splits a group into micro-batches whose gradients add up. Where they take long a part of them
is timed: an update's seconds are the median of a micro-batch's times their number.

Peak memory is an update's own: the most that the process (or the GPU's allocator) held during
the first update of its kind, above what it held just before, with the policy loaded, a small
update done, no gradients, and freed memory given back to the system.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from _update_group import (  # first: it puts the packages on the import path
    TEXT_TOKENS,
    Sizes,
    flops_of_pack,
    flops_of_rows,
    make_policy,
    make_rows,
    some_rows,
)

# isort: split
import torch

from rl_avr.algo.shared_prefix import make_packs
from rl_avr.modeling.image_features import (
    FeatureCache,
    image_features,
    joined,
    vision_parameters,
)
from rl_avr.modeling.shared_prefix import (
    SharedPrefixBatch,
    SharedPrefixSettings,
    enable_shared_prefix,
)
from rl_avr.modeling.shared_prefix_rows import batch_of_rows
from rl_avr.training.usage import PeakWatch

ENOUGH_S, MIN_TIMES, LONG_S = 10.0, 3, 40.0
"""Micro-batches are timed until an update's are done, and so many, or for `ENOUGH_S`. The first,
for which memory is new, is not timed, unless it takes `LONG_S` by itself."""
GIB = 2**30
States = dict[str, Sequence[Callable[[], torch.Tensor]]]
"""State -> its micro-batches: each goes forward and back and returns the logprobs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", help="ours, dense, or trl-4: trl with micro-batches of 4")
    for name in ("--policy", "--device"):
        parser.add_argument(name)
    for name in ("--prompt", "--completion", "--group"):
        parser.add_argument(name, type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    sizes = Sizes(args.prompt, args.completion, args.group)
    torch.manual_seed(0)
    try:
        figures = measure_side(args.side, make_policy(args.policy, args.device), sizes)
    except torch.OutOfMemoryError as error:
        figures = {"too_large": str(error).splitlines()[0]}
    args.out.write_text(json.dumps(figures))


def measure_side(side: str, model: Any, sizes: Sizes) -> dict[str, Any]:
    """Returns figures of every state, and what says that both sides computed the same."""
    make_states = {"ours": our_states, "dense": dense_states}.get(side, trl_states)
    if side == "ours":
        enable_shared_prefix(model, SharedPrefixSettings(cache=FeatureCache(1)))
    elif side != "dense":
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    micro = int(side.partition("-")[2] or sizes.group)
    rows = make_rows(model, sizes)
    states = make_states(model, rows, micro)
    small = make_states(model, make_rows(model, Sizes(TEXT_TOKENS + 4, 4, micro)), micro)
    measured: dict[str, Any] = {}
    for state, parts in states.items():
        for parameter in vision_parameters(model):
            parameter.requires_grad_(state == "trained")
        small[state][0]()
        measured[state], logprobs = measure(model, parts)
        measured.setdefault("mean_logprobs", logprobs.mean(dim=1).tolist())
    return {
        **measured,
        "parameters": sum(p.numel() for p in model.parameters()),
        "gradients_gib": sum(p.numel() * p.element_size() for p in model.parameters()) / GIB,
        "operations_ratio": flops_of_rows(model, sizes) / flops_of_pack(model, sizes),
    }


def measure(
    model: Any, parts: Sequence[Callable[[], torch.Tensor]]
) -> tuple[dict[str, float | None], torch.Tensor]:
    """Returns the figures of an update, and the first micro-batch's logprobs."""
    model.zero_grad(set_to_none=True)
    give_back_memory()
    watch = PeakWatch(model.device)
    started = now(model.device)
    logprobs = parts[0]()
    first_s = now(model.device) - started
    peak = watch.num_bytes()
    times = [first_s] if first_s > LONG_S else []
    while len(times) < max(len(parts), MIN_TIMES) and sum(times) < ENOUGH_S:
        if len(times) % len(parts) == 0:
            model.zero_grad(set_to_none=True)
        started = now(model.device)
        parts[len(times) % len(parts)]()
        times.append(now(model.device) - started)
    return {
        "s": statistics.median(times) * len(parts),
        "timed": len(times),
        "of": len(parts),
        "peak_gib": None if peak is None else peak / GIB,
    }, logprobs


def give_back_memory() -> None:
    """Returns freed memory to the system, without which it would count as held before."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def back(logprobs: torch.Tensor, chosen: slice, group: int) -> torch.Tensor:
    """Goes back through the policy gradient of some of a group's rows; returns the logprobs."""
    advantages = torch.linspace(-1.0, 1.0, group, device=logprobs.device)[chosen, None]
    ratio = torch.exp(logprobs - logprobs.detach())
    (-(ratio * advantages).sum() / (group * logprobs.shape[1])).backward()
    return logprobs.detach().float()


def batch_of_group(model: Any, rows: dict[str, Any]) -> SharedPrefixBatch:
    """Returns all rows as one group; of their images the first is taken."""
    part = some_rows(model, rows, slice(None)) | {"pixel_values": rows["pixel_values"]}
    return batch_of_rows(**part, group_size=len(part["input_ids"]), compute_entropy=True)


def our_states(model: Any, rows: dict[str, Any], micro: int) -> States:
    batch = batch_of_group(model, rows)
    whole = slice(0, micro)

    def update() -> torch.Tensor:
        return back(model(shared_prefix=batch).logprobs, whole, micro)

    def update_of_another_image() -> torch.Tensor:
        batch.prompts[0].images["pixel_values"].add_(0.01)
        return update()

    return {"trained": [update], "frozen": [update_of_another_image], "given": [update]}


def trl_states(model: Any, rows: dict[str, Any], micro: int) -> States:
    from trl import GRPOTrainer

    group = len(rows["input_ids"])
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    method = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__
    slices = [slice(start, start + micro) for start in range(0, group, micro)]
    features = features_of(model, rows)
    pixels = rows["pixel_values"].repeat(micro, 1)

    def update(chosen: slice) -> torch.Tensor:
        part = some_rows(model, rows, chosen) | {"pixel_values": pixels}
        return back(method(trainer, model, compute_entropy=True, **part)[0], chosen, group)

    def update_given(chosen: slice) -> torch.Tensor:
        return back(plain_logprobs(model, some_rows(model, rows, chosen), features), chosen, group)

    updates = [lambda chosen=chosen: update(chosen) for chosen in slices]
    given = [lambda chosen=chosen: update_given(chosen) for chosen in slices]
    return {"trained": updates, "frozen": updates, "given": given}


def dense_states(model: Any, rows: dict[str, Any], micro: int) -> States:
    batch, features = batch_of_group(model, rows), features_of(model, rows)

    def update() -> torch.Tensor:
        return back(dense_mask_logprobs(model, batch, features), slice(0, micro), micro)

    return {"given": [update]}


@torch.no_grad()
def features_of(model: Any, rows: dict[str, Any]) -> Any:
    images = {name: rows[name] for name in ("pixel_values", "image_grid_thw")}
    return image_features(model.base_model, images)


def plain_logprobs(model: Any, rows: dict[str, Any], features: Any) -> torch.Tensor:
    """Returns the logprobs of plain rows that get features instead of pixels."""
    keep = rows["logits_to_keep"]
    ids = rows["input_ids"]
    hidden = model.base_model(
        input_ids=ids,
        attention_mask=rows["attention_mask"],
        image_grid_thw=rows["image_grid_thw"],
        mm_token_type_ids=rows["mm_token_type_ids"],
        mm_encoder_outputs={"image": joined([features] * len(ids))},
        use_cache=False,
    ).last_hidden_state[:, -keep - 1 : -1]
    return score(model, hidden, ids[:, -keep:])


def dense_mask_logprobs(model: Any, batch: SharedPrefixBatch, features: Any) -> torch.Tensor:
    """Returns the pack's logprobs by the model's own attention under a mask of N x N."""
    (prompt,) = batch.prompts
    (pack,) = make_packs([prompt.ids_P], batch.completion_ids_BC, batch.completion_mask_BC)
    positions, _ = model.base_model.get_rope_index(
        prompt.ids_P[None],
        mm_token_type_ids=prompt.token_types_P[None],
        image_grid_thw=prompt.images["image_grid_thw"],
    )
    row_N = torch.full(pack.ids_N.shape, -1)
    row_N[pack.completion_index_S] = pack.rows_S
    seen = (row_N == -1) | (row_N[:, None] == row_N)
    hidden = model.base_model(
        input_ids=pack.ids_N[None],
        position_ids=pack.positions({0: positions[:, 0]})[:, None],
        attention_mask=seen.tril()[None, None],
        mm_encoder_outputs={"image": joined([features])},
        use_cache=False,
    ).last_hidden_state[0]
    labels = batch.completion_ids_BC[pack.rows_S, pack.columns_S]
    logprobs = score(model, hidden[pack.completion_index_S], labels)
    return torch.zeros(batch.completion_ids_BC.shape).index_put(
        (pack.rows_S, pack.columns_S), logprobs
    )


def score(model: Any, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = model.lm_head(hidden).float()
    return torch.log_softmax(logits, dim=-1).gather(-1, labels[..., None])[..., 0]


if __name__ == "__main__":
    main()
