"""Preference pairs of recorded rollouts.

    begun.json       what decides the pairs
    questions.jsonl  what became of each question, in the order of the rollouts
    pairs.jsonl, images/, manifest.json    the pairs; see `preference.pair_record`
    candidates.jsonl all pairs, where `pairs.balance` keeps some of them
    pairs.html       some of them side by side

A run that was killed goes on behind the last question that was written, and ends with the
same bytes. The manifest comes last, and only where no puzzle of the pairs is held out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from rewards.grader import Grader
from rl_avr.contracts import Prompt
from rl_avr.errors import ConfigError, DataError, PuzzleError
from rl_avr.pipeline.data_manifest import write_whole
from rl_avr.pipeline.pairs_folder import about_of, append_row, claim_folder, recorded_rows
from rl_avr.pipeline.pairs_sources import Source, asked_groups, held_out_of, read_sources
from rl_avr.pipeline.pairs_text import describe_pairs, no_pair_text, pairs_page
from rl_avr.preference.leakage import HeldOut, content_keys, leak_sentence, leaks
from rl_avr.preference.pair_record import (
    CANDIDATES_FILE,
    PAIRS_FILE,
    PairsWriter,
    PreferencePair,
    read_pairs,
)
from rl_avr.preference.pair_statistics import (
    QuestionRow,
    Statistics,
    balanced_rows,
    question_row,
    statistics_of,
)
from rl_avr.preference.pairs import make_pairs as pairs_of
from rl_avr.preference.questions import Question, question_of
from rl_avr.preference.ways import Way, ways_of
from rl_avr.settings import PairsSettings, save_resolved
from rl_avr.training.run_folder import prepare_run
from rollouts.recorder import RecordedGroup

_PAGE = "pairs.html"


@dataclass(frozen=True)
class Made:
    """One question, what became of it, and its pairs without the names of their images."""

    question: Question
    row: QuestionRow
    pairs: tuple[PreferencePair, ...]


class PairMaker:
    """Everything that decides the pairs, read before the first is made.

    Raises:
        ConfigError: a way or a folder's config cannot be used.
        DataError: rollouts or held-out sets cannot be read.
    """

    def __init__(self, settings: PairsSettings) -> None:
        self._config = settings.pairs
        self._seed = settings.run.seed
        self.ways: dict[str, tuple[Way, int]] = ways_of(settings.pairs)
        self.sources: list[Source] = read_sources(settings.pairs.rollouts)
        self.held_out: HeldOut = held_out_of(settings.pairs)

    @property
    def prompts(self) -> dict[str, Prompt]:
        """Every prompt that was asked, by its id."""
        return {name: prompt for one in self.sources for name, prompt in one.prompts.items()}

    def made(self, num_done: int = 0) -> Iterator[Made]:
        """Yields every question behind the first `num_done`, in the order of the rollouts.

        Raises:
            DataError: a row cannot be used, with its file and line; rollouts are not finished.
        """
        place, num = 0, sum(len(source.prompts) for source in self.sources)
        with tqdm(total=num, desc="pairs", unit="question") as bar, logging_redirect_tqdm():
            for source in self.sources:
                with Grader(source.rewards) as grader:
                    for recorded, prompt in asked_groups(source):
                        bar.update()
                        place += 1
                        if place > num_done:
                            yield self._made(_question(grader, recorded, prompt, source))

    def statistics(self, rows: Sequence[QuestionRow]) -> tuple[Statistics, list[int]]:
        """Returns the statistics of all questions and the places of the pairs that are kept.

        Raises:
            DataError: there is no pair, or a puzzle of the pairs is held out.
        """
        kept = list(range(sum(len(row.pairs) for row in rows)))
        if self._config.balance == "answer":
            rows, kept = balanced_rows(rows, self._seed)
        found = leaks(rows, self.held_out)
        if found:
            raise DataError(
                "puzzles of the pairs are held out, by what they show: "
                f"{leak_sentence(found)}. Sample rollouts over other puzzles, or set "
                "pairs.on_leak drop"
            )
        statistics = statistics_of(rows, self.ways)
        if not statistics.num_pairs:
            raise DataError(no_pair_text(statistics, self._config))
        return statistics, kept

    def _made(self, question: Question) -> Made:
        prompt = question.prompt
        fate, found = pairs_of(question, self._config, self.ways, self._seed)
        keys = content_keys(prompt.puzzle, prompt.images)
        if found and self._config.on_leak == "drop" and self.held_out.place_of(keys):
            fate, found = "held_out", []
        row = question_row(question, fate, keys, [(pair.way, two) for pair, two in found])
        return Made(question, row, tuple(pair for pair, _ in found))


def make_pairs(settings: PairsSettings) -> Path:
    """Writes the pairs and prints their statistics; returns their folder.

    Raises:
        ConfigError: a setting that cannot be used, or the folder is in use.
        DataError: rollouts or sets cannot be read, the folder holds other pairs, there is no
            pair, or a puzzle of the pairs is held out.
    """
    folder = Path(settings.run.dir)
    is_balanced = settings.pairs.balance != "none"
    file = CANDIDATES_FILE if is_balanced else PAIRS_FILE
    _check_folder(folder, settings.pairs.rollouts)
    there = [name for name in (PAIRS_FILE, CANDIDATES_FILE) if (folder / name).is_file()]
    if there and not settings.run.resume:
        raise ConfigError(
            f"run.resume false: {folder / there[0]} is there already; remove the folder, or "
            "name another run.dir"
        )
    maker = PairMaker(settings)
    prepare_run(settings.run)
    about = about_of(settings, maker.sources, maker.held_out)
    try:
        claim_folder(folder, about)
        save_resolved(settings, folder)
        rows = recorded_rows(folder, file)
        writer = PairsWriter(folder, file)
        for made in maker.made(len(rows)):
            images = made.question.prompt.images if made.pairs else ()
            names = tuple(map(writer.add_image, images))
            writer.append(replace(pair, images=names) for pair in made.pairs)
            append_row(folder, made.row)
            rows.append(made.row)
        statistics, kept = maker.statistics(rows)
        written = {"about": about, "statistics": asdict(statistics)}
        writer.finish(written, kept if is_balanced else None)
        ways = [pair.way for row in rows for pair in row.pairs]
        places = set(spread_places([ways[place] for place in kept], settings.pairs.num_shown))
        shown = [pair for place, pair in enumerate(read_pairs(folder)) if place in places]
        page = pairs_page(folder.name, shown, maker.prompts, statistics)
        write_whole(folder / _PAGE, page)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error}; the same command goes on from what is there"
        ) from error
    print(describe_pairs(statistics, settings.pairs, maker.held_out))
    print(f"written: {folder / PAIRS_FILE}, {folder / _PAGE}")
    return folder


def show_pairs(settings: PairsSettings) -> str:
    """Returns the statistics of the pairs that would be made, and writes the page of some.

    Raises:
        ConfigError, DataError: as `make_pairs`; a folder of other pairs is not looked at.
    """
    maker = PairMaker(settings)
    rows: list[QuestionRow] = []
    pairs: list[PreferencePair] = []
    for made in maker.made():
        rows.append(made.row)
        pairs += made.pairs
    statistics, kept = maker.statistics(rows)
    pairs = [pairs[place] for place in kept]
    places = spread_places([pair.way for pair in pairs], settings.pairs.num_shown)
    page = pairs_page("dry run", [pairs[p] for p in places], maker.prompts, statistics)
    path = Path(settings.run.dir) / "dry_run" / _PAGE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        raise ConfigError(f"run.dir {path.parent}: cannot be written: {error}") from error
    return f"{describe_pairs(statistics, settings.pairs, maker.held_out)}\nwritten: {path}"


def spread_places(ways: Sequence[str], num: int) -> list[int]:
    """Returns at most `num` places, about as many of each way, spread evenly; ascending.

    >>> spread_places(["a", "a", "a", "a", "b"], 3)
    [0, 2, 4]
    """
    names = list(dict.fromkeys(ways))
    found = []
    for index, name in enumerate(names):
        places = [place for place, way in enumerate(ways) if way == name]
        share = min(len(places), len(range(index, num, len(names))))
        # each way begins at another question
        for k in range(share):
            found.append(places[(k * len(names) + index) * len(places) // (share * len(names))])
    return sorted(found)


def _check_folder(folder: Path, rollouts: Sequence[str]) -> None:
    """Raises ConfigError where the pairs' files would replace those of the rollouts."""
    if folder.resolve() in {Path(one).resolve() for one in rollouts}:
        raise ConfigError(
            f"run.dir {folder}: the rollouts are there, whose config.yaml would be lost; name "
            "another run.dir"
        )


def _question(grader: Grader, recorded: RecordedGroup, prompt: Prompt, source: Source) -> Question:
    try:
        (graded,) = grader.grade([replace(recorded.group, prompt=prompt)])
        return question_of(graded, source.rewards)
    except PuzzleError as error:
        raise DataError(f"{source.path}:{recorded.line}: {error}") from error
