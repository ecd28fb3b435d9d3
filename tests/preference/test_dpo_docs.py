"""docs/dpo.md has every setting and overlay, and no other."""

import re
from pathlib import Path

from rl_avr.settings import DpoSettings, settings_keys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dpo.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
OVERLAYS = ["aft", "dpo_sft", "ipo", "orpo", "simpo", "truncate90"]


def test_every_setting_has_a_row_and_every_row_is_a_setting():
    known = [key for key in settings_keys(DpoSettings()) if key.startswith("preference.")]
    assert sorted(cell for cell in FIRST_CELLS if cell.startswith("preference.")) == sorted(known)


def test_every_overlay_has_a_row():
    named = [cell for cell in FIRST_CELLS if not cell.startswith("preference.")]
    assert sorted(named) == [f"{name}.yaml" for name in OVERLAYS]


def test_the_commands_name_files_that_are_there():
    for name in re.findall(r"(?:configs|rl_avr)/[\w/]+\.(?:yaml|py)", PAGE):
        assert (ROOT / name).is_file(), name
