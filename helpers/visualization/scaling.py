"""Figures of memory and of scaling, with their sliders: bytes by what they are of, losses by size and budget, the best
size for a budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.display import table
from helpers.training.memory import RECIPES, STRATEGIES, expected, gathered
from helpers.training.scaling_laws import FLOPS, ScalingLaw, interval_of
from helpers.visualization.labels import DARK, label_apart, name_curves
from helpers.visualization.palette import BLUE, GREEN, ORANGE, PINK, SERIES, SKY, ink
from helpers.visualization.plots import finished
from helpers.visualization.widgets import PICTURE, png, with_field

PARTS = {"weights": BLUE, "gradients": ORANGE, "optimizer": GREEN, "activations": PINK, "whole within a step": SKY}
CARD = 80e9  # bytes of a large GPU, for a line in a figure


def plot_bytes(
    rows: Mapping, unit: float = 1e6, name: str = "MB", level: float | None = None, title: str = ""
) -> Figure:
    """Bytes as bars, one a row, divided by what they are of.

    Args:
        rows: name -> mapping of a part in `PARTS` -> bytes; unit: bytes that the axis counts in, and its name.
        level: bytes of a dashed line, such as a card's memory; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.46 * len(rows) + 1.3), layout="constrained")
    for row, parts in enumerate(rows.values()):
        start = 0.0
        for part, size in parts.items():
            axes.barh(row, size / unit, left=start, height=0.62, color=PARTS[part], edgecolor="white")
            start += size / unit
        axes.annotate(
            f"{start:,.3g} {name}" if start < 1000 else f"{start:,.0f} {name}",
            (start, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    shown = [part for part in PARTS if any(part in parts for parts in rows.values())]
    for place, part in enumerate(shown):
        axes.annotate(part, (0.16 * place, 1.02), xycoords="axes fraction", color=ink(PARTS[part]), va="bottom")
    if level is not None:
        axes.axvline(level / unit, color=DARK, linestyle="--", linewidth=1)
        axes.annotate(
            f"one card of {level / unit:,.0f} {name}",
            (level / unit, len(rows) - 0.45),
            xytext=(4, 0),
            textcoords="offset points",
        )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.18 * max(sum(parts.values()) for parts in rows.values()) / unit)
    return finished(figure, axes, f"{name} that each process holds", title=title)


def sharing_figure(billions: float, processes: int, recipe: str) -> Figure:
    """What each of so many processes holds at the peak of a step, for each way of sharing; activations come on top."""
    rows = {}
    for way in STRATEGIES:
        rows[way] = expected(round(billions * 1e9), recipe, way, processes)._asdict()
        if whole := gathered(round(billions * 1e9), recipe, way, processes):
            rows[way]["whole within a step"] = whole
    return plot_bytes(
        rows, 1e9, "GB", CARD, "What each process holds, activations aside: shorter bars need less memory"
    )


def sharing_text(billions: float, processes: int, recipe: str) -> str:
    """What the figure shows, as HTML: gigabytes between steps and within one, and whether one card holds them."""
    rows = []
    for way in STRATEGIES:
        held = expected(round(billions * 1e9), recipe, way, processes).total
        whole = gathered(round(billions * 1e9), recipe, way, processes)
        fits = "yes" if held + whole < CARD else "no"
        rows.append((way, *(f"{size / 1e9:,.1f}" for size in (held, whole, held + whole)), fits))
    columns = ("way", "GB between steps", "GB whole within a step", "GB at the peak", f"fits into {CARD / 1e9:.0f} GB")
    return table(columns, rows, "each process; activations are not counted, they come on top").data


def plot_runs(runs, law: ScalingLaw, unit: str = "KB", title: str = "") -> Figure:
    """Measured losses against the size, one colour a budget, and the law's lines through them.

    Args:
        runs: `parameters`, `budgets` in bytes and `losses`, (R,) each; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    budgets, ends, colours = sorted(set(runs.budgets)), {}, {}
    sizes = np.geomspace(runs.parameters.min(), runs.parameters.max(), 100)
    for budget, colour in zip(budgets, SERIES):
        here, label = runs.budgets == budget, f"{budget / 1000:,.0f} {unit}"
        axes.plot(runs.parameters[here], runs.losses[here], "o", color=colour, markersize=5)
        axes.plot(sizes, law.loss(sizes, budget), color=colour, linewidth=1.2)
        ends[label], colours[label] = (sizes[-1], float(law.loss(sizes[-1], budget))), colour
    axes.set_xscale("log")
    axes.margins(x=0.12)
    finished(
        figure,
        axes,
        "parameters (dots: runs; lines: the fitted law)",
        "loss on held-out dialogues, nats a byte",
        title,
    )
    name_curves(figure, axes, ends, colours)
    return figure


def plot_budget(law: ScalingLaw, laws: Sequence[ScalingLaw], flops: float, ratio: float, title: str = "") -> Figure:
    """The loss that a budget of operations buys, against the size it is spent on; the best size with its interval, and
    that of Chinchilla's ratio.

    Args:
        flops: operations, 6·N·D; laws: resampled ones, for the band; ratio: 20 tokens a parameter, in the unit of the
            law's data; title: what to see.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
    best, given = float(law.best_size(flops)), (flops / FLOPS / ratio) ** 0.5
    sizes = np.geomspace(min(best, given) / 12, max(best, given) * 12, 120)
    drawn = np.array([found.loss(sizes, flops / FLOPS / sizes) for found in laws])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    axes.fill_between(sizes, low, high, color=BLUE, alpha=0.2)
    axes.plot(sizes, law.loss(sizes, flops / FLOPS / sizes), color=BLUE)
    span = interval_of(best, [found.best_size(flops) for found in laws])
    height = float(law.loss(best, flops / FLOPS / best))
    axes.plot([span.low, span.high], [height] * 2, color=BLUE, linewidth=4, solid_capstyle="round", alpha=0.6)
    axes.plot(best, height, "o", color=BLUE)
    at = float(law.loss(given, flops / FLOPS / given))
    axes.plot(given, at, "o", color=ORANGE)
    axes.set_xscale("log")
    axes.set_ylim(min(low.min(), height) - 0.12 * float(np.ptp(high)), None)
    finished(
        figure, axes, f"parameters, with all of {flops:.2g} operations spent", "predicted loss, nats a byte", title
    )
    names = {"best size": (best, height), "20 tokens a parameter": (given, at)}
    label_apart(figure, axes, names, colours=dict(zip(names, (BLUE, ORANGE))))
    return figure


def budget_text(law: ScalingLaw, laws: Sequence[ScalingLaw], flops: float) -> str:
    """What the figure shows, as HTML of one sentence."""
    size, data = (
        interval_of(float(make(law)), [float(make(found)) for found in laws])
        for make in (lambda found: found.best_size(flops), lambda found: found.best_ratio(flops))
    )
    return (
        f"<p>{flops:.2g} operations: best spent on {size.estimate:,.0f} parameters [{size.low:,.0f}, "
        f"{size.high:,.0f}], "
        f"{data.estimate:,.1f} bytes a parameter [{data.low:,.1f}, {data.high:,.1f}]</p>"
    )


def _explorer(controls: Mapping, named: Mapping, draw, describe) -> widgets.Widget:
    """Controls above a sentence and a picture; both are made of the controls' values alone."""
    picture, words = widgets.Image(format="png", layout=PICTURE), widgets.HTML()

    def redraw(_=None):
        values = {
            name: control.value if isinstance(control.value, str) else round(control.value, 4)
            for name, control in controls.items()
        }
        picture.value, words.value = png(draw(**values)), describe(**values)

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return widgets.VBox(
        [
            *(with_field(control, named[name]) if name in named else control for name, control in controls.items()),
            words,
            picture,
        ]
    )


def sharing_explorer() -> widgets.Widget:
    """Sliders over model size and processes, a choice of recipe: what each process holds."""
    controls = {
        "billions": widgets.FloatSlider(value=7.0, min=0.1, max=100.0, step=0.1),
        "processes": widgets.IntSlider(value=8, min=1, max=64),
        "recipe": widgets.Dropdown(
            options=list(RECIPES),
            description="recipe",
            style={"description_width": "100px"},
            layout=widgets.Layout(width="auto"),
        ),
    }
    return _explorer(controls, {"billions": "billions", "processes": "processes"}, sharing_figure, sharing_text)


def budget_explorer(
    law: ScalingLaw, laws: Sequence[ScalingLaw], low: float, high: float, ratio: float
) -> widgets.Widget:
    """A slider over the budget, as a power of ten: where its best size lies.

    Args:
        low, high: powers of ten at the slider's ends; ratio: as for `plot_budget`.
    """
    controls = {"power": widgets.FloatSlider(value=round((low + high) / 2, 1), min=low, max=high, step=0.1)}
    return _explorer(
        controls,
        {"power": "exponent"},
        lambda power: plot_budget(
            law, laws, 10**power, ratio, "Too small or too large: the best size has the lowest loss"
        ),
        lambda power: budget_text(law, laws, 10**power),
    )
