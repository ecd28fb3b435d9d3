"""Figures: what is averaged and drawn, and what happens without data."""

import io

import numpy as np
import pytest
from PIL import Image

from rl_avr.reporting import curves

CURVES = (
    curves.reward_curves,
    curves.spread_curves,
    curves.gap_curve,
    curves.length_curve,
    curves.entropy_curve,
)

ROWS = [
    {
        "step": step,
        "reward_std": 0.1,
        "rewards/choice/mean": step / 20,
        "rewards/total/mean": step / 40,
        "completions/mean_length": 100.0 + step,
        "entropy": 1 / (1 + step),
        "sampling/parity_gap": 1e-7,
    }
    for step in range(20)
]


def test_series_leaves_out_what_is_no_number():
    rows = [
        {"step": 1, "reward": 0.5},
        {"step": 2},
        {"step": 3, "reward": None},
        {"step": 4, "reward": float("nan")},
        {"step": 5, "reward": 1},
    ]
    steps, values = curves.series(rows, "reward")
    assert steps.tolist() == [1, 5]
    assert values.tolist() == [0.5, 1.0]


def test_moving_average_equals_the_plain_loop():
    values = np.random.default_rng(0).normal(size=30)
    for window in (1, 4, 30, 50):
        plain = [values[max(0, i - window + 1) : i + 1].mean() for i in range(30)]
        np.testing.assert_allclose(curves.moving_average(values, window), plain, atol=1e-12)


def test_moving_average_of_nothing_is_nothing():
    assert curves.moving_average(np.array([]), 3).tolist() == []


@pytest.mark.parametrize("draw", CURVES)
@pytest.mark.parametrize("rows", [[], [{"step": 1, "loss": 2.0}], [{"step": 1, "entropy": None}]])
def test_without_data_there_is_no_figure(draw, rows):
    assert draw(rows) is None


@pytest.mark.parametrize("draw", CURVES)
def test_same_rows_same_bytes_and_other_rows_other_bytes(draw):
    picture = draw(ROWS)
    assert picture == draw(list(ROWS))
    assert picture != draw(ROWS[:10])


def test_png_shows_the_line_in_its_colour():
    picture = Image.open(io.BytesIO(curves.entropy_curve(ROWS, "png"))).convert("RGB")
    blue = np.all(np.asarray(picture) == (0x00, 0x72, 0xB2), axis=-1)
    columns = np.flatnonzero(blue.any(axis=0))
    first_row = np.flatnonzero(blue[:, columns[0] + 2]).mean()
    last_row = np.flatnonzero(blue[:, columns[-1] - 2]).mean()
    assert first_row < last_row, "entropy falls, so its line must go down the picture"
    assert columns[-1] - columns[0] > picture.width / 2


def test_total_comes_from_trl_where_the_part_is_missing():
    rows = [{"step": s, "reward": s / 10} for s in range(5)]
    as_part = [{"step": s, "rewards/total/mean": s / 10} for s in range(5)]
    assert curves.reward_curves(rows) == curves.reward_curves(as_part)


def _bar_heights(results):
    picture = Image.open(io.BytesIO(curves.accuracy_bars(results, "png"))).convert("RGB")
    filled = np.all(np.asarray(picture) == (0x00, 0x72, 0xB2), axis=-1)
    return filled[:, filled.any(axis=0)].sum(axis=0).max()


def test_bars_are_as_high_as_the_value():
    def results(share):
        cell = {"value": share, "low": share, "high": share, "n": 10}
        return {"warm": {"perception": cell}, "grpo": {"perception": cell}}

    ratio = _bar_heights(results(0.8)) / _bar_heights(results(0.4))
    assert ratio == pytest.approx(2.0, rel=0.03)


def test_references_and_guessing_are_lines_of_their_own():
    results = {"warm": {"greedy": {"value": 0.5}, "perception": {"value": 0.5}}}
    plain = curves.accuracy_bars(results, chance=None).decode()
    shown = curves.accuracy_bars(results, chance=0.25, references=[("people", 0.8441)]).decode()
    num_lines = [page.count('id="LineCollection') for page in (plain, shown)]
    assert num_lines[1] == num_lines[0] + 2
    assert "people, 84%" in shown and "guessing" in shown and "guessing" not in plain


def test_a_reference_of_its_own_stands_over_each_bar_that_it_knows():
    cell = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 10}
    results = {"warm": dict.fromkeys(("left", "middle", "right"), cell)}

    def lines(shares):
        """Returns the columns of black dashes above half of the picture's height."""
        picture = curves.accuracy_bars(results, "png", None, [("people", shares)])
        rows = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
        return np.flatnonzero((rows[: len(rows) // 2] < 60)[40:].any(axis=0)) / rows.shape[1]

    left, both = lines({"left": 0.9}), lines({"left": 0.9, "right": 0.7})
    assert left.max() < 0.45 and both.max() > 0.75
    assert not ((both > 0.45) & (both < 0.6)).any()


@pytest.mark.parametrize(
    "results",
    [{}, {"warm": {}}, {"difference": {"greedy": {"value": 1.0}}}, {"warm": {"greedy": None}}],
)
def test_bars_need_a_value(results):
    assert curves.accuracy_bars(results) is None


def test_bars_survive_a_missing_interval_and_a_missing_metric():
    results = {"warm": {"greedy": {"value": 0.5}}, "grpo": {"perception": {"value": 1.0}}}
    assert curves.accuracy_bars(results).startswith(b"<?xml")
