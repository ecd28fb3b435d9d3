"""Conversations for SFT: elicitation questions, or a chain of thought, over one image."""

from pathlib import Path
from typing import Any

from rl_avr.chat import decode_image
from rl_avr.contracts import Puzzle
from rl_avr.elicitation.chains import gold_chain
from rl_avr.elicitation.questions import elicitation
from rl_avr.prompts import COT_PROMPT
from rl_avr.seeding import rng_for
from rl_avr.training.config import DataConfig
from rl_avr.training.puzzle_data import read_rows, row_image_bytes, row_puzzle
from sft_warmstart.config import SftConfig

Messages = list[dict[str, Any]]


def question_messages(puzzle: Puzzle, num_fine: int, seed: int) -> Messages:
    """Returns a conversation of coarse, then shuffled fine questions with gold answers.

    The image belongs to the first user turn; the collator puts it there.
    """
    rng = rng_for("questions", seed, puzzle.puzzle_id)
    messages: Messages = []
    for question in elicitation(puzzle, num_fine, rng):
        messages.append({"role": "user", "content": question.text})
        messages.append({"role": "assistant", "content": question.answer})
    return messages


def chain_messages(puzzle: Puzzle, prefix: bool) -> Messages:
    """Returns the question for a chain of thought and its gold chain."""
    return [
        {"role": "user", "content": COT_PROMPT},
        {"role": "assistant", "content": gold_chain(puzzle, prefix)},
    ]


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
        for index, text, puzzle_id, image in zip(
            batch["row"], batch["puzzle"], batch["puzzle_id"], batch["image"], strict=True
        ):
            puzzle = row_puzzle({"puzzle": text}, index, path)
            raw = row_image_bytes({"image": image}, index, path)
            if is_question_record(puzzle_id, config, seed):
                out["messages"].append(question_messages(puzzle, config.num_questions, seed))
            else:
                out["messages"].append(chain_messages(puzzle, config.prefix))
            out["images"].append([decode_image(raw, f"{path}, row {index}")])
        return out

    return rows.with_transform(render)
