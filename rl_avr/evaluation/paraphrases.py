"""Other wordings of what a policy is asked: of the question and of the request.

Each wording asks for the same, an answer in the same form; what tells the form of tags
(`prompts.TAG_REQUEST`) and the choices' own words stay.
"""

from rl_avr import prompts

NUM_WORDINGS = 3

_WORDINGS: dict[str, tuple[str, str, str]] = {
    prompts.MATRIX_QUESTION: (
        "Look at the matrix of panels. Which of the choices belongs in the empty place?",
        "One panel of the matrix is missing. Find the choice that continues the pattern.",
        "What should stand in place of the question mark so that every row follows the same rules?",
    ),
    prompts.GROUP_QUESTION: (
        "The panels shown have something in common. Which choice shares it?",
        "Find the choice that is of the same group as the panels shown.",
        "To which of the choices does what holds for all shown panels apply?",
    ),
    prompts.ROW_QUESTION: (
        "One panel is missing. Which of the choices should take its place?",
        "Find the choice that continues the panels shown.",
        "What should stand in place of the question mark?",
    ),
    prompts.COT_REQUEST: (
        "First explain your reasoning, then give the letter of your answer.",
        "Think step by step before you name the letter of one choice.",
        "Write down why, and after that a single letter as the answer.",
    ),
    prompts.COT_REQUEST_OPEN: (
        "First explain your reasoning, then give a short answer.",
        "Think step by step before you answer in a few words.",
        "Write down why, and after that a short answer.",
    ),
    prompts.COT_REQUEST_YES_NO: (
        "First explain your reasoning, then answer yes or no.",
        "Think step by step before you say yes or no.",
        "Write down why, and after that yes or no.",
    ),
    prompts.DIRECT_REQUEST: (
        "Give the letter of the right choice and nothing else.",
        "Reply with one letter only, that of your choice.",
        "Name the letter of the choice without any explanation.",
    ),
    prompts.DIRECT_REQUEST_OPEN: (
        "Give a short answer and nothing else.",
        "Reply in a few words only.",
        "Answer briefly, without any explanation.",
    ),
    prompts.DIRECT_REQUEST_YES_NO: (
        "Say yes or no and nothing else.",
        "Reply with yes or no only.",
        "Answer yes or no, without any explanation.",
    ),
}

_NOUNS = ("letter", "number", "Roman numeral")
"""What names a choice, in each style of naming them."""
_NAMED = {
    phrase.replace("letter", noun): tuple(one.replace("letter", noun) for one in wordings)
    for phrase, wordings in _WORDINGS.items()
    for noun in _NOUNS
}


def paraphrases(text: str) -> tuple[str, ...]:
    """Returns a prompt's text in other words; nothing where none of its words is known.

    Args:
        text: a prompt's text, as `prompts.prompt_text` writes it; people's own questions
            stay, and what follows them is worded anew.

    >>> [one[:20] for one in paraphrases(prompts.DIRECT_PROMPT)]
    ['Look at the matrix o', 'One panel of the mat', 'What should stand in']
    """
    known = [phrase for phrase in _NAMED if phrase in text]
    if not known:
        return ()
    found = []
    for number in range(NUM_WORDINGS):
        worded = text
        for phrase in known:
            # the request stands at the end, behind words that may be people's own
            before, _, after = worded.rpartition(phrase)
            worded = before + _NAMED[phrase][number] + after
        found.append(worded)
    return tuple(found)
