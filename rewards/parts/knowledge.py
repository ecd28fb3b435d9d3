"""KGRPO's knowledge reward."""

from rewards.parts.perception import f1
from rewards.tally import truths_of
from rewards.truth import (
    FactKey,
    panel_fact,
    predicted_keys,
    rule_fact,
    stated_keys,
)
from rl_avr.contracts import ParsedCompletion, Puzzle
from rl_avr.puzzles.puzzle_cache import PuzzleCache


def knowledge(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns the F1 of everything that a completion states, against the state.

        precision = true facts, each counted once / claims
        recall    = facts of the gold chain that are stated / all of them
        value     = 2 precision recall / (precision + recall)

    Claims are those about panels, the missing one included, about rules, and verdicts on
    choices. A claim that repeats or contradicts another counts again, so that saying
    everything loses; but a chain predicts each value twice, at its rule and in the missing
    panel, and the second of two equal predictions is no claim more. The gold chain's
    facts are what the context shows, the rules, and what they predict. Nothing stated: 0.
    None for a puzzle without a state.

    Source: KGRPO, in "Structured and Abstractive Reasoning on Multi-modal Relational
    Knowledge Images": what a chain names against the graph, here without a judge.
    """
    num_wanted = _num_known_facts(puzzle) if puzzle.has_state else 0
    if not num_wanted:
        return None
    has_answer = bool(puzzle.choices) and puzzle.answer_index is not None
    counts, predictions, num_foreseen, foreseen = truths_of(parsed, puzzle)
    # a chain predicts at the rule and again in the missing panel
    num_predictions = sum(max(1, times - 1) for times in predictions.values())
    num_claims = counts.num_shown + counts.num_rules
    num_claims += num_predictions + counts.num_verdicts if has_answer else 0
    num_true = counts.num_right + num_foreseen + counts.num_right_rules + counts.num_right_verdicts
    precision = num_true / num_claims if num_claims else 0.0
    num_known = counts.num_seen + len(foreseen & predicted_keys(puzzle)) + counts.num_right_rules
    return f1(precision, num_known / num_wanted)


def known_facts(puzzle: Puzzle) -> set[FactKey]:
    """Returns what a chain of a puzzle with a state has to say, its verdicts left out."""
    return {
        *map(panel_fact, stated_keys(puzzle) | predicted_keys(puzzle)),
        *(rule_fact(rule.component, rule.attribute) for rule in puzzle.rules),
    }


_num_known_facts = PuzzleCache(lambda puzzle: len(known_facts(puzzle)))
