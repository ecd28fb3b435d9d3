"""Figures of a run, as SVG or PNG.

Every function takes the rows of `read_metrics` (or the results of an evaluation) and
returns the bytes of one figure, or None where there is nothing to draw. The same rows
give the same bytes. Colours are those of Okabe and Ito, and every line and bar also
has its own dash or hatch, so that a figure can be read without colour.

Source: Color Universal Design (Okabe and Ito 2008), the palette.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_avr.metric_names import (
    COMPLETION_LENGTH,
    ENTROPY,
    PARITY_GAP,
    REWARD,
    REWARD_PARTS,
    REWARD_STD,
    ZERO_STD_SHARE,
    reward_part,
)
from rl_avr.reporting.tables import Results, is_number, metric_names, policy_names

Row = Mapping[str, Any]
FigureFormat = Literal["svg", "png"]
Dashes = Literal[":", "--", "-."]

CHANCE = 1 / 8
"""Share of right answers of a policy that draws one of the eight choices blindly."""

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_DASHES = ("-", "--", "-.", ":", "-")
_BARS = (("#B5D3E7", "//"), ("#0072B2", ""), ("#E69F00", ".."), ("#009E73", "xx"))
_WIDTH_IN, _HEIGHT_IN = 5.0, 2.9
_PNG_DPI = 160
_MOST_IN_A_LINE = 4
"""Names of metrics that fit side by side under the bars."""
_BREAK = re.compile(r"@|Grid$")
"""Where a name that does not fit goes on below."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "rl_avr",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
}


def series(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps at which a metric has a number, and the numbers.

    Rows without the name, or with null or NaN under it, are left out.

    >>> series([{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}], "loss")
    (array([1]), array([2.]))
    """
    found = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
    return (
        np.array([step for step, _ in found], dtype=int),
        np.array([value for _, value in found], dtype=float),
    )


def moving_average(values_S: np.ndarray, window: int) -> np.ndarray:
    """Returns, for each of S values, the mean of it and those up to `window` - 1 before.

    The first values have fewer before them, so the average starts at the first value
    and has S values. A window of 1 changes nothing.

    >>> moving_average(np.array([0.0, 1.0, 2.0, 6.0]), window=2)
    array([0. , 0.5, 1.5, 4. ])
    """
    totals_S = np.cumsum(values_S, dtype=float)
    totals_S[window:] = totals_S[window:] - totals_S[:-window]
    return totals_S / np.minimum(np.arange(1, len(values_S) + 1), window)


def reward_curves(rows: Sequence[Row], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws the mean of each reward part over the steps, with its moving average."""
    names = {reward_part(part): part for part in REWARD_PARTS}
    if not series(rows, reward_part("total"))[0].size:
        del names[reward_part("total")]
        names[REWARD] = "total"
    return _lines(rows, names, "mean reward", fmt)


def spread_curves(rows: Sequence[Row], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws how far rewards differ inside a group, and the share of groups without any spread."""
    names = {REWARD_STD: "reward spread", ZERO_STD_SHARE: "groups without spread"}
    return _lines(rows, names, "spread / share", fmt)


def gap_curve(rows: Sequence[Row], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws how far the log-probabilities of the sampling engine and of the policy differ."""
    return _lines(rows, {PARITY_GAP: "gap"}, "gap in log-probability, nats", fmt)


def length_curve(rows: Sequence[Row], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws the mean length of the completions."""
    return _lines(rows, {COMPLETION_LENGTH: "length"}, "length, tokens", fmt)


def entropy_curve(rows: Sequence[Row], fmt: FigureFormat = "svg") -> bytes | None:
    """Draws the policy's mean entropy over the tokens it sampled."""
    return _lines(rows, {ENTROPY: "entropy"}, "entropy, nats per token", fmt)


def accuracy_bars(
    results: Results,
    fmt: FigureFormat = "svg",
    chance: float | None = CHANCE,
    references: Sequence[tuple[str, float | Mapping[str, float]]] = (),
) -> bytes | None:
    """Draws every metric of every policy as a bar with its interval, in percent.

    Args:
        results: what was measured.
        fmt: of the figure.
        chance: share that blind guessing gets right, a dotted line under the metrics that count
            right answers; None draws none.
        references: name and share of others on the same problems, a line each there; or their
            shares by metric, each under its own.
    """
    metrics, policies = metric_names(results), policy_names(results)
    if not any(is_number(_field(results, p, m, "value")) for p in policies for m in metrics):
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        axes.grid(axis="x", visible=False)
        width = 0.8 / len(policies)
        for index, policy in enumerate(policies):
            centres = np.arange(len(metrics)) + (index - (len(policies) - 1) / 2) * width
            _draw_bars(axes, results, policy, centres, width, _BARS[index % len(_BARS)])
        if chance is not None:
            guesses = {name: guessed(name, chance) for name in metrics}
            _draw_level(axes, metrics, guesses, ":", "guessing")
        for index, (who, share) in enumerate(references):
            dashes: Dashes = "-." if index % 2 else "--"
            if isinstance(share, Mapping):
                _draw_level(axes, metrics, share, dashes, who)
            else:
                shares = dict.fromkeys(metrics, share)
                _draw_level(axes, metrics, shares, dashes, f"{who}, {share:.0%}")
        is_crowded = len(metrics) > _MOST_IN_A_LINE
        names = [_BREAK.sub(r"\n\g<0>", name) if is_crowded else name for name in metrics]
        size = "small" if is_crowded else "medium"
        axes.set_xticks(np.arange(len(metrics)), names, fontsize=size)
        axes.set_ylim(0, 108)
        axes.set_yticks(range(0, 101, 20))
        axes.set_ylabel("percent right")
        _legend(axes)
        return encode(figure, fmt)


def guessed(metric: str, chance: float) -> float:
    """Returns the share that blind guessing gets right: of pass@k, by one of k guesses.

    >>> guessed("greedy", 0.125), guessed("pass@1", 0.125), guessed("pass@2", 0.125)
    (0.125, 0.125, 0.234375)
    """
    name, _, num = metric.partition("@")
    return 1 - (1 - chance) ** int(num) if name == "pass" else chance


def _draw_level(
    axes: Axes, metrics: Sequence[str], shares: Mapping[str, float], dashes: Dashes, label: str
) -> None:
    """Draws shares as lines over the metrics that count right answers."""
    names = [name for name in shares if name not in ("perception", "rule")]
    counting = [i for i, name in enumerate(metrics) if name in names]
    if counting:
        left, right = [i - 0.45 for i in counting], [i + 0.45 for i in counting]
        heights = [100 * shares[metrics[i]] for i in counting]
        axes.hlines(heights, left, right, "#000000", linestyles=dashes, label=label)


def _draw_bars(
    axes: Axes,
    results: Results,
    policy: str,
    centres: np.ndarray,
    width: float,
    look: tuple[str, str],
) -> None:
    names = metric_names(results)
    value, low, high = (
        100 * np.array([_field(results, policy, name, end) for name in names], dtype=float)
        for end in ("value", "low", "high")
    )
    error = np.nan_to_num(np.clip([value - low, high - value], 0, None))
    axes.bar(
        centres,
        np.nan_to_num(value),
        width,
        yerr=error.tolist(),
        label=policy,
        color=look[0],
        hatch=look[1],
        edgecolor="#003B5C",
        error_kw={"capsize": 3, "elinewidth": 1.2},
    )
    for x, share, above in zip(centres, value, error[1], strict=True):
        if np.isfinite(share):
            axes.text(x, share + above + 1, f"{share:.0f}", ha="center", fontsize=9)


def _field(results: Results, policy: str, metric: str, name: str) -> float:
    number = (results[policy].get(metric) or {}).get(name)
    return float(number) if is_number(number) else np.nan


def _lines(
    rows: Sequence[Row], names: Mapping[str, str], ylabel: str, fmt: FigureFormat
) -> bytes | None:
    """Draws metrics over the steps: the values pale, their moving average bold."""
    lines = {label: series(rows, name) for name, label in names.items()}
    if not any(steps.size for steps, _ in lines.values()):
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas()
        for index, (label, (steps, values)) in enumerate(lines.items()):
            if steps.size == 0:
                continue
            color, dash = _COLORS[index % len(_COLORS)], _DASHES[index % len(_DASHES)]
            window = max(1, len(values) // 10)
            axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
            average = moving_average(values, window)
            marker = "o" if len(values) == 1 else ""
            axes.plot(steps, average, dash, color=color, linewidth=1.8, marker=marker, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        if len(lines) > 1:
            _legend(axes)
        return encode(figure, fmt)


def _canvas() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
    return figure, figure.add_subplot()


def _legend(axes: Axes) -> None:
    axes.figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def encode(figure: Figure, fmt: FigureFormat) -> bytes:
    """Returns a figure's bytes, the same ones every time."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if fmt == "svg" else {}
    figure.savefig(buffer, format=fmt, dpi=_PNG_DPI, metadata=metadata)
    return buffer.getvalue()
