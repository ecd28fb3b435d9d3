import xml.etree.ElementTree as ET
from dataclasses import replace

from rl_avr.reporting.ablation import (
    ArmRow,
    ArmTable,
    SeedCell,
    arm_bars,
    markdown,
    render_ablation,
)

FIRST = ArmRow(
    title="grid order",
    right={"value": 0.4, "low": 0.3, "high": 0.5, "n": 3},
    chance=0.2,
    is_informative=True,
    place=2,
    by_seed=None,
    by_puzzle=None,
    paper=40,
    verdict="",
    each_seed=(SeedCell(0, 0.3, False), SeedCell(1, 0.5, False)),
    trained_tokens=12345.6,
    last_loss=0.5,
    minutes=4.25,
)
SECOND = replace(
    FIRST,
    title="shuffled <b>",
    right={"value": 0.8, "low": 0.7, "high": 0.9, "n": 3},
    place=1,
    by_seed={"value": 0.4, "low": 0.1, "high": 0.7},
    by_puzzle={"value": 0.4, "low": 0.38, "high": 0.42},
    paper=82,
    verdict="as in the paper",
)
BLIND = replace(
    FIRST,
    title="blind",
    is_informative=False,
    place=None,
    each_seed=(SeedCell(0, 0.2, True), SeedCell(2, 0.6, False)),
    last_loss=None,
    paper=None,
)
TABLE = ArmTable("Order of the questions", "The paper: 40 and 82.", (FIRST, SECOND, BLIND))


def test_the_markdown_has_the_paper_s_numbers_beside_ours():
    text = markdown([TABLE])
    lines = text.splitlines()
    assert lines[0] == "**Order of the questions** The paper: 40 and 82."
    assert lines[5] == (
        "| shuffled <b> | 1 | 80.0% [70.0, 90.0] | +40.0 [+10.0, +70.0] | +40.0 [+38.0, +42.0] "
        "| 30.0%, 50.0% | 20.0% | 82% | as in the paper | 12,346 | 0.50 | 4.2 |"
    )
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_an_arm_at_chance_is_called_uninformative_and_has_no_place():
    line = markdown([TABLE]).splitlines()[6]
    assert line.startswith("| blind | uninformative | 40.0% [30.0, 50.0] |")
    assert "| 20.0%*, 60.0% | 20.0% |  |  | 12,346 |" in line


def test_the_picture_has_a_bar_for_each_arm_and_another_color_for_one_at_chance():
    image = arm_bars([TABLE])
    assert image == arm_bars([TABLE])
    text = image.decode()
    ET.fromstring(text)
    assert (text.count("#0072b2"), text.count("#c9c9c9")) == (2, 1)
    assert text.count("#d55e00") >= 1
    without = replace(TABLE, rows=tuple(replace(row, each_seed=()) for row in TABLE.rows))
    assert arm_bars([without]) != image
    assert arm_bars([]) is None
    assert arm_bars([ArmTable("nothing yet", "", ())]) is None


def test_the_page_escapes_titles_and_needs_nothing_else():
    page = render_ablation("Ideas", [TABLE, ArmTable("nothing yet", "", ())], ["a note"])
    assert "shuffled &lt;b&gt;" in page
    assert "a note" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "data:image/svg+xml;base64," in page
