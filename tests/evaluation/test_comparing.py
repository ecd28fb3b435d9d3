"""Tables of two folders of rows made by hand."""

import pytest

from rl_avr.errors import DataError
from rl_avr.evaluation.comparing import compare_runs


@pytest.fixture
def folders(tmp_path, row_of):
    """Two runs of eight problems: the second solves five more by its greedy chain."""
    made = []
    for name, num_right in (("warm", 1), ("grpo", 6)):
        rows = [row_of(f"p{i}", 0, (0, 1), greedy=0 if i < num_right else 1) for i in range(8)]
        probe = row_of("p0#x", 0, (0, 0), greedy=0, tags=(("probe", "x"), ("of", "p0")))
        (tmp_path / name).mkdir()
        lines = "".join(f"{row.to_json()}\n" for row in [*rows, probe])
        (tmp_path / name / "problems.jsonl").write_text(lines)
        made.append(tmp_path / name)
    return made


def test_the_table_has_the_tests_by_hand(folders, tmp_path):
    text = compare_runs(folders, tmp_path / "table.md")
    (line,) = [line for line in text.splitlines() if " greedy " in line]
    # five fair coins that all fall alike: 2 / 32
    assert line.split()[:4] == ["grpo", "greedy", "12.5%", "75.0%"]
    assert "+62.5" in line and "mcnemar" in line and "0.062" in line
    assert line.split()[-1] == "8"
    assert "| grpo | greedy | 12.5% | 75.0% |" in (tmp_path / "table.md").read_text()


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    with pytest.raises(DataError, match="two runs"):
        compare_runs(folders[:1])
    with pytest.raises(DataError, match="different folders"):
        compare_runs([folders[0], folders[0]])
    with pytest.raises(DataError, match="finished evaluation"):
        compare_runs([folders[0], tmp_path])


def test_a_row_that_a_run_is_writing_is_left_to_it(folders):
    rows = folders[1] / "problems.jsonl"
    expected = compare_runs(folders)
    rows.write_text(rows.read_text() + '{"prompt_id": "p')
    before = rows.read_bytes()
    assert compare_runs(folders) == expected
    assert rows.read_bytes() == before
