"""Pairs as the policy reads them: each question with its images once, each completion once.

Q: questions, G: most different completions of one, B = Q * G, C: longest completion, N: pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rl_avr.algo.preference_losses import token_weights
from rl_avr.chat import decode_image, with_images
from rl_avr.errors import DataError
from rl_avr.modeling.shared_prefix import PromptInputs
from rl_avr.modeling.shared_prefix_rows import processed_inputs
from rl_avr.preference.pair_record import PreferencePair, read_image
from rl_avr.preference.train_config import CountedConfig
from rl_avr.training.policy_pass import GroupPrompt

_PAIR_TOKENS = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Pairs that go through a policy together.

    Args:
        prompts: the questions, in the order of their first pair.
        completion_ids_BC: those of the first question first; of a completion that two pairs of a
            question share, one row.
        completion_mask_BC: 1 for a row's tokens, which come first; rows that fill up a question
            have none.
        weights_BC: how much each token counts in the loss.
        chosen_N: rows of what is preferred, pair by pair.
        rejected_N: rows of what is not.
        places: of the pairs in the run's list.
        names: of the pairs, for messages.
    """

    prompts: tuple[GroupPrompt, ...]
    completion_ids_BC: torch.Tensor
    completion_mask_BC: torch.Tensor
    weights_BC: torch.Tensor
    chosen_N: torch.Tensor
    rejected_N: torch.Tensor
    places: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def group_size(self) -> int:
        """Rows of a question."""
        return len(self.completion_ids_BC) // len(self.prompts)

    @property
    def prompt_lengths_B(self) -> torch.Tensor:
        """Tokens of each row's prompt."""
        lengths = [len(prompt.inputs.ids_P) for prompt in self.prompts]
        return torch.tensor(lengths).repeat_interleave(self.group_size)

    def on(self, device: torch.device) -> "PairBatch":
        """Returns the batch with its tensors on a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        prompts = tuple(
            replace(prompt, inputs=_moved(prompt.inputs, device)) for prompt in self.prompts
        )
        return replace(self, prompts=prompts, **moved)


def _moved(inputs: PromptInputs, device: torch.device) -> PromptInputs:
    types_P = inputs.token_types_P
    return PromptInputs(
        inputs.ids_P.to(device),
        {name: value.to(device) for name, value in inputs.images.items()},
        None if types_P is None else types_P.to(device),
    )


class PairCollator:
    """Makes batches of rows that name the `place` of a pair.

    A completion's ids are those that were recorded where they are this tokenizer's, that is where
    they read as its text; else its text is tokenised, with the end token behind it if it ended by
    itself.

    Args:
        processor: the policy's own.
        pairs: of the run.
        folder: where their images lie.
        counted: which tokens count in the loss.
    """

    def __init__(
        self, processor: Any, pairs: Sequence[PreferencePair], folder: Path, counted: CountedConfig
    ) -> None:
        self.pairs = pairs
        self.folder = folder
        self.processor = processor
        self._tokenizer = processor.tokenizer
        self._counted = counted

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns `pairs`: the batch of these rows, without what does not count in the loss."""
        return {"pairs": self.batch([row["place"] for row in rows])}

    def batch(self, places: Sequence[int], is_whole: bool = False) -> PairBatch:
        """Returns the pairs at some places.

        Args:
            places: in the run's list.
            is_whole: keep tokens that do not count in the loss, too.
        """
        questions: dict[str, dict[tuple[int, ...], int]] = {}
        slots = []
        for place in places:
            completions = questions.setdefault(self.pairs[place].prompt_id, {})
            for ids_C in self.tokens[place]:
                kept = ids_C if is_whole else ids_C[: self.num_counted(ids_C)]
                slots.append(completions.setdefault(tuple(kept.tolist()), len(completions)))
        size = max(len(completions) for completions in questions.values())
        starts = {name: i * size for i, name in enumerate(questions)}
        rows_2N = [
            starts[self.pairs[place].prompt_id] + slot
            for place, slot in zip((p for p in places for _ in range(2)), slots, strict=True)
        ]
        of_question = {self.pairs[place].prompt_id: place for place in reversed(places)}
        ids, mask = self._table(questions, size)
        return PairBatch(
            tuple(self.question(of_question[name]) for name in questions),
            ids,
            mask,
            token_weights(mask, "even" if is_whole else self._counted.weights),
            torch.tensor(rows_2N[::2]),
            torch.tensor(rows_2N[1::2]),
            tuple(places),
            tuple(self.pairs[place].pair_id for place in places),
        )

    def _table(
        self, questions: dict[str, dict[tuple[int, ...], int]], size: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns (B, C) ids and mask."""
        rows = [
            torch.tensor(ids, dtype=torch.long)
            for completions in questions.values()
            for ids in [*completions, *[()] * (size - len(completions))]
        ]
        pad = torch.nn.utils.rnn.pad_sequence
        ids_BC = pad(rows, batch_first=True, padding_value=self._tokenizer.pad_token_id or 0)
        return ids_BC, pad([torch.ones_like(row) for row in rows], batch_first=True)

    def question(self, place: int) -> GroupPrompt:
        """Returns what a pair asks, with its images as the processor makes them.

        Raises:
            DataError: an image that cannot be read, or that the processor cannot take.
        """
        pair = self.pairs[place]
        images = [
            decode_image(read_image(self.folder, name), f"pair {pair.pair_id}, {name}")
            for name in pair.images
        ]
        try:
            made = self.processor.apply_chat_template(
                [with_images(pair.question, images)],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        except (ValueError, IndexError, TypeError, StopIteration) as error:
            raise DataError(
                f"pair {pair.pair_id}: expected images that the policy's processor takes, as many "
                f"as its question has marks; got {len(images)}: {error!r}"
            ) from error
        return GroupPrompt(processed_inputs(made), len(images))

    def num_words(self, place: int) -> int:
        """Returns how many tokens a question has without its images, each mark counted once."""
        pair = self.pairs[place]
        text = self.processor.apply_chat_template(
            with_images(pair.question, [None] * len(pair.images)),
            add_generation_prompt=True,
            tokenize=False,
        )
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def tokens(self) -> list[_PAIR_TOKENS]:
        """Ids of the chosen and the rejected of every pair, whole.

        Raises:
            DataError: a completion without a single token.
        """
        return [
            (
                self._ids(pair, pair.chosen, pair.chosen_ids, pair.chosen_finish == "stop"),
                self._ids(pair, pair.rejected, pair.rejected_ids, pair.rejected_finish == "stop"),
            )
            for pair in self.pairs
        ]

    def _ids(
        self, pair: PreferencePair, text: str, recorded: tuple[int, ...] | None, has_end: bool
    ) -> torch.Tensor:
        ids = list(recorded or ())
        if self._text(ids, skip_special_tokens=True) != text or not ids:
            ids = self._tokenizer(text, add_special_tokens=False).input_ids
            ids += [self._tokenizer.eos_token_id] * has_end
        if not ids:
            raise DataError(
                f"pair {pair.pair_id}: a completion has not one token; expected texts that say "
                "something: make the pairs again without it"
            )
        if self.processor.image_token_id in ids:
            raise DataError(
                f"pair {pair.pair_id}: a completion has the image placeholder "
                f"{self.processor.image_token}, for which there is no image; make the pairs "
                "again without it"
            )
        return torch.tensor(ids)

    def num_counted(self, ids_C: torch.Tensor) -> int:
        """Returns how many tokens of a completion, from its first on, count in the loss.

        A token that begins a word too many does not count, and the first one always does.
        """
        first = self._counted.first
        if not first or self._counted.unit == "tokens":
            return min(first or len(ids_C), len(ids_C))
        ids = ids_C.tolist()
        low, high = 0, len(ids)
        # most tokens whose text has fewer spaces than words are wanted
        while low < high:
            middle = (low + high + 1) // 2
            if self._text(ids[:middle]).count(" ") < first:
                low = middle
            else:
                high = middle - 1
        return max(low, 1)

    def _text(self, ids: list[int], **kwargs: Any) -> str:
        return self._tokenizer.decode(ids, clean_up_tokenization_spaces=False, **kwargs)
