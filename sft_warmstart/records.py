"""Conversations for SFT: elicitation questions, or a chain of thought, over one image."""

from pathlib import Path
from typing import Any

from rl_avr.chat import decode_image
from rl_avr.contracts import Puzzle
from rl_avr.elicitation.chains import direct_answer, gold_chain, has_chain
from rl_avr.elicitation.questions import elicitation
from rl_avr.prompts import prompt_text
from rl_avr.seeding import rng_for
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_rows, row_image_bytes, row_puzzle
from sft_warmstart.config import SftConfig

Messages = list[dict[str, Any]]


def question_messages(puzzle: Puzzle, num_fine: int, seed: int) -> Messages:
    """Returns a conversation of coarse, then shuffled fine questions with gold answers.

    The image belongs to the first user turn; the collator puts it there. Empty for an
    annotated puzzle without perception questions.
    """
    rng = rng_for("questions", seed, puzzle.puzzle_id)
    messages: Messages = []
    for question in elicitation(puzzle, num_fine, rng):
        messages.append({"role": "user", "content": question.text})
        messages.append({"role": "assistant", "content": question.answer})
    return messages


def chain_messages(puzzle: Puzzle, prefix: bool) -> Messages:
    """Returns the question for a chain of thought and its gold chain.

    A puzzle for which there is no chain is asked for its answer directly.
    """
    if not has_chain(puzzle):
        return direct_messages(puzzle)
    return [
        {"role": "user", "content": prompt_text(puzzle, "cot")},
        {"role": "assistant", "content": gold_chain(puzzle, prefix)},
    ]


def direct_messages(puzzle: Puzzle) -> Messages:
    """Returns the question for a direct answer and the right letter or words."""
    return [
        {"role": "user", "content": prompt_text(puzzle, "direct")},
        {"role": "assistant", "content": direct_answer(puzzle)},
    ]


def record_messages(puzzle: Puzzle, config: SftConfig, seed: int) -> Messages:
    """Returns a puzzle's conversation in this stage.

    The perception stage has no chains: a puzzle that cannot be asked about is asked for
    its answer there.
    """
    if is_question_record(puzzle.puzzle_id, config, seed):
        messages = question_messages(puzzle, config.num_questions, seed)
        if messages:
            return messages
    if config.stage == "perception":
        return direct_messages(puzzle)
    return chain_messages(puzzle, config.prefix)


def is_question_record(puzzle_id: str, config: SftConfig, seed: int) -> bool:
    """Returns whether a puzzle is asked about, rather than solved, in this stage."""
    if config.stage == "perception":
        return True
    return rng_for("mixture", seed, puzzle_id).random() < config.perception_share


def sft_records(data: DataConfig, config: SftConfig, seed: int) -> Any:
    """Returns a `datasets.Dataset` whose rows are made when read: `messages` and `images`.

    Raises:
        DataError: a split that cannot be read; a row's image or puzzle, when it is read.
    """
    path = Path(data.path) / f"{data.split}.parquet"
    rows = read_rows(data)
    rows = rows.add_column("row", list(range(len(rows))))

    def render(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        out: dict[str, list[Any]] = {"messages": [], "images": []}
        for index, text, image in zip(batch["row"], batch["puzzle"], batch["image"], strict=True):
            puzzle = row_puzzle({"puzzle": text}, index, path)
            raw = row_image_bytes({"image": image}, index, path)
            out["messages"].append(record_messages(puzzle, config, seed))
            out["images"].append([decode_image(raw, f"{path}, row {index}")])
        return out

    return rows.with_transform(render)
