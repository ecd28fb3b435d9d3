"""The report of evaluations: numbers by hand, what is compared, what is escaped."""

import json
import struct
import zlib
from dataclasses import replace

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from rl_avr.errors import DataError
from rl_avr.evaluation.rows import ProblemRow, Sample
from rl_avr.pipeline.report import run_metrics
from rl_avr.pipeline.report_runs import heat_maps, p_text, write_reports


def chain(is_right, choice=1):
    return Sample("ok", choice, is_right, 10, {}, {}, {})


def rows_of(num_right, num=20, prefix="a"):
    """Of `num` problems, half of each configuration, the first `num_right` are right."""
    return [
        ProblemRow(
            f"{prefix}-{index}",
            (
                ("benchmark", "raven"),
                ("configuration", ("center_single", "<b>odd</b>")[index % 2]),
                ("rule", "constant"),
                *((("rule", "arithmetic"),) if index >= 10 else ()),
            ),
            1,
            4,
            chain(index < num_right),
            (chain(index < num_right), chain(False, 0)),
        )
        for index in range(num)
    ]


def evaluation(folder, rows):
    folder.mkdir()
    (folder / "problems.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    return folder


@pytest.fixture
def runs(tmp_path):
    """An evaluation with 2 of 20 right, and one with 16."""
    runs = [evaluation(tmp_path / n, rows_of(r)) for n, r in (("warm", 2), ("grpo", 16))]
    (runs[1] / "config.yaml").write_text("policy: {path: '<script>'}\n")
    (runs[1] / "versions.json").write_text(json.dumps({"torch": "2.9"}))
    return runs


def test_the_heat_map_by_hand():
    (heat,) = heat_maps("warm", rows_of(12))
    assert heat.rows == ("all", "<b>odd</b>", "center_single")
    assert heat.columns == ("all", "arithmetic", "constant")
    values = {pair: (cell["value"], cell["n"]) for pair, cell in heat.cells.items()}
    # of two sampled chains one is right in problems 0 to 11; arithmetic is in 10 to 19
    assert values["all", "all"] == (0.3, 20) == values["all", "constant"]
    assert values["all", "arithmetic"] == (0.1, 10)
    assert values["center_single", "arithmetic"] == (0.1, 5)
    assert heat.title == "warm: pass@1 by configuration and rule"


def test_problems_without_configurations_have_no_map(row_without_tags):
    assert heat_maps("warm", [row_without_tags]) == []


@pytest.fixture
def row_without_tags():
    return ProblemRow("a", (), 1, 4, chain(True))


def test_a_comparison_shows_numbers_tests_references_and_escapes(runs, tmp_path):
    out, markdown = tmp_path / "new" / "page.html", tmp_path / "tables.md"
    assert write_reports(runs, out, markdown) == [out, markdown]
    page, text = out.read_text(), markdown.read_text()
    assert "<strong>10.0%</strong>" in page and "<strong>80.0%</strong>" in page
    # 14 problems became right, none wrong: McNemar's exact p is 2 / 2**14
    assert "<strong>+70.0</strong>" in page and "&lt; 0.001" in page
    assert "blind guessing (25.0%)" in page and "People: 84.4%" in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page and "<b>odd" not in page
    assert "<script" not in page and "torch" in page and "http" not in page.replace("http-eq", "")
    assert "| greedy | 10.0% [2.8, 30.1] | 80.0% [58.4, 91.9] | 20 |" in text
    assert "| grpo | greedy | +70.0 [" in text and "people on raven: 84.4%" in text
    # three outcomes: right after, right both times, wrong both times; the first kind leads
    assert page.count('<section class="problem"') == 6
    first = page.partition('<section class="problem"')[2].partition("</section>")[0]
    assert 'class="chain wrong"' in first and 'class="chain right"' in first
    assert first.count(" open>") == 2


def test_people_stand_beside_each_configuration_and_beside_the_only_one(tmp_path):
    centers, grids = (
        [
            replace(row, tags=(("benchmark", "raven"), ("configuration", name)))
            for row in rows_of(5, prefix=name)
        ]
        for name in ("center_single", "distribute_nine")
    )
    (path,) = write_reports([evaluation(tmp_path / "both", centers + grids)])
    page = path.read_text()
    assert "Dashes: people, each configuration" in page and "People: 84.4%" in page
    assert page.count('<figure class="bars">') == 2
    (path,) = write_reports([evaluation(tmp_path / "center", centers)])
    page = path.read_text()
    assert "People: 95.5%" in page and page.count('<figure class="bars">') == 1


def test_splits_and_a_general_set_are_rows_of_the_table_and_no_bars(tmp_path):
    shifts = ("in_distribution", "harder")
    rows = [
        replace(row, tags=(*row.tags, ("shift", shifts[index % 2])))
        for index, row in enumerate(rows_of(5))
    ]
    rows += [replace(row, tags=(("probe", "retention"),)) for row in rows_of(20, prefix="b")]
    markdown = tmp_path / "tables.md"
    (path, _) = write_reports([evaluation(tmp_path / "run", rows)], markdown=markdown)
    text = markdown.read_text()
    # of two sampled chains one is right in problems 0, 2 and 4 of ten, and in 1 and 3
    for row in ("in distribution | 15.0%", "harder | 10.0%", "retention | 50.0%"):
        assert f"| pass@1, {row}" in text
    assert "pass@1, harder" in path.read_text()


def test_runs_of_different_problems_are_shown_without_tests(runs, tmp_path):
    other = evaluation(tmp_path / "other", rows_of(3, prefix="b"))
    (path,) = write_reports([runs[0], other], tmp_path / "page.html")
    page = path.read_text()
    assert "not the same problems" in page and "McNemar" not in page
    assert '<section class="problem"' not in page


def test_one_evaluation_beside_a_training_run(runs, tmp_path):
    training = tmp_path / "training"
    training.mkdir()
    lines = (json.dumps({"step": step, "reward": step / 9}) for step in range(1, 9))
    (training / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (path,) = write_reports([runs[0], training], tmp_path / "page.html")
    page = path.read_text()
    assert "Reward of training over the training steps" in page and "McNemar" not in page
    assert write_reports([runs[0]]) == [runs[0] / "report.html"]


def test_metrics_of_wandb_are_read_where_there_is_no_file_of_our_own(tmp_path):
    for name, step in (("offline-run-2", 1), ("offline-run-1", 1), ("offline-run-3", 2)):
        folder = tmp_path / "wandb" / name
        folder.mkdir(parents=True)
        record = Record()
        for key, value in (("train/global_step", step), ("train/reward", int(name[-1]))):
            record.history.item.add(nested_key=[key], value_json=str(value))
        raw = record.SerializeToString()
        head = struct.pack("<IHB", zlib.crc32(b"\x01" + raw), len(raw), 1)
        (folder / "run-x.wandb").write_bytes(b":W&B\0\0\0" + head + raw)
    assert [(row["step"], row["reward"]) for row in run_metrics(tmp_path)] == [(1, 2), (2, 3)]
    (path,) = write_reports([tmp_path], tmp_path / "page.html")
    assert "Reward, part by part" in path.read_text()


def test_a_training_run_alone_has_its_own_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n')
    (path,) = write_reports([tmp_path], tmp_path / "out" / "page.html")
    assert "Reward, part by part" in path.read_text()


def test_what_cannot_be_reported_is_refused(runs, tmp_path):
    with pytest.raises(DataError, match="expected --out PAGE"):
        write_reports(runs)
    with pytest.raises(DataError, match="expected different folders"):
        write_reports([runs[0], runs[0]], tmp_path / "page.html")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="found neither"):
        write_reports([runs[0], empty], tmp_path / "page.html")
    with pytest.raises(DataError, match="for tables in Markdown"):
        write_reports([empty], None, tmp_path / "tables.md")


def test_small_p_values_are_not_zero():
    assert p_text(1e-9) == "< 0.001"
