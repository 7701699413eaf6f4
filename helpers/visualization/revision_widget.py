"""Answers and what became of them, round after round, behind two sliders."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import HTML

from helpers.display import table
from helpers.visualization.widgets import WIDE, with_field


def rounds_table(rounds: Sequence[tuple[str, Sequence[str]]], example: int, shown: int) -> HTML:
    """What became of one answer: a row for the answer itself and one for each of the first `shown` rounds.

    Args:
        rounds: (name, N texts) of the answers and of every round, in their order; example: number of the answer, from 0.
    Raises:
        ValueError: there is no such answer, or there are fewer rounds.
    """
    if not 0 <= shown < len(rounds) or not 0 <= example < len(rounds[0][1]):
        raise ValueError(f"example {example}, {shown} rounds: there are {len(rounds[0][1])} answers, from 0, and {len(rounds) - 1} rounds")
    written = [(name, texts[example]) for name, texts in rounds[:1 + shown]]
    changed = [place == 0 or text != written[place - 1][1] for place, (_, text) in enumerate(written)]
    return table(("", "text"), [(name, text if new else "(as before)") for (name, text), new in zip(written, changed)])


def rounds_browser(rounds: Sequence[tuple[str, Sequence[str]]]) -> widgets.Widget:
    """Sliders for the answer and the number of rounds, above what became of it; arguments as for `rounds_table`."""
    last = len(rounds) - 1
    sliders = {"answer": widgets.IntSlider(value=0, min=0, max=len(rounds[0][1]) - 1), "rounds": widgets.IntSlider(value=last, min=0, max=last)}
    found = widgets.HTML()

    def redraw(_=None, rounds=tuple(rounds)):
        found.value = rounds_table(rounds, sliders["answer"].value, sliders["rounds"].value).data
    for slider in sliders.values():
        slider.observe(redraw, "value")
    redraw()
    return widgets.VBox([*(with_field(slider, name) for name, slider in sliders.items()), found], layout=WIDE)
