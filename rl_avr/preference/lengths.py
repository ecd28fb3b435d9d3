"""Whether a policy can read every pair, found out before training."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from rl_avr.errors import DataError
from rl_avr.preference.pair_batch import PairCollator

_SHOWN = 8


def check_lengths(collator: PairCollator, most: int | None, limit_name: str) -> None:
    """Refuses pairs that are longer than a policy reads.

    Images of one size give as many tokens, so of each size one question is processed.

    Args:
        collator: of the run.
        most: tokens of a question with one of its completions; None for no limit.
        limit_name: what sets this limit.

    Raises:
        DataError: with the pairs, how many there are, and what to do; or an image that cannot
            be read.
    """
    prompts: dict[str, int] = {}
    extra: dict[tuple[tuple[int, int], ...], int] = {}
    too_long = []
    for row, (pair, tokens) in enumerate(zip(collator.pairs, collator.tokens, strict=True)):
        if pair.prompt_id not in prompts:
            sizes = tuple(_size(collator.folder / name, pair.pair_id) for name in pair.images)
            words = collator.num_words(row)
            if sizes not in extra:
                extra[sizes] = len(collator.question(row).inputs.ids_P) - words
            prompts[pair.prompt_id] = words + extra[sizes]
        length = prompts[pair.prompt_id] + max(map(len, tokens))
        if most is not None and length > most:
            too_long.append(f"pair {pair.pair_id}, row {row + 1}: {length} tokens")
    if too_long:
        listed = "\n".join(f"  {line}" for line in too_long[:_SHOWN])
        more = f"\n  and {len(too_long) - _SHOWN} more" * (len(too_long) > _SHOWN)
        raise DataError(
            f"{collator.folder}: {len(too_long)} of {len(collator.pairs)} pairs are longer, with "
            f"question and image, than {most} tokens, {limit_name}:\n{listed}{more}\nraise that, "
            "make images smaller (the processor's size), or sample shorter chains "
            "(rollouts.sampling.max_new_tokens) and make the pairs again"
        )


def _size(path: Path, pair_id: str) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"pair {pair_id}: {path}: expected an image; got: {error}") from error
