"""The adversarial set: completions that try to be worth more than they are, by family.

adversarial_answers   the final answer
adversarial_claims    what is claimed
adversarial_open      questions without choices
adversarial_texts     nothing at all, and far too much
"""

from collections import Counter

from tests.rewards import (
    adversarial_answers,
    adversarial_claims,
    adversarial_open,
    adversarial_texts,
)

ENTRIES = (
    *adversarial_answers.ENTRIES,
    *adversarial_claims.ENTRIES,
    *adversarial_open.ENTRIES,
    *adversarial_texts.ENTRIES,
)

FAMILIES = Counter(entry.family for entry in ENTRIES)
"""Family -> number of its completions."""
