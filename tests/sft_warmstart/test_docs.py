"""docs/sft.md has every setting, kind, overlay and warning, and no other."""

import re
from pathlib import Path
from typing import get_args

from rl_avr.metric_names import PERCEPTION_FALLING, SHORTCUT
from rl_avr.settings import SftSettings, settings_keys
from sft_warmstart.config import Kind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sft.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def test_every_setting_has_a_row_and_every_row_is_a_setting():
    known = [key for key in settings_keys(SftSettings()) if key.startswith("sft.")]
    assert sorted(cell for cell in FIRST_CELLS if cell.startswith("sft.")) == sorted(known)


def test_every_kind_overlay_and_warning_has_a_row():
    rest = [cell for cell in FIRST_CELLS if not cell.startswith("sft.")]
    overlays = [path.name for path in (ROOT / "configs" / "sft").iterdir()]
    stages = ["perception", "reasoning"]
    warnings = [PERCEPTION_FALLING, SHORTCUT]
    assert sorted(rest) == sorted([*get_args(Kind), *overlays, *stages, *warnings])


def test_the_commands_name_files_that_are_there():
    for name in re.findall(r"(?:configs|rl_avr)/[\w/]+\.(?:yaml|py)", PAGE):
        assert (ROOT / name).is_file(), name
