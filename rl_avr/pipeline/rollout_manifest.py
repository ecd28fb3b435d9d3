"""What a folder of offline rollouts was begun with: `rollouts/asked.json`.

A run that goes on must ask the same policy the same prompts in the same way, or the file
would hold chains of two kinds. How fast the chains come may change between two starts:
batch sizes, memory, the engine's other sizes. More puzzles may be asked for, too: those that
are there stay.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rl_avr.contracts import Prompt
from rl_avr.difficulty_record import write_json
from rl_avr.errors import DataError
from rl_avr.modeling.digest import policy_digest
from rl_avr.settings import RolloutSettings, settings_keys

_NAME = "asked.json"
_FIXED = ("run.seed", "policy.", "data.", "rollouts.sampling.", "rewards.", "rollout.num_gen")
_FREE = ("data.num_puzzles",)


@dataclass(frozen=True)
class Asked:
    """What decides the chains of a folder.

    Args:
        settings: dotted key -> value of every setting that the chains depend on.
        policy_digest: of the policy's files; empty where the policy is no folder.
        num_prompts: how many prompts were asked for.
        prompts_digest: of them, images included.
    """

    settings: dict[str, Any]
    policy_digest: str
    num_prompts: int
    prompts_digest: str


def asked_by(settings: RolloutSettings, prompts: Sequence[Prompt]) -> Asked:
    """Returns what settings and prompts ask for, as plain JSON values."""
    values = {
        dotted: key.default
        for dotted, key in settings_keys(settings).items()
        if dotted.startswith(_FIXED) and dotted not in _FREE
    }
    return Asked(
        json.loads(json.dumps(values)),
        policy_digest(Path(settings.policy.path)),
        len(prompts),
        prompts_digest(prompts),
    )


def claim(folder: Path, settings: RolloutSettings, prompts: Sequence[Prompt]) -> None:
    """Makes a folder ready for the rollouts asked for, or refuses it.

    Args:
        folder: where the rollouts lie.
        settings: what is asked for now.
        prompts: what is asked now.

    Raises:
        DataError: it holds rollouts of other settings, another policy, other puzzles or
            another command; names every difference.
    """
    found, now = _read(folder), asked_by(settings, prompts)
    if found is None:
        if any(folder.glob("*.jsonl")):
            raise DataError(
                f"{folder}: holds rollouts that `rl-avr rollout` did not write; expected an empty "
                "folder. Name another run.dir"
            )
    else:
        differences = _differences(found, now, prompts)
        if differences:
            raise DataError(
                f"{folder}: rollouts of another kind lie here: {'; '.join(differences)}. Name "
                "another run.dir, or remove the folder; to grade the same chains by other "
                "rewards, use `rl-avr rewards score`"
            )
    if found != now:
        write_json(folder / _NAME, asdict(now))


def _differences(found: Asked, now: Asked, prompts: Sequence[Prompt]) -> list[str]:
    old, new = found.settings, now.settings
    differences = [
        f"{key} {old.get(key, 'not set')!r} there, {new.get(key, 'not set')!r} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differences:
        return differences
    if found.policy_digest != now.policy_digest:
        differences.append(f"policy.path {now.settings['policy.path']}: its files have changed")
    if now.num_prompts < found.num_prompts:
        differences.append(f"{found.num_prompts} prompts asked for there, {now.num_prompts} now")
    elif prompts_digest(prompts[: found.num_prompts]) != found.prompts_digest:
        differences.append(f"data.path {now.settings['data.path']}: its puzzles have changed")
    return differences


def _read(folder: Path) -> Asked | None:
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        return Asked(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: expected what the rollouts were asked; got: {error!r}") from error


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """Returns a hash of prompts in their order: ids, texts, puzzles and images."""
    digest = blake2b(digest_size=16)
    for prompt in prompts:
        texts = (prompt.prompt_id, prompt.text, prompt.kind, prompt.puzzle.to_json())
        for part in (*(text.encode("utf-8", "surrogatepass") for text in texts), *prompt.images):
            digest.update(f"{len(part)}:".encode())
            digest.update(part)
    return digest.hexdigest()
