"""From rows to conversations as a policy reads them, with the assistant's tokens marked.

Two ways to find what the assistant says in the text of a conversation, both exact:

    the chat template has generation marks    what stands between them
    it has none                               the whole text against that of its beginnings: what
                                              one that ends with an answer has more than the one
                                              that ends with its question, up to and with the
                                              token that ends the turn

The tokens that this text lies in are trained.

L: tokens of a conversation.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from transformers.utils.chat_template_utils import render_jinja_template
from trl.chat_template_utils import has_generation_markers

from rl_avr.chat import with_images
from rl_avr.errors import ConfigError, DataError
from rl_avr.modeling.conversation_pass import Conversation, ConversationBatch

Span = tuple[int, int]
"""Where something begins and ends."""
_NOT_IMAGES = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
_UNMARKED = (
    "give the template {% generation %} and {% endgeneration %} around the assistant's words and "
    "its end-of-turn token, in chat_template.jinja of policy.path"
)

_SPARE = {
    "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}],
    "images": [Image.new("RGB", (32, 32), "gray")],
    "name": "policy.path",
}
"""What goes along with a batch that has no image, and does not count."""


class ConversationCollator:
    """Makes batches of rows with `messages`, `images`, `kind` and `name`.

    Args:
        processor: the policy's own.
        max_tokens: most tokens of a conversation; None for no limit.
        limit_name: what sets this limit, for the message.
    """

    def __init__(self, processor: Any, max_tokens: int | None, limit_name: str) -> None:
        self._processor = processor
        self._max_tokens = max_tokens
        self._limit_name = limit_name
        self._template = processor.chat_template
        if isinstance(self._template, dict):
            self._template = self._template["default"]
        self._has_marks = has_generation_markers(self._template)
        self._added = set(processor.tokenizer.get_added_vocab().values())

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns `conversations`, with the `kinds` and `names` of the rows."""
        conversations = tuple(self.conversation(row) for row in rows)
        spare = None if any(one.images for one in conversations) else self._spare
        return {
            "conversations": ConversationBatch(conversations, True, spare),
            "kinds": [row["kind"] for row in rows],
            "names": [row["name"] for row in rows],
        }

    @cached_property
    def _spare(self) -> Conversation:
        return self.conversation(_SPARE)

    def conversation(self, row: dict[str, Any]) -> Conversation:
        """Returns one row as the policy reads it.

        Raises:
            ConfigError: the chat template hides which tokens are the assistant's, or never ends
                its turns.
            DataError: nothing of the row is trained, or it is too long.
        """
        messages = with_images(row["messages"], row["images"])
        try:
            # tokens that open a text are added where prompts of rollouts have them
            made = self._processor.apply_chat_template(
                [messages], tokenize=True, return_dict=True, return_tensors="pt"
            )
        # some processors run out of images where a text has a mark for one more
        except (ValueError, IndexError, TypeError, StopIteration) as error:
            raise DataError(
                f"{row['name']}: expected as many images as its messages have image marks, "
                f"{len(row['images'])}, and that the policy's processor can read them; "
                f"got: {error!r}"
            ) from error
        ids_L = made.pop("input_ids")[0]
        if not row["images"] and (ids_L == self._processor.image_token_id).any():
            raise DataError(
                f"{row['name']}: a message has the image mark {self._processor.image_token}, and "
                "the row no image; take the mark out, or give the image"
            )
        types_1L = made.pop("mm_token_type_ids", None)
        self._check_length(ids_L, row["name"])
        text, spans = (self._marked if self._has_marks else self._compared)(messages, row["name"])
        trained_L = self._trained(ids_L, text, spans, row["name"])
        if not trained_L[1:].any():
            raise DataError(
                f"{row['name']}: none of {len(ids_L)} tokens is the assistant's, so nothing would "
                "be trained; expected at least one turn of the assistant that says something"
            )
        images = {name: value for name, value in made.items() if name not in _NOT_IMAGES}
        trained_L[0] = False
        return Conversation(
            ids_L,
            trained_L,
            images if row["images"] else {},
            None if types_1L is None else types_1L[0],
        )

    def _check_length(self, ids_L: torch.Tensor, name: str) -> None:
        if self._max_tokens is not None and len(ids_L) > self._max_tokens:
            raise DataError(
                f"{name}: {len(ids_L)} tokens with its images; expected at most "
                f"{self._max_tokens}, {self._limit_name}; raise that, ask fewer questions a "
                "conversation (sft.elicitation.num_fine, conversations), or make images smaller"
            )

    def _marked(self, messages: list[dict[str, Any]], name: str) -> tuple[str, list[Span]]:
        """Returns the text, and what the template marks in it."""
        (text,), (spans,) = render_jinja_template(
            conversations=[messages],
            chat_template=self._template,
            return_assistant_tokens_mask=True,
            **self._processor.tokenizer.special_tokens_map,
        )
        return text, spans

    def _compared(self, messages: list[dict[str, Any]], name: str) -> tuple[str, list[Span]]:
        """Returns the text, and the turns of the assistant by the texts of the beginnings."""
        text = self._text(messages)
        spans = []
        for turn, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._text(messages[:turn], add_generation_prompt=True)
            after = self._text(messages[: turn + 1])
            if not (text.startswith(after) and after.startswith(before)):
                raise ConfigError(
                    f"{name}: the chat template writes turn {turn + 1} of {len(messages)} "
                    f"otherwise when more turns follow, so it cannot be found in the whole; "
                    f"{_UNMARKED}"
                )
            # white space behind the token that ends a turn belongs to no one
            spans.append((len(before), max(len(before), len(after.rstrip()))))
        return text, spans

    def _text(self, messages: list[dict[str, Any]], add_generation_prompt: bool = False) -> str:
        return self._processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )

    def _trained(
        self, ids_L: torch.Tensor, text: str, spans: Sequence[Span], name: str
    ) -> torch.Tensor:
        """Returns (L,) True for the tokens that the spans of a text lie in."""
        made = self._processor.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        ids, offsets = made["input_ids"], made["offset_mapping"]
        marked = [False] * len(ids)
        place = 0
        for begin, end in spans:  # in order, as are the tokens
            while place < len(ids) and offsets[place][1] <= begin:
                place += 1
            while place < len(ids) and offsets[place][0] < end:
                marked[place] = True
                place += 1
        self._check_ends(ids, marked, name)
        # the processor puts many tokens in the place of an image; from the first answer on, the
        # text has none
        first = marked.index(True) if True in marked else len(marked)
        tail, start = torch.tensor(ids[first:], dtype=ids_L.dtype), len(ids_L) - len(ids) + first
        if not torch.equal(ids_L[start:], tail):
            raise ConfigError(
                f"{name}: the processor and its tokenizer read the answers differently, so they "
                "cannot be told from the rest; expected a processor that writes images alone "
                "otherwise than its tokenizer"
            )
        trained_L = torch.zeros(len(ids_L), dtype=torch.bool)
        trained_L[start:] = torch.tensor(marked[first:], dtype=torch.bool)
        return trained_L

    def _check_ends(self, ids: Sequence[int], marked: Sequence[bool], name: str) -> None:
        """Refuses a template that leaves out what ends a turn: the policy would never stop."""
        decode = self._processor.tokenizer.decode
        for start, end in _runs(marked):
            said = (i for i in reversed(ids[start:end]) if i in self._added or decode([i]).strip())
            last = next(said, None)
            if last is not None and last not in self._added:
                raise ConfigError(
                    f"{name}: the chat template trains no end-of-turn token: the last trained "
                    f"token of a turn is {decode([last])!r}; {_UNMARKED}"
                )


def _runs(marked: Sequence[bool]) -> list[Span]:
    """Returns where each stretch of marks begins and ends.

    >>> _runs([False, True, True, False, True])
    [(1, 3), (4, 5)]
    """
    edges = [False, *marked, False]
    changes = [i for i in range(len(edges) - 1) if edges[i] != edges[i + 1]]
    return list(zip(changes[::2], changes[1::2], strict=True))
