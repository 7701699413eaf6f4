"""Figures of memory and of scaling: drawn at both ends of their sliders, saying what was computed."""

import re

import ipywidgets
import numpy as np
import pytest

from helpers.training.memory import RECIPES, STRATEGIES, expected, gathered
from helpers.training.scaling_laws import ScalingLaw
from helpers.visualization.scaling import (
    budget_explorer,
    budget_text,
    plot_budget,
    plot_bytes,
    plot_runs,
    sharing_explorer,
    sharing_figure,
    sharing_text,
)
from tests.training.test_scaling_laws import LAW, made


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def sliders(widget):
    """All sliders inside a widget."""
    inside = [slider for child in getattr(widget, "children", ()) for slider in sliders(child)]
    return inside + [widget] * isinstance(widget, ipywidgets.IntSlider | ipywidgets.FloatSlider)


def test_bars_end_at_their_sums():
    figure = plot_bytes({"one": {"weights": 4e6, "activations": 1e6}, "two": {"weights": 2e6}}, level=3e6)
    assert {"5 MB", "2 MB", "weights", "activations", "one card of 3 MB"} <= set(
        texts_of(figure)
    ) and "optimizer" not in texts_of(figure)


def test_runs_have_a_line_and_a_name_for_each_budget():
    figure = plot_runs(made(LAW), LAW)
    assert {"131 KB", "1,049 KB"} <= set(texts_of(figure)) and len(figure.axes[0].lines) == 8


def test_the_best_size_is_marked_at_the_lowest_point():
    figure = plot_budget(LAW, [LAW, ScalingLaw(0.9, 42, 0.35, 60, 0.4)], 1e12, 60.0)
    curve = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 120)
    assert curve.get_xdata()[np.argmin(curve.get_ydata())] == pytest.approx(float(LAW.best_size(1e12)), rel=0.1)
    assert f"{float(LAW.best_size(1e12)):,.0f} parameters" in budget_text(LAW, [LAW, LAW], 1e12)


def test_shared_bytes_are_those_computed():
    recipe = next(iter(RECIPES))
    assert set(STRATEGIES) == {label.get_text() for label in sharing_figure(7.0, 8, recipe).axes[0].get_yticklabels()}
    assert f"{expected(7 * 10**9, recipe, 'fsdp', 8).total / 1e9:,.1f}" in sharing_text(7.0, 8, recipe)


def test_a_card_must_hold_what_is_whole_within_a_step_too():
    recipe, giga = "float32, Adam", 10**9
    held, whole = expected(75 * giga, recipe, "fsdp", 16).total, gathered(75 * giga, recipe, "fsdp", 16)
    assert held < 80 * giga < held + whole  # the shares alone would fit
    said = sharing_text(75.0, 16, recipe)
    row = re.findall(r"<td[^>]*>([^<]*)</td>", said)[-5:]
    assert row == ["fsdp", *(f"{size / giga:.1f}" for size in (held, whole, held + whole)), "no"]
    assert "activations are not counted" in said
    drawn = sharing_figure(75.0, 16, recipe)
    assert {"whole within a step", f"{(held + whole) / giga:.3g} GB"} <= set(texts_of(drawn))
    assert "whole within a step" not in texts_of(sharing_figure(75.0, 1, recipe))


@pytest.mark.parametrize(
    "make", [sharing_explorer, lambda: budget_explorer(LAW, [LAW, LAW], 9.0, 12.0, 60.0)], ids=["sharing", "budget"]
)
def test_sliders_work_at_both_ends_and_have_names(make):
    explorer = make()
    picture = next(child for child in explorer.children if isinstance(child, ipywidgets.Image))
    for slider in sliders(explorer):
        seen = set()
        for value in (slider.min, slider.max):
            slider.value = value
            seen.add(bytes(picture.value))
        assert len(seen) == 2 and not slider.readout
