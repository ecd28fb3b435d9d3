"""Answers pictures by N chains: one picture, or every puzzle of a set, written as they come.

    reranked.jsonl   one puzzle a line, in the order of the set: the answer, and every chain
                     with its scores
    asked.json       what decides the lines

A run that was killed goes on where it was stopped.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rl_avr.contracts import Prompt
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError
from rl_avr.evaluation.pools import RERANKED, Pool, append_pools, pool_of, read_pools
from rl_avr.inference.config import SCORES
from rl_avr.inference.reranker import Reranker
from rl_avr.modeling.digest import policy_digest
from rl_avr.pipeline.rollout_manifest import prompts_digest
from rl_avr.prompts import COT_PROMPT
from rl_avr.settings import RerankSettings, save_resolved, settings_keys
from rl_avr.training.puzzle_data import read_prompts
from rl_avr.training.run_folder import prepare_run
from rollouts.recorder import drop_half_line

_ASKED = "asked.json"
_FIXED = ("run.seed", "policy.", "data.", "rollouts.sampling.", "rewards.answer_form", "rerank.")
_FREE = ("rerank.batch_size", "rerank.image", "rerank.question")
MakeReranker = Callable[[RerankSettings], Reranker]


def load_reranker(settings: RerankSettings) -> Reranker:
    """Returns the reranker that the settings name.

    Raises:
        ConfigError: policies that cannot be loaded or do not belong together.
        RolloutError: the engine cannot be loaded.
    """
    return Reranker.load(
        settings.policy.path,
        config=settings.rerank,
        rollouts=settings.rollouts,
        dtype=settings.policy.dtype,
        seed=settings.run.seed,
    )


def rerank_picture(settings: RerankSettings, make: MakeReranker = load_reranker) -> str:
    """Returns what is said about one picture; nothing is written.

    Raises:
        DataError: the picture cannot be read, or the policy cannot take it.
        ConfigError, RolloutError: as `load_reranker`.
    """
    asked = settings.rerank
    with make(settings) as reranker:
        found = reranker.answer(asked.image, asked.question or COT_PROMPT)
    num_silent = sum(one.answer is None for one in found.candidates)
    counted = f"{len(found.candidates)} chains, {num_silent} without an answer"
    if found.answer is None:
        return f"no answer: {counted}"
    ranked = sorted(found.distribution.items(), key=lambda pair: -pair[1])
    shares = ", ".join(f"{answer} {share:.1%}" for answer, share in ranked)
    return (
        f"answer: {found.answer}\nvotes: {shares} ({asked.method}; {counted})\n"
        f"its best chain, score {found.score:+.3f}:\n{found.chain}"
    )


def rerank_set(settings: RerankSettings, make: MakeReranker = load_reranker) -> Path:
    """Answers what is missing of a set, prints how often it was right; returns the file.

    Raises:
        DataError: a set or the folder cannot be read, or holds answers of another kind.
        ConfigError, RolloutError: as `load_reranker`.
    """
    prompts = read_prompts(settings.data, answer_form=settings.rewards.answer_form)
    folder = prepare_run(settings.run)
    path = folder / RERANKED
    _claim(folder, settings, prompts)
    save_resolved(settings, folder)
    drop_half_line(path)
    num_done = _num_done(path, prompts)
    if num_done < len(prompts):
        with make(settings) as reranker:
            _rerank_rest(reranker, prompts, num_done, settings.rerank.batch_size, path)
    print(described(list(read_pools(path))))
    print(f"written: {path}")
    return path


def described(pools: Sequence[Pool]) -> str:
    """Returns how often the answers are right, and how often a chain alone and any chain is.

    An abstention counts as wrong; puzzles whose right answer is not known are left out.
    """
    judged = [pool for pool in pools if pool.right is not None]
    num_silent = sum(pool.answer is None for pool in pools)
    lines = [f"{len(pools)} puzzles; abstained: {num_silent}"]
    if judged:
        shares = {
            "answer": [float(bool(pool.is_right)) for pool in judged],
            "a chain": [fmean(pool.right or (False,)) for pool in judged],
            "any chain": [float(any(pool.right or ())) for pool in judged],
        }
        lines.append("right: " + ", ".join(f"{k} {fmean(v):.1%}" for k, v in shares.items()))
    return "\n".join(lines)


def _rerank_rest(
    reranker: Reranker, prompts: Sequence[Prompt], num_done: int, batch_size: int, path: Path
) -> None:
    with (
        tqdm(total=len(prompts), initial=num_done, desc="rerank", unit="puzzle") as bar,
        logging_redirect_tqdm(),
    ):
        num_right = num_judged = 0
        for start in range(num_done, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            found = reranker.rerank(batch)
            pools = [pool_of(*pair) for pair in zip(batch, found, strict=True)]
            append_pools(path, pools)
            judged = [pool.is_right for pool in pools if pool.is_right is not None]
            num_right, num_judged = num_right + sum(judged), num_judged + len(judged)
            if num_judged:
                bar.set_postfix({"right": f"{num_right / num_judged:.3f}"}, refresh=False)
            bar.update(len(batch))


def _num_done(path: Path, prompts: Sequence[Prompt]) -> int:
    """Returns how many of the prompts are in the file, which must be the first ones in order."""
    if not path.is_file():
        return 0
    number = 0
    for number, pool in enumerate(read_pools(path), start=1):
        expected = prompts[number - 1].prompt_id if number <= len(prompts) else "the end"
        if pool.prompt_id != expected:
            raise DataError(
                f"{path}, line {number}: expected {expected}, got {pool.prompt_id}; somebody else "
                "has written here. Remove the file to begin anew"
            )
    return number


def _claim(folder: Path, settings: RerankSettings, prompts: Sequence[Prompt]) -> None:
    """Writes what decides the lines, or refuses a folder with lines that something else decided."""
    values: dict[str, Any] = {
        dotted: key.default
        for dotted, key in settings_keys(settings).items()
        if dotted.startswith(_FIXED) and dotted not in _FREE
    }
    values["files of policy.path"] = policy_digest(Path(settings.policy.path))
    values["files of rerank.reference"] = policy_digest(Path(settings.rerank.reference or "?"))
    values["prompts"] = prompts_digest(prompts)
    values["names of scores"] = SCORES
    now, path = json.loads(json.dumps(values)), folder / _ASKED
    try:
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
        if not settings.run.resume and (folder / RERANKED).is_file():
            (folder / RERANKED).unlink()
            old = now
        changed = [key for key in now if old.get(key) != now[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected what the answers were asked; got: {error!r}") from error
    if changed and (folder / RERANKED).is_file():
        raise DataError(
            f"{folder}: answers of another kind lie here; different: {', '.join(changed)}. Name "
            "another run.dir, or begin anew with run.resume false"
        )
    write_json(path, now)
