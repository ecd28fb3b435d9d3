"""The words of perception questions: paraphrases of each family, answers and their variants.

A family has paraphrases that want an answer in words, and paraphrases that name an
answer (`{answer}`) and want yes or no. Placeholders are filled from a `Fact`.
"""

from typing import Literal, NamedTuple

Level = Literal["coarse", "middle", "fine", "relation"]
LEVELS: tuple[Level, ...] = ("coarse", "middle", "fine", "relation")
"""From the whole picture to single values, then what they have to do with one another."""


class Family(NamedTuple):
    """A family of questions: its level and its paraphrases."""

    level: Level
    open: tuple[str, ...]
    yes_no: tuple[str, ...]


FAMILIES: dict[str, Family] = {
    "num_panels": Family(
        "coarse",
        (
            "How many panels are shown, the choices not counted?",
            "Leaving the choices aside, how many panels can you see?",
            "What is the number of panels shown beside the choices?",
        ),
        (
            "Are {answer} panels shown, the choices not counted?",
            "Leaving the choices aside, can you see {answer} panels?",
            "Is {answer} the number of panels shown beside the choices?",
        ),
    ),
    "num_choices": Family(
        "coarse",
        (
            "How many choices are there?",
            "What is the number of choices?",
            "How many panels does the answer set have?",
        ),
        (
            "Are there {answer} choices?",
            "Is {answer} the number of choices?",
            "Does the answer set have {answer} panels?",
        ),
    ),
    "panel_layout": Family(
        "coarse",
        (
            "How are the panels arranged when the puzzle is complete?",
            "Which layout do the panels of the complete puzzle have?",
            "What arrangement do the panels form, the missing one included?",
        ),
        (
            "Is {answer} how the panels of the complete puzzle are arranged?",
            "Do the panels of the complete puzzle have this layout: {answer}?",
            "The missing panel included, is the arrangement {answer}?",
        ),
    ),
    "shape_layout": Family(
        "coarse",
        (
            "Which layout do the shapes have inside each panel?",
            "How are the places for shapes arranged in a panel?",
            "What is the layout of the places inside a single panel?",
        ),
        (
            "Is {answer} the layout of the shapes inside each panel?",
            "Are the places for shapes in a panel arranged like this: {answer}?",
            "Does a single panel have this layout: {answer}?",
        ),
    ),
    "num_parts": Family(
        "coarse",
        (
            "How many parts does each panel have?",
            "Into how many parts is every panel divided?",
            "What is the number of parts of a panel?",
        ),
        (
            "Is the number of parts of each panel {answer}?",
            "Counting the parts of a panel, do you get {answer}?",
            "Is {answer} the number of parts of a panel?",
        ),
    ),
    "num_shapes_each": Family(
        "coarse",
        (
            "How many shapes does each panel have?",
            "What is the number of shapes in every panel?",
            "Counting the shapes of any one panel, what do you get?",
        ),
        (
            "Is {answer} the number of shapes in every panel?",
            "Counting the shapes of any one panel, do you get {answer}?",
            "Does the number of shapes of each panel equal {answer}?",
        ),
    ),
    "num_objects": Family(
        "middle",
        (
            "How many shapes are in {where}?",
            "What is the number of shapes in {where}?",
            "Count the shapes in {where}. How many are there?",
        ),
        (
            "Is {answer} the number of shapes in {where}?",
            "Counting the shapes in {where}, do you get {answer}?",
            "Does the number of shapes in {where} equal {answer}?",
        ),
    ),
    "row_trend": Family(
        "middle",
        (
            "How does the {noun} change {row}?",
            "What happens to the {noun} {row}?",
            "Following the {noun} {row}, what do you see?",
        ),
        (
            "Following the {noun} {row}, is it right to say: {answer}?",
            "Is this what happens to the {noun} {row}: {answer}?",
            "Does this describe the {noun} {row}: {answer}?",
        ),
    ),
    "attribute": Family(
        "fine",
        (
            "What is the {attribute} of {where}{scale}?",
            "Which {attribute} does {where} have{scale}?",
            "Name the {attribute} of {where}{scale}.",
        ),
        (
            "Is {answer} the {attribute} of {where}?",
            "Is it right that the {attribute} of {where} is {answer}?",
            "Looking at {where}, is its {attribute} {answer}?",
        ),
    ),
    "position": Family(
        "fine",
        (
            "Which slots of {where} are filled?",
            "In which slots of {where} are there shapes?",
            "List the slots of {where} that hold a shape.",
        ),
        (
            "Are exactly the slots {answer} of {where} filled?",
            "Is this the list of filled slots of {where}: {answer}?",
            "Do the shapes of {where} stand in the slots {answer} and nowhere else?",
        ),
    ),
    "slot_filled": Family(
        "fine",
        (),
        (
            "Is there a shape in slot {slot} of {where}?",
            "Is slot {slot} of {where} filled?",
            "Does slot {slot} of {where} hold a shape?",
        ),
    ),
    "object_place": Family(
        "fine",
        (
            "In which slot of {where} is the {shape}?",
            "Which slot of {where} holds the {shape}?",
            "Where in {where} is the {shape}: in which slot?",
        ),
        (
            "Is the {shape} of {where} in slot {answer}?",
            "Does slot {answer} of {where} hold the {shape}?",
            "Looking for the {shape} in {where}, is it in slot {answer}?",
        ),
    ),
    "scene_value": Family(
        "fine",
        (
            "What is the {noun} in {where}?",
            "Name the {noun} in {where}.",
            "Looking at {where}, what is the {noun}?",
        ),
        (
            "Is {answer} the {noun} in {where}?",
            "Is it right that the {noun} in {where} is {answer}?",
            "Looking at {where}, is the {noun} {answer}?",
        ),
    ),
    "compare_objects": Family(
        "relation",
        (
            "How does the {attribute} of {first} compare with that of {second}?",
            "Compare the {attribute} of {first} with that of {second}.",
            "Set beside {second}, what is the {attribute} of {first}?",
        ),
        (
            "Set beside {second}, is this true of the {attribute} of {first}: {answer}?",
            "Comparing the {attribute} of {first} with that of {second}, is the result {answer}?",
            'Does "{answer}" describe the {attribute} of {first} compared with that of {second}?',
        ),
    ),
    "compare_panels": Family(
        "relation",
        (
            "How does the {attribute} in {first} compare with {second}?",
            "Compare {first} with {second}: what about the {attribute}?",
            "As to the {attribute}, how does {first} relate to {second}?",
        ),
        (
            "As to the {attribute}, is this how {first} relates to {second}: {answer}?",
            "Comparing the {attribute} in {first} with {second}, is the result {answer}?",
            'Does "{answer}" describe the {attribute} in {first} compared with {second}?',
        ),
    ),
    "row_rule": Family(
        "relation",
        (
            "Which rule, the same in every row, does the {noun} follow in row {row}?",
            "Looking at row {row}, which of the puzzle's rules is about the {noun}?",
            "Row {row} obeys the puzzle's rule for the {noun}. Which one is it?",
        ),
        (
            "Is {answer} the rule that the {noun} follows in row {row} and in every row?",
            "Does row {row} obey {answer} as the puzzle's rule for the {noun}?",
            "Looking at row {row}, is {answer} the puzzle's rule for the {noun}?",
        ),
    ),
    "shared_rule": Family(
        "relation",
        (
            "Which rule do rows 1 and 2 share for the {noun}?",
            "Rows 1 and 2 follow one rule for the {noun}. Which?",
            "What is the common rule of the {noun} in rows 1 and 2?",
        ),
        (
            "Is {answer} the rule that rows 1 and 2 share for the {noun}?",
            "Do rows 1 and 2 have {answer} as the common rule of the {noun}?",
            "Comparing rows 1 and 2, is {answer} the rule of the {noun} in both?",
        ),
    ),
    "rule": Family(
        "relation",
        (
            "Which rule does the {noun} follow?",
            "What is the rule of the {noun} in this puzzle?",
            "Which rule explains the {noun} of the panels shown?",
        ),
        (
            "Is {answer} the rule that the {noun} follows?",
            "Is the {noun} explained by {answer} in this puzzle?",
            "Is {answer} the rule of the {noun} in the panels shown?",
        ),
    ),
}

SCALES = {"type": "", "size": ", from 0 to 5", "color": ", from 0 (white) to 9 (black)"}
"""What the numbers of an attribute mean."""

PANEL_LAYOUTS = {
    (3, 3, 2): "three rows of three",
    (3, 2): "two rows of three",
    (4,): "one row of five",
    (5,): "a group without order",
}
"""Panels shown in each row -> arrangement of the complete puzzle."""

SHAPE_LAYOUTS = {
    "center_single": "one shape in the center",
    "distribute_four": "grid of two by two",
    "distribute_nine": "grid of three by three",
    "left_center_single_right_center_single": "left and right",
    "up_center_single_down_center_single": "up and down",
    "in_center_single_out_center_single": "one shape inside another",
    "in_distribute_four_out_center_single": "grid of two by two inside a shape",
}

STAYS, CHANGES = "it stays the same", "it changes"
SAME, DIFFERENT, NOT_COMPARABLE = "same", "different", "not comparable"
COMPARISONS = {
    "size": ("larger", "smaller"),
    "color": ("darker", "lighter"),
    "number": ("more", "fewer"),
}
"""Attribute -> what a greater and what a lesser value is called; others are different."""

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_VARIANTS: dict[str, tuple[str, ...]] = {
    "three rows of three": ("3x3", "3 by 3", "three by three", "matrix of three by three"),
    "two rows of three": ("2x3", "2 by 3", "two by three"),
    "one row of five": ("1x5", "1 by 5", "one by five", "row of five", "sequence of five"),
    "a group without order": ("group", "group of five", "no order"),
    "one shape in the center": ("center", "single shape in the center", "one centered shape"),
    "grid of two by two": ("2x2", "2x2 grid", "2 by 2 grid", "two by two grid", "two by two"),
    "grid of three by three": ("3x3", "3x3 grid", "3 by 3 grid", "three by three grid"),
    "left and right": ("left-right", "left half and right half", "side by side"),
    "up and down": ("up-down", "upper half and lower half", "top and bottom"),
    "one shape inside another": ("inside and outside", "shape in a shape", "out-in center"),
    "grid of two by two inside a shape": ("2x2 grid inside a shape", "out-in grid"),
    STAYS: ("stays the same", "same", "it is constant", "constant", "it does not change"),
    "it goes up": ("goes up", "up", "it increases", "increases", "it rises", "it grows"),
    "it goes down": ("goes down", "down", "it decreases", "decreases", "it falls"),
    "it goes up and down": ("goes up and down", "up and down", "it goes down and up"),
    CHANGES: ("changes", "it varies", "it does not stay the same"),
    SAME: ("equal", "as many", "they are the same", "it is the same", "equally many"),
    DIFFERENT: ("not the same", "they are different", "it is different", "unequal"),
    NOT_COMPARABLE: ("cannot be compared", "incomparable", "they cannot be compared"),
    "larger": ("bigger", "greater", "it is larger"),
    "smaller": ("it is smaller", "less large"),
    "darker": ("it is darker", "blacker"),
    "lighter": ("it is lighter", "brighter", "whiter"),
    "more": ("there are more", "greater"),
    "fewer": ("there are fewer", "less"),
    "no rule": ("none", "it follows no rule", "without a rule"),
}


def variants(answer: str) -> tuple[str, ...]:
    """Returns other ways to say an answer, in the order of the tables.

    >>> variants("4")
    ('four',)
    """
    if answer.isdecimal() and int(answer) < len(NUMBER_WORDS):
        return (NUMBER_WORDS[int(answer)],)
    return _VARIANTS.get(answer, ())
