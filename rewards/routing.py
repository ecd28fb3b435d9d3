"""Which parts grade which prompts: by what was asked, and by the stage of training.

    kind         parts
    cot          all
    direct       choice, format, length: no chain was asked for, so none is missed
    perception   choice, format, length: the gold answer of the one question is the choice

    stage        outcome      left out
    reasoning    choice       -
    perception   perception   choice, rule, consistency, knowledge: what is concluded from
                              what is seen comes in the next stage

The stage `perception` is about chains; a direct answer or the answer to a question is
graded by its choice in both stages. Questions with yes or no, with options, and open
ones differ in their data, not here: `choice` grades each by its own kind of answer.

Source: mixed rewards routed by type of prompt, VLAA-Thinking (2504.11468); perception
before reasoning, PeBR-R1 (2509.13031); yes-no, choice, open, Curr-ReFT (2503.07065).
"""

from typing import NamedTuple

from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import PromptKind


class Route(NamedTuple):
    """The part that is the outcome, and all parts that are judged."""

    outcome: str
    parts: tuple[str, ...]


_SHORT = Route("choice", ("choice", "format", "length"))
_SEEING = Route("perception", ("format", "perception", "length", "detail"))
_ALL = Route("choice", PARTS)


def route(kind: PromptKind, config: RewardConfig) -> Route:
    """Returns what grades a prompt of a kind in the stage of the config."""
    if kind != "cot":
        return _SHORT
    return _SEEING if config.stage == "perception" else _ALL
