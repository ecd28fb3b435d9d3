"""Tables of results: every cell by hand."""

import pytest

from rl_avr.reporting.tables import markdown_table, percent, points, results_table, table_cells

RESULTS = {
    "warm": {
        "pass@1": {"value": 0.412, "low": 0.3701, "high": 0.4549, "n": 500},
        "perception": {"value": None, "low": None, "high": None, "n": 0},
    },
    "grpo": {
        "pass@1": {"value": 0.63, "low": 0.588, "high": 0.672, "n": 500},
        "perception": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 499},
        "greedy": {"value": 0.6525, "low": None, "high": None, "n": 500},
    },
    "difference": {"pass@1": {"value": 0.218, "low": -0.0001, "high": 0.255, "n": 500}},
    "seconds": {"warm": 12.0},
}


def test_plain_table_by_hand():
    assert results_table(RESULTS).splitlines() == [
        "metric      warm                grpo                   difference           puzzles",
        "----------  ------------------  ---------------------  -------------------  -------",
        "pass@1      41.2% [37.0, 45.5]  63.0% [58.8, 67.2]     +21.8 [+0.0, +25.5]  500",
        "perception  n/a                 100.0% [100.0, 100.0]  n/a                  0/499",
        "greedy      n/a                 65.2%                  n/a                  500",
    ]


def test_markdown_table_by_hand():
    results = {"warm": {"greedy": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}}}
    assert markdown_table(results) == (
        "| metric | warm | puzzles |\n| --- | ---: | ---: |\n| greedy | 50.0% [25.0, 75.0] | 4 |"
    )


def test_plain_and_markdown_hold_the_same_cells():
    lines = markdown_table(RESULTS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0], *cells[2:]] == table_cells(RESULTS)
    assert all(len(row) == len(cells[0]) for row in cells)


@pytest.mark.parametrize("results", [{}, {"warm": {}, "grpo": {}}, {"seconds": {"warm": 1.0}}])
def test_without_metrics_the_header_stands_alone(results):
    assert len(table_cells(results)) == 1
    assert results_table(results).splitlines()[0].startswith("metric")


@pytest.mark.parametrize("cell", [None, {}, {"value": None}, {"value": float("nan"), "n": 3}])
def test_what_could_not_be_judged_is_not_a_zero(cell):
    assert percent(cell) == points(cell) == "n/a"


def test_differences_are_signed_in_points():
    assert points({"value": -0.05, "low": -0.1, "high": 0.0}) == "-5.0 [-10.0, +0.0]"
    assert points({"value": -0.00001}) == "+0.0"
