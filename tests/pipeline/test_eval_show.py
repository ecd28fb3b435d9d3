"""The page of an evaluation: what stands on it, what is escaped, what the filters leave."""

import base64
import io
import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from rewards.config import RewardConfig
from rewards.grader import Grader
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.elicitation.chains import gold_chain
from rl_avr.errors import DataError
from rl_avr.evaluation.benchmarks.config import LoadConfig
from rl_avr.evaluation.loaders import load_problems
from rl_avr.evaluation.probes import marked
from rl_avr.evaluation.results import read_rows
from rl_avr.evaluation.rows import ProblemRow, samples_of
from rl_avr.pipeline.eval_show import kind_of_chain, write_browser
from rl_avr.prompts import prompt_text
from rl_avr.puzzles.config import PuzzleConfig
from rl_avr.puzzles.sampler import sample_puzzle
from rollouts.recorder import append_groups

HOSTILE = "</script><script>document.title = 'run'</script><img src=x onerror=alert(1)>\x00"
CONFIGURATIONS = ("center_single", "distribute_four")


def texts_of(puzzle):
    """Gold; gold with a wrong letter; gold with wrong shapes; hostile; cut off."""
    gold = gold_chain(puzzle)
    letter = "ABCDEFGH"[(puzzle.answer_index + 1) % 8]
    head, mark, tail = gold.partition("### Answer: ")
    swapped = re.sub(r"(?m)\bcircle\b", "pentagon", re.sub(r"\btriangle\b", "circle", head))
    swapped = re.sub(r"\bsquare\b", "hexagon", swapped)
    return [gold, f"{head}{mark}{letter}", f"{swapped}{mark}{tail}", HOSTILE, head]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two problems with five chains each, and one that failed."""
    folder = tmp_path_factory.mktemp("runs") / "raven"
    rows = []
    for index, name in enumerate(CONFIGURATIONS):
        puzzle = sample_puzzle("held_out", index, 3, PuzzleConfig(mix={name: 1.0}))
        prompt = Prompt(f"{puzzle.puzzle_id}/cot", puzzle, "cot", prompt_text(puzzle, "cot"), ())
        said = tuple(
            Completion(text, (0,) * 9, (), "length" if place == 4 else "stop", 0)
            for place, text in enumerate(texts_of(puzzle))
        )
        with Grader(RewardConfig()) as grader:
            (graded,) = grader.grade([RolloutGroup(prompt, (), said)])
        append_groups(folder / "sampled.jsonl", [graded])
        tags = (("configuration", name), ("benchmark", "raven"))
        rows.append(
            ProblemRow(prompt.prompt_id, tags, puzzle.answer_index, 8, None, samples_of(graded))
        )
    tags = (("configuration", "center_single"), ("benchmark", "raven"))
    rows.append(ProblemRow("broken/cot", tags, 2, 8, error="its <image> is no image"))
    text = "".join(row.to_json() + "\n" for row in rows)
    (folder / "problems.jsonl").write_text(text + '{"half', encoding="utf-8")
    return folder


def page_of(folder, tmp_path, **changes):
    return write_browser(folder, out=tmp_path / "page.html", **{"num_chains": 5, **changes})


def test_every_kind_of_chain_is_named(folder):
    rows = read_rows(folder)
    expected = ["right", "wrong", "wrong_reason", "unparsable", "truncated"]
    assert [[kind_of_chain(s) for s in row.samples] for row in rows] == [expected, expected, []]


def test_the_page_shows_chains_claims_and_failures_and_runs_nothing_of_a_model(folder, tmp_path):
    page = page_of(folder, tmp_path).read_text()
    assert page.count('<section class="problem"') == 3
    assert page.count("data:image/png;base64,") == 2
    assert 'data-kinds="right wrong_reason wrong unparsable truncated"' in page
    assert 'data-kinds="failed"' in page and "its &lt;image&gt; is no image" in page
    # one script, the page's own
    assert page.count("<script") == 1 and "<img src=x" not in page and "⟨U+0000⟩" in page
    claims = re.findall(r'<span class="claim (\w+)">', page)[2:]
    assert claims.count("right") > 20 and claims.count("wrong") > 4


def test_a_page_of_fewer_problems_and_chains(folder, tmp_path):
    page = page_of(folder, tmp_path, num=2, num_chains=1).read_text()
    assert page.count('<section class="problem"') == 2 and "3 problems, 2 of them here" in page
    assert page.count('<details class="chain') == 2


def test_chains_that_were_not_recorded_are_said_to_be_so(folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(folder / "problems.jsonl", bare)
    assert page_of(bare, tmp_path).read_text().count("Its text was not recorded.") == 10


def test_images_are_those_that_the_policy_was_shown(tmp_path):
    place = tmp_path / "set" / "Json_data" / "7"
    place.mkdir(parents=True)
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), (1, 2, 3)).save(stream, "PNG")
    (place / "7.png").write_bytes(stream.getvalue())
    names = {"id": 7, "pattern": "Quantities", "task_configuration": "Two-row", "answer": 3}
    (place / "7_label.json").write_text(json.dumps(names | {"avr_question": "Which one?"}))
    (problem,) = load_problems("marvel", tmp_path / "set", LoadConfig())
    run = tmp_path / "run"
    run.mkdir()
    row = ProblemRow(problem.prompt.prompt_id, problem.tags, 2, 4, error="too long")
    (run / "problems.jsonl").write_text(row.to_json() + "\n")
    shown = base64.b64encode(problem.prompt.images[0]).decode()
    assert shown not in page_of(run, tmp_path).read_text()
    (run / "config.yaml").write_text(f"eval: {{benchmark: marvel, path: {tmp_path / 'set'}}}\n")
    assert shown in page_of(run, tmp_path).read_text()
    # one that goes on from its chain was shown the same
    begun = marked(problem, "truncated_chain", "0.5")
    row = ProblemRow(begun.prompt.prompt_id, begun.tags, 2, 4, error="too long")
    (run / "problems.jsonl").write_text(row.to_json() + "\n")
    assert shown in page_of(run, tmp_path).read_text()


def test_images_are_drawn_where_the_set_is_gone(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    (run / "config.yaml").write_text("eval: {benchmark: raven, path: /nowhere}\n")
    assert page_of(run, tmp_path).read_text().count("data:image/png;base64,") == 2


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"problems\.jsonl: expected the problems"):
        write_browser(tmp_path)
    (tmp_path / "problems.jsonl").write_text("")
    with pytest.raises(DataError, match=r"problems\.jsonl: expected the problems"):
        write_browser(tmp_path)
    (tmp_path / "problems.jsonl").write_bytes(b"\xff\xfe no text\n")
    with pytest.raises(DataError, match=r"problems\.jsonl: expected the problems .*got: 'utf-8'"):
        write_browser(tmp_path)


def dumped(page, fragment, tmp_path):
    """Returns the page as Chromium has it after its script ran."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"]
    flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
    flags += [f"user-data-dir={tmp_path / 'profile'}", "dump-dom"]
    command = [chromium, *(f"--{flag}" for flag in flags), f"file://{page}#{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def shown(dom):
    """Returns the kinds of the chains that a reader sees, problem by problem."""
    found = []
    for section in re.findall(r'(?s)<section class="problem"(.*?)</section>', dom):
        if ' hidden=""' not in section.partition(">")[0]:
            chains = re.findall(r'<details class="chain (\w+)"([^>]*)>', section)
            found.append([kind for kind, rest in chains if "hidden" not in rest])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", [["right", "wrong", "wrong_reason", "unparsable", "truncated"]] * 2 + [[]]),
        ("kind=wrong_reason", [["wrong_reason"]] * 2),
        ("kind=failed", [[]]),
        ("kind=truncated&tag-configuration=distribute_four", [["truncated"]]),
        ("text=IS+NO+IMAGE", [[]]),
        ("text=nowhere+to+be+found", []),
    ],
)
def test_the_filters_in_a_browser(folder, tmp_path, fragment, expected):
    dom = dumped(page_of(folder, tmp_path), fragment, tmp_path)
    assert shown(dom) == expected
    assert f"{len(expected)} of 3 shown" in dom and "<title>rl_avr: raven</title>" in dom
