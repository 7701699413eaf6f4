"""What is written into figures: a title that says what to see, and names beside their marks, where they cover no dot,
no curve and no other name.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from helpers.visualization.palette import colour_of, ink

TITLE = 12  # points; all other letters have the 10 that matplotlib gives them
LINE = 13  # points from a name to the one above it
HALO = [withStroke(linewidth=3, foreground="white")]  # a name stays readable where it has to cross a line
DARK = "#444444"  # of what is drawn for comparison
# Points from a dot to its name, the nearest first: (x, y).
SIDES = [(side * away, height) for away, height in ((6, 9), (6, -9), (8, 22), (8, -22), (8, 35)) for side in (1, -1)]


def literally(name: str) -> str:
    """The name as a label that shows its dollars, where matplotlib would read a formula between two of them."""
    return name.replace("$", r"\$")


def entitle(figure, title: str):
    """Writes above everything what to see, from the left edge on, in as many lines as it takes; the panels keep their
    height.
    """
    if title:
        width, height = figure.get_size_inches()
        lines = textwrap.wrap(title, int(width * 72 / (0.6 * TITLE)))  # letters are 0.6 of their height wide
        figure.set_size_inches(width, height + len(lines) * 1.2 * TITLE / 72)
        figure.suptitle(literally("\n".join(lines)), x=0.01, ha="left", fontsize=TITLE)


def _write(axes, name: str, place, offset, colour: str, xycoords="data"):
    """A name at some points from its place, on the side that the offset says; a thin line leads to one that is far."""
    leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    return axes.annotate(
        literally(name),
        place,
        xytext=offset,
        xycoords=xycoords,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        va="center",
        color=ink(colour),
        path_effects=HALO,
        arrowprops=leader if abs(offset[1]) > 1.5 * LINE else None,
    )


def _marks(axes) -> np.ndarray:
    """(P, 2) pixels of all dots and, some pixels apart, of all lines and of the edges of all bands in a panel."""
    drawn = [(line.get_transform(), line.get_xydata(), line.get_linestyle() != "None") for line in axes.lines]
    drawn += [(band.get_transform(), path.vertices, True) for band in axes.collections for path in band.get_paths()]
    found = [np.empty((0, 2))]
    for transform, places, joined in drawn:
        points = transform.transform(np.asarray(places, dtype=float))
        points = points[np.isfinite(points).all(1)]
        found.append(points)
        if joined and len(points) > 1:
            along = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
            steps = np.arange(0, along[-1], 3)
            found.append(np.stack([np.interp(steps, along, column) for column in points.T], axis=1))
    return np.concatenate(found)


def _write_apart(figure, axes, spots: Mapping, labels: Mapping, colours: Mapping, xycoords="data"):
    """Writes each name at that of its spots where it covers least: no marks if possible, and never another name.

    Args:
        spots: name -> list of (place, offset in points), the best first.
        labels: name -> what is written; colours: name -> colour.
    """
    figure.draw_without_rendering()  # fixes where things are
    marks, frame, point = _marks(axes), axes.bbox, figure.dpi / 72
    transform = axes.transData if xycoords == "data" else axes.get_yaxis_transform()
    taken = [Text.get_window_extent(text) for text in axes.texts]  # without the lines that lead to them
    for name, choices in spots.items():
        trial = _write(axes, labels[name], *choices[0], colours[name], xycoords)
        width, height = trial.get_window_extent().size
        trial.remove()
        boxes, costs = [], []
        for order, (place, (dx, dy)) in enumerate(choices):
            x, y = transform.transform(place) + np.array([dx, dy]) * point
            boxes.append(Bbox.from_bounds(x - (width if dx < 0 else 0), y - height / 2, width, height))
            around = boxes[-1].padded(2)
            covered = ((marks > around.min) & (marks < around.max)).all(1).sum()
            outside = not (frame.x0 <= around.x0 and around.x1 <= frame.x1 and frame.y0 <= around.y0)
            costs.append(covered + order / 2 + 1000 * (outside + around.count_overlaps(taken)))
        best = int(np.argmin(costs))
        _write(axes, labels[name], *choices[best], colours[name], xycoords)
        taken.append(boxes[best])


def label_apart(figure, axes, places: Mapping, labels: Mapping | None = None, colours: Mapping | None = None):
    """Writes each name beside its dot, on the side where it covers least; a line leads to a name that is far.

    Args:
        places: name -> (x, y); labels: name -> what is written instead of it.
        colours: name -> colour, where names have none of their own.
    """
    spots = {name: [(place, side) for side in SIDES] for name, place in places.items()}
    colours = colours or {name: colour_of(name) for name in places}
    _write_apart(figure, axes, spots, {name: name for name in places} | (labels or {}), colours)


def name_curves(figure, axes, places: Mapping, colours: Mapping | None = None):
    """Writes each curve's name to the right of its end, as near to its height as the other names allow; the name of a
    curve that is named elsewhere, where it covers least.

    Args:
        places: name -> (x, y); colours: name -> colour, where names have none of their own.
    """
    figure.draw_without_rendering()  # fixes where things are
    point = 72 / figure.dpi
    at_end = sorted((name for name in places if places[name][0] >= axes.dataLim.x1), key=lambda name: places[name][1])
    heights = np.array([axes.transData.transform(places[name])[1] * point for name in at_end])
    for name, height, written in zip(at_end, heights, apart(heights, axes.bbox.y0 * point, axes.bbox.y1 * point)):
        _write(axes, name, places[name], (10, written - height), colours[name] if colours else colour_of(name))
    label_apart(figure, axes, {name: place for name, place in places.items() if name not in at_end}, colours=colours)


def apart(heights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Heights in points, moved as little as it takes to be a line apart; between two bounds if they fit.

    Args:
        heights: (N,) in rising order.
    """
    if not len(heights):
        return heights
    steps, lowest = LINE * np.arange(len(heights)), low + LINE / 2
    return np.clip(isotonic_regression(heights - steps).x, lowest, max(lowest, high - steps[-1])) + steps


def draw_levels(figure, axes, level: Mapping | None):
    """Dashed lines for comparison, each with its name where it covers least.

    Args:
        level: name -> height, or None.
    """
    level = level or {}
    for value in level.values():
        axes.axhline(value, color=DARK, linestyle="--", linewidth=1)
    spots = {
        name: [((place, value), (1, side)) for place in (0.01, 0.3, 0.6) for side in (9, -9)]
        for name, value in level.items()
    }
    names = {name: name for name in level}
    _write_apart(figure, axes, spots, names, dict.fromkeys(level, DARK), ("axes fraction", "data"))
