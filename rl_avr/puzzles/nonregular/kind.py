"""What a kind of non-regular puzzle is: its attributes, how it is sampled and explained.

A kind has plans: in a layout, each attribute leads (its law is the point of the puzzle),
holds (it stays the same along a row) or is free (it follows no law at all). One or two
attributes lead.

The choices are drawn first, and by lot one of them is made the answer; only then is a
context drawn that leads to it. Whoever sees the choices alone cannot do better than
chance, whatever the laws.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Literal

from rl_avr.contracts import Rule, Scene
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.nonregular.drawing import Canvas
from rl_avr.puzzles.nonregular.laws import Law, Rows
from rl_avr.puzzles.nonregular.layouts import NUM_CHOICES, full_rows, split_rows
from rl_avr.puzzles.nonregular.picks import Picker

Role = Literal["lead", "hold", "free"]
Plan = tuple[Role, ...]
"""One role per attribute of the kind."""
Explanation = tuple[tuple[Rule, ...], dict[str, int]]
"""The rules of a context and the values that they predict for the missing panel."""

LEAD: Role = "lead"
HOLD: Role = "hold"
FREE: Role = "free"

_MAX_CHOICE_SETS = 100
_MAX_CONTEXTS = 100


@dataclass(frozen=True, eq=False, repr=False)
class SceneAttribute:
    """One thing to see in a scene.

    Args:
        name: key in `Scene.values`, `Rule.attribute` and `PanelClaim.attribute`.
        label: label in chains, unique over all kinds.
        noun: noun phrase for questions and sentences.
        words: every possible value -> its word, without spaces.
        laws: the laws that its values can follow.
        pick: draws values for the choices.
    """

    name: str
    label: str
    noun: str
    words: Mapping[int, str]
    laws: tuple[Law, ...]
    pick: Picker

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Every possible value."""
        return tuple(self.words)

    def rule(self, law: Law) -> Rule:
        """Returns the rule that `law` is here."""
        return Rule(self.name, law.kind, law.parameter)

    def explanations(self, rows: Rows, layout: str) -> list[tuple[Law, int]]:
        """Returns the laws that explain rows of values, with the missing value."""
        found = []
        for law in self._laws_in(layout):
            value = law.predict(rows)
            if value is not None:
                found.append((law, value))
        return found

    def _laws_in(self, layout: str) -> tuple[Law, ...]:
        if layout not in self._laws_by_layout:
            self._laws_by_layout[layout] = tuple(law for law in self.laws if layout in law.layouts)
        return self._laws_by_layout[layout]

    @cached_property
    def _laws_by_layout(self) -> dict[str, tuple[Law, ...]]:
        return {}

    def draw_rows(
        self, rng: random.Random, layout: str, role: Role, last: int
    ) -> tuple[Law | None, Rows] | None:
        """Returns rows that end in `last` and their law; None where they are ambiguous.

        Args:
            rng: decides everything.
            layout: the layout.
            role: a free attribute is ambiguous where a law happens to explain it.
            last: value of the missing panel.
        """
        lengths = full_rows(layout)
        if role == FREE:
            rows = tuple(tuple(rng.choice(self.values) for _ in range(n)) for n in lengths)
            law = None
        else:
            drawn = self._draw_by_law(rng, layout, role, last, lengths)
            if drawn is None:
                return None
            law, rows = drawn
        shown = (*rows[:-1], rows[-1][:-1])
        found = self.explanations(shown, layout)
        return (law, shown) if [one for one, _ in found] == ([law] if law else []) else None

    def _draw_by_law(
        self, rng: random.Random, layout: str, role: Role, last: int, lengths: tuple[int, ...]
    ) -> tuple[Law, Rows] | None:
        laws = [
            law
            for law in self._laws_in(layout)
            if not law.is_rival
            and (law.holds_still or role == LEAD)
            # Only in a group is it the point that nothing changes.
            and (role == HOLD or layout == "group" or not law.holds_still)
        ]
        rng.shuffle(laws)
        for law in laws:
            if rows := law.draw(rng, last, lengths):
                return law, rows
        return None


@dataclass(frozen=True)
class Draft:
    """A puzzle before its choices have letters.

    Args:
        context: the panels shown.
        answer: the panel that completes them.
        distractors: three more; any of the four could have been the answer.
        rules: one per attribute that follows a law.
        num_ambiguous: contexts thrown away before this one, because the panels shown
            admitted another rule, or a rule where none was meant.
        num_refused: contexts thrown away because the caller did not accept them.
    """

    context: tuple[Scene, ...]
    answer: Scene
    distractors: tuple[Scene, ...]
    rules: tuple[Rule, ...]
    num_ambiguous: int = 0
    num_refused: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class NonregularKind:
    """One kind of non-regular puzzle.

    Args:
        name: its name in settings.
        attributes: what a person can see and a chain states, in the order of a chain.
        plans: by layout, the roles that the attributes can have.
        draw: draws a scene on a canvas.
        hidden: values that only the renderer reads -> how many different ones there
            are. Their names begin with an underscore; no rule speaks of them.
    """

    name: str
    attributes: tuple[SceneAttribute, ...]
    plans: Mapping[str, tuple[Plan, ...]]
    draw: Callable[[Canvas, Scene], None]
    hidden: Mapping[str, int] = field(default_factory=dict)

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts that this kind has."""
        return tuple(self.plans)

    @cached_property
    def rule_phrases(self) -> dict[tuple[str, str, int], str]:
        """(attribute, rule kind, parameter) -> short phrase, unique within an attribute."""
        return {
            (attribute.name, law.kind, law.parameter): law.phrase
            for attribute in self.attributes
            for law in attribute.laws
        }

    def attribute(self, name: str) -> SceneAttribute:
        """Returns the attribute called `name`.

        Raises:
            PuzzleError: there is none.
        """
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        names = ", ".join(attribute.name for attribute in self.attributes)
        raise PuzzleError(f"{self.name}: expected an attribute of {names}, got {name!r}")

    def explanation(self, rule: Rule) -> str:
        """Returns one sentence that explains `rule`.

        Raises:
            PuzzleError: this kind has no such rule.
        """
        for law in self.attribute(rule.attribute).laws:
            if (law.kind, law.parameter) == (rule.kind, rule.parameter):
                return law.sentence
        raise PuzzleError(f"{self.name}: no rule {rule.kind} {rule.parameter} of {rule.attribute}")

    def explain(self, context: Sequence[Scene], layout: str) -> tuple[Explanation, ...]:
        """Returns every explanation of a context, read from the context alone.

        An attribute that no law explains carries no rule and no prediction; where no
        attribute is explained there is no explanation.

        Raises:
            PuzzleError: the context does not fit the layout.
        """
        rows = split_rows([dict(scene.values) for scene in context], layout)
        found = []
        for attribute in self.attributes:
            values = tuple(tuple(panel[attribute.name] for panel in row) for row in rows)
            if one := attribute.explanations(values, layout):
                found.append([(attribute.rule(law), value) for law, value in one])
        if not found:
            return ()
        return tuple(
            (tuple(rule for rule, _ in combo), {rule.attribute: value for rule, value in combo})
            for combo in product(*found)
        )

    def sample(
        self,
        rng: random.Random,
        layout: str,
        accepts: Callable[[tuple[Scene, ...]], bool] = lambda context: True,
    ) -> Draft:
        """Returns a puzzle whose context has exactly one explanation.

        Args:
            rng: decides everything.
            layout: one of `layouts`.
            accepts: a further condition on the context. It is tried while the choices and
                the answer among them stay as they are, so it gives nothing away either.

        Raises:
            PuzzleError: the kind has no such layout, or no context was accepted.
        """
        if layout not in self.plans:
            raise PuzzleError(
                f"{self.name}: expected a layout of {', '.join(self.plans)}, got {layout!r}"
            )
        num_ambiguous = num_refused = 0
        for _ in range(_MAX_CHOICE_SETS):
            plan = rng.choice(self.plans[layout])
            choices = self._draw_choices(rng, plan)
            for _ in range(_MAX_CONTEXTS):
                drawn = self._draw_context(rng, layout, plan, choices[0])
                if drawn is None:
                    num_ambiguous += 1
                    continue
                context, rules = drawn
                if accepts(context):
                    answer, *others = (self._scene(rng, values) for values in choices)
                    return Draft(context, answer, tuple(others), rules, num_ambiguous, num_refused)
                num_refused += 1
        raise PuzzleError(
            f"{self.name}, {layout}: no context in {_MAX_CHOICE_SETS * _MAX_CONTEXTS} draws "
            f"({num_ambiguous} ambiguous, {num_refused} refused); expected a wider condition"
        )

    def _draw_choices(self, rng: random.Random, plan: Plan) -> list[tuple[int, ...]]:
        """Returns the values of four choices; the first is the answer, by lot.

        One leading attribute has four values; two have two each, in all combinations.
        """
        num_values = {1: NUM_CHOICES, 2: 2}[plan.count(LEAD)]
        patterns = iter(
            [(0, 1, 2, 3)] if num_values == NUM_CHOICES else [(0, 0, 1, 1), (0, 1, 0, 1)]
        )
        columns = []
        for attribute, role in zip(self.attributes, plan, strict=True):
            if role == LEAD:
                values = attribute.pick(rng, num_values)
                columns.append([values[i] for i in next(patterns)])
            elif role == HOLD:
                columns.append([rng.choice(attribute.values)] * NUM_CHOICES)
            else:
                columns.append([rng.choice(attribute.values) for _ in range(NUM_CHOICES)])
        choices = list(zip(*columns, strict=True))
        rng.shuffle(choices)
        return choices

    def _draw_context(
        self, rng: random.Random, layout: str, plan: Plan, answer: tuple[int, ...]
    ) -> tuple[tuple[Scene, ...], tuple[Rule, ...]] | None:
        columns, rules = [], []
        for attribute, role, last in zip(self.attributes, plan, answer, strict=True):
            drawn = attribute.draw_rows(rng, layout, role, last)
            if drawn is None:
                return None
            law, rows = drawn
            if law:
                rules.append(attribute.rule(law))
            columns.append([value for row in rows for value in row])
        context = tuple(self._scene(rng, values) for values in zip(*columns, strict=True))
        return context, tuple(rules)

    def _scene(self, rng: random.Random, values: Sequence[int]) -> Scene:
        seen = ((a.name, value) for a, value in zip(self.attributes, values, strict=True))
        hidden = ((name, rng.randrange(count)) for name, count in self.hidden.items())
        return Scene((*seen, *hidden))
