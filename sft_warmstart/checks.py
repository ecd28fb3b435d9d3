"""What would stop a stage or waste it, found before it starts, and all of it said at once.

processor       its marks, patches and vocabulary against the policy's
puzzles         of every row the image and the puzzle, and an annotated chain's own answer
conversations   of the first ones, and of the longest of each kind: nothing to train on, or
                more tokens than the policy reads
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rewards.parts.choice import choice
from rl_avr.contracts import Puzzle
from rl_avr.elicitation.chains import direct_answer
from rl_avr.elicitation.reading import read
from rl_avr.errors import ConfigError, DataError
from rl_avr.training.annotated import Problem, shown
from rl_avr.training.config import DataConfig
from rl_avr.training.own_data import named_problems
from rl_avr.training.puzzle_data import read_rows, row_puzzle, split_path
from rl_avr.training.run_folder import is_main_process

NUM_FIRST, NUM_LONGEST = 16, 8
"""How many conversations are tokenised: from the run's start, and of each kind."""
NUM_READ = 256
"""How many of each kind are made to find the longest."""

_EQUAL = (
    # processor                                      policy
    ("image_processor.patch_size", "vision_config.patch_size"),
    ("image_processor.merge_size", "vision_config.spatial_merge_size"),
    ("image_processor.temporal_patch_size", "vision_config.temporal_patch_size"),
    ("image_processor.crop_size.height", "vision_config.image_size"),
    ("image_processor.max_image_size.longest_edge", "vision_config.image_size"),
    ("image_processor.image_grid_pinpoints", "image_grid_pinpoints"),
    ("patch_size", "vision_config.patch_size"),
    ("vision_feature_select_strategy", "vision_feature_select_strategy"),
)
"""Fields that must agree where a family has both."""


def check_processor(model: Any, processor: Any, path: str) -> None:
    """Refuses a processor that is not the policy's.

    Raises:
        ConfigError: with everything that does not fit.
    """
    found = list(_misfits(model, processor))
    if found:
        raise ConfigError(
            f"policy.path {path}: its processor does not fit its weights:\n"
            + "\n".join(f"  {one}" for one in found)
            + "\ntake processor and tokenizer files from the checkpoint that the weights are of"
        )


def _misfits(model: Any, processor: Any) -> Iterator[str]:
    config, ours = model.config.to_dict(), processor.to_dict()
    tokenizer = processor.tokenizer
    reads = config.get("image_token_id", config.get("image_token_index"))
    writes = processor.image_token_id
    if writes != reads:
        yield f"image token: the processor writes {writes}, the policy reads {reads}"
    num_rows = model.get_input_embeddings().num_embeddings
    highest = max(tokenizer.get_vocab().values())
    if highest >= num_rows:
        yield f"vocabulary: the tokenizer has ids up to {highest}, the policy {num_rows} embeddings"
    if not (processor.chat_template or tokenizer.chat_template):
        yield "chat template: there is none, so nothing says how turns are written"
    for name, other in _EQUAL:
        here, there = _value(ours, name), _value(config, other)
        if here is not None and there is not None and here != there:
            yield f"{name}: the processor has {shown(here)}, the policy's {other} is {shown(there)}"


def _value(tree: Mapping[str, Any], dotted: str) -> Any:
    """Returns what stands at a dotted path; None where there is nothing."""
    value: Any = tree
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def check_puzzles(data: DataConfig) -> list[int]:
    """Looks at every row that is trained on; images are not decoded.

    Returns:
        Length of each puzzle's JSON, by which long conversations are found.

    Raises:
        DataError: the set cannot be read, or rows of it cannot be used, with all of them.
    """
    path = split_path(data)
    rows = read_rows(data)
    reasons: dict[Problem, list[int]] = {}
    lengths: list[int] = []
    bar = tqdm(rows, desc="rows", unit="row", leave=False, disable=not is_main_process())
    for index, row in enumerate(bar):
        lengths.append(len(row["puzzle"] or ""))
        for problem in _row_problems(row, index, path):
            reasons.setdefault(problem, []).append(index)
    if reasons:
        num_bad = len({index for found in reasons.values() for index in found})
        raise DataError(
            f"{path}: {num_bad} of {len(rows)} rows cannot be trained on:\n"
            f"{named_problems(reasons)}\nmend them where they were made, and make the set anew"
        )
    return lengths


def _row_problems(row: Mapping[str, Any], index: int, path: Path) -> Iterator[Problem]:
    image = row["image"] or {"bytes": None, "path": None}
    if not image["bytes"] and not Path(image["path"] or "").is_file():
        got = f"the path {shown(image['path'])}, where no file is" if image["path"] else "none"
        yield Problem("image", f"expected the bytes of an image or the path of one, got {got}")
    try:
        puzzle = row_puzzle(dict(row), index, path)
    except DataError as error:
        yield Problem("puzzle", str(error).partition(": ")[2])
        return
    if problem := chain_problem(puzzle):
        yield Problem("puzzle", problem)


def chain_problem(puzzle: Puzzle) -> str | None:
    """Returns how a chain that people wrote contradicts the gold answer; None where it does not.

    What counts is its answer line; a chain without one gets the gold answer's.
    """
    note = puzzle.annotation
    if note is None or not note.chain:
        return None
    parsed = read(note.chain, puzzle)
    if parsed.status == "several_answers":
        return "annotation.chain: expected one answer line or none, got several"
    if parsed.answer is None or choice(parsed, puzzle) == 1.0:
        return None
    return (
        f"annotation.chain: expected it to end in the gold answer {shown(direct_answer(puzzle))}, "
        f"got {shown(parsed.answer)}"
    )


def check_conversations(
    rows: Any, lengths: Sequence[int], tokenise: Callable[[dict[str, Any]], object]
) -> None:
    """Makes and tokenises the first conversations, and the longest of each kind.

    Args:
        rows: as `records.sft_rows` returns them.
        lengths: of the puzzles' JSON, by row.
        tokenise: what training does with one row.

    Raises:
        DataError: with everything that cannot be trained on.
    """
    problems: list[str] = []
    places = sampled_places(rows, lengths)
    bar = tqdm(places, desc="conversations", leave=False, disable=not is_main_process())
    for place in bar:
        try:
            tokenise(rows[place])
        except DataError as error:
            problems.append(str(error))
    if problems:
        listed = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise DataError(f"{len(problems)} of {len(places)} conversations looked at:\n{listed}")


def sampled_places(rows: Any, lengths: Sequence[int]) -> list[int]:
    """Returns the places of the first conversations, and of the longest of each kind.

    The longest in characters among those that are read: some spread evenly over the run, and
    those about the puzzles with the longest JSON.
    """
    plan = rows.with_format(None)
    kind_N, row_N = np.array(plan["kind"]), np.array(plan["row"])
    length_R = np.array(lengths)
    chosen = set(range(min(NUM_FIRST, len(rows))))
    for kind in np.unique(kind_N):
        (places,) = np.nonzero(kind_N == kind)
        spread = np.linspace(0, len(places) - 1, min(NUM_READ, len(places))).round().astype(int)
        read = set(places[spread].tolist())
        if kind != "replay":
            by_puzzle = np.argsort(-length_R[row_N[places]], kind="stable")
            read |= set(places[by_puzzle[:NUM_LONGEST]].tolist())
        chosen |= set(sorted(read, key=lambda place: -_num_characters(rows, place))[:NUM_LONGEST])
    return sorted(chosen)


def _num_characters(rows: Any, place: int) -> float:
    """Returns the length of a conversation; what cannot be read counts as the longest."""
    try:
        return sum(len(message["content"]) for message in rows[place]["messages"])
    except DataError:
        return math.inf
