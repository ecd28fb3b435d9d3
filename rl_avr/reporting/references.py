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
        configuration: on whose problems alone; empty for the whole benchmark.
    """

    benchmark: str
    who: str
    share: float
    source: str
    configuration: str = ""


_RAVEN = "Zhang et al. 2019 (arXiv 1903.02741)"
_MARVEL = "Jiang et al. 2024 (arXiv 2404.13591)"
_LLAVA_AVR = "LLaVA-AVR (arXiv 2504.01324)"
_VISULOGIC = "VisuLogic (arXiv 2504.15279)"
_RAVEN_PEOPLE = {
    "center_single": 0.9545,
    "distribute_four": 0.8182,
    "distribute_nine": 0.7955,
    "left_center_single_right_center_single": 0.8636,
    "up_center_single_down_center_single": 0.8181,
    "in_center_single_out_center_single": 0.8636,
    "in_distribute_four_out_center_single": 0.8181,
}
REFERENCES = (
    Reference("raven", "people", 0.8441, _RAVEN),
    Reference("raven", "LLaVA-AVR-7B", 0.827, _LLAVA_AVR),
    Reference("marvel", "people", 0.6886, _MARVEL),
    Reference("marvel", "LLaVA-AVR-7B", 0.357, _LLAVA_AVR),
    Reference("visulogic", "people", 0.514, _VISULOGIC),
    *(
        Reference("raven", "people", share, _RAVEN, configuration)
        for configuration, share in _RAVEN_PEOPLE.items()
    ),
)


def references_of(
    benchmarks: Iterable[str], configurations: Iterable[str] = ()
) -> tuple[Reference, ...]:
    """Returns the references of the one benchmark of a page; none where there are several.

    Args:
        benchmarks: of the problems.
        configurations: of the problems; whoever was measured on the one configuration of a page
            stands with that number.

    >>> [(one.who, one.share) for one in references_of({"raven"}, {"center_single"})]
    [('people', 0.9545), ('LLaVA-AVR-7B', 0.827)]
    """
    known, only = _known(benchmarks), set(configurations)
    narrow = {one.who: one for one in known if {one.configuration} == only}
    return tuple(narrow.get(one.who, one) for one in known if not one.configuration)


def references_by_configuration(benchmarks: Iterable[str]) -> dict[str, dict[str, float]]:
    """Returns who was measured -> configuration -> share, of the one benchmark of a page.

    >>> references_by_configuration({"raven"})["people"]["distribute_nine"]
    0.7955
    """
    found: dict[str, dict[str, float]] = {}
    for one in _known(benchmarks):
        if one.configuration:
            found.setdefault(one.who, {})[one.configuration] = one.share
    return found


def _known(benchmarks: Iterable[str]) -> list[Reference]:
    names = set(benchmarks)
    return [one for one in REFERENCES if names == {one.benchmark}]
