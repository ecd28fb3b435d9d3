"""docs/support.md says nothing that no test shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rl_avr.modeling.families import FAMILIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
COLUMNS = {
    "Qwen2.5-VL": "qwen2_5_vl",
    "Qwen3-VL": "qwen3_vl",
    "LLaVA-NeXT": "llava_next",
    "Idefics3, SmolVLM": "idefics3",
}
LINKS = {name: (file, test) for name, file, test in re.findall(r"\[(.+)\]: \.\./(.+)#(\w+)", PAGE)}


def rows():
    """Yields (what, family, cell) of the table."""
    head, _, *lines = [line for line in PAGE.split("\n") if line.startswith("|")]
    families = [COLUMNS[name.strip()] for name in head.strip("|").split("|")[1:]]
    for line in lines:
        what, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        yield from ((what, *pair) for pair in zip(families, cells, strict=True))


@pytest.fixture(scope="module")
def collected():
    """Returns the ids of all tests in the files that the page links to."""
    files = sorted({file for file, _ in LINKS.values()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-W", "ignore", *files]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in found.stdout.split("\n") if "::" in line]


def test_every_family_has_a_column():
    assert {family for _, family, _ in rows()} == set(FAMILIES)


def test_every_cell_is_one_of_three_words_and_every_link_is_used():
    used = set()
    for what, family, cell in rows():
        link = re.fullmatch(r"\[tested\]\[([\w-]+)\]", cell)
        assert link or cell in ("expected", "unsupported"), (what, family, cell)
        used |= {link[1]} if link else set()
    assert used == set(LINKS)


def test_what_is_tested_has_a_test_that_runs_for_that_family(collected):
    for what, family, cell in rows():
        if "tested" not in cell or cell == "unsupported":
            continue
        file, test = LINKS[re.search(r"\]\[(.+)\]", cell)[1]]
        ids = [line for line in collected if re.match(rf"{re.escape(file)}::{test}(\[|$)", line)]
        assert ids, f"{what}: no test {file}::{test}"
        of_families = [line for line in ids if any(f in line.partition("[")[2] for f in FAMILIES)]
        if of_families:
            assert any(family in line for line in of_families), (what, family)
        else:
            # the shipped policy is the first family; a test of another one names it
            is_named = family in (ROOT / file).read_text(encoding="utf-8")
            assert is_named or family == next(iter(FAMILIES)), (what, family)
