"""Pass rates by puzzle and category: counts by hand, forgetting, files."""

import json

import pytest

from rl_avr.difficulty_record import DifficultyRecord
from rl_avr.errors import DataError


def test_rates_by_hand():
    record = DifficultyRecord()
    record.add("a", "grid", [1.0, 0.0, 0.0, 0.0])
    record.add("b", "grid", [1.0, 1.0])
    record.add("c", "single", [0.0])
    record.add("a", "grid", [1.0, 1.0, 1.0, 1.0])
    assert record.pass_rate("a") == 5 / 8
    assert record.pass_rate("c") == 0.0
    assert record.pass_rate_of("grid") == 7 / 10
    assert record.num_seen("a") == 8
    assert (record.puzzle_ids, record.categories) == (("a", "b", "c"), ("grid", "single"))


def test_what_was_never_seen_has_no_rate():
    record = DifficultyRecord()
    record.add("a", "grid", [None, None])
    record.add("b", "grid", [])
    assert record.pass_rate("a") is record.pass_rate_of("grid") is None
    assert record.num_seen("a") == 0
    record.add("a", "grid", [None, 1.0, 0.5])
    assert record.pass_rate("a") == 0.75


def test_forgetting_by_hand():
    """4 of 4, then 0 of 4 at a decay of one half: 2 of 2 + 4."""
    record = DifficultyRecord(decay=0.5)
    record.add("a", "grid", [1.0] * 4)
    record.add("a", "grid", [0.0] * 4)
    assert record.pass_rate("a") == pytest.approx(2 / 6)
    assert record.pass_rate_of("grid") == pytest.approx(2 / 6)


def test_a_saved_record_goes_on_as_if_it_had_not_been(tmp_path):
    whole, half = DifficultyRecord(0.75), DifficultyRecord(0.75)
    for step in range(6):
        if step == 3:
            half.save(tmp_path / "new" / "d.json")
            half = DifficultyRecord.load(tmp_path / "new" / "d.json")
        for record in (whole, half):
            record.add(f"p{step % 4}", "图形", [step / 10, 1.0])
    assert half.to_dict() == whole.to_dict()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.json"]


@pytest.mark.parametrize(
    "change",
    [{"puzzles": {"a": [3, 2]}}, {"puzzles": {"a": [0, 0]}}, {"puzzles": []}, {"decay": {}}],
)
def test_a_damaged_file_is_named(tmp_path, change):
    record = DifficultyRecord()
    record.add("a", "grid", [1.0])
    path = tmp_path / "d.json"
    path.write_text(json.dumps(record.to_dict() | change))
    with pytest.raises(DataError, match="d.json: expected a record of difficulty"):
        DifficultyRecord.load(path)
