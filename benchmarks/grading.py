"""Grading completions: text -> claims -> all parts -> total, in completions per second of a core.

Thirty-two completions for each puzzle, as a group has them, with a few wrong values and letters;
no two texts are the same, but four fifths of a compact chain's lines stand in other texts of its
group, too, and such lines are read once. Lengths in tokens were counted with cl100k_base.

"Theirs" is trl's `accuracy_reward`, which is math-verify, on the same texts, whose last line
has the letter as LaTeX, `\\boxed{C}`. It grades the final answer alone; ours grades every
claim of the text, too.

Then texts that are made to be slow: seconds for a million characters on both sides, and how
ours grow with the text's length.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator

from _harness import Row, report
from trl.rewards import accuracy_reward

from rewards.composition import parts_of, score
from rewards.config import PARTS, RewardConfig
from rl_avr.contracts import CHOICE_LETTERS, Puzzle
from rl_avr.elicitation.chains import answer_line, gold_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.reading import read
from rl_avr.elicitation.schema import schema_of
from rl_avr.prompts import ANSWER_MARK
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle

CONFIG = RewardConfig(**dict.fromkeys(PARTS, 1.0), length_limit=512, length_buffer=128)
NUM_PUZZLES, GROUP_SIZE, NUM_WRONG = 25, 32, 3
NUM_TOKENS = 200
Graded = tuple[str, Puzzle]


def main() -> None:
    rng = random.Random(0)
    rows = [
        speed_row("lines, one shape, 136 tokens", "center_single", compact, rng),
        speed_row("lines, 2x2 grid, 203 tokens", "distribute_four", compact, rng),
        speed_row(
            "lines, two parts, 247 tokens", "left_center_single_right_center_single", compact, rng
        ),
        speed_row("sentences, one shape, 417 tokens", "center_single", fluent, rng),
    ]
    rows += [slow_row(name, unit) for name, unit in SLOW.items()]
    report("grading", rows)


def compact(puzzle: Puzzle, rng: random.Random) -> str:
    """Returns the gold chain in lines with a few values changed, which may be none."""
    lines = gold_chain(puzzle).split("\n")
    stated = schema_of(puzzle).line_of_label
    for _ in range(NUM_WRONG):
        index = rng.randrange(1, 1 + len(stated))
        label, _, rest = lines[index].partition(": ")
        words, values = rest.split(" "), stated[label].words
        place = rng.choice([k for k, word in enumerate(words) if word in stated[label].values])
        words[place] = rng.choice(list(values.values()))
        lines[index] = f"{label}: {' '.join(words)}"
    return "\n".join(lines)


def fluent(puzzle: Puzzle, rng: random.Random) -> str:
    """Returns a gold chain in sentences."""
    return fluent_chain(puzzle, rng)


def texts(
    configuration: str, write: Callable[[Puzzle, random.Random], str], rng: random.Random
) -> list[Graded]:
    """Returns different completions of new puzzles, half of them with the right letter."""
    config = PuzzleConfig(mix={configuration: 1.0})
    found: dict[str, Puzzle] = {}
    for index in range(NUM_PUZZLES):
        puzzle = sample_puzzle("train", index, rng.randrange(2**31), config)
        while len(found) < GROUP_SIZE * (index + 1):
            text = write(puzzle, rng).removesuffix(answer_line(puzzle))
            letter = rng.choice([puzzle.answer_letter, rng.choice(CHOICE_LETTERS)])
            found[f"{text}{ANSWER_MARK} {letter}"] = puzzle
    return list(found.items())


def grade(graded: Graded) -> float:
    """Returns the total of a completion."""
    text, puzzle = graded
    return score(read(text, puzzle, num_tokens=NUM_TOKENS), puzzle, CONFIG).total


def verified(graded: Graded) -> float | None:
    """Returns what math-verify gives."""
    text, puzzle = graded
    chain, _, letter = text.rpartition(ANSWER_MARK)
    completion = [{"role": "assistant", "content": f"{chain}\\boxed{{{letter.strip()}}}"}]
    return accuracy_reward([completion], [f"${puzzle.answer_letter}$"])[0]


def per_second(function: Callable[[Graded], object], batch: list[Graded]) -> float:
    """Returns calls per second of one core, without the garbage collector, as timeit has it."""
    gc.collect()
    gc.disable()
    started = time.process_time()
    for graded in batch:
        function(graded)
    spent = time.process_time() - started
    gc.enable()
    return len(batch) / spent


def speed_row(
    name: str,
    configuration: str,
    write: Callable[[Puzzle, random.Random], str],
    rng: random.Random,
) -> Row:
    first, *batches = (texts(configuration, write, rng) for _ in range(6))
    for text, puzzle in first:
        choice = parts_of(read(text, puzzle), puzzle, CONFIG)["choice"]
        assert choice == verified((text, puzzle)), (choice, text)
    functions = (grade, verified, lambda graded: read(*graded, num_tokens=NUM_TOKENS))
    rates = [[per_second(function, batch) for function in functions] for batch in batches]
    # the best batch of each side: what else the machine did is in the others
    ours, theirs, reading = map(max, zip(*rates, strict=True))
    length = statistics.mean(len(text) for text, _ in first)
    print(f"{name}: {length:.0f} characters, {1e6 / ours:.0f} us, {1e6 / reading:.0f} of them read")
    return Row(name, ours, theirs, ours / theirs, "/s a core")


SLOW = {
    "a letter on every line": "a\n",
    "sentences that just miss": "The " + "left half of panel 1 " * 90 + "x. ",
    "claims without end": "Size: 0 1 2 | 1 2 3 | 2 3 -> progression +1 -> 4\n",
}


def slow_row(name: str, unit: str) -> Row:
    """Returns seconds for a million characters, and prints ours for fewer."""
    puzzle = sample_puzzle("train", 0, 0, PuzzleConfig(mix={"center_single": 1.0}))
    spent = dict(growth(unit, puzzle))
    print(f"{name}: " + ", ".join(f"{t:.4f} s for {n} characters" for n, t in spent.items()))
    text = unit * (10**6 // len(unit)) + answer_line(puzzle)
    started = time.process_time()
    verified((text, puzzle))
    theirs = time.process_time() - started
    return Row(f"10^6 characters, {name}", spent[10**6], theirs, theirs / spent[10**6], "s")


def growth(unit: str, puzzle: Puzzle) -> Iterator[tuple[int, float]]:
    """Yields numbers of characters and the seconds that grading takes."""
    grade((unit, puzzle))
    for num in (10**4, 10**5, 10**6):
        text = unit * (num // len(unit)) + answer_line(puzzle)
        started = time.process_time()
        grade((text, puzzle))
        yield num, time.process_time() - started


if __name__ == "__main__":
    main()
