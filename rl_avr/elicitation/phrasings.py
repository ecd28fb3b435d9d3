"""The sentences of fluent chains: one table that the writer fills and the parser reads.

A statement type has several phrasings with the same placeholders:

    {where}      `panel 1`, or with two components `the left half of panel 1`; {Where}
                 the same at the head of a sentence
    {number}     `3 shapes`; {slots} `slots 1+3+9`
    {type} {size} {color} {value}   a value's word
    {attribute}  an attribute of the part spoken of; {noun} an attribute of the puzzle,
                 such as `left size`
    {entities}   `square in slot 1 and circle in slot 3`
    {trends}     `goes up along row 1 and stays the same along row 2`
    {rule}       the rule as a clause, such as `it stays the same along each row`
    {clauses}    `the type is square, the size is 4 and the color is 7`
    {verdicts}   `the type is square, which fits, but the size is 3, which is wrong`

Every sentence ends with the one point it has before a space.
"""

PHRASINGS: dict[str, tuple[str, ...]] = {
    # one entity, or the only one of a grid's panel
    "shape": (
        "{Where} shows a {type} of size {size} and color {color}.",
        "In {where} there is a {type} of size {size} and color {color}.",
        "{Where} contains a {type}; its size is {size} and its color {color}.",
        "The shape in {where} is a {type} with size {size} and color {color}.",
        "I see a {type} in {where}, with size {size} and color {color}.",
        "A {type} of size {size} and color {color} stands in {where}.",
    ),
    # several entities, all alike
    "shapes": (
        "All shapes in {where} are {type}s of size {size} and color {color}.",
        "In {where} every shape is a {type} of size {size} and color {color}.",
        "{Where} has only {type}s of size {size} and color {color}.",
        "The shapes in {where} are alike: {type}s of size {size} and color {color}.",
        "Each shape in {where} is a {type} with size {size} and color {color}.",
    ),
    # several entities that agree in one attribute
    "same": (
        "All shapes in {where} have the {attribute} {value}.",
        "In {where} every shape has the {attribute} {value}.",
        "The {attribute} is {value} for each shape in {where}.",
        "{Where} has one {attribute} throughout: {value}.",
        "The shapes in {where} share the {attribute} {value}.",
    ),
    # several entities that differ in one attribute
    "mixed": (
        "The {attribute} differs in {where}: {entities}.",
        "In {where} the shapes differ in their {attribute}: {entities}.",
        "{Where} has more than one {attribute}: {entities}.",
        "Slot by slot, the {attribute} in {where} is {entities}.",
        "Reading the {attribute} in {where} gives {entities}.",
    ),
    "layout": (
        "{Where} holds {number}, in {slots}.",
        "In {where} I count {number}, in {slots}.",
        "I find {number} in {where}, in {slots}.",
        "{Where} has {number} that fill {slots}.",
        "Counting {where} gives {number}, placed in {slots}.",
    ),
    # one value of a scene
    "scene": (
        "In {where} the {noun} is {value}.",
        "{Where} shows {value} as the {noun}.",
        "The {noun} in {where} is {value}.",
        "I read {value} for the {noun} in {where}.",
        "For {where} the {noun} is {value}.",
    ),
    "comparison": (
        "The {noun} {trends}.",
        "Comparing panels, the {noun} {trends}.",
        "Seen as a whole, the {noun} {trends}.",
        "One after another, the {noun} {trends}.",
        "I notice that the {noun} {trends}.",
    ),
    "rule": (
        "The rule for the {noun} is this: {rule}; so the missing panel has {value}.",
        "The {noun} follows a rule: {rule}; the missing one is therefore {value}.",
        "What explains the {noun} is that {rule}, which makes the missing one {value}.",
        "One rule fits the {noun}: {rule}; that leaves {value} for the missing panel.",
        "For the {noun} I find that {rule}, hence {value} is missing.",
    ),
    "no_rule": (
        "The {noun} follows no rule.",
        "No rule holds for the {noun}.",
        "I find no rule for the {noun}.",
        "There is no rule behind the {noun}.",
        "The {noun} is free, without any rule.",
    ),
    "missing": (
        "Together this means for the missing panel that {clauses}.",
        "So in the missing panel {clauses}.",
        "I expect a missing panel in which {clauses}.",
        "The missing panel must be one where {clauses}.",
        "It follows for the missing panel that {clauses}.",
    ),
    "verdict": (
        "In choice {choice} {verdicts}.",
        "Choice {choice}: {verdicts}.",
        "Trying choice {choice}, {verdicts}.",
        "As for choice {choice}, {verdicts}.",
        "With choice {choice} {verdicts}.",
    ),
}
"""Statement type -> its phrasings."""

FITS = ("which fits", "which is right", "as predicted", "as it should be", "just as expected")
DIFFERS = (
    "which does not fit",
    "which is wrong",
    "not as predicted",
    "not as it should be",
    "unlike what is expected",
)

SAME, UP, DOWN, UP_AND_DOWN, CHANGES = TRENDS = (
    "stays the same",
    "goes up",
    "goes down",
    "goes up and down",
    "changes",
)
"""How an attribute goes along a row; values without an order only change or stay."""

_VALUE_CLAUSES = {
    ("constant", 0): "it stays the same along each row",
    ("progression", -2): "it goes down by 2 from each panel to the next",
    ("progression", -1): "it goes down by 1 from each panel to the next",
    ("progression", 1): "it goes up by 1 from each panel to the next",
    ("progression", 2): "it goes up by 2 from each panel to the next",
    ("arithmetic", 1): "the third panel of a row adds up the first two",
    ("arithmetic", -1): "the third panel of a row takes the second away from the first",
    ("distribute_three", 0): "every row has the same three values in another order",
}
_POSITION_CLAUSES = {
    ("constant", 0): "the same slots are filled along each row",
    ("progression", -2): "everything moves 2 slots back from each panel to the next",
    ("progression", -1): "everything moves 1 slot back from each panel to the next",
    ("progression", 1): "everything moves 1 slot on from each panel to the next",
    ("progression", 2): "everything moves 2 slots on from each panel to the next",
    ("arithmetic", 1): "the third panel of a row fills the slots of the first two",
    ("arithmetic", -1): "the third panel of a row fills the slots of the first that the second "
    "leaves empty",
    ("distribute_three", 0): "every row has the same three arrangements in another order",
}


def regular_clauses(attribute: str) -> dict[tuple[str, int], str]:
    """Returns (kind, parameter) -> clause, of every rule of a regular puzzle's attribute."""
    return _POSITION_CLAUSES if attribute == "position" else _VALUE_CLAUSES
