"""A puzzle with its pool of scored chains: a line of `reranked.jsonl`.

Every number about reranking is computed from these lines alone; the policies are not needed
again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards.parts.choice import choice
from rl_avr.contracts import Prompt
from rl_avr.errors import DataError
from rl_avr.inference.reranker import Reranked

RERANKED = "reranked.jsonl"


@dataclass(frozen=True)
class Pool:
    """N chains of one puzzle, and the answer that they led to.

    Args:
        prompt_id: unique within a file.
        puzzle_id: the puzzle behind it.
        answer: what won; None where no chain has an answer.
        distribution: answer -> share of the votes.
        winner_index: the chain to show for the answer; None without one.
        answers: of each chain; None without one.
        right: whether each chain's answer is right; None where that is not known.
        scores: name of a score -> one number a chain.
        num_tokens: of each chain.
        texts: of each chain.
    """

    prompt_id: str
    puzzle_id: str
    answer: str | None
    distribution: Mapping[str, float]
    winner_index: int | None
    answers: tuple[str | None, ...]
    right: tuple[bool, ...] | None
    scores: Mapping[str, Sequence[float]]
    num_tokens: tuple[int, ...]
    texts: tuple[str, ...]

    @property
    def is_right(self) -> bool | None:
        """Whether the answer is; an abstention is not, and None where it is not known."""
        if self.right is None:
            return None
        return self.winner_index is not None and self.right[self.winner_index]

    def to_json(self) -> str:
        """Returns the pool as one line of JSON."""
        return json.dumps({**vars(self), "is_right": self.is_right}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "line") -> "Pool":
        """Reads what `to_json` wrote.

        Raises:
            DataError: the text is no pool; the message begins with `where`.
        """
        try:
            raw = json.loads(text)
            del raw["is_right"]
            for name in ("answers", "num_tokens", "texts"):
                raw[name] = tuple(raw[name])
            raw["right"] = None if raw["right"] is None else tuple(raw["right"])
            pool = cls(**raw)
            columns = [pool.num_tokens, pool.texts, *pool.scores.values(), pool.right]
            if any(one is not None and len(one) != len(pool.answers) for one in columns):
                raise ValueError("columns of different lengths")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{where}: expected a puzzle's pool, got {error!r}") from error
        return pool


def pool_of(prompt: Prompt, found: Reranked) -> Pool:
    """Returns what is kept of one puzzle, its chains graded."""
    chains = found.candidates
    grades = [choice(one.parsed, prompt.puzzle) for one in chains]
    names = chains[0].scores if chains else ()
    return Pool(
        prompt_id=prompt.prompt_id,
        puzzle_id=prompt.puzzle.puzzle_id,
        answer=found.answer,
        distribution=dict(found.distribution),
        winner_index=found.winner_index,
        answers=tuple(one.answer for one in chains),
        right=None if None in grades else tuple(grade == 1.0 for grade in grades),
        scores={name: tuple(one.scores[name] for one in chains) for name in names},
        num_tokens=tuple(len(one.completion.token_ids) for one in chains),
        texts=tuple(one.completion.text for one in chains),
    )


def read_pools(path: Path) -> Iterator[Pool]:
    """Yields the pools of a file, or of the file in a folder, in order.

    Raises:
        DataError: it cannot be read, or a line is no pool.
    """
    path = path / RERANKED if path.is_dir() else path
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield Pool.from_json(line, f"{path}, line {number}")
    except OSError as error:
        raise DataError(
            f"{path}: expected what `rl-avr rerank` writes for a set; got: {error}"
        ) from error


def append_pools(path: Path, pools: Sequence[Pool]) -> None:
    """Appends pools to a file.

    Raises:
        DataError: it cannot be written.
    """
    try:
        # a lone surrogate, which UTF-8 cannot hold, becomes its JSON escape
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(f"{pool.to_json()}\n" for pool in pools)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error}; the same command goes on from what is there"
        ) from error
