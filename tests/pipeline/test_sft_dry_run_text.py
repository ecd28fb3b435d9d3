"""The text of a dry run of SFT: shares, steps and tokens by hand."""

import re

import numpy as np
import pytest

from rl_avr.pipeline.memory_use import MemoryRow
from rl_avr.pipeline.sft_dry_run_text import KindTokens, Seen, dry_run_text, summary
from rl_avr.reporting.conversations import Piece, ShownConversation

SAMPLE = ShownConversation(
    "row 3", "chain", (Piece("why? ", False), Piece("so", True)), (), 9, 0, 4
)


@pytest.fixture
def seen():
    return Seen(
        stage="reasoning",
        wanted={"chain": 0.75, "perception": 0.25},
        got={"chain": 3, "perception": 1},
        tokens={
            "chain": KindTokens((100, 200, 600), (50, 60, 70)),
            "perception": KindTokens((40,), (10,)),
        },
        num_steps=2,
        batch_size=2,
        num_epochs=0.5,
        num_parameters=1000,
        num_trained=250,
        parts=["connector", "vision_tower"],
        samples=[SAMPLE],
        way="conversations are packed",
        validation="none",
        memory=[MemoryRow("weights", 3 * 2**20, "counted"), MemoryRow("peak", None, "unknown")],
    )


def cells(text, title):
    body = text.split(f"\n{title}\n")[1].split("\n\n")[0]
    return [re.split(r" {2,}", line.strip()) for line in body.splitlines()[1:]]


def test_the_numbers_are_those_of_the_run(seen):
    text = dry_run_text(seen)
    assert text.startswith("dry run: nothing is trained\n")
    assert cells(text, "Mixture") == [
        ["chain", "75.0%", "75.0%", "3"],
        ["perception", "25.0%", "25.0%", "1"],
    ]
    assert "4 conversations in 2 steps of 2 on this one process; 0.50 passes" in text
    assert "connector, vision_tower trained, 250 of 1,000 numbers (25.0%)" in text
    tokens = cells(text, "Tokens")
    assert tokens[0] == ["chain", "3", "100", "200", "600", "60"]
    assert tokens[1] == ["perception", "1", "40", "40", "40", "10"]
    # 100 + 200 + 600 + 40 and 50 + 60 + 70 + 10
    assert tokens[2] == ["in all 940 tokens, 190 of them trained on (20.2%); 470 a step"]
    assert cells(text, "Memory of this process") == [
        ["weights", "3.0", "counted"],
        ["peak", "—", "unknown"],
    ]
    assert "  1. row 3: 9 tokens, 0 of them images', 4 trained on\n    why? ⟦so⟧" in text


def test_tokens_of_conversations_that_were_not_read_are_estimated(seen):
    seen.got["chain"] = 30
    # 10 x 900 + 40 and 10 x 180 + 10
    assert "estimate for the run: 9,040 tokens, 1,810 of them" in dry_run_text(seen)


def test_a_kind_that_is_asked_for_and_not_there_has_a_line(seen):
    seen.wanted["replay"] = 0.1
    assert ["replay", "10.0%", "0.0%", "0"] in cells(dry_run_text(seen), "Mixture")


def test_the_summary_has_all_but_the_samples(seen):
    assert "row 3" not in summary(seen)
    assert summary(seen).startswith("Mixture\n") and "Memory of this process" in summary(seen)


def test_samples_are_of_all_kinds_in_turn():
    from rl_avr.pipeline.sft_dry_run import in_turn

    kind_N = np.array(["chain"] * 5 + ["replay", "direct", "replay"])
    assert in_turn(kind_N, 3) == [0, 5, 6]
    assert in_turn(kind_N, 5) == [0, 1, 5, 6, 7]
    assert in_turn(kind_N, 99) == list(range(8))
