"""Panels of a validation: numbers by hand, and what wandb is given."""

import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from rl_avr.contracts import Rule
from sft_warmstart.validation_panels import Answered, ChainValues, bars, log_panels


@pytest.fixture
def found(puzzle, annotated):
    def one(configuration, kinds, is_right):
        rules = tuple(Rule("size", kind) for kind in kinds)
        return ChainValues(
            replace(puzzle, configuration=configuration, rules=rules), is_right, 0.5, True
        )

    chains = (
        one("grid", ("progression", "constant"), True),
        one("grid", ("progression", "arithmetic"), False),
        one("center", ("arithmetic", "arithmetic"), True),
        ChainValues(annotated(), False, None, False),
    )
    return Answered((True, True, False), chains)


def test_sums_leave_out_what_could_not_be_judged(found):
    assert found.totals.tolist() == [[2, 3], [2, 4], [1.5, 3], [3, 4]]
    assert Answered((), ()).totals.tolist() == [[0, 0]] * 4


def test_wandb_gets_bars_and_table_where_a_run_is_open(found, monkeypatch):
    logged = []
    monkeypatch.setattr(wandb, "run", None)
    log_panels(found, 3)
    run = SimpleNamespace(log=lambda row, commit: logged.append((row, commit)))
    monkeypatch.setattr(wandb, "run", run)
    log_panels(found, 3)
    ((row, commit),) = logged
    assert commit is False
    assert row["validation/by_rule"].columns[2:] == ["all", "arithmetic", "progression"]
    assert row["validation/by_rule"].data[0] == ["all", 4, 0.5, 0.5, 0.5]
    drawn = Image.open(io.BytesIO(bars(found, "step 3"))).convert("RGB")
    assert Image.open(row["validation/accuracy"]._path).convert("RGB").tobytes() == drawn.tobytes()
    assert drawn.tobytes() != Image.open(io.BytesIO(bars(found, "4"))).convert("RGB").tobytes()
    assert bars(Answered((), ()), "nothing") is None
