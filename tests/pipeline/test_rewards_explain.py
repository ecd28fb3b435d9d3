"""`rl-avr rewards explain`: which completion it finds, and what a terminal and a page get."""

import io
import re
import sys

import pytest

from rewards.composition import grade
from rewards.config import RewardConfig
from rl_avr.contracts import Completion, Prompt, RolloutGroup
from rl_avr.errors import ConfigError, DataError
from rl_avr.pipeline.rewards_explain import Asked, explain_completion
from rl_avr.puzzles.config import RenderConfig
from rl_avr.training.puzzle_data import write_puzzles
from rollouts.recorder import append_groups


@pytest.fixture
def rollouts(tmp_path, puzzle, chain, grid, grid_chain):
    def group(puzzle, *texts):
        prompt = Prompt(f"{puzzle.puzzle_id}/cot", puzzle, "cot", "Which?", ())
        completions = tuple(Completion(t, (1,), (), "stop", 0) for t in texts)
        return grade(RolloutGroup(prompt, (), completions), RewardConfig())

    path = tmp_path / "run" / "rollouts" / "rank0.jsonl"
    wrong = chain.replace("Answer: C", "Answer: D").replace("Type: square", "Type: circle")
    append_groups(path, [group(puzzle, chain, wrong), group(grid, grid_chain, grid_chain)])
    return path


@pytest.fixture
def data(tmp_path, puzzle, grid):
    write_puzzles([puzzle, grid], tmp_path / "set" / "held_out.parquet", RenderConfig())
    return tmp_path / "set"


def test_the_first_completion_is_shown_by_default(rollouts):
    text = explain_completion(Asked(rollouts=rollouts))
    assert text.startswith(f"by-hand/cot\nCenter. Completion 0 of 2 in {rollouts}, line 1. ")
    assert "The outcomes of its group of 2 differ, so the group counts." in text
    assert "total   1.00\nanswer  C is right\nstatus  ok: every section" in text
    assert "choice B        B: hexagon✓ yes✓, 3✓ no✓\n" in text
    assert "Wrong or said again" not in text and "\x1b" not in text


def test_wrong_claims_are_marked_and_listed(rollouts):
    text = explain_completion(Asked(rollouts=rollouts, prompt_id="by-hand/cot", index=1))
    assert "answer  D is not right; right is C" in text
    assert "type            Type: circle✗ square✓ square✓ | circle✓" in text
    assert "\n  panel 1, type: circle; it is square\n  answer: D; right is C\n" in text
    assert "gate: choice. The answer is not right, so the other parts count as 0." in text


def test_a_runs_folder_and_a_later_prompt(rollouts):
    text = explain_completion(Asked(rollouts=rollouts.parents[1], prompt_id="grid-by-hand/cot"))
    assert text.startswith("grid-by-hand/cot\n2x2Grid. Completion 0 of 2")
    assert "are all the same, so no advantage comes of it." in text


def test_a_text_of_ones_own(data, tmp_path, grid_chain, monkeypatch):
    (tmp_path / "mine.txt").write_text(grid_chain + "\n", encoding="utf-8")
    asked = Asked(puzzle=data, puzzle_id="grid-by-hand", text=str(tmp_path / "mine.txt"))
    page = tmp_path / "new" / "page.html"
    text = explain_completion(asked, html=page)
    assert "answer  B is right\nstatus  ok" in text and "mine.txt." in text
    assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 1

    stdin = io.TextIOWrapper(io.BytesIO(b"C"))
    monkeypatch.setattr(sys, "stdin", stdin)
    text = explain_completion(Asked(puzzle=data, text="-", kind="direct"))
    assert text.startswith("by-hand/direct\n") and "answer  C is right" in text


def test_the_config_decides(rollouts, tmp_path):
    (tmp_path / "c.yaml").write_text("rewards:\n  gate: stream\n  rule: 0.5\n")
    text = explain_completion(Asked(rollouts=rollouts, index=1), tmp_path / "c.yaml")
    assert "gate: stream." in text and re.search(r"rule +1\.00 +0\.5 +1\.00\n", text)


def test_colors_only_on_a_terminal_that_wants_them(rollouts, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored = explain_completion(Asked(rollouts=rollouts, index=1))
    assert "\x1b[1;4;31mcircle\x1b[0m✗" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in explain_completion(Asked(rollouts=rollouts, index=1))


@pytest.mark.parametrize(
    "given", [{}, {"puzzle": "."}, {"text": "a"}, {"rollouts": ".", "text": "a"}]
)
def test_arguments_that_name_no_completion_are_refused(given):
    with pytest.raises(ConfigError, match="expected either a file of rollouts, or --puzzle"):
        explain_completion(Asked(**given))


def test_what_is_not_there_is_named(rollouts, data, tmp_path):
    with pytest.raises(DataError, match="--index: expected 0 to 1, because prompt by-hand/cot"):
        explain_completion(Asked(rollouts=rollouts, index=2))
    with pytest.raises(DataError, match="no prompt 'by-hnd/cot' among 2; nearest: by-hand/cot"):
        explain_completion(Asked(rollouts=rollouts, prompt_id="by-hnd/cot"))
    with pytest.raises(DataError, match="no puzzle 'by-hnd' among 2; nearest: by-hand"):
        explain_completion(Asked(puzzle=data, puzzle_id="by-hnd", text=str(rollouts)))
    with pytest.raises(DataError, match="--text none.txt: expected a text file in UTF-8"):
        explain_completion(Asked(puzzle=data, text="none.txt"))
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    with pytest.raises(DataError, match="latin.txt: expected a text file in UTF-8"):
        explain_completion(Asked(puzzle=data, text=str(tmp_path / "latin.txt")))
