"""Figures: one idea each, colour-blind-safe, the same colour for the same thing in every lab; no computing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from helpers.visualization.labels import HALO, draw_levels, entitle, label_apart, literally
from helpers.visualization.palette import BLUE, GREEN, PALE, PINK, RED, SERIES, colour_of, ink

# What a logarithmic axis spans at most (highest by lowest) -> where it has numbers in each power of ten.
LOG_STEPS = {50: (1, 1.5, 2, 3, 5, 7), 1000: (1, 2, 5)}
NARROW = 3  # an axis that spans less has equal steps: of those above, it may hold a single number or none


class PlainNumbers(LogFormatter):
    """Numbers of a logarithmic axis as one writes them: 0.02, not 2 × 10⁻²."""

    def __call__(self, value, place=None):
        """The text at a tick: all its digits, but for the last few of a float, where 0.15 is 0.15000000000000002."""
        return np.format_float_positional(value, precision=12, fractional=False, trim="-")


def number_plainly(axis):
    """Plain numbers along a logarithmic axis on which all is drawn, the fewer to a power of ten the more it spans; at
    least two of them.
    """
    low, high = axis.get_view_interval()
    if high < NARROW * low:
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        steps = next((steps for span, steps in LOG_STEPS.items() if high < span * low), (1,))
        axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(PlainNumbers())
    axis.set_minor_formatter(NullFormatter())


def bare(axes):
    """The axes without the frame's upper and right side."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def finished(figure, axes, xlabel, ylabel="", title=""):
    """A figure of one panel with its labels and title; closed, since a notebook would show an open one twice."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    entitle(figure, title)
    bare(axes)
    plt.close(figure)
    return figure


def draw_seeds(axes, x, y, colour: str, offset: tuple[float, float] = (0, 0)):
    """Small dots for single seeds, beside the interval of all; x, y: a number a dot; offset: points from there."""
    if len(x):
        moved = axes.transData + ScaledTranslation(offset[0] / 72, offset[1] / 72, axes.figure.dpi_scale_trans)
        axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.5, markeredgewidth=0, transform=moved)


def with_seeds(label: str, seeds) -> str:
    """An axis' label that also says what the small dots are, where there are some."""
    return f"{label}\n(small dots: one seed each)" if seeds else label


def plot_intervals(intervals: Mapping, xlabel: str, title: str = "", seeds: Mapping | None = None) -> Figure:
    """Means with their intervals, one row a name, from top to bottom in the given order.

    Args:
        intervals: name -> `Interval`; title: what to see.
        seeds: name -> means of its single seeds, drawn as small dots under the interval.
    Raises:
        ValueError: no intervals.
    """
    if not intervals:
        raise ValueError("intervals: the mapping is empty; give at least one name with its interval")
    figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(intervals) + 1.1), layout="constrained")
    for row, (name, interval) in enumerate(intervals.items()):
        axes.plot([interval.low, interval.high], [row, row], color=colour_of(name), linewidth=3, solid_capstyle="round")
        axes.plot(interval.estimate, row, "o", color=colour_of(name), markersize=8)
        axes.annotate(
            f"{interval.estimate:.2f}",
            (interval.high, row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=ink(colour_of(name)),
        )
        means = (seeds or {}).get(name, ())
        draw_seeds(axes, means, [row] * len(means), colour_of(name), (0, -8))
    axes.set_yticks(range(len(intervals)), list(map(literally, intervals)))
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.margins(x=0.12)
    if all(interval.low >= 0 for interval in intervals.values()):  # differences may lie below zero
        axes.set_xlim(left=0)
    return finished(figure, axes, with_seeds(xlabel, seeds), title=title)


def percent(share: float) -> str:
    """A probability as percent; one that is not 0 never looks like it."""
    return "0" if share == 0 else "<0.1%" if share < 0.001 else f"{share:.1%}"


def plot_next_token(rows: Sequence[Mapping], title: str = "") -> Figure:
    """The likeliest next tokens: grey what the model says, coloured what is left to draw from.

    Args:
        rows: dicts with token, original, final, in_top_k, in_top_p, as `TokenDistribution.rows` gives them, best first.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.3 * len(rows) + 1.2), layout="constrained")
    places = range(len(rows))
    axes.barh([place - 0.18 for place in places], [row["original"] for row in rows], height=0.34, color=PALE)
    axes.barh([place + 0.18 for place in places], [row["final"] for row in rows], height=0.34, color=BLUE)
    for place, row in enumerate(rows):
        fate = f"{percent(row['original'])} → {percent(row['final'])}"
        if not (row["in_top_k"] and row["in_top_p"]):
            fate = f"{percent(row['original'])}, cut by {'top-p' if row['in_top_k'] else 'top-k'}"
        axes.annotate(
            fate,
            (max(row["original"], row["final"]), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=BLUE if row["in_top_p"] else RED,
        )
    axes.set_yticks(list(places), [literally(row["token"].replace("▁", "␣").replace("\n", "⏎")) for row in rows])
    axes.invert_yaxis()
    most = max([1e-6, *(max(row["original"], row["final"]) for row in rows)])
    axes.set_xlim(0, most * 1.3)  # room for the words
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= min(1.0, most * 1.05)])
    return finished(
        figure,
        axes,
        "probability of the next token",
        title=title,
    )


def plot_against(
    x: Sequence[float],
    panels: Mapping,
    xlabel: str,
    greedy: Mapping | None = None,
    title: str = "",
    seeds: Mapping | None = None,
) -> Figure:
    """Several quantities against one parameter, one panel each, with their intervals as bands.

    Args:
        panels: name -> list of `Interval`, one for each x; or list of numbers, drawn without a band.
        greedy: name -> number: a dashed line for comparison; title: what to see.
        seeds: name -> for each x, the means of its single seeds, drawn as small dots.
    """
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(3.9 * len(panels), 3.1), layout="constrained", squeeze=False
    )
    for axes, (name, series), colour in zip(all_axes[0], panels.items(), (BLUE, RED, GREEN, PINK)):
        means = [getattr(value, "estimate", value) for value in series]
        axes.plot(x, means, "o-", color=colour)
        if hasattr(series[0], "low"):
            axes.fill_between(
                x, [value.low for value in series], [value.high for value in series], color=colour, alpha=0.2
            )
        for place, means in zip(x, (seeds or {}).get(name, ())):
            draw_seeds(axes, [place] * len(means), means, colour, (-6, 0))
        axes.set_xlabel(with_seeds(xlabel, name in (seeds or {})))
        axes.set_ylabel(name)
        bare(axes)
    entitle(figure, title)
    for axes, name in zip(all_axes[0], panels):
        draw_levels(figure, axes, {"greedy": greedy[name]} if name in (greedy or {}) else None)
    plt.close(figure)
    return figure


def plot_window(lengths: Sequence[int], window: int, title: str = "") -> Figure:
    """Tokens of a prompt against the number of exemplars in it, with the window as a line.

    Args:
        lengths: tokens with 0, 1, 2, … exemplars; window: tokens that fit; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    axes.bar(range(len(lengths)), lengths, color=[BLUE if length <= window else RED for length in lengths])
    axes.axhline(window, color="black", linestyle="--", linewidth=1)
    axes.annotate(
        f"window: {window} tokens", (0, window), xytext=(-25, 4), textcoords="offset points", path_effects=HALO
    )
    axes.set_xticks(range(len(lengths)))
    return finished(figure, axes, "exemplars in the prompt (red: does not fit)", "tokens", title)


def plot_samples(
    estimates: Sequence[float], truth, xlabel: str, title: str = "", name: str = "all test dialogues"
) -> Figure:
    """A histogram of what many small samples say, and the interval of the whole test set.

    Args:
        estimates: one number a sample; truth: `Interval` of all rows, and its name; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    low, high = np.percentile(estimates, (0.5, 99.5))
    if np.ptp(estimates) < 2 * (high - low):  # else a few far ones would squeeze all others
        low, high = min(estimates), max(estimates)
    low, high = min(low, truth.low), max(high, truth.high)
    beyond = sum(not low <= each <= high for each in estimates)
    axes.hist(np.clip(estimates, low, high), bins=30, color=PALE)
    axes.axvspan(truth.low, truth.high, color=BLUE, alpha=0.35)
    axes.axvline(truth.estimate, color=BLUE)
    above = {"xycoords": ("data", "axes fraction"), "xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
    axes.annotate(name, (truth.estimate, 1), color=BLUE, **above)
    xlabel += f" ({beyond} lie beyond the ends)" if beyond else ""
    return finished(figure, axes, xlabel, "count", title)


def plot_tradeoff(
    points: Mapping,
    xlabel: str,
    ylabel: str,
    lines: Mapping | None = None,
    title: str = "",
    seeds: Mapping | None = None,
) -> Figure:
    """Two qualities against each other: a dot with the intervals of both for each name.

    Args:
        points: name -> (`Interval` along x, `Interval` along y); title: what to see.
        lines: name -> names of points that belong together, joined in this order by a thin line.
        seeds: name -> (means along x, means along y) of its single seeds, drawn as small dots.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for name, (x, y) in points.items():
        colour = colour_of(name)
        axes.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=1, alpha=0.5)
        axes.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=1, alpha=0.5)
        axes.plot(x.estimate, y.estimate, "o", color=colour, markersize=7)
        draw_seeds(axes, *(seeds or {}).get(name, ((), ())), colour)
    for name, members in (lines or {}).items():
        axes.plot(
            [points[member][0].estimate for member in members],
            [points[member][1].estimate for member in members],
            color=colour_of(name),
            linewidth=1,
            linestyle=":",
        )
    axes.margins(x=0.16, y=0.14)
    finished(figure, axes, with_seeds(xlabel, seeds), ylabel, title)
    label_apart(figure, axes, {name: (x.estimate, y.estimate) for name, (x, y) in points.items()})
    return figure


def plot_grid(rows: Mapping, xlabel: str, title: str = "") -> Figure:
    """Numbers in a grid, the darker the larger, with the number in each cell; rows may be of different length.

    Args:
        rows: name -> list of numbers from 0 on, one for each column.
    """
    width, most = max(map(len, rows.values())), max(max(values) for values in rows.values())
    figure, axes = plt.subplots(figsize=(max(7.5, 0.45 * width + 1.5), 0.34 * len(rows) + 1.0), layout="constrained")
    axes.imshow(
        [[*values, *[float("nan")] * (width - len(values))] for values in rows.values()],
        cmap="Blues",
        vmin=0,
        vmax=most,
        aspect="auto",
    )
    for row, values in enumerate(rows.values()):
        for column, value in enumerate(values):
            axes.annotate(
                f"{value:.2g}",
                (column, row),
                ha="center",
                va="center",
                color="white" if value > most / 2 else "black",
            )
    axes.set_yticks(range(len(rows)), list(map(literally, rows)))
    axes.set_xticks(range(width))
    return finished(figure, axes, xlabel, title=title)


def plot_prices(
    prices: Mapping,
    xlabel: str,
    ylabel: str,
    level: Mapping | None = None,
    title: str = "",
    seeds: Mapping | None = None,
) -> Figure:
    """What quality costs: one dot with its interval for each method, the price on a logarithmic axis.

    Args:
        prices: name -> (price above 0, `Interval` of the quality); title: what to see.
        level: name -> number: dashed lines for comparison, such as the model before training.
        seeds: name -> means of its single seeds, drawn as small dots to the left of the interval.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    axes.set_xscale("log")
    for name, (price, interval) in prices.items():
        colour, means = colour_of(name), (seeds or {}).get(name, ())
        axes.plot([price] * 2, [interval.low, interval.high], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(price, interval.estimate, "o", color=colour, markersize=8)
        draw_seeds(axes, [price] * len(means), means, colour, (-8, 0))
    axes.margins(x=0.2)
    number_plainly(axes.xaxis)
    finished(figure, axes, with_seeds(xlabel, seeds), ylabel, title)
    draw_levels(figure, axes, level)  # first, because it changes the axis on which the names find their places
    label_apart(figure, axes, {name: (price, interval.estimate) for name, (price, interval) in prices.items()})
    return figure


def plot_reliability(ways: Mapping, title: str = "") -> Figure:
    """How often answers are right against how sure the model was; on the dashed line it is as sure as it should be.

    Args:
        ways: name -> bins, as `helpers.evaluation.reliability` gives them; at most six names; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1)
    colours = dict(zip(ways, SERIES))
    for name, bins in ways.items():
        places = [each.confidence for each in bins]
        axes.plot(places, [each.accuracy.estimate for each in bins], "o-", color=colours[name], label=literally(name))
        axes.vlines(
            places,
            [each.accuracy.low for each in bins],
            [each.accuracy.high for each in bins],
            color=colours[name],
            linewidth=1,
            alpha=0.5,
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, loc="upper left")
    return finished(figure, axes, "confidence in the chosen answer", "share of right answers", title)
