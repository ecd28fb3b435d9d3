"""docs/settings_map.md names settings that exist."""

import dataclasses
import re
from pathlib import Path

from trl import GRPOConfig

from rl_avr.settings import GrpoSettings, settings_keys

PAGE = Path(__file__).parents[1] / "docs" / "settings_map.md"
TRL = {field.name for field in dataclasses.fields(GRPOConfig)}
ELSEWHERE = {"requires_grad_", "reward_funcs", "peft_config"}
"""What trl takes as an argument of its trainer, or not at all."""


def cells(column):
    lines = [line for line in PAGE.read_text(encoding="utf-8").split("\n") if line[:2] == "| "]
    for line in lines[2:]:
        yield from re.findall(r"`([\w.]+)`", line.strip("|").split("|")[column])


def test_our_settings_exist():
    known, found = settings_keys(GrpoSettings()), list(cells(1))
    assert len(found) > 20
    for key in found:
        block, _, name = key.partition(".")
        assert (
            name in TRL
            if block == "trainer"
            else any(k == key or k.startswith(f"{key}.") for k in known)
        ), key


def test_trls_fields_exist():
    found = list(cells(2))
    assert len(found) > 15
    assert {name for name in found if name not in TRL} == ELSEWHERE
