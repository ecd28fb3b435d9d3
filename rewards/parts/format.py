"""The form of a completion; what it is worth beside the answer is for `composition`."""

from rl_avr.contracts import ParsedCompletion, Puzzle


def format(parsed: ParsedCompletion, puzzle: Puzzle) -> float:
    """Returns 1 where every section is there, once, in order, with one answer; else 0.

    What must be there depends on the puzzle and on what was asked, not on whether it is
    true. A truncated or empty completion: 0. Never None.

    Source: the format reward of DeepSeek-R1 (2501.12948); see `composition` for its five
    combinations with the answer.
    """
    return float(parsed.status == "ok")
