"""Reads the pools that `rl-avr rerank` has recorded, and writes the page that compares methods."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rl_avr.errors import ConfigError
from rl_avr.evaluation.pool_study import Point, study
from rl_avr.evaluation.pools import Pool, read_pools
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.reporting.rerank_page import MethodPoint, PolicyStudy, markdown, render_rerank

_TITLE = "From N chains to one answer"


def write_study(
    policies: Sequence[Sequence[str]], out: Path, markdown_out: Path | None, num_draws: int = 32
) -> list[Path]:
    """Writes the page, and the tables as Markdown where asked; returns what was written.

    Args:
        policies: a name and the folders of its seeds, for each policy.
        out: the page.
        markdown_out: file for the tables; None for none.
        num_draws: subsamples of a pool for each N.

    Raises:
        ConfigError: a policy without a folder, a name twice, or no draw.
        DataError: a folder without pools, or pools that cannot be compared.
    """
    names = [words[0] for words in policies]
    if len(set(names)) < len(names) or any(len(words) < 2 for words in policies):
        raise ConfigError(
            "--policy: expected NAME FOLDER [FOLDER ...], every name once; got "
            + "; ".join(" ".join(words) for words in policies)
        )
    if num_draws < 1:
        raise ConfigError(f"--num-draws: expected a number >= 1, got {num_draws}")
    seeds = {name: [list(read_pools(Path(one))) for one in rest] for name, *rest in policies}
    studies = []
    with tqdm(total=sum(len(p) for s in seeds.values() for p in s), unit="pool") as bar:
        for name, pools in seeds.items():
            found = study(pools, num_draws=num_draws, on_puzzle=partial(bar.update, 1))
            studies.append(PolicyStudy(name, _about(pools), tuple(map(_shown, found))))
    files = {out: render_rerank(_TITLE, studies)}
    if markdown_out:
        files[markdown_out] = markdown(studies)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return list(files)


def _about(seeds: Sequence[Sequence[Pool]]) -> str:
    first = seeds[0][0]
    return f"{len(seeds[0])} puzzles, {len(seeds)} seeds, {len(first.answers)} chains a pool."


def _shown(point: Point) -> MethodPoint:
    return MethodPoint(
        point.contender,
        point.group,
        point.n,
        point.accuracy.as_dict(),
        point.difference.as_dict(),
        point.p_holm,
        point.by_seed,
    )
