"""What people and published policies reach on benchmarks, to be drawn beside one's own numbers.

Shares of right answers on a benchmark's own test files; another choice of problems, another
prompt or another panel size makes them a neighbourhood, not a bar to be passed.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One published number.

    Args:
        benchmark: as `rl_avr.evaluation.loaders` names it.
        who: what was measured.
        share: of right answers.
        source: where it was published.
    """

    benchmark: str
    who: str
    share: float
    source: str


_RAVEN = "Zhang et al. 2019 (arXiv 1903.02741)"
_MARVEL = "Jiang et al. 2024 (arXiv 2404.13591)"
_LLAVA_AVR = "LLaVA-AVR (arXiv 2504.01324)"
_VISULOGIC = "VisuLogic (arXiv 2504.15279)"
REFERENCES = (
    Reference("raven", "people", 0.8441, _RAVEN),
    Reference("raven", "LLaVA-AVR-7B", 0.827, _LLAVA_AVR),
    Reference("marvel", "people", 0.6886, _MARVEL),
    Reference("marvel", "LLaVA-AVR-7B", 0.357, _LLAVA_AVR),
    Reference("visulogic", "people", 0.514, _VISULOGIC),
)


def references_of(benchmarks: Iterable[str]) -> tuple[Reference, ...]:
    """Returns the references of the one benchmark of a page; none where there are several.

    >>> [one.who for one in references_of({"raven"})]
    ['people', 'LLaVA-AVR-7B']
    """
    names = set(benchmarks)
    if len(names) != 1:
        return ()
    return tuple(one for one in REFERENCES if one.benchmark in names)
