"""Alternative texts: what a figure shows, in words, for people who do not see it; read from the figure's own parts.

A kernel that loads this module as an extension of IPython (`%load_ext helpers.visualization.alt_text`) writes the text
of every figure beside its picture, as `alt` in the output's metadata. `kit.py run` starts its kernels so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import LogFormatter, NullFormatter, ScalarFormatter

NAMES = 12  # names that one list has at most
PANELS = 4  # of more panels than these only the titles and the ranges are told
LONGEST = 1200  # characters of a text


def load_ipython_extension(shell):
    """Makes an IPython shell write the alternative text of every figure that it shows."""
    shell.display_formatter.mimebundle_formatter.for_type(Figure, _bundle)


def _bundle(figure, include=None, exclude=None):
    """No picture, which IPython's own formatter makes, but what belongs to it."""
    return {}, {"image/png": {"alt": describe(figure)}}


def describe(figure: Figure) -> str:
    """What a figure shows: kinds of charts, titles, axes with their ranges, and the names of what is drawn.

    Returns: some plain sentences on one line; "Empty figure." if nothing is drawn.
    """
    bars = {artist.colorbar.ax for axes in figure.axes for artist in _mappables(axes) if artist.colorbar}
    shown = [axes for axes in figure.axes if axes.get_visible() and axes not in bars]
    lists = [axes for axes in shown if not axes.axison and axes.name == "rectilinear" and axes.texts]
    panels = [axes for axes in shown if axes not in lists]
    parts = [f"{_plain(figure.get_suptitle())}."] if figure.get_suptitle() else []
    if len(panels) > PANELS:
        parts.append(_many(figure, panels))
    else:
        numbered = len(panels) > 1
        parts += [f"{len(panels)} panels."] if numbered else []
        parts += (
            f"Panel {number}: {_panel(axes)}" if numbered else _panel(axes) for number, axes in enumerate(panels, 1)
        )
    legends = _words(text.get_text() for legend in figure.legends for text in legend.get_texts())
    parts += [f"Legend: {_listed(legends)}."] if legends else []
    named = _words(text.get_text() for axes in lists for text in axes.texts)
    parts += [f"List beside it: {_listed(named)}."] if named else []
    said = " ".join(filter(None, parts)) or "Empty figure."
    return said if len(said) <= LONGEST else said[: LONGEST - 1].rstrip() + "…"


def _mappables(axes: Axes):
    return [*axes.images, *axes.collections]


def _plain(text: str) -> str:
    """A label on one line, without what only matplotlib reads."""
    return " ".join(text.replace(r"\$", "$").split())


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-−+]?[\d.,]+%?", text.strip()))


def _words(texts) -> list[str]:
    """Texts that name something, each once."""
    return list(dict.fromkeys(text for text in map(_plain, texts) if text and not _is_number(text)))


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return separator.join(names[:NAMES]) + more


def _number(value: float) -> str:
    """Three digits, or all those before the point."""
    large = 100 <= abs(value) < 1e9
    return (f"{value:,.0f}" if large else f"{value:.3g}").replace("-", "−")


def _range(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}" if low < high else _number(low)


def _many(figure: Figure, panels: Sequence[Axes]) -> str:
    """Many small panels: the title and the range of each."""
    below = _plain(figure.get_supxlabel() or panels[-1].get_xlabel())
    over = f" over {below}" if below else ""
    each = []
    for axes in panels:
        name = _title(axes) or _plain(axes.get_ylabel()) or "without a title"
        low, high = sorted(axes.dataLim.intervaly)
        each.append(f"{name}: {_range(low, high)}" if math.isfinite(high - low) else name)
    return f"{len(panels)} panels{over}: {'; '.join(each)}."


def _panel(axes: Axes) -> str:
    """One panel in a few sentences."""
    title, used = _title(axes), []
    parts = [f"{_kind(axes)} “{title}”." if title else f"{_kind(axes)}."]
    for name, axis, side in (("Horizontal", axes.xaxis, 0), ("Vertical", axes.yaxis, 1)):
        said = _axis(axes, axis, side, used)
        parts += [f"{name} axis{said}."] if said else []
    parts += [f"Colour: {said}." for said in map(_colour, axes.images) if said]
    legend = axes.get_legend()
    names = _words(text.get_text() for text in legend.get_texts()) if legend else []
    names += [name for name in _direct_labels(axes, used) if name not in names]
    parts += [f"Drawn: {_listed(names, '; ')}."] if names else []
    return " ".join(parts)


def _title(axes: Axes) -> str:
    return " ".join(filter(None, (_plain(axes.get_title(loc)) for loc in ("left", "center", "right"))))


def _kind(axes: Axes) -> str:
    """What sort of chart this is."""
    bars = [bar for container in axes.containers if isinstance(container, BarContainer) for bar in container]
    lines = [line for line in axes.lines if _in_data(axes, line)]
    curves = [line for line in lines if len(line.get_xdata()) > 2 and line.get_linestyle() not in ("None", "", " ")]
    if axes.images:
        return "Heat map"
    if bars:
        edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
        touching = len(bars) > 4 and all(math.isclose(one[1], two[0]) for one, two in pairwise(edges))
        return "Histogram" if touching else "Bar chart"
    if curves:
        bands = any(isinstance(each, PolyCollection) for each in axes.collections)
        return "Line chart with bands" if bands else "Line chart"
    if lines or any(isinstance(each, PathCollection) for each in axes.collections):
        return "Dot chart"
    return "Chart"


def _in_data(axes: Axes, line: Line2D) -> bool:
    """Whether a line is drawn through data, unlike one across the whole panel."""
    return all(line.get_transform().contains_branch_seperately(axes.transData))


def _axis(axes: Axes, axis: Axis, side: int, used: list) -> str:
    """An axis' label and its range, or the names along it; annotations told with these are added to `used`."""
    label, ticks = _plain(axis.get_label().get_text()), _ticks(axis)
    label = f": {label}" if label else ""
    if any(not _is_number(text) for _, text in ticks):
        ordered = sorted(ticks, reverse=bool(side) != bool(axis.get_inverted()))
        way = "from the top" if side else "from the left"
        return f"{label}, {way}: {_listed(_with_values(axes, axis, ordered, side, used))}"
    span = " to ".join(dict.fromkeys((ticks[0][1], ticks[-1][1]))) if ticks else _span(axes, side)
    logarithmic = axis.get_scale() == "log" and "logarithmic" not in label
    return label + (f", {span}" if span else "") + (", logarithmic" if logarithmic else "")


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Places and texts of the ticks within sight, where the texts are more than the places' own numbers."""
    if isinstance(axis.get_major_formatter(), ScalarFormatter | LogFormatter | NullFormatter):
        return []
    low, high = sorted(axis.get_view_interval())
    texts = [label.get_text() for label in axis.get_ticklabels()]
    found = zip(axis.get_majorticklocs(), map(_plain, texts))
    return [(float(place), text) for place, text in found if text and low <= place <= high]


def _with_values(axes: Axes, axis: Axis, ticks, side: int, used: list) -> list[str]:
    """Names along an axis, with what is written beside each, where that is one text for each of them."""
    places = [(note, float(axis.convert_units(note.xy[side]))) for note in axes.texts if _is_at(note, side)]
    beside = []
    for place, _ in ticks:
        notes = [note for note, where in places if math.isclose(where, place, abs_tol=1e-9)]
        if len(notes) != 1:
            return [text for _, text in ticks]
        beside += notes
    used += beside
    return [f"{text} {_plain(note.get_text())}" for (_, text), note in zip(ticks, beside)]


def _is_at(note, side: int) -> bool:
    """Whether a text belongs to a place on this axis."""
    if not isinstance(note, Annotation):
        return False
    coordinates = note.xycoords if isinstance(note.xycoords, tuple) else (note.xycoords,) * 2
    return coordinates[side] == "data"


def _span(axes: Axes, side: int) -> str:
    """From where to where data lie along an axis; of bars, their middles."""
    low, high = sorted(axes.dataLim.intervaly if side else axes.dataLim.intervalx)
    bars = [container for container in axes.containers if isinstance(container, BarContainer) and len(container)]
    across = [container for container in bars if (container.orientation == "horizontal") == bool(side)]
    if across:
        middles = [
            bar.get_y() + bar.get_height() / 2 if side else bar.get_x() + bar.get_width() / 2
            for container in across
            for bar in container
        ]
        low, high = min(middles), max(middles)
    elif axes.images:  # whose cells reach half a cell beyond their numbers
        low, high = (math.ceil(low), math.floor(high)) if math.isfinite(high - low) else (low, high)
    return _range(low, high) if math.isfinite(high - low) else ""


def _colour(image) -> str:
    """What the colours of a heat map stand for; "" for a picture that has its own colours."""
    values = np.ma.masked_invalid(np.ma.asarray(image.get_array(), dtype=float))
    if values.ndim != 2 or not values.count():
        return ""
    label = _plain(image.colorbar.ax.get_ylabel() or image.colorbar.ax.get_xlabel()) if image.colorbar else ""
    return ", ".join(filter(None, (label, _range(float(values.min()), float(values.max())))))


def _direct_labels(axes: Axes, used: Sequence) -> list[str]:
    """Names that are written into a panel, with the numbers of what they stand beside."""
    notes = [note for note in axes.texts if note not in used and _words([note.get_text()])]
    return list(dict.fromkeys(_plain(note.get_text()) + _place(axes, note) for note in notes))


def _place(axes: Axes, note) -> str:
    """Where a dot with this name lies, or where the curve with it begins and ends; "" if it is at neither."""
    if not _is_at(note, 1):
        return ""
    height = float(axes.yaxis.convert_units(note.xy[1]))
    if not _is_at(note, 0):
        return f" at {_number(height)}"
    place = float(axes.xaxis.convert_units(note.xy[0])), height
    lines = [line for line in axes.lines if _in_data(axes, line)]
    for line in sorted(lines, key=lambda line: len(line.get_xdata())):
        points = np.asarray(line.get_xydata(), dtype=float)
        if np.isclose(points, place).all(axis=1).any():
            (x, first), (_, last) = points[0], points[-1]
            return (
                f" at ({_number(x)}, {_number(first)})"
                if len(points) == 1
                else f" from {_number(first)} to {_number(last)}"
            )
    return ""
