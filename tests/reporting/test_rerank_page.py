"""The page of methods: what its words claim, and that it needs nothing beside itself."""

import json
import xml.etree.ElementTree as ET

import pytest

from rl_avr import cli
from rl_avr.evaluation.pools import RERANKED
from rl_avr.reporting.rerank_page import (
    MethodPoint,
    PolicyStudy,
    difference_cells,
    markdown,
    method_curves,
    render_rerank,
    table_cells,
    verdict,
)


def cell(value, spread=0.05):
    return {"value": value, "low": value - spread, "high": value + spread, "n": 200}


def point(name, group, n, value, difference, p_holm):
    return MethodPoint(name, group, n, cell(value), cell(difference), p_holm, (difference, 0.0))


@pytest.fixture
def study():
    points = [
        point(name, group, n, base + gain * n / 4, gain * n / 4, p if n == 4 else 1.0)
        for name, group, base, gain, p in (
            ("majority", "", 0.5, 0.0, 1.0),
            ("softmax <b>", "votes", 0.5, 0.2, 0.01),
            ("raw", "votes", 0.5, -0.2, 0.02),
            ("rank", "best of N", 0.5, 0.1, 0.3),
            ("pass@N", "", 0.5, 0.4, 1.0),
        )
        for n in (1, 2, 4)
    ]
    return PolicyStudy("dpo & <i>", "200 puzzles, 2 seeds, 4 chains a pool.", tuple(points))


def test_the_words_name_only_sure_differences(study):
    assert verdict(study) == (
        "With 4 chains: majority 50.0% [45.0, 55.0], pass@N 90.0% [85.0, 95.0]. Better than the "
        "majority vote, with p < 0.05 after Holm's correction: softmax <b>. Worse: raw. The others "
        "cannot be told from it by these puzzles."
    )


def test_the_tables_star_them(study):
    header, *rows = table_cells(study)
    assert header == ["method", "N = 1", "N = 2", "N = 4"]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["softmax <b>"][-1] == "70.0% [65.0, 75.0]*"
    assert by_name["rank"][-1] == "60.0% [55.0, 65.0]"
    assert "*" not in by_name["softmax <b>"][1]
    differences = difference_cells(study)
    assert ["raw", "4", "-20.0 [-25.0, -15.0]", "0.02", "-20.0, +0.0"] in differences
    assert {row[0] for row in differences[1:]} == {"softmax <b>", "raw", "rank"}
    text = markdown([study])
    assert text.count("| --- |") == 2
    assert verdict(study) in text


def test_the_pictures_hold_their_group_and_both_bounds(study):
    for group, names in (("votes", {"softmax <b>", "raw"}), ("best of N", {"rank"})):
        svg = method_curves(study, group)
        assert svg == method_curves(study, group)
        comments = ET.tostring(ET.fromstring(svg), encoding="unicode", method="text")
        assert svg.count(b"legend_1") == 1
        assert comments is not None
        drawn = {name for name in ("softmax <b>", "raw", "rank") if _has_text(svg, name)}
        assert drawn == names
        assert _has_text(svg, "majority")
        assert _has_text(svg, "pass@N")


def _has_text(svg, name):
    """matplotlib writes each text as paths, with the words in a comment before them."""
    escaped = name.replace("<", "&lt;").replace(">", "&gt;")
    return any(f"<!-- {one} -->".encode() in svg for one in (name, escaped))


def test_the_page_stands_alone_and_escapes_names(study):
    page = render_rerank("Title <x>", [study])
    assert "<i>" not in page and "<x>" not in page
    assert "dpo &amp; &lt;i&gt;" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")


@pytest.fixture
def folders(tmp_path):
    made = []
    for seed in range(2):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        lines = []
        for index in range(5):
            answers = ["A", "B", "A", "A"] if (index + seed) % 2 else ["B", "B", "A", None]
            record = {
                "prompt_id": f"{index}/cot",
                "puzzle_id": str(index),
                "answer": "A",
                "distribution": {"A": 1.0},
                "winner_index": 0,
                "answers": answers,
                "right": [answer == "A" for answer in answers],
                "scores": {"agreement": [1.0, 0.0, 1.0, 0.0]},
                "num_tokens": [1] * 4,
                "texts": [""] * 4,
                "is_right": True,
            }
            lines.append(json.dumps(record))
        (folder / RERANKED).write_text("\n".join(lines) + "\n")
        made.append(str(folder))
    return made


def test_the_command_writes_page_and_tables(folders, tmp_path, capsys):
    out, tables = tmp_path / "page.html", tmp_path / "tables.md"
    words = ["rerank", "study", "--policy", "mine", *folders, "--out", str(out)]
    assert cli.main([*words, "--markdown", str(tables)]) == 0
    assert "5 puzzles, 2 seeds, 4 chains a pool." in out.read_text()
    assert "## mine" in tables.read_text()
    assert f"written: {out}" in capsys.readouterr().out
    assert cli.main(["rerank", "study", "--policy", "mine", "--out", str(out)]) == 2
    assert "expected NAME FOLDER" in capsys.readouterr().err
    assert cli.main(["rerank", "study", "--policy", "x", "absent", "--out", str(out)]) == 2
    assert "expected what `rl-avr rerank` writes" in capsys.readouterr().err
