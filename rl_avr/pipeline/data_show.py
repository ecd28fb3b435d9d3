"""Shows a set: a page of puzzles with their questions and chains, and a sheet of pictures."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from rl_avr.chat import decode_image
from rl_avr.elicitation.chains import gold_chain, has_chain
from rl_avr.elicitation.fluent import fluent_chain
from rl_avr.elicitation.questions import elicitation
from rl_avr.errors import ConfigError, DataError
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.prompts import prompt_text
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import contact_sheet
from rl_avr.reporting.gallery import Item, image_sheet, render_gallery
from rl_avr.seeding import rng_for
from rl_avr.training.puzzle_data import row_image_bytes, row_puzzle
from rl_avr.training.puzzle_files import Row, iter_rows, kind_of, open_file, split_files

_NUM_FINE = 6
_SHEET = RenderConfig(panel_size_px=64)


def show_data(
    folder: Path,
    splits: Sequence[str],
    num: int,
    out: Path | None = None,
    notes: Sequence[str] = (),
) -> tuple[Path, Path]:
    """Writes the page and the sheet; returns their paths.

    Args:
        folder: folder of a set.
        splits: which of its splits.
        num: how many puzzles of each split; kinds take turns, so each is seen.
        out: the page, None for `gallery.html` in the folder; the sheet lies beside it.
        notes: lines that stand above the puzzles.

    Raises:
        DataError: the set cannot be read, or the files cannot be written.
        ConfigError: less than one puzzle is asked for.
    """
    if num < 1:
        raise ConfigError(f"--num: expected at least 1, got {num}")
    items = [item for split in splits for item in chosen_items(folder, split, num)]
    page = out or folder / "gallery.html"
    summary = (
        f"{len(items)} puzzles of {folder}, {', '.join(splits)}. A green frame marks the right "
        "choice. Where the state is known, questions and chains are written from it."
    )
    text = render_gallery(f"Puzzles: {folder.resolve().name}", summary, items, notes)
    sheet = page.with_suffix(".png")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_whole(page, text)
        _sheet(items).save(sheet)
    except OSError as error:
        raise DataError(f"{page}: cannot be written: {error}") from error
    return page, sheet


def chosen_items(folder: Path, split: str, num: int) -> list[Item]:
    """Returns up to `num` puzzles of a split, the first of each kind, then the second, …

    Raises:
        DataError: the set or one of the chosen rows cannot be read.
    """
    rows_of_kind: dict[str, deque[int]] = defaultdict(deque)
    for number, kind in enumerate(_kinds(folder, split)):
        if len(rows_of_kind[kind]) < num:
            rows_of_kind[kind].append(number)
    wanted: list[int] = []
    while len(wanted) < num and any(rows_of_kind.values()):
        for rows in rows_of_kind.values():
            if rows and len(wanted) < num:
                wanted.append(rows.popleft())
    found: dict[int, Item] = {}
    left = set(wanted)
    for number, (path, index, row) in enumerate(iter_rows(folder, split)):
        if not left:
            break
        if number in left:
            found[number] = make_item(row, index, path)
            left.remove(number)
    return [found[number] for number in wanted]


def _kinds(folder: Path, split: str) -> Iterator[str]:
    """Yields the kind of every row; only files of other tools have to be read for it."""
    with open_file(split_files(folder, split)[0]) as file:
        has_column = "kind" in file.schema_arrow.names
    columns = ["kind"] if has_column else ["puzzle"]
    for path, index, row in iter_rows(folder, split, columns):
        yield row["kind"] if has_column else kind_of(row_puzzle(row, index, path))


def make_item(row: Row, index: int, path: Path) -> Item:
    """Returns a row with its questions and chains.

    Raises:
        DataError: its puzzle or its image cannot be read.
    """
    puzzle = row_puzzle(row, index, path)
    image = row_image_bytes(row, index, path)
    decode_image(image, f"{path}, row {index}")
    rng = rng_for("gallery", puzzle.puzzle_id)
    questions = tuple((q.text, q.answer) for q in elicitation(puzzle, _NUM_FINE, rng))
    chains: tuple[tuple[str, str], ...] = ()
    if puzzle.annotation is not None and has_chain(puzzle):
        chains = (("Chain of thought, annotated", gold_chain(puzzle)),)
    elif has_chain(puzzle):
        chains = (
            ("Chain of thought, compact", gold_chain(puzzle)),
            ("Chain of thought, in sentences", fluent_chain(puzzle, rng)),
        )
    prompt = prompt_text(puzzle, "cot")
    return Item(puzzle, kind_of(puzzle), image, prompt, questions, chains)


def _sheet(items: list[Item]) -> Image.Image:
    """Draws what has a state; other people's pictures are shown as they are."""
    if all(item.puzzle.has_state for item in items):
        return Image.fromarray(contact_sheet([item.puzzle for item in items], _SHEET))
    return Image.fromarray(image_sheet(items))
