"""docs/reranker.md has every method and every score, and names settings that exist."""

import re
from pathlib import Path
from typing import get_args

from rl_avr.algo.voting import METHODS
from rl_avr.cli import COMMANDS
from rl_avr.inference.config import SCORES, Method
from rl_avr.settings import ChatSettings, RerankSettings, load_settings, settings_keys

TEXT = (Path(__file__).parents[2] / "docs" / "reranker.md").read_text(encoding="utf-8")


def first_cells(header):
    table = TEXT[TEXT.index(f"| {header} |") :].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.split("\n")[2:]]
    return [name for one in cells for name in re.findall(r"`(\w+)`", one)]


def test_every_method_and_every_score_has_a_row():
    assert sorted(first_cells("`rerank.method`")) == sorted(METHODS) == sorted(get_args(Method))
    assert sorted(first_cells("score")) == sorted(SCORES)


def test_the_settings_that_are_named_exist():
    keys = {**settings_keys(RerankSettings()), **settings_keys(ChatSettings())}
    named = re.findall(r"`((?:rerank|serve)\.\w+)`", TEXT)
    assert len(named) > 8
    assert [name for name in named if name not in keys] == []


def test_the_server_takes_the_file_of_the_reranker():
    file = Path(__file__).parents[2] / "configs" / "demo" / "rerank.yaml"
    both = [
        load_settings(kind, [file], [], COMMANDS[name].ignored).rerank
        for kind, name in ((RerankSettings, "rerank"), (ChatSettings, "serve"))
    ]
    assert both[0] == both[1]
    assert both[0].reference
