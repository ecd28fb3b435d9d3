"""A question about pictures of which nothing else is known, and what answers to it are equal."""

import io
from hashlib import blake2b
from pathlib import Path

from PIL import Image

from rl_avr.chat import decode_image
from rl_avr.contracts import (
    CHOICE_LETTERS,
    Annotation,
    ParsedCompletion,
    Prompt,
    PromptKind,
    Puzzle,
    PuzzleFamily,
)
from rl_avr.elicitation.reading import read
from rl_avr.errors import DataError
from rl_avr.prompts import (
    DIRECT_REQUEST,
    DIRECT_REQUEST_OPEN,
    DIRECT_REQUEST_YES_NO,
    MATRIX_QUESTION,
)

ImageSource = bytes | str | Path | Image.Image
_DIRECT = (DIRECT_REQUEST, DIRECT_REQUEST_OPEN, DIRECT_REQUEST_YES_NO)


def answer_of(parsed: ParsedCompletion, puzzle: Puzzle) -> str | None:
    """Returns what a chain votes for: a letter, or the words of an open answer.

    Words that differ in case or spaces alone are one answer. None for a chain that was cut,
    that has no answer or several, or whose letter is no choice.
    """
    if parsed.status == "truncated":
        return None
    if puzzle.num_choices:
        return None if parsed.choice_index is None else CHOICE_LETTERS[parsed.choice_index]
    return " ".join((parsed.answer or "").split()).casefold() or None


def asked_prompt(
    images: tuple[bytes, ...], text: str, num_choices: int = 8, configuration: str = ""
) -> Prompt:
    """Returns a question about pictures of which nothing else is known.

    Args:
        images: encoded.
        text: the question and what form of answer it wants; one of this package's requests for
            an answer alone has a letter or a few words alone count as one.
        num_choices: how many letters are choices; 0 for an open question.
        configuration: RAVEN's, so that what a chain says of panels can be read.

    Raises:
        PuzzleError: there is no such configuration.
    """
    if not configuration and text.startswith(MATRIX_QUESTION):
        configuration = "center_single"
    note = Annotation(text, tuple(CHOICE_LETTERS[:num_choices]), "")
    family: PuzzleFamily = "rpm" if configuration else "annotated"
    digest = blake2b(digest_size=8)
    for part in (text.encode("utf-8", "surrogatepass"), *images):
        digest.update(f"{len(part)}:".encode() + part)
    name = f"asked-{digest.hexdigest()}"
    puzzle = Puzzle(name, family, configuration or "asked", (), (), None, (), 0.0, 0, note)
    read("", puzzle)  # refuses a configuration that there is not
    kind: PromptKind = "direct" if any(request in text for request in _DIRECT) else "cot"
    return Prompt(name, puzzle, kind, text, images)


def image_bytes(source: ImageSource, where: str = "image") -> bytes:
    """Returns an encoded image, once it was seen to be one.

    Raises:
        DataError: it cannot be read; the message begins with `where`.
    """
    if isinstance(source, Image.Image):
        stream = io.BytesIO()
        source.convert("RGB").save(stream, "PNG")
        return stream.getvalue()
    if isinstance(source, str | Path):
        where = str(source)
        try:
            source = Path(source).read_bytes()
        except OSError as error:
            raise DataError(f"{where}: expected an image file; got: {error}") from error
    decode_image(source, where)
    return source
