"""Chains that are kept across evaluations, by policy, prompt and sampling.

A second evaluation with other rewards, intervals or names asks the policy nothing, and does
not even load it. One with more samples asks for those that are missing: they are as good as
any, and not those that asking for all at once would have given.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path

import torch

from rl_avr.closing import Closing
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.errors import DataError, RolloutError
from rl_avr.seeding import derive_seed
from rollouts.engine import Engine, Sampling

_TIMEOUT_S = 60.0


class CachedEngine(Closing):
    """Gives the chains that are kept, and asks an engine for the others.

    Of a kept chain there are text, number of tokens and how it ended; no ids, no logprobs.

    Args:
        make: makes the engine, at the first chain that is not kept.
        path: file of the cache, made where it is missing.
        policy: tells policies apart.

    Raises:
        DataError: the file is no cache, or cannot be written.
    """

    def __init__(self, make: Callable[[], Engine], path: Path, policy: str) -> None:
        self.weights_version = 0
        self._make = make
        self._path = path
        self._policy = policy
        self._engine: Engine | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=_TIMEOUT_S)
            with self._file:
                self._file.execute(
                    "CREATE TABLE IF NOT EXISTS chains (key TEXT PRIMARY KEY, value)"
                )
        except (sqlite3.Error, OSError) as error:
            raise self._broken(error) from error

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[RolloutGroup]:
        """Returns one group per prompt, in order.

        Raises:
            RolloutError: the engine failed.
            DataError: the cache cannot be read or written.
        """
        keys = [self._key(prompt, sampling) for prompt in prompts]
        found = [self._kept(key) for key in keys]
        missing: dict[int, list[int]] = {}
        for index, chains in enumerate(found):
            if len(chains) < sampling.num_generations:
                missing.setdefault(len(chains), []).append(index)
        for num, places in missing.items():
            # those that are there were sampled under the call's own seed
            seed = derive_seed("more", sampling.seed, num) if num else sampling.seed
            more = Sampling(sampling.config, sampling.num_generations - num, seed)
            groups = self._loaded().generate([prompts[i] for i in places], more)
            for index, group in zip(places, groups, strict=True):
                found[index] += [replace(one, weights_version=0) for one in group.completions]
                self._keep(keys[index], found[index])
        num = sampling.num_generations
        return [
            RolloutGroup(prompt, (), tuple(chains[:num]))
            for prompt, chains in zip(prompts, found, strict=True)
        ]

    def sync_weights(
        self, named_weights: Iterable[tuple[str, torch.Tensor]], step: int | None = None
    ) -> None:
        """Raises RolloutError: the chains that are kept are those of one policy."""
        raise RolloutError("a cache of chains takes no weights")

    def close(self) -> None:
        """Closes the file, and the engine where there is one."""
        self._file.close()
        if self._engine is not None:
            self._engine.close()

    def _loaded(self) -> Engine:
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    def _key(self, prompt: Prompt, sampling: Sampling) -> str:
        digest = blake2b(digest_size=20)
        asked = [
            self._policy,
            prompt.prompt_id,
            prompt.text,
            *([prompt.prefill] if prompt.prefill else []),
            asdict(sampling.config),
            sampling.seed,
        ]
        for part in (json.dumps(asked).encode(), *prompt.images):
            digest.update(f"{len(part)}:".encode())
            digest.update(part)
        return digest.hexdigest()

    def _kept(self, key: str) -> list[Completion]:
        try:
            row = self._file.execute("SELECT value FROM chains WHERE key = ?", (key,)).fetchone()
            chains = json.loads(row[0]) if row else []
            return [Completion(text, (0,) * num, (), reason, 0) for text, num, reason in chains]
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise self._broken(error) from error

    def _keep(self, key: str, chains: Sequence[Completion]) -> None:
        value = json.dumps([(one.text, len(one.token_ids), one.finish_reason) for one in chains])
        try:
            with self._file:
                self._file.execute("INSERT OR REPLACE INTO chains VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> DataError:
        return DataError(f"eval.cache {self._path}: expected a cache of chains; got: {error}")
