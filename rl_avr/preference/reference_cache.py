"""The reference policy's logprobs of all pairs on disk: computed once, gone on with after a stop.

    FOLDER/KEY/about.json                 what they belong to
    FOLDER/KEY/00000.safetensors, …       SHARD_PAIRS pairs each, flat, chosen before rejected

KEY is a hash of the policy, the pairs, the template and the precision, so those of anything else
are never read. A shard is written aside and renamed. One that is torn, damaged or of other lengths
is computed again, with a warning.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rl_avr.difficulty_record import write_json

_LOG = logging.getLogger(__name__)
SHARD_PAIRS = 256
_NAME = "logprobs"
_ABOUT = "about.json"
PairLogprobs = tuple[torch.Tensor, torch.Tensor]
"""Of each token of the chosen and of the rejected, whole, in float32."""


def digest_of(*texts: str) -> str:
    """Returns a hash of texts, which tells their borders."""
    digest = blake2b(digest_size=16)
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()


def template_digest(processor: Any) -> str:
    """Returns a hash of what makes ids and pixels of a question: processor, template, tokenizer."""
    tokenizer = processor.tokenizer
    return digest_of(
        json.dumps(processor.to_dict(), sort_keys=True, default=str),
        json.dumps(processor.chat_template or tokenizer.chat_template, sort_keys=True),
        json.dumps(tokenizer.get_vocab(), sort_keys=True),
        tokenizer.eos_token or "",
    )


class ReferenceCache:
    """Shards of logprobs that belong to one key.

    Args:
        folder: holds a folder for every key.
        key: name -> digest or name of what the logprobs depend on.
        lengths: tokens of the chosen and of the rejected of each pair.
        shard_pairs: pairs of a shard.
    """

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, str],
        lengths: Sequence[tuple[int, int]],
        shard_pairs: int = SHARD_PAIRS,
    ) -> None:
        self._key = dict(key)
        self._lengths = lengths
        self._digest = digest_of(json.dumps(self._key, sort_keys=True), str(shard_pairs))
        self._parent = folder
        self._folder = folder / self._digest
        self._shard_pairs = shard_pairs

    @property
    def num_shards(self) -> int:
        """How many there are when all are."""
        return -(-len(self._lengths) // self._shard_pairs)

    def places(self, shard: int) -> range:
        """Returns the places of a shard's pairs."""
        start = shard * self._shard_pairs
        return range(start, min(start + self._shard_pairs, len(self._lengths)))

    def missing(self) -> list[int]:
        """Returns the shards that are not there, or are no good; says so of the latter."""
        found = []
        for shard in range(self.num_shards):
            if not self._path(shard).is_file():
                found.append(shard)
            elif (problem := self._problem(shard)) is not None:
                _LOG.warning("%s: %s; computed again", self._path(shard), problem)
                found.append(shard)
        return found

    def open(self) -> None:
        """Makes the folder of this key; where it is new, says which other one is nearest and why.

        To be called by one process, before any writes.
        """
        if self._folder.is_dir():
            return
        others = []
        for path in self._parent.glob(f"*/{_ABOUT}"):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(about, dict):
                names = [name for name, own in self._key.items() if about.get(name) != own]
                others.append((len(names), str(path.parent), names))
        if others:
            _, nearest, names = min(others)
            _LOG.warning(
                "reference logprobs are computed anew: those in %s are of another %s",
                nearest,
                ", ".join(names) or "size of shards",
            )
        write_json(self._folder / _ABOUT, self._key)

    def write(self, shard: int, logprobs: Sequence[PairLogprobs]) -> None:
        """Keeps a shard.

        Args:
            shard: its number.
            logprobs: of its pairs, in order.
        """
        flat = torch.cat([one for pair in logprobs for one in pair]).float().cpu().contiguous()
        assert len(flat) == self._num_tokens(shard), (len(flat), self._num_tokens(shard))
        path = self._path(shard)
        partial = path.with_name(f"{path.name}.partial")
        about = {"key": self._digest, "shard": str(shard), "sum": _sum(flat)}
        save_file({_NAME: flat}, partial, metadata=about)
        partial.replace(path)

    def read(self) -> list[PairLogprobs]:
        """Returns the logprobs of all pairs; every shard must be there."""
        found: list[PairLogprobs] = []
        for shard in range(self.num_shards):
            sizes = [n for place in self.places(shard) for n in self._lengths[place]]
            with safe_open(self._path(shard), "pt") as stream:
                parts = stream.get_tensor(_NAME).split(sizes)
            found += zip(parts[::2], parts[1::2], strict=True)
        return found

    def _num_tokens(self, shard: int) -> int:
        return sum(sum(self._lengths[place]) for place in self.places(shard))

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:05}.safetensors"

    def _problem(self, shard: int) -> str | None:
        """Returns why a shard cannot be used; None where it can."""
        try:
            with safe_open(self._path(shard), "pt") as stream:
                about, flat = stream.metadata() or {}, stream.get_tensor(_NAME)
        except (OSError, SafetensorError) as error:
            return f"torn: {error}"
        if (about.get("key"), about.get("shard")) != (self._digest, str(shard)):
            return "belongs to another policy, other pairs or another place"
        if len(flat) != self._num_tokens(shard):
            return f"expected {self._num_tokens(shard)} logprobs, got {len(flat)}"
        return None if about.get("sum") == _sum(flat) else "damaged: its hash is another"


def _sum(flat: torch.Tensor) -> str:
    return blake2b(flat.numpy().tobytes(), digest_size=16).hexdigest()
