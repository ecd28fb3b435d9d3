"""The chosen letter against the panel that the chain itself predicts."""

from rewards.tally import truths_of
from rewards.truth import fitting_choices
from rl_avr.contracts import ParsedCompletion, Puzzle


def consistency(parsed: ParsedCompletion, puzzle: Puzzle) -> float | None:
    """Returns how well the chain's own prediction leads to its choice, right or wrong.

        F     = choices that agree with every prediction about the missing panel
        value = 1 / |F| where the chosen one is in F, else 0

    so a prediction that several choices fit is worth less. No prediction, predictions
    that contradict each other, no single choice, or a truncated completion: 0. None for
    a puzzle without a state or whose choices are not known.

    Source: consistency of reasoning and answer as a reward, GRPO-CARE (2506.16141), here
    by the state and not by a reference model's likelihood.
    """
    if not puzzle.has_state or not puzzle.choices:
        return None
    predictions = truths_of(parsed, puzzle).predictions
    if not predictions or parsed.choice_index is None or parsed.status == "truncated":
        return 0.0
    fitting = fitting_choices(predictions, puzzle)
    return 1 / len(fitting) if parsed.choice_index in fitting else 0.0
