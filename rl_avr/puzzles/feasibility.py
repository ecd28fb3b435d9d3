"""What a request can reach; one that no puzzle meets is refused before any is drawn."""

from rl_avr.errors import ConfigError, nearest
from rl_avr.puzzles.config import PuzzleConfig, RuleConfig
from rl_avr.puzzles.difficulty import NOISE_WEIGHT, RULE_WEIGHTS
from rl_avr.puzzles.draws import Entry, feasible_entries
from rl_avr.puzzles.grammar import ATTRIBUTES, CONFIGURATIONS, ComponentGrammar
from rl_avr.puzzles.nonregular.kinds import KINDS
from rl_avr.puzzles.solver import GROUPS


def check_request(config: PuzzleConfig) -> None:
    """Refuses a request that no puzzle can meet.

    Raises:
        ConfigError: an unknown name in the mix; a configuration without a feasible rule
            for some group; a number of rules or a difficulty out of its reach.
    """
    known = [*CONFIGURATIONS, *KINDS]
    for name in config.mix:
        if name not in known:
            raise ConfigError(f"mix.{name}: no such puzzle; nearest: {nearest(name, known)}")
        if name in CONFIGURATIONS and config.mix[name]:
            _check_configuration(name, config)


def reach(name: str, rules: RuleConfig, is_noisy: bool) -> tuple[int, int, float, float]:
    """Returns least and greatest number of ruled groups and difficulty of a configuration.

    Args:
        name: RAVEN's folder name.
        rules: the kinds of rule allowed.
        is_noisy: whether the entities of a grid may differ.

    Raises:
        ConfigError: a group has no feasible rule.
    """
    least, most, easiest, hardest = 0, 0, 0.0, 0.0
    for index, grammar in enumerate(CONFIGURATIONS[name].components):
        for group in groups_of(grammar):
            kinds = {kind for _, kind, _ in entries_of(grammar, group, rules)}
            if not kinds:
                raise ConfigError(
                    f"rules.{group}: {name}, component {index} ({grammar.name}): none of "
                    f"{', '.join(getattr(rules, group))} fits the levels "
                    f"{grammar.levels(group) if group != 'layout' else len(grammar.slots)}"
                )
            weights = [RULE_WEIGHTS[kind] for kind in kinds]
            noise = is_noisy and group != "layout" and grammar.has_layout_rule
            least += "constant" not in kinds
            most += kinds != {"constant"}
            easiest += min(weights)
            hardest += max([*weights, NOISE_WEIGHT if noise and "constant" in kinds else 0.0])
    return least, most, easiest, hardest


def _check_configuration(name: str, config: PuzzleConfig) -> None:
    least, most, easiest, hardest = reach(name, config.rules, config.has_uniformity_noise)
    if config.min_ruled > most:
        raise ConfigError(
            f"min_ruled: {config.min_ruled} asked for, {name} has at most {most} rules that are "
            "not constant"
        )
    if config.max_ruled < least:
        raise ConfigError(
            f"max_ruled: {config.max_ruled} asked for, {name} has at least {least} rules that "
            "are not constant with these kinds"
        )
    if config.min_difficulty > hardest:
        raise ConfigError(
            f"min_difficulty: {config.min_difficulty:g} asked for, {name} reaches {hardest:g}"
        )
    if config.max_difficulty < easiest:
        raise ConfigError(
            f"max_difficulty: {config.max_difficulty:g} asked for, {name} begins at {easiest:g}"
        )


def groups_of(grammar: ComponentGrammar) -> tuple[str, ...]:
    """Returns the groups of attributes that a component has a rule for."""
    return GROUPS if grammar.has_layout_rule else ATTRIBUTES


def entries_of(grammar: ComponentGrammar, group: str, rules: RuleConfig) -> tuple[Entry, ...]:
    """Returns the rules that a group can have and may have."""
    return feasible_entries(grammar, group, getattr(rules, group))
