"""Probes: the same problems with something changed that should matter, or should not.

    context_blind    the context is blanked: right answers come from the choices alone
    choices_permuted the choices in another order
    relabelled       the choices named by digits and by Roman numerals
    paraphrased      the question in other words
    perturbed_twin   one attribute changed, so that another choice is right

Each is a pure function of a problem; what comes out is evaluated like any other problem
and is tagged with the probe (`probe`) and with the problem it was made of (`of`).
`rl_avr.evaluation.readings` says what the answers mean; `chain_probes` has those that
need a policy's chain.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from rl_avr.contracts import Puzzle
from rl_avr.errors import ConfigError, nearest
from rl_avr.evaluation.benchmarks.config import LabelStyle
from rl_avr.evaluation.config import CHAIN_PROBE_NAMES
from rl_avr.evaluation.labels import labelled_text
from rl_avr.evaluation.paraphrases import paraphrases
from rl_avr.evaluation.problems import Problem, Refused
from rl_avr.evaluation.redrawing import Change, is_drawn, permuted, redrawn
from rl_avr.evaluation.twins import perturbed_twin
from rl_avr.prompts import answer_form_of
from rl_avr.seeding import rng_for


@dataclass(frozen=True)
class Probe:
    """A change of a problem.

    Args:
        make: problem and seed -> what is asked instead; nothing where it cannot be changed.
        needs: what a problem must have.
    """

    make: Callable[[Problem, int], list[Problem]]
    needs: str


def probed(
    problems: Iterable[Problem], names: Sequence[str], seed: int
) -> Iterator[Problem | Refused]:
    """Yields each problem as it is, and after it what every probe makes of it.

    Args:
        problems: what is evaluated.
        names: keys of `PROBES`; those of `chain_probes`, which need a chain, are passed over.
        seed: of the orders of the choices; a problem's own order hangs on its id alone.

    Yields:
        Problems; a `Refused` names each problem that a probe cannot be applied to.

    Raises:
        ConfigError: at once, for a name that is no probe.
    """
    known = (*PROBES, *CHAIN_PROBE_NAMES)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"probe {name!r}: expected one of {', '.join(known)}; nearest: "
                f"{nearest(name, known, count=1)}"
            )
    return _probed(problems, [name for name in names if name in PROBES], seed)


def _probed(
    problems: Iterable[Problem], names: Sequence[str], seed: int
) -> Iterator[Problem | Refused]:
    for problem in problems:
        yield problem
        for name in names:
            found = PROBES[name].make(problem, seed)
            yield from found
            if not found:
                where = f"{problem.prompt.prompt_id}, probe {name}"
                yield Refused(where, f"the probe needs {PROBES[name].needs}")


def marked(problem: Problem, probe: str, variant: str = "", **tags: str) -> Problem:
    """Returns a problem under an id of its own, tagged as what a probe made of it.

    Args:
        problem: the changed problem, still under the id of the one it was made of.
        probe: name of the probe.
        variant: tells several of one problem apart.
        tags: more tags.

    >>> from rl_avr.contracts import Prompt
    >>> blind = marked(Problem(Prompt("p1", None, "cot", "", ())), "context_blind")
    >>> blind.prompt.prompt_id, blind.values("of")
    ('p1#context_blind', ('p1',))
    """
    name = problem.prompt.prompt_id
    own = {"probe": probe, "of": name} | ({"variant": variant} if variant else {}) | tags
    prompt = replace(
        problem.prompt, prompt_id=f"{name}#{probe}" + (f"-{variant}" if variant else "")
    )
    return replace(problem, prompt=prompt, tags=(*problem.tags, *own.items()))


def context_blind(problem: Problem, seed: int) -> list[Problem]:
    """Returns the problem with nothing shown but its choices."""
    changed = _with(problem, redrawn(problem, Change(is_blind=True)))
    return [] if changed is None else [marked(changed, "context_blind")]


def choices_permuted(problem: Problem, seed: int) -> list[Problem]:
    """Returns the problem with its choices in another order, the answer moved with them.

    The tag `order` has the old index of each new choice. The order is drawn uniformly from
    those that move the right choice, so that its old letter is wrong.
    """
    puzzle = problem.prompt.puzzle
    if puzzle.answer_index is None or puzzle.num_choices < 2:
        return []
    order = _order(puzzle.answer_index, puzzle.num_choices, problem.prompt.prompt_id, seed)
    changed = _reworded(problem, permuted(puzzle, order), problem.labels)
    if changed is not None and is_drawn(puzzle):
        changed = _with(changed, redrawn(problem, Change(order=order)))
    if changed is None:
        return []
    return [marked(changed, "choices_permuted", order=" ".join(map(str, order)))]


def relabelled(problem: Problem, seed: int) -> list[Problem]:
    """Returns the problem once for every other way of naming its choices."""
    puzzle = problem.prompt.puzzle
    if puzzle.answer_index is None:
        return []
    found = []
    for style in get_args(LabelStyle):
        if style == problem.labels:
            continue
        changed = _reworded(problem, puzzle, style)
        if changed is not None and is_drawn(puzzle):
            changed = _with(changed, redrawn(problem, Change(labels=style)))
        if changed is None:
            return []
        found.append(marked(changed, "relabelled", style))
    return found


def paraphrased(problem: Problem, seed: int) -> list[Problem]:
    """Returns the problem once for every other wording of its prompt."""
    return [
        marked(
            replace(problem, prompt=replace(problem.prompt, text=text)), "paraphrased", str(number)
        )
        for number, text in enumerate(paraphrases(problem.prompt.text), start=1)
    ]


def perturbed(problem: Problem, seed: int) -> list[Problem]:
    """Returns the problem's twin, tagged with the attribute in which it differs."""
    found = perturbed_twin(problem.prompt.puzzle)
    if found is None:
        return []
    twin, attribute = found
    asked = replace(problem, prompt=replace(problem.prompt, puzzle=twin))
    changed = _with(asked, redrawn(problem, Change(twin=twin)))
    if changed is None:
        return []
    return [marked(changed, "perturbed_twin", changed=attribute)]


def _order(answer_index: int, num_choices: int, name: str, seed: int) -> tuple[int, ...]:
    rng = rng_for("choices_permuted", seed, name)
    order = list(range(num_choices))
    while True:
        rng.shuffle(order)
        if order[answer_index] != answer_index:
            return tuple(order)


def _reworded(problem: Problem, puzzle: Puzzle, style: LabelStyle) -> Problem | None:
    """Returns the problem with another puzzle or other names of its choices.

    None where the words are not those that `labelled_text` would ask it in.
    """
    prompt = problem.prompt
    form = answer_form_of(prompt.text)
    now = labelled_text(prompt.puzzle, prompt.kind, form, problem.labels)
    if not prompt.text.endswith(now):
        return None
    # a loader may have put words of its own in front
    text = prompt.text.removesuffix(now) + labelled_text(puzzle, prompt.kind, form, style)
    return replace(problem, prompt=replace(prompt, text=text, puzzle=puzzle), labels=style)


def _with(problem: Problem, images: Sequence[bytes] | None) -> Problem | None:
    """Returns the problem with other images; None without any."""
    if images is None:
        return None
    return replace(problem, prompt=replace(problem.prompt, images=images))


_REDRAWN = "panels of its own, or an image that our renderer drew"
PROBES: dict[str, Probe] = {
    "context_blind": Probe(context_blind, _REDRAWN),
    "choices_permuted": Probe(choices_permuted, f"choices in its words, or {_REDRAWN}"),
    "relabelled": Probe(relabelled, "choices in its words, or panels of its own"),
    "paraphrased": Probe(paraphrased, "a request that our prompts make"),
    "perturbed_twin": Probe(perturbed, f"a matrix with a state and one solution; {_REDRAWN}"),
}
