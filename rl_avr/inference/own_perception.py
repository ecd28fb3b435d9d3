"""Whether a chain's choice follows from what the chain itself says that it sees.

Nothing is known of the puzzle here but the chain's own words: what it predicts for the
missing panel, what it reads of each choice, and its verdicts on them.
"""

from collections.abc import Iterable

from rl_avr.contracts import PanelClaim, ParsedCompletion

_CHOICE = "choice:"


def supported_choices(parsed: ParsedCompletion) -> frozenset[int]:
    """Returns the choices that the chain describes and that its own prediction supports.

    A choice is supported where something is said of it, none of its values differs from a
    predicted one, and no verdict on it is a no. A chain that predicts nothing, or describes
    no choice, supports none; one that contradicts itself in a prediction supports none of the
    choices that it describes by that attribute.
    """
    predicted = [claim for claim in parsed.panel_claims if claim.panel == "missing"]
    if not predicted:
        return frozenset()
    said, refuted = set[int](), set[int]()
    for claim in parsed.panel_claims:
        if claim.panel.startswith(_CHOICE):
            index = int(claim.panel.removeprefix(_CHOICE))
            said.add(index)
            if _differs(claim, predicted):
                refuted.add(index)
    for verdict in parsed.verdict_claims:
        said.add(verdict.choice_index)
        if not verdict.fits:
            refuted.add(verdict.choice_index)
    return frozenset(said - refuted)


def agreement(parsed: ParsedCompletion) -> float:
    """Returns how well the chain's own prediction leads to its choice, in [0, 1].

        F     = choices that the chain's prediction supports
        value = 1 / |F| where the chosen one is in F, else 0

    Source: consistency of reasoning and answer, GRPO-CARE (2506.16141), here by what the
    chain says alone; `rewards.parts.consistency` is the same against the true panels.
    """
    supported = supported_choices(parsed)
    return 1 / len(supported) if parsed.choice_index in supported else 0.0


def _differs(claim: PanelClaim, predicted: Iterable[PanelClaim]) -> bool:
    return any(
        (claim.component, claim.attribute) == (other.component, other.attribute)
        and (None in (claim.slot, other.slot) or claim.slot == other.slot)
        and claim.value != other.value
        for other in predicted
    )
