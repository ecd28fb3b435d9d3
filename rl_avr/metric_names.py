"""The one table of metric names: what the trainer logs and what curves and pages read.

Names with a slash follow trl's logs, so that wandb groups them. docs/metrics.md says what to do
when one looks wrong.
"""

import re

REWARD = "reward"
REWARD_STD = "reward_std"
ZERO_STD_SHARE = "frac_reward_zero_std"
REWARD_PARTS = ("choice", "format", "perception", "rule", "total")
ADMITTED_SHARE = "groups/admitted"
USEFUL_SHARE = "groups/useful"
"""Share of all groups sampled whose outcomes differ; those thrown away count too."""
REFILL_ROUNDS = "groups/refill_rounds"
"""Rounds in which fresh puzzles were drawn; the mean over ranks."""
SAMPLED_PER_TRAINED = "groups/sampled_per_trained"
TRUNCATED_SHARE = "completions/truncated"
"""Share of all completions sampled that were cut at the limit."""
PARITY_GAP = "sampling/parity_gap"
ALL_RIGHT_SHARE = "groups/all_right"
ALL_WRONG_SHARE = "groups/all_wrong"
MIXED_SHARE = "groups/mixed"
VISION_ENCODINGS = "vision/encodings_per_puzzle"
PEAK_MEMORY = "memory/peak_gib"
PEAK_GPU_MEMORY = "memory/peak_gpu_gib"
GROUP_MEMORY = "memory/update_gib_per_group"
KL_WEIGHT = "beta"
CREDIT_SPREAD = "credit/spread"
COMPLETION_LENGTH = "completions/mean_length"
ENTROPY = "entropy"
TOKEN_ACCURACY = "mean_token_accuracy"
NUM_TOKENS = "num_tokens"
CONVERSATION_ENCODINGS = "vision/encodings_per_conversation"
PAIR_ENCODINGS = "vision/encodings_per_pair"
REWARD_MARGIN = "rewards/margins"
REWARD_ACCURACY = "rewards/accuracies"
PERCEPTION_ACCURACY = "eval/perception_accuracy"
ANSWER_ACCURACY = "eval/answer_accuracy"
CHAIN_PERCEPTION = "eval/chain_perception"
PARSED_SHARE = "eval/parsed"
PERCEPTION_FALLING = "warnings/perception_falling"
SHORTCUT = "warnings/shortcut"


TABLE: dict[str, str] = {
    REWARD: "mean total of all completions, in [0, 1]",
    REWARD_STD: "standard deviation of the totals",
    "rewards/{part}/mean": "mean of a part, over the completions that it could judge",
    "rewards/{part}/std": "its standard deviation",
    "rewards/{part}/none_share": "share of completions that it could not judge",
    ZERO_STD_SHARE: "share of completions in groups whose rewards are all the same",
    ADMITTED_SHARE: "share of trained groups whose outcomes differ, or need not",
    ALL_RIGHT_SHARE: "share of trained groups whose judged completions are all right",
    ALL_WRONG_SHARE: "share of trained groups whose judged completions are all wrong",
    MIXED_SHARE: "share of trained groups with both, or with something between",
    USEFUL_SHARE: "share of all groups sampled whose outcomes differ, thrown away or not",
    REFILL_ROUNDS: "rounds in which fresh puzzles were drawn, mean over ranks",
    SAMPLED_PER_TRAINED: "groups sampled for each group trained",
    "loss": "the loss, mean over the steps since the last log",
    "policy_loss": "the loss without the entropy bonus; only with trainer.entropy_coef",
    "entropy_coef": "weight of that bonus",
    "grad_norm": "length of the gradient before it is clipped",
    "learning_rate": "of the parts without one of their own",
    "kl": "KL divergence from the reference a token, in nats; only with a beta above 0",
    KL_WEIGHT: "weight of that divergence in the loss, as methods.kl makes it of trainer.beta",
    CREDIT_SPREAD: "mean |weight - 1| of the weights by which implicit credit spreads advantages",
    "sampler/{category}": "share of puzzles that a bandit draws of a category, before a batch",
    ENTROPY: "entropy of the policy a token, in nats",
    "clip_ratio/low_mean": "share of tokens whose ratio is clipped from below",
    "clip_ratio/low_min": "the least of them over ranks",
    "clip_ratio/high_mean": "share of tokens whose ratio is clipped from above",
    "clip_ratio/high_max": "the largest of them over ranks",
    "clip_ratio/region_mean": "share of tokens whose ratio is clipped either way",
    "cispo_clip_ratio": "the same with loss_type cispo",
    PARITY_GAP: "mean |engine logprob - policy logprob| of sampled tokens, in nats",
    "sampling/sampling_logp_difference/mean": "the same before masks, as trl has it",
    "sampling/sampling_logp_difference/max": "the largest such gap of one token",
    "sampling/importance_sampling_ratio/{statistic}": "policy over engine: min, mean and max",
    COMPLETION_LENGTH: "tokens of a completion",
    "completions/min_length": "of the shortest",
    "completions/max_length": "of the longest",
    "completions/mean_terminated_length": "tokens of a completion that ended by itself",
    "completions/min_terminated_length": "of the shortest of these",
    "completions/max_terminated_length": "of the longest of these",
    "completions/clipped_ratio": "share of trained completions that did not end by themselves",
    TRUNCATED_SHARE: "share of all completions sampled that were cut at the limit",
    "time/{phase}_s": "seconds in a phase since the last log, on the first rank",
    "tokens_per_second/{phase}": "tokens of completions for each of these seconds",
    VISION_ENCODINGS: "images that policy and reference encoded for each puzzle of the update",
    PEAK_MEMORY: "most memory of the first rank's process so far, GiB",
    PEAK_GPU_MEMORY: "most memory of its GPU that tensors took so far, GiB",
    GROUP_MEMORY: "most memory that an update took for each group so far, GiB",
    "num_tokens": "tokens of prompts and completions trained so far",
    "step_time": "seconds of a step without the optimizer's own",
    "epoch": "passes over the data so far",
    "train_runtime": "seconds of the run, in its last line",
    "train_samples_per_second": "completions a second over the run, in its last line",
    "train_steps_per_second": "steps a second over the run, in its last line",
    "train_loss": "mean loss over the run, in its last line",
    "total_flos": "trl's count of operations, in its last line; 0 with images",
    "step": "optimizer steps done",
    "time": "seconds since 1970",
}
"""Name -> what it is, for every name in the metrics of GRPO. In braces stands what varies:

part: a part of the reward, `total`, or `stream_` and a stream of advantages; phase: `rollout`,
`reward`, `update` or `sync`; statistic: `min`, `mean` or `max`; category: of puzzles, as
`methods.sampler.category` makes them.
"""

SFT_TABLE: dict[str, str] = {
    PERCEPTION_ACCURACY: "share of held-out questions, each asked alone, answered rightly",
    ANSWER_ACCURACY: "share of held-out puzzles whose chain ends in the right answer",
    CHAIN_PERCEPTION: "F1 of what these chains say about panels, of puzzles with a state",
    PARSED_SHARE: "share of these chains with every section, in order, and one answer",
    PERCEPTION_FALLING: "1 where perception is below its best by more than chance, else 0",
    SHORTCUT: "1 where the loss falls and perception does not rise, else 0",
    TOKEN_ACCURACY: "share of trained tokens that are the likeliest one",
    "loss/{kind}": "mean cross-entropy of the trained tokens of one kind of conversation",
    CONVERSATION_ENCODINGS: "images that the vision tower encoded for each conversation",
}
"""Name -> what it is, for the names that SFT has beside those of `TABLE`."""

DPO_TABLE: dict[str, str] = {
    REWARD_ACCURACY: "share of pairs whose chosen has the larger implicit reward",
    REWARD_MARGIN: "implicit reward of the chosen less that of the rejected",
    "rewards/chosen": "beta times the log ratio of policy to reference, of the chosen",
    "rewards/rejected": "the same of the rejected",
    "logps/chosen": "logprob of the chosen under the policy, summed over its tokens",
    "logps/rejected": "the same of the rejected",
    PAIR_ENCODINGS: "images that the vision tower encoded for each pair",
}
"""Name -> what it is, for the names that preference training has beside those of `TABLE`."""


def reward_part(name: str) -> str:
    """Returns the name under which the mean of a part of the reward is logged.

    >>> reward_part("choice")
    'rewards/choice/mean'
    """
    return f"rewards/{name}/mean"


def none_share(part: str) -> str:
    """Returns the name of the share of completions that a part of the reward cannot judge."""
    return f"rewards/{part}/none_share"


def sampler_share(category: str) -> str:
    """Returns the name of the probability with which a category of puzzles is drawn."""
    return f"sampler/{category}"


def kind_loss(kind: str) -> str:
    """Returns the name of the loss of one kind of conversation.

    >>> kind_loss("chain")
    'loss/chain'
    """
    return f"loss/{kind}"


def phase_seconds(phase: str) -> str:
    """Returns the name of the seconds in a phase of the run."""
    return f"time/{phase}_s"


def tokens_per_second(phase: str) -> str:
    """Returns the name of the tokens a second of a phase of the run."""
    return f"tokens_per_second/{phase}"


def row_of(name: str) -> str | None:
    """Returns the row of the tables that a metric's name belongs to; None where there is none.

    >>> row_of("rewards/choice/mean"), row_of("rewards/mean")
    ('rewards/{part}/mean', None)
    """
    return next((row for row, pattern in _PATTERNS.items() if pattern.fullmatch(name)), None)


_PATTERNS = {
    row: re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(row)))
    for row in (*TABLE, *SFT_TABLE, *DPO_TABLE)
}
