"""Whether the puzzles of pairs are in sets that are measured on; by what they show, not by id.

A puzzle is recognised by its state, whatever the order of its choices and however it is drawn,
and by its images, whatever is asked about them. Of a question about a puzzle's image the
state is not known; its image gives it away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from rl_avr.contracts import Puzzle
from rl_avr.errors import DataError
from rl_avr.preference.pair_statistics import QuestionRow
from rl_avr.training.puzzle_files import state_hash

_MOST_NAMED = 5
Shown = tuple[Puzzle, Sequence[bytes]]
"""A puzzle and its images; none where they need not be looked at."""


def content_keys(puzzle: Puzzle, images: Sequence[bytes]) -> tuple[str, ...]:
    """Returns what a puzzle is recognised by: a hash of its state, and one of its images."""
    keys = [f"state:{state_hash(puzzle, b''):016x}"] if puzzle.has_state else []
    if images:
        digest = blake2b(digest_size=12)
        for image in images:
            digest.update(blake2b(image, digest_size=12).digest())
        keys.append(f"images:{digest.hexdigest()}")
    return tuple(keys)


@dataclass(frozen=True)
class HeldOut:
    """What must not be in pairs.

    Args:
        names: key -> the set that it is in.
        sizes: set -> how many puzzles it has.
    """

    names: Mapping[str, str]
    sizes: Mapping[str, int]

    def place_of(self, keys: Iterable[str]) -> str | None:
        """Returns the set that a puzzle with one of these keys is in, or None."""
        return next((self.names[key] for key in keys if key in self.names), None)

    @property
    def digest(self) -> str:
        """A hash of all keys, whatever their order."""
        return blake2b("\n".join(sorted(self.names)).encode(), digest_size=16).hexdigest()


def read_held_out(sets: Mapping[str, Iterable[Shown]]) -> HeldOut:
    """Returns the keys of held-out sets, name -> its puzzles.

    Raises:
        DataError: a set is empty, so that nothing would be checked; or as its reader.
    """
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for name, puzzles in sets.items():
        sizes[name] = 0
        for puzzle, images in puzzles:
            sizes[name] += 1
            for key in content_keys(puzzle, images):
                names.setdefault(key, name)
        if not sizes[name]:
            raise DataError(f"{name}: expected puzzles that the pairs must not hold, found none")
    return HeldOut(names, sizes)


def leaks(rows: Iterable[QuestionRow], held_out: HeldOut) -> dict[str, list[str]]:
    """Returns held-out set -> ids of the puzzles of pairs that are in it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        place = held_out.place_of(row.keys) if row.pairs else None
        if place is not None:
            found.setdefault(place, []).append(row.puzzle_id)
    return found


def leak_sentence(found: Mapping[str, Sequence[str]]) -> str:
    """Returns how many puzzles are in which set, with the first ids of each."""
    return "; ".join(
        f"{len(set(ids))} in {name}: {', '.join(list(dict.fromkeys(ids))[:_MOST_NAMED])}"
        f"{' …' if len(set(ids)) > _MOST_NAMED else ''}"
        for name, ids in found.items()
    )
