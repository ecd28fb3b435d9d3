"""Chains with their credit: a page, one HTML file, and a picture of each chain.

Tokens go from blue (below the chain's mean) through white to orange (above it). Blue and orange
are told apart by every kind of colour vision, and where there is no colour by the numbers: the
strongest tokens are bold and carry theirs, every token tells it under the pointer, and tables
have all of them. True claims have a solid line under them, false ones a wavy line, claims that
nothing can judge a dotted one.

T: tokens of a chain.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rl_avr.contracts import Puzzle
from rl_avr.inference.credit import ChainCredit, ClaimCredit
from rl_avr.puzzles.config import RenderConfig
from rl_avr.puzzles.render import render_png
from rl_avr.reporting.explanation import verdict, visible
from rl_avr.reporting.gallery import kind_title, rule_line

_TEMPLATE = "credit_map.html.j2"
_PICTURE = RenderConfig(panel_size_px=112, has_letters=True)
NEGATIVE, POSITIVE = (94, 172, 228), (240, 160, 32)
"""The ends of the scale: black on either has a contrast of at least 7."""
END = "\u27e8end\u27e9"
"""Stands for the end token."""
_NUM_STRONGEST = 5
"""Tokens above the mean, and as many below it, that are bold and carry their number."""
_QUANTILE = 0.98
"""Share of tokens within the scale's ends; the others have the colour of the end."""
_NUM_TICKS = 5


@dataclass(frozen=True)
class Shown:
    """Chains of one prompt with their credit.

    Args:
        chains: in the order of the page.
        names: a heading for each.
        puzzle: the puzzle that they answer.
        kind: kind of the puzzle.
        title: heading of the page.
        source: where the chains were found and who gave the credit.
        prompt: what was asked.
        image: the encoded image, where there is one that cannot be drawn.
    """

    chains: tuple[ChainCredit, ...]
    names: tuple[str, ...]
    puzzle: Puzzle
    kind: str
    title: str
    source: str
    prompt: str
    image: bytes | None = None


@dataclass(frozen=True)
class Piece:
    """Characters of one token and of at most one claim.

    Args:
        text: as a reader can see it.
        value: the token's centred credit; None for what no token has.
        is_strong: whether it is among the strongest.
        is_last: whether the token ends here.
        claim: whose line is under it.
    """

    text: str
    value: float | None
    is_strong: bool
    is_last: bool
    claim: ClaimCredit | None


def scale_of(chains: Sequence[ChainCredit]) -> float:
    """Returns the credit at the ends of the scale; 1 where all credit is 0."""
    sizes = sorted(abs(v) for one in chains for v in one.centred_T.tolist())
    found = sizes[math.ceil(_QUANTILE * len(sizes)) - 1] if sizes else 0.0
    return found or max(sizes, default=0.0) or 1.0


def color(value: float, scale: float) -> str:
    """Returns the colour of a credit as `#rrggbb`; white at 0, an end's beyond it.

    >>> color(0.0, 1.0), color(-2.0, 1.0), color(1.0, 1.0)
    ('#ffffff', '#5eace4', '#f0a020')
    """
    share = min(1.0, abs(value) / scale)
    end = POSITIVE if value > 0 else NEGATIVE
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in end)


def pieces_of(chain: ChainCredit) -> list[Piece]:
    """Returns the text of a chain cut at tokens and at claims; of nested claims the inner counts.

    What the tokens do not spell, at the end of the text, has no value. The end token comes last.
    """
    ends = [*chain.token_ends_T]
    values = chain.centred_T.tolist()
    strong = strongest(values)
    claims = _claim_by_character(chain)
    cuts = sorted({0, len(chain.text), *ends, *_changes(claims)})
    found, t, num_spelled = [], 0, len(ends) - chain.is_ended
    for start, stop in zip(cuts, cuts[1:], strict=False):
        while t < num_spelled and ends[t] <= start:
            t += 1
        is_token = t < num_spelled
        found.append(
            Piece(
                visible(chain.text[start:stop]),
                values[t] if is_token else None,
                t in strong and is_token,
                is_token and ends[t] == stop,
                claims[start],
            )
        )
    if chain.is_ended:
        place = len(ends) - 1
        found.append(Piece(END, values[place], place in strong, True, None))
    return found


def strongest(values_T: Sequence[float]) -> set[int]:
    """Returns the places of the largest and of the smallest values; those of 0 never count."""
    order = sorted(range(len(values_T)), key=lambda t: (values_T[t], t))
    low = [t for t in order[:_NUM_STRONGEST] if values_T[t] < 0]
    return {*low, *(t for t in order[-_NUM_STRONGEST:] if values_T[t] > 0)}


def _claim_by_character(chain: ChainCredit) -> list[ClaimCredit | None]:
    found: list[ClaimCredit | None] = [None] * len(chain.text)
    longest_first = sorted(chain.claims, key=lambda c: c.claim.span.start - c.claim.span.end)
    for claim in longest_first:
        span = claim.claim.span
        found[span.start : span.end] = [claim] * (span.end - span.start)
    return found


def _changes(claims: Sequence[ClaimCredit | None]) -> list[int]:
    return [i for i in range(1, len(claims)) if claims[i] is not claims[i - 1]]


def signed(value: float | None) -> str:
    """Returns a credit as it is written, two digits behind the point.

    >>> signed(0.256), signed(-1.0), signed(-0.001), signed(None)
    ('+0.26', '−1.00', '0.00', '—')
    """
    if value is None:
        return "—"
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "\u2212")


def ticks(scale: float) -> list[tuple[float, str]]:
    """Returns place in percent and number of each tick of the legend."""
    steps = range(_NUM_TICKS)
    return [
        (100 * i / (_NUM_TICKS - 1), signed(scale * (2 * i / (_NUM_TICKS - 1) - 1))) for i in steps
    ]


def mark_of(is_true: bool | None) -> str:
    """Returns the name of a truth: right, wrong or unjudged."""
    return "unjudged" if is_true is None else "right" if is_true else "wrong"


def render_credit(shown: Shown) -> str:
    """Returns the page as HTML, to be written as UTF-8."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scale = scale_of(shown.chains)
    environment.filters |= {
        "visible": visible,
        "signed": signed,
        "mark": mark_of,
        "color": lambda value: color(value, scale),
    }
    return environment.get_template(_TEMPLATE).render(
        shown=shown,
        kind=kind_title(shown.kind),
        rules=[rule_line(shown.puzzle, rule) for rule in shown.puzzle.rules],
        image=_data_uri(puzzle_image(shown)),
        ticks=ticks(scale),
        left=color(-scale, scale),
        right=color(scale, scale),
        num_strongest=_NUM_STRONGEST,
        chains=[_chain(name, one) for name, one in zip(shown.names, shown.chains, strict=True)],
    )


def _chain(name: str, chain: ChainCredit) -> dict[str, Any]:
    explanation = chain.explanation
    return {
        "name": name,
        "verdict": verdict(explanation),
        "pieces": pieces_of(chain),
        "total": chain.total,
        "num_tokens": len(chain.token_ends_T),
        "mean": chain.total / max(1, len(chain.token_ends_T)),
        "segments": chain.segments,
        "claims": chain.claims,
    }


def puzzle_image(shown: Shown) -> bytes | None:
    """Returns the encoded picture of the puzzle; None where it is not there and not drawable."""
    if shown.image is None and shown.puzzle.has_state:
        return render_png(shown.puzzle, _PICTURE)
    return shown.image


def _data_uri(image: bytes | None) -> str | None:
    if image is None:
        return None
    media_type = "image/jpeg" if image.startswith(b"\xff\xd8") else "image/png"
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
