"""One update's logprobs, forward and backward: shared prefixes against trl's rows.

Same policy, same batch, same loss, in one process: one puzzle and its completions, tower
trained or frozen, entropies as trl computes them. Then the layouts alone, with the image's
features given to both sides: a dense mask over the pack, and plain rows, whose ratio stands
beside the ratio of floating point operations that the two layouts need:

    linear    6 * weights * tokens, the head's over completion tokens alone on both sides
    attention 14 * layers * width * pairs of tokens that see each other

    benchmarks/shared_prefix.py --prompt 1000 --completion 150 --group 32
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from _harness import Row, report, seconds
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from rl_avr.algo.shared_prefix import make_packs
from rl_avr.modeling.config import SmallPolicyConfig
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
from rl_avr.modeling.small_policy import build_small_policy

_MERGE = 2
_TEXT_TOKENS = 40
"""Of a prompt: what stands before and behind the image."""


@dataclass(frozen=True)
class Sizes:
    prompt: int
    completion: int
    group: int

    @property
    def rows(self) -> int:
        return self.group * (self.prompt + self.completion)

    @property
    def pack(self) -> int:
        return self.prompt - 1 + self.group * self.completion


def main() -> None:
    options = arguments()
    sizes = Sizes(options.prompt, options.completion, options.group)
    torch.manual_seed(0)
    model = make_policy(options)
    rows = make_rows(model, sizes)
    batch = batch_of_rows(**rows, group_size=sizes.group, compute_entropy=True)

    def ours() -> Any:
        return model(shared_prefix=batch).logprobs

    def timed(side: Callable[[], torch.Tensor]) -> float:
        return seconds(lambda: update(model, side()), options.repeats)

    def trl_rows() -> Any:
        return trl_logprobs(model, rows)

    check_equal(ours(), trl_rows())
    table = []
    for state in ("trained", "frozen"):
        for parameter in vision_parameters(model):
            parameter.requires_grad_(state == "trained")
        mine, theirs = timed(ours), timed(trl_rows)
        table.append(Row(f"update, tower {state}, trl", mine, theirs, theirs / mine, "s"))
    with torch.no_grad():
        features = image_features(model.base_model, batch.prompts[0].images)
    mine = timed(ours)
    dense = timed(lambda: dense_mask_logprobs(model, batch, features))
    table.append(Row("features given, dense mask", mine, dense, dense / mine, "s"))
    plain = timed(lambda: plain_logprobs(model, rows, features))
    table.append(Row("features given, plain rows", mine, plain, plain / mine, "s"))
    bound = flops_of_rows(model, sizes) / flops_of_pack(model, sizes)
    table.append(
        Row("  ratio, and that of operations", plain / mine, bound, plain / mine / bound, "x")
    )
    print(f"policy of {sum(p.numel() for p in model.parameters()):,} parameters, {sizes}")
    report("shared_prefix", table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("prompt", 1000),
        ("completion", 150),
        ("group", 32),
        ("hidden", 256),
        ("layers", 4),
        ("heads", 8),
        ("intermediate", 768),
        ("repeats", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def make_policy(options: argparse.Namespace) -> Any:
    model, _ = build_small_policy(
        SmallPolicyConfig(
            hidden_size=options.hidden,
            num_layers=options.layers,
            num_heads=options.heads,
            intermediate_size=options.intermediate,
            patch_size_px=7,
            image_height_px=28,
            image_width_px=28,
        )
    )
    model.config.use_cache = False
    model.train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    enable_shared_prefix(model, SharedPrefixSettings(cache=FeatureCache(1)))
    return model


def make_rows(model: Any, sizes: Sizes) -> dict[str, Any]:
    """Returns what trl's trainer gives its logprob method, one image in every row."""
    config = model.config
    num_cells = sizes.prompt - _TEXT_TOKENS
    height = next(h for h in range(int(num_cells**0.5), 0, -1) if num_cells % h == 0)
    grid = torch.tensor([[1, height * _MERGE, num_cells // height * _MERGE]])
    vision = config.vision_config
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = torch.randn(int(grid.prod()), patch)
    text = torch.randint(50, 300, (_TEXT_TOKENS,))
    text[4] = config.vision_start_token_id
    prompt = torch.cat([text[:5], torch.full((num_cells,), config.image_token_id), text[5:]])
    prompt[5 + num_cells] = config.vision_end_token_id
    completions = torch.randint(50, 300, (sizes.group, sizes.completion))
    ids = torch.cat([prompt.expand(sizes.group, -1), completions], dim=1)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "logits_to_keep": sizes.completion,
        "num_images": [1] * sizes.group,
        "image_grid_thw": grid.repeat(sizes.group, 1),
        "pixel_values": pixels.repeat(sizes.group, 1),
        "mm_token_type_ids": (ids == config.image_token_id).long(),
    }


def update(model: Any, logprobs: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    logprobs.mean().backward()


def check_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    gap = (ours - theirs).abs().max().item()
    if gap > 1e-4:
        raise SystemExit(f"the two sides differ by {gap:.1e}: nothing to compare")


def trl_logprobs(model: Any, rows: dict[str, Any]) -> torch.Tensor:
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    method = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__
    return method(trainer, model, compute_entropy=True, **rows)[0]


def plain_logprobs(model: Any, rows: dict[str, Any], features: Any) -> torch.Tensor:
    """Returns trl's logprobs, whose rows get the features instead of the pixels."""
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
    return score(model, hidden[pack.completion_index_S], labels)


def score(model: Any, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = model.lm_head(hidden)
    return torch.log_softmax(logits, dim=-1).gather(-1, labels[..., None])[..., 0]


def flops_of_rows(model: Any, sizes: Sizes) -> float:
    pairs = sizes.group * (sizes.prompt + sizes.completion) ** 2 / 2
    return _flops(model, sizes.rows, pairs, sizes)


def flops_of_pack(model: Any, sizes: Sizes) -> float:
    tokens = sizes.group * sizes.completion
    pairs = sizes.prompt**2 / 2 + tokens * sizes.prompt + tokens * sizes.completion / 2
    return _flops(model, sizes.pack, pairs, sizes)


def _flops(model: Any, num_tokens: int, num_pairs: float, sizes: Sizes) -> float:
    text = model.config.text_config
    weights = sum(p.numel() for p in model.get_decoder().layers.parameters() if p.dim() == 2)
    head = model.lm_head.weight.numel() * sizes.group * sizes.completion
    attention = 14 * text.num_hidden_layers * text.hidden_size * num_pairs
    return 6 * (weights * num_tokens + head) + attention


if __name__ == "__main__":
    main()
