"""Curves: what changes over steps or sizes, losses and metrics of trainings among it; drawn only, computed
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.visualization.labels import draw_levels, entitle, name_curves
from helpers.visualization.palette import BLUE, SERIES, colour_of
from helpers.visualization.plots import bare, draw_seeds, finished, number_plainly, with_seeds

LOSS = "loss in nats a token"


def plot_losses(losses: Mapping, title: str = "") -> Figure:
    """Loss curves, one colour a run: training as a thin line, validation as a thick one.

    Args:
        losses: name -> (training, validation), each a list of [step, nats per token]; either may be empty.
        title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    for name, (training, validation) in losses.items():
        if training:
            axes.plot(*zip(*training), ".-", color=colour_of(name), linewidth=0.8, markersize=3, alpha=0.6)
        if validation:
            axes.plot(*zip(*validation), "o-", color=colour_of(name), linewidth=2)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    both = any(training and validation for training, validation in losses.values())
    finished(figure, axes, "step (thin: training, thick: validation)" if both else "step", LOSS, title=title)
    name_curves(
        figure,
        axes,
        {
            name: (validation or training)[-1]
            for name, (training, validation) in losses.items()
            if validation or training
        },
    )
    return figure


def plot_series(
    x: Sequence[float],
    series: Mapping,
    xlabel: str,
    ylabel: str,
    level: Mapping | None = None,
    logarithmic: bool = True,
    named_at: int = -1,
    title: str = "",
    seeds: Mapping | None = None,
) -> Figure:
    """Several things measured at the same places, in one panel: a line with a band each; the places on a logarithmic
    axis unless it is told otherwise.

    Args:
        x: places, above 0 on a logarithmic axis; series: name -> list of `Interval`, one for each place.
        level: name -> number: dashed lines for comparison.
        named_at: index of the place where the names are written: the last one, unless the lines meet there.
        title: what to see.
        seeds: name -> for each place, the means of its single seeds, drawn as small dots.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    axes.set_xscale("log" if logarithmic else "linear")
    for name, intervals in series.items():
        colour = colour_of(name)
        axes.plot(x, [interval.estimate for interval in intervals], "o-", color=colour)
        axes.fill_between(
            x,
            [interval.low for interval in intervals],
            [interval.high for interval in intervals],
            color=colour,
            alpha=0.2,
        )
        for place, means in zip(x, (seeds or {}).get(name, ())):
            draw_seeds(axes, [place] * len(means), means, colour, (-6, 0))
    axes.set_xticks(list(x), [f"{place:,}" for place in x])
    axes.minorticks_off()
    axes.margins(x=0.14)
    finished(figure, axes, with_seeds(xlabel, seeds), ylabel, title)
    draw_levels(figure, axes, level)
    name_curves(figure, axes, {name: (x[named_at], intervals[named_at].estimate) for name, intervals in series.items()})
    return figure


def plot_lines(x: Sequence[float], series: Mapping, xlabel: str, ylabel: str, title: str = "") -> Figure:
    """Numbers over a few places in a row, heights on a logarithmic axis.

    Args:
        x: places, in the order in which they are drawn; series: name -> list of numbers above 0, one for each place.
        title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    colours = dict(zip(series, SERIES))
    for name, values in series.items():
        axes.plot(range(len(x)), values, "o-", color=colours[name])
    axes.set_yscale("log")
    axes.set_xticks(range(len(x)), [str(place) for place in x])
    axes.margins(x=0.2)
    number_plainly(axes.yaxis)
    finished(figure, axes, xlabel, ylabel, title)
    name_curves(figure, axes, {name: (len(x) - 1, values[-1]) for name, values in series.items()}, colours)
    return figure


def plot_metrics(history: Sequence[Mapping], names: Sequence[str] = (), title: str = "", columns: int = 3) -> Figure:
    """Metrics of a run over its steps, each in a small panel of its own.

    Args:
        history: one mapping of name -> number for each step, all with the same names.
        names: which of them to draw, in this order; all of them unless given; title: what to see.
    Raises:
        ValueError: no steps yet.
    """
    if not history:
        raise ValueError("history: is empty; there is nothing to draw before the first step")
    names = names or list(history[0])
    lines = -(-len(names) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(10.5, 1.75 * lines), sharex=True, layout="constrained", squeeze=False
    )
    for axes, name in zip(panels.flat, names):
        axes.plot(
            range(1, len(history) + 1), [step[name] for step in history], ".-", color=BLUE, linewidth=1, markersize=3
        )
        axes.set_title(name.replace("_", " "), loc="left", fontsize=11)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        bare(axes)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("step", fontsize=10)
    entitle(figure, title)
    plt.close(figure)
    return figure
