"""Heat maps: who looks at whom, what a position's vector is made of; drawn only, computed in
helpers.transformer.attention and helpers.transformer.positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.visualization.labels import DARK, entitle, literally, name_curves
from helpers.visualization.palette import BLUE, SERIES
from helpers.visualization.plots import bare, finished

SHOWN = 48  # tokens on a side: more names than that cannot be read


def plot_attention(
    weights,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    who: str = "the token that looks",
    whom: str = "the token looked at",
) -> Figure:
    """Attention weights, the darker the larger; of long texts the beginning, and the title says so.

    Args:
        weights: (T, S) from 0 to 1; rows: T names, who looks; columns: S names, who is looked at.
        who, whom: the names of the axes.
    """
    cut = len(rows) > SHOWN or len(columns) > SHOWN
    rows, columns, weights = rows[:SHOWN], columns[:SHOWN], np.asarray(weights)[:SHOWN, :SHOWN]
    figure, axes = plt.subplots(
        figsize=(max(5.0, 0.19 * len(columns) + 1.8), max(2.6, 0.19 * len(rows) + 1.5)), layout="constrained"
    )
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), list(map(literally, columns)), rotation=90)
    axes.set_yticks(range(len(rows)), list(map(literally, rows)))
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="share of the attention", shrink=0.8, pad=0.01)
    return finished(figure, axes, whom, who, title + (f" (the first {SHOWN} tokens)" if cut else ""))


def plot_sinusoids(vectors, title: str = "") -> Figure:
    """The vectors of positions as colours, and beside them how alike each is to the first position's.

    Args:
        vectors: (S, d) as `helpers.transformer.positions.sinusoids` gives them; title: what to see.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained", width_ratios=(3, 2))
    image = left.imshow(vectors.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    figure.colorbar(image, ax=left, label="value", pad=0.01)
    left.set_xlabel("position")
    left.set_ylabel("place in the vector")
    for start in (0, len(vectors) // 4):
        products = vectors[start : start + len(vectors) // 2] @ vectors[start]
        right.plot(range(len(products)), products, color=BLUE, linewidth=1 if start else 3, alpha=1 if start else 0.35)
    return finished(figure, right, "distance (thick: from the first position)", "dot product", title)


def plot_biases(distances: Sequence[int], panels: Mapping, title: str = "") -> Figure:
    """What position biases add to the scores, over the distance from who looks to who is looked at: a panel a stack, a
    line a head.

    Args:
        panels: name -> (H, D), as `helpers.transformer.positions.learned_biases` gives them; title: what to see.
    """
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(4.9 * len(panels), 3.2), layout="constrained", squeeze=False
    )
    for axes, (name, biases) in zip(all_axes[0], panels.items()):
        for head, values in enumerate(biases):
            axes.plot(distances, values, color=SERIES[head % len(SERIES)], linewidth=1.2)
        axes.axvline(0, color=DARK, linestyle="--", linewidth=0.8)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("distance in tokens (negative: looks back)")
        axes.set_ylabel("added to the score")
        axes.margins(x=0.1, y=0.15)
        bare(axes)
    entitle(figure, title)
    for axes, biases in zip(all_axes[0], panels.values()):
        if len(biases) <= len(SERIES):
            last = {f"head {head}": np.flatnonzero(np.isfinite(values))[-1] for head, values in enumerate(biases)}
            ends = {name: (distances[place], values[place]) for (name, place), values in zip(last.items(), biases)}
            name_curves(figure, axes, ends, dict(zip(last, SERIES)))
    plt.close(figure)
    return figure


def plot_masks(masks: Mapping, title: str = "") -> Figure:
    """Who may see whom, a panel for each family: a filled square where the row's token sees the column's.

    Args:
        masks: name -> (T, S) of booleans; title: what to see.
    """
    widths = [np.shape(mask)[1] for mask in masks.values()]
    figure, all_axes = plt.subplots(
        1,
        len(masks),
        figsize=(0.36 * sum(widths) + 1.0 * len(masks), 0.36 * max(map(len, masks.values())) + 1.2),
        layout="constrained",
        squeeze=False,
        width_ratios=widths,
    )
    for axes, (name, mask) in zip(all_axes[0], masks.items()):
        seen = np.asarray(mask, dtype=float)
        axes.imshow(seen, cmap="Blues", vmin=0, vmax=1.4)
        axes.set_xticks(range(seen.shape[1]))
        axes.set_yticks(range(seen.shape[0]))
        axes.set_xticks(np.arange(-0.5, seen.shape[1]), minor=True)
        axes.set_yticks(np.arange(-0.5, seen.shape[0]), minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("place that is seen")
        axes.set_ylabel("place that sees")
        axes.set_title(name, loc="left", fontsize=11)
    entitle(figure, title)
    plt.close(figure)
    return figure
