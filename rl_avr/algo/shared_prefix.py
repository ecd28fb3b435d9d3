"""Packs in which a group's prompt stands once, with its completions behind it.

    plain rows             [prompt][completion 1]   [prompt][completion 2]   ...
    one pack               [prompt less its last token][last token, completion 1 less its last]...

The last token of the prompt opens every completion's part, so that each of these tokens has
one token to predict, and every token of a completion one that predicts it. A token of the
prompt's part sees the prompt's part up to itself; a token of a completion's part sees the
whole prompt's part and its own part up to itself, which is what it sees in a plain row.
Its position is the one it has there: after the prompt, positions begin anew for each
completion. A pack holds several groups, which do not see each other.

P: tokens of a prompt, B: completions of all groups, C: longest completion, N: tokens of a
pack, S: tokens of completions in a pack, H: heads, D: size of a head, A: axes of positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from rl_avr.errors import DataError

MAX_STRETCH = 1.5
"""Longest over shortest completion of a block, above which padding it costs too much."""


@dataclass(frozen=True)
class Block:
    """Completions of similar lengths that lie side by side in a pack.

    Args:
        start: its first token, counted from the first token of the group's completions.
        end: one past its last token.
        num_completions: how many.
        longest: tokens of the longest.
        slots: (end - start,) place of each token in (num_completions * longest); None where
            all are as long as the longest.
    """

    start: int
    end: int
    num_completions: int
    longest: int
    slots: torch.Tensor | None

    def padded(self, x_1HND: torch.Tensor) -> torch.Tensor:
        """Returns (num_completions, H, longest, D): one completion a row, zeros behind it."""
        x_HND = x_1HND[0, :, self.start : self.end]
        if self.slots is not None:
            shape = (x_HND.shape[0], self.num_completions * self.longest, *x_HND.shape[2:])
            x_HND = x_HND.new_zeros(shape).index_copy_(1, self.slots, x_HND)
        return x_HND.unflatten(1, (self.num_completions, self.longest)).transpose(0, 1)

    def unpadded(self, x_KHCD: torch.Tensor) -> torch.Tensor:
        """Returns (1, H, end - start, D), the inverse of `padded`."""
        x_HND = x_KHCD.transpose(0, 1).flatten(1, 2)
        return (x_HND if self.slots is None else x_HND.index_select(1, self.slots))[None]


@dataclass(frozen=True)
class GroupSpan:
    """Where one group, or a part of one, lies in a pack.

    Args:
        group: index of its prompt.
        start: first token of the prompt's part, which lacks the prompt's last token.
        completions_start: first token of the first completion's part.
        end: one past the last token of the last completion's part.
        blocks: the completions, shortest first.
    """

    group: int
    start: int
    completions_start: int
    end: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Pack:
    """One packed sequence, and where its tokens come from.

    Args:
        ids_N: token ids.
        spans: its groups; all that attention needs to know.
        completion_index_S: places in the pack of the tokens of completions.
        rows_S: for each of these, the completion (0 to B - 1) that it predicts a token of.
        columns_S: and which token of it (0 to C - 1); also its distance from the prompt's
            last token.
    """

    ids_N: torch.Tensor
    spans: tuple[GroupSpan, ...]
    completion_index_S: torch.Tensor
    rows_S: torch.Tensor
    columns_S: torch.Tensor

    def positions(self, prompt_positions_AP: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """Returns (A, N): the positions of a plain row for every token.

        Args:
            prompt_positions_AP: of each prompt by its group, one row an axis. Completions
                count on from the prompt's last token on all axes; prompts with one axis have
                it on all.
        """
        num_axes = max(prompt_positions_AP[span.group].shape[0] for span in self.spans)
        parts, taken = [], 0
        for span in self.spans:
            prompt_AP = prompt_positions_AP[span.group].expand(num_axes, -1)
            count = span.end - span.completions_start
            parts.append(prompt_AP[:, :-1])
            parts.append(prompt_AP[:, -1:] + self.columns_S[taken : taken + count])
            taken += count
        return torch.cat(parts, dim=1)


def make_packs(
    prompts_P: Sequence[torch.Tensor],
    completion_ids_BC: torch.Tensor,
    completion_mask_BC: torch.Tensor,
    token_budget: int | None = None,
) -> list[Pack]:
    """Returns packs of whole groups, in order, each of at most `token_budget` tokens.

    A group that is over the budget alone is split; each part has the prompt again. A
    prompt with one completion over the budget still is a pack. Empty completions have no
    tokens, and a group of them is in no pack.

    Args:
        prompts_P: token ids of each prompt, without padding.
        completion_ids_BC: the completions, B = groups * G, those of a group side by side.
        completion_mask_BC: 1 for its tokens, which come first in each row.
        token_budget: None for one pack.

    Raises:
        DataError: a prompt is empty, B is not a multiple of the groups, or a mask has a gap.
    """
    num_completions = completion_ids_BC.shape[0]
    if not prompts_P or num_completions % len(prompts_P) or min(map(len, prompts_P)) == 0:
        raise DataError(
            f"{num_completions} completions for prompts of {[len(p) for p in prompts_P]} tokens: "
            "expected prompts of at least one token, and as many completions for each"
        )
    mask_BC = completion_mask_BC.bool()
    if (mask_BC[:, 1:] & ~mask_BC[:, :-1]).any():
        raise DataError("completion_mask has a 1 behind a 0: expected each row's tokens first")
    lengths = mask_BC.sum(dim=1).tolist()
    size = num_completions // len(prompts_P)
    groups = [
        (group, sorted((r for r in rows if lengths[r]), key=lengths.__getitem__))
        for group, rows in enumerate(_runs(num_completions, size))
    ]
    return [
        _pack(prompts_P, completion_ids_BC, lengths, members)
        for members in _within_budget(groups, [len(p) for p in prompts_P], lengths, token_budget)
    ]


def _runs(total: int, size: int) -> list[range]:
    return [range(start, start + size) for start in range(0, total, size)]


_Members = list[tuple[int, list[int]]]  # (group, rows of its completions)


def _within_budget(
    groups: _Members, prompt_lengths: Sequence[int], lengths: Sequence[int], budget: int | None
) -> Iterator[_Members]:
    members: _Members = []
    used = 0
    for group, rows in groups:
        rows_cost = sum(lengths[r] for r in rows)
        if not rows:
            continue
        cost = prompt_lengths[group] - 1 + rows_cost
        if budget is None or used + cost <= budget:
            members.append((group, rows))
            used += cost
            continue
        if members:
            yield members
        *full, last = _parts(rows, lengths, budget - prompt_lengths[group] + 1)
        yield from ([(group, part)] for part in full)
        members = [(group, last)]
        used = prompt_lengths[group] - 1 + sum(lengths[r] for r in last)
    if members:
        yield members


def _parts(rows: list[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cuts rows into runs of at most `budget` tokens, or of a single row."""
    parts: list[list[int]] = [[]]
    used = 0
    for row in rows:
        if parts[-1] and used + lengths[row] > budget:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += lengths[row]
    return parts


def _pack(
    prompts_P: Sequence[torch.Tensor],
    completion_ids_BC: torch.Tensor,
    lengths: Sequence[int],
    members: _Members,
) -> Pack:
    device = completion_ids_BC.device
    ids: list[torch.Tensor] = []
    index: list[torch.Tensor] = []
    all_rows: list[torch.Tensor] = []
    columns: list[torch.Tensor] = []
    spans = []
    start = 0
    for group, rows in members:
        longest = max(lengths[r] for r in rows)
        rows_K = torch.tensor(rows, device=device)
        lengths_K = torch.tensor([lengths[r] for r in rows], device=device)
        keep_KC = torch.arange(longest, device=device) < lengths_K[:, None]
        row_S, column_S = keep_KC.nonzero(as_tuple=True)
        prompt_P = prompts_P[group].to(device)
        # what stands before each token to predict: the prompt's last token, then the completion
        before_KC = torch.cat(
            [prompt_P[-1:].expand(len(rows), 1), completion_ids_BC[rows_K, : longest - 1]], dim=1
        )
        ids += [prompt_P[:-1], before_KC[keep_KC]]
        completions_start = start + len(prompt_P) - 1
        end = completions_start + len(row_S)
        index.append(torch.arange(completions_start, end, device=device))
        all_rows.append(rows_K[row_S])
        columns.append(column_S)
        blocks = tuple(blocks_of([lengths[r] for r in rows], device))
        spans.append(GroupSpan(group, start, completions_start, end, blocks))
        start = end
    return Pack(
        ids_N=torch.cat(ids),
        spans=tuple(spans),
        completion_index_S=torch.cat(index),
        rows_S=torch.cat(all_rows),
        columns_S=torch.cat(columns),
    )


def blocks_of(
    lengths: Sequence[int], device: torch.device, max_stretch: float = MAX_STRETCH
) -> Iterator[Block]:
    """Yields blocks of texts that lie side by side.

    Args:
        lengths: tokens of each, ascending.
        device: of the tokens.
        max_stretch: most that the longest of a block is of the shortest.
    """
    first, start = 0, 0
    for i in range(1, len(lengths) + 1):
        if i < len(lengths) and lengths[i] <= max_stretch * lengths[first]:
            continue
        run, longest = lengths[first:i], lengths[i - 1]
        slots = None
        if run[0] != longest:
            run_K = torch.tensor(run, device=device)
            keep = torch.arange(longest, device=device) < run_K[:, None]
            slots = keep.flatten().nonzero()[:, 0]
        yield Block(start, start + sum(run), len(run), longest, slots)
        first, start = i, start + sum(run)
