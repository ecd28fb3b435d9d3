"""Functions of a task of lmms-eval: what is shown, what is asked, what is right.

`rl-avr eval export-task` copies this file beside the task's YAML, so it imports nothing of
this package. An answer counts where it stands behind the mark that the prompt asks for, once,
or where the text is the letter alone.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

_MARK = re.compile(r"(?m)^###\s*Answer:[ \t]*(.*?)[ \t]*$")


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Returns the images, in the order in which they stand before the text."""
    return [Image.open(io.BytesIO(raw)).convert("RGB") for raw in doc["images"]]


def doc_to_text(
    doc: Mapping[str, Any], lmms_eval_specific_kwargs: Mapping[str, str] | None = None
) -> str:
    """Returns what is asked."""
    words = lmms_eval_specific_kwargs or {}
    return f"{words.get('pre_prompt', '')}{doc['question']}{words.get('post_prompt', '')}"


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """Returns the letter of the right choice."""
    return doc["answer"]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Returns 1 where the letter is right, else 0."""
    return {"accuracy": float(chosen(results[0], doc["letters"]) == doc["answer"])}


def chosen(text: str, letters: str) -> str | None:
    """Returns the letter that a text chooses; None without exactly one answer.

    >>> chosen("size grows.\\n### Answer: C", "ABCD"), chosen(" B ", "ABCD"), chosen("E", "ABCD")
    ('C', 'B', None)
    """
    found = _MARK.findall(text) or [text.strip()]
    is_one = len(found) == 1 and len(found[0]) == 1 and found[0] in letters
    return found[0] if is_one else None
