"""docs/pairs.md has every setting and way, and names files that are there."""

import re
from pathlib import Path

from rl_avr.preference.config import WAY_NAMES
from rl_avr.settings import PairsSettings, settings_keys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pairs.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def test_every_setting_and_way_has_a_row_and_nothing_else_has():
    settings = [key for key in settings_keys(PairsSettings()) if key.startswith("pairs.")]
    assert sorted(FIRST_CELLS) == sorted([*settings, *WAY_NAMES])


def test_the_files_that_are_named_are_there():
    for name in re.findall(r"(?:configs|rl_avr|docs)/[\w/]+\.(?:yaml|py|md)", PAGE):
        assert (ROOT / name).is_file(), name
