"""Fronts: figures of many variants, quality against a price; dots keyed by number to a list beside them, the front
marked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.compression.variants import Variant, front
from helpers.evaluation.statistics import exactly
from helpers.visualization.labels import entitle, label_apart, literally
from helpers.visualization.palette import colour_of, ink
from helpers.visualization.plots import bare, number_plainly

MARKERS = ("o", "s", "^", "D")  # of one group after the other
# A price in `helpers.compression.variants.PRICES` -> the name of its axis, and a variant's place on it.
AXES = {
    "file": ("file, MB (logarithmic)", lambda variant: exactly(variant.file_bytes / 1e6)),
    "memory": ("in memory, MB (logarithmic)", lambda variant: exactly(variant.held_bytes / 1e6)),
    "time": ("milliseconds a token (logarithmic)", Variant.latency),
}


def plot_variants(variants: Mapping[str, Variant], price: str, title: str = "") -> Figure:
    """ROUGE-1 of compressed models against a price in `helpers.compression.variants.PRICES`, family by family, the
    Pareto front joined.

    Times of another machine than that of float32 are left out: they cannot be compared.

    Args:
        variants: in the order of their numbers, as `helpers.compression.variants.read_variants` gives them; float32 is
            one of them.
        title: what to see.
    Raises:
        KeyError: no such price; times without float32's to go by.
    """
    label, place = AXES[price]
    shown = {
        name: each for name, each in variants.items() if price != "time" or each.machine == variants["float32"].machine
    }
    points = {name: (place(each), each.quality()) for name, each in shown.items()}
    return plot_front(
        points,
        {name: each.family for name, each in shown.items()},
        front(shown, price),
        label,
        "ROUGE-1 (0 to 1)",
        title,
    )


def plot_front(
    points: Mapping, groups: Mapping, front: Collection[str], xlabel: str, ylabel: str, title: str = ""
) -> Figure:
    """Quality against a price on a logarithmic axis: a dot with its intervals and its number for each name, and beside
    it the list of names.

    Args:
        points: name -> (`Interval` of the price, above 0, `Interval` of the quality); numbered in this order, from 1.
        groups: name -> the group it belongs to: a form of the dots each, and a heading in the list.
        front: names whose dots are filled and joined by a line, cheapest first; title: what to see.
    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError("points: the mapping is empty; measure at least one variant")
    figure, (axes, side) = plt.subplots(
        1,
        2,
        figsize=(10, max(4.2, 0.21 * (len(points) + len(set(groups.values()))) + 0.8)),
        layout="constrained",
        width_ratios=(2.1, 1),
    )
    markers = dict(zip(dict.fromkeys(groups.values()), MARKERS * len(groups)))
    axes.plot(
        [points[name][0].estimate for name in front],
        [points[name][1].estimate for name in front],
        color="#bbbbbb",
        linewidth=1.5,
        zorder=0,
    )
    for name, (x, y) in points.items():
        colour = colour_of(name)
        axes.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=1, alpha=0.35)
        axes.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=1, alpha=0.35)
        axes.plot(
            x.estimate,
            y.estimate,
            markers[groups[name]],
            color=colour,
            markersize=6,
            markerfacecolor=colour if name in front else "white",
        )
    axes.set_xscale("log")
    axes.margins(x=0.06)
    number_plainly(axes.xaxis)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    bare(axes)
    numbers = {name: str(number) for number, name in enumerate(points, 1)}
    entitle(figure, title)
    _list_names(side, numbers, groups, markers, front)
    label_apart(figure, axes, {name: (x.estimate, y.estimate) for name, (x, y) in points.items()}, numbers)
    plt.close(figure)
    return figure


def _list_names(axes, numbers, groups, markers, front):
    """Number, dot and name of each, group by group; those on the front in bold."""
    axes.axis("off")
    lines = [
        (name, group) for group in markers for name in (None, *(name for name in numbers if groups[name] == group))
    ]
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.5, -0.5))
    for row, (name, group) in enumerate(lines):
        if name is None:
            axes.text(0, row, group, va="center", style="italic")
            continue
        colour = colour_of(name)
        axes.text(0.06, row, numbers[name], va="center", ha="right", color=ink(colour))
        axes.plot(
            0.11,
            row,
            markers[group],
            color=colour,
            markersize=5,
            markerfacecolor=colour if name in front else "white",
            clip_on=False,
        )
        axes.text(
            0.16,
            row,
            literally(name),
            va="center",
            color=ink(colour),
            weight="bold" if name in front else "normal",
        )
