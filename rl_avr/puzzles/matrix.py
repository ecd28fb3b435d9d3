"""Samples one matrix puzzle of a configuration.

Rules and noise are drawn first. Then values are drawn, and drawn again, until every
rule has exactly one explanation, the answer set exactly one choice that the rules
predict, and the shown panels hash into the wanted split. So the rules keep RAVEN's
frequencies, and every answer and every rule claim can be graded without doubt.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl_avr.contracts import Panel, Puzzle, Rule
from rl_avr.errors import PuzzleError
from rl_avr.puzzles.assembly import PanelBuilder, Part
from rl_avr.puzzles.choices import (
    Group,
    Modifiable,
    Options,
    Values,
    capacity,
    fair_choices,
    fair_plan,
    iraven_choices,
    iraven_plan,
    is_apart,
    raven_choices,
)
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.difficulty import difficulty_of, num_ruled
from rl_avr.puzzles.draws import Drawn, Draws, below, draw_rule, draw_values, random_mask
from rl_avr.puzzles.feasibility import entries_of, groups_of
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, UNIFORM
from rl_avr.puzzles.solver import Explanations, explain, fits
from rl_avr.puzzles.splits import Split, split_of

_MAX_RULE_DRAWS = 100_000
_MAX_MATRICES = 10_000


@dataclass
class SamplingReport:
    """Counts of what was drawn and of what was thrown away.

    Args:
        puzzles: puzzles kept.
        rule_sets: sets of rules drawn; those outside the wanted range are thrown away.
        no_answer_set: sets of rules thrown away because no answer set has room.
        draws: sets of values drawn for a rule; those with another explanation are thrown
            away.
        groups: sets of values with one explanation, and their alternatives.
        equal_values: groups thrown away because two values of the choices would be equal.
        matrices: matrices put together.
        other_split: matrices thrown away because they belong to the other split.
        not_unique: matrices thrown away because not exactly one choice is predicted.
    """

    puzzles: int = 0
    rule_sets: int = 0
    no_answer_set: int = 0
    draws: Draws = field(default_factory=Draws)
    groups: int = 0
    equal_values: int = 0
    matrices: int = 0
    other_split: int = 0
    not_unique: int = 0


class MatrixSampler:
    """Samples one puzzle of one configuration.

    Args:
        name: RAVEN's folder name.
        config: a request that `feasibility.check_request` has passed.
        rng: the puzzle's own stream.
        report: counts what is drawn.
    """

    def __init__(
        self, name: str, config: PuzzleConfig, rng: random.Random, report: SamplingReport
    ) -> None:
        self.name, self.config, self.rng, self.report = name, config, rng, report
        self.grammars = CONFIGURATIONS[name].components
        self.groups = [(c, g) for c, part in enumerate(self.grammars) for g in groups_of(part)]
        self.entries = {
            (c, g): entries_of(self.grammars[c], g, config.rules) for c, g in self.groups
        }

    def sample(self, split: Split, index: int, seed: int) -> Puzzle:
        """Returns a puzzle of `split`; `index` and `seed` only name it.

        Raises:
            PuzzleError: none was found.
        """
        for _ in range(_MAX_RULE_DRAWS):
            rules, uniformity = self._draw_rules()
            kept, difficulty = self._without_noise(rules, uniformity)
            if not self._is_wanted(kept, difficulty):
                continue
            plan = self._plan(kept)
            found = None if plan is None else self._draw_matrix(kept, uniformity, plan, split)
            if found is None:
                self.report.no_answer_set += 1
                continue
            context, choices, answer_index, visible = found
            self.report.puzzles += 1
            return Puzzle(
                f"{self.name}-{seed}-{split}-{index}",
                "rpm",
                self.name,
                context,
                choices,
                answer_index,
                tuple(visible.values()),
                difficulty_of(visible.values(), len(rules) - len(visible)),
                seed,
            )
        raise PuzzleError(
            f"{self.name}, split {split!r}, index {index}: no puzzle in {_MAX_RULE_DRAWS} draws "
            f"of rules with {self.config.min_ruled} to {self.config.max_ruled} rules that are not "
            f"constant, difficulty {self.config.min_difficulty:g} to "
            f"{self.config.max_difficulty:g}, distance {self.config.max_distractor_distance}; "
            "ask for a wider range"
        )

    def _draw_rules(self) -> tuple[dict[Group, Rule], tuple[int, ...]]:
        self.report.rule_sets += 1
        rng = self.rng
        rules = {(c, g): draw_rule(self.entries[c, g], c, rng) for c, g in self.groups}
        uniformity = tuple(
            below(rng, 4) if self.config.has_uniformity_noise and g.has_layout_rule else UNIFORM
            for g in self.grammars
        )
        return rules, uniformity

    def _without_noise(
        self, rules: dict[Group, Rule], uniformity: Sequence[int]
    ) -> tuple[dict[Group, Rule], float]:
        """Returns the rules that hold inside every panel, and the difficulty."""
        kept = {
            (c, g): rule
            for (c, g), rule in rules.items()
            if g == "layout" or rule.kind != "constant" or uniformity[c] == UNIFORM
        }
        return kept, difficulty_of(kept.values(), len(rules) - len(kept))

    def _is_wanted(self, kept: dict[Group, Rule], difficulty: float) -> bool:
        return (
            self.config.min_ruled <= num_ruled(kept.values()) <= self.config.max_ruled
            and self.config.min_difficulty <= difficulty <= self.config.max_difficulty
        )

    def _modifiable(self, kept: dict[Group, Rule]) -> list[Modifiable]:
        limit = self.config.max_distractor_distance
        found = [
            Modifiable((c, g), rule, capacity(self.grammars[c], rule, limit))
            for (c, g), rule in kept.items()
        ]
        return [m for m in found if m.capacity > 1]

    def _plan(self, kept: dict[Group, Rule]) -> dict[Group, int] | None:
        """Returns how many alternatives each group gets, None where no answer set exists."""
        modifiable = self._modifiable(kept)
        if self.config.answer_set == "iraven":
            return iraven_plan(modifiable, self.rng)
        return fair_plan(modifiable, self.rng) if self.config.answer_set == "fair" else {}

    def _draw_matrix(
        self,
        kept: dict[Group, Rule],
        uniformity: tuple[int, ...],
        plan: dict[Group, int],
        split: Split,
    ) -> tuple[tuple[Panel, ...], tuple[Panel, ...], int, dict[Group, Rule]] | None:
        """Returns context, choices, the answer's index and the rules that can be seen.

        None where no answer set exists.
        """
        for _ in range(_MAX_MATRICES):
            drawn: dict[Group, Drawn] = {}
            options: Options = {}
            for group, rule in kept.items():
                drawn[group], options[group] = self._draw_group(
                    group, rule, plan.get(group, 0), uniformity[group[0]]
                )
            self.report.matrices += 1
            parts = tuple(
                Part(
                    uniformity[c],
                    len(grammar.slots),
                    drawn.get((c, "layout")),
                    tuple(drawn[c, n].values if (c, n) in drawn else None for n in ATTRIBUTES),
                    tuple(grammar.levels(n) for n in ATTRIBUTES),
                )
                for c, grammar in enumerate(self.grammars)
            )
            builder = PanelBuilder(parts, self.config.has_angle_noise, self.rng)
            context = builder.context()
            if split_of(context) != split:
                self.report.other_split += 1
                continue
            choices = self._choices(kept, {g: options[g] for g in plan} if plan else options)
            if choices is None:
                return None
            panels = builder.choices(choices)
            answer = panels[0]
            self.rng.shuffle(panels)
            answer_index = next(i for i, panel in enumerate(panels) if panel is answer)
            explanations = explain(context, self.name)
            fitting = [i for i, panel in enumerate(panels) if fits(panel, explanations)]
            if fitting == [answer_index]:
                visible = self._visible(kept, explanations)
                return context, tuple(panels), answer_index, visible
            self.report.not_unique += 1
        return None

    def _visible(self, kept: dict[Group, Rule], explanations: Explanations) -> dict[Group, Rule]:
        """Returns the rules, with those that noise shows by chance: one entity is uniform."""
        visible = {}
        for group in self.groups:
            if group in kept:
                visible[group] = kept[group]
            elif explanations[group] and isinstance(explanations[group][0].ninth, int):
                visible[group] = explanations[group][0].rule
        return visible

    def _draw_group(
        self, group: Group, rule: Rule, num_alternatives: int, uniformity: int
    ) -> tuple[Drawn, tuple[int, ...]]:
        """Returns nine values, and the right one with alternatives that differ from it."""
        grammar, limit = self.grammars[group[0]], self.config.max_distractor_distance
        for _ in range(_MAX_MATRICES):
            self.report.groups += 1
            drawn = draw_values(grammar, rule, self.rng, self.report.draws)
            values = [drawn.values[8]]
            # one alternative equal to another value discards them all: drawing only that one
            # again would make right values likelier than wrong ones
            while len(values) <= num_alternatives:
                value = self._alternative(group, rule, uniformity)
                if not is_apart(rule, value, values, limit):
                    self.report.equal_values += 1
                    break
                values.append(value)
            else:
                return drawn, tuple(values)
        raise PuzzleError(
            f"{self.name}: {rule}: no {num_alternatives} alternatives to the right value in "
            f"{_MAX_MATRICES} draws; ask for a greater max_distractor_distance"
        )

    def _alternative(self, group: Group, rule: Rule, uniformity: int) -> int:
        """Returns a value as the right one is drawn: another matrix's, with its own rule."""
        component, name = group
        # where the entities may differ, a constant attribute would have been noise
        is_forced = name != "layout" and uniformity != UNIFORM
        while True:
            other = draw_rule(self.entries[group], component, self.rng)
            if other.attribute == rule.attribute and not (is_forced and other.kind == "constant"):
                grammar = self.grammars[component]
                return draw_values(grammar, other, self.rng, self.report.draws).values[8]

    def _choices(self, kept: dict[Group, Rule], options: Options) -> list[Values] | None:
        """Returns the choices' values, the answer's first; None where there are too few."""
        if self.config.answer_set == "iraven":
            return iraven_choices(options)
        if self.config.answer_set == "fair":
            return fair_choices(options, self.rng)
        answer = {group: values[0] for group, values in options.items()}
        levels = {(c, g): self._levels(c, g) for c, g in kept}
        limit = self.config.max_distractor_distance
        return raven_choices(self._modifiable(kept), answer, levels, limit, self.rng)

    def _levels(self, component: int, group: str) -> Sequence[int]:
        """Returns the values that a wrong choice can show; a sample of those of a layout."""
        grammar = self.grammars[component]
        if group != "layout":
            return grammar.levels(group)
        num_slots = len(grammar.slots)
        counts = grammar.levels("number")
        return [random_mask(count, num_slots, self.rng) for count in counts for _ in range(3)]
