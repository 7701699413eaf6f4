"""Alternative texts: what is drawn is said, with names and numbers; no figure that anybody draws stops them."""

import datetime
import io
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers.evaluation.statistics import Interval
from helpers.visualization import alt_text
from helpers.visualization.alt_text import describe
from helpers.visualization.curves import plot_losses, plot_metrics, plot_series
from helpers.visualization.fronts import plot_front
from helpers.visualization.heatmaps import plot_attention, plot_masks
from helpers.visualization.plots import (
    plot_against,
    plot_intervals,
    plot_prices,
    plot_samples,
    plot_tradeoff,
    plot_window,
)
from helpers.visualization.scaling import plot_bytes


def interval(estimate, half=0.05):
    return Interval(estimate, estimate - half, estimate + half)


def test_intervals():
    figure = plot_intervals(
        {"zero-shot": interval(0.31), "costs $5": interval(0.6)}, "ROUGE-1 (0 to 1)", "Examples help"
    )
    assert describe(figure) == (
        "Examples help. Dot chart. Horizontal axis: ROUGE-1 (0 to 1), 0.26 to 0.65. "
        "Vertical axis, from the top: zero-shot 0.31, costs $5 0.60."
    )


def test_curves_are_told_by_where_they_begin_and_end():
    figure = plot_losses({"full": ([[0, 4.5], [50, 1.1], [100, 0.5]], [[0, 4.0], [100, 0.9]])}, "training")
    assert describe(figure) == (
        "training. Line chart. Horizontal axis: step (thin: training, thick: validation), 0 to 100. "
        "Vertical axis: loss in nats a token, 0.5 to 4.5. Drawn: full from 4 to 0.9."
    )


def test_bands_logarithms_and_levels():
    figure = plot_series([4, 1000], {"lora": [interval(0.3), interval(0.45)]}, "rank", "ROUGE-1", {"zero-shot": 0.2})
    assert describe(figure) == (
        "Dot chart. Horizontal axis: rank, 4 to 1,000, logarithmic. Vertical axis: ROUGE-1, 0.2 to 0.5. "
        "Drawn: zero-shot at 0.2; lora from 0.3 to 0.45."
    )


def test_dots():
    figure = plot_prices({"full": (100, interval(0.7)), "lora": (5, interval(0.68))}, "parameters, %", "ROUGE-1")
    assert describe(figure).endswith("Drawn: full at (100, 0.7); lora at (5, 0.68).")
    figure = plot_tradeoff({"before": (interval(-0.3), interval(0.4))}, "toxicity", "ROUGE-L")
    assert "Horizontal axis: toxicity, −0.35 to −0.25." in describe(figure)
    assert describe(figure).endswith("Drawn: before at (−0.3, 0.4).")


def test_bars_and_histograms():
    assert describe(plot_window([100, 2340], 512)) == (
        "Bar chart. Horizontal axis: exemplars in the prompt (red: does not fit), 0 to 1. "
        "Vertical axis: tokens, 0 to 2,340. Drawn: window: 512 tokens."
    )
    figure = plot_samples(np.linspace(0, 1, 200), interval(0.5), "ROUGE-1")
    assert describe(figure).startswith("Histogram. Horizontal axis: ROUGE-1, ")
    figure = plot_bytes({"one": {"weights": 4e6, "gradients": 4e6}, "DDP": {"weights": 13e6}})
    assert "Vertical axis, from the top: one 8 MB, DDP 13 MB. Drawn: weights; gradients." in describe(figure)


def test_heat_maps_and_their_colours():
    figure = plot_attention(np.array([[0.25, 0.75], [0.5, 0.5]]), ["I", "am"], ["a", "b"], "layer 1, head 0")
    assert describe(figure) == (
        "layer 1, head 0. Heat map. Horizontal axis: the token looked at, from the left: a, b. "
        "Vertical axis: the token that looks, from the top: I, am. Colour: share of the attention, 0.25 to 0.75."
    )
    figure = plot_masks({"encoder-only": np.ones((4, 4)), "decoder-only": np.tril(np.ones((4, 4)))})
    assert describe(figure).startswith(
        "2 panels. Panel 1: Heat map “encoder-only”. Horizontal axis: place that is seen, 0 to 3"
    )
    assert describe(figure).count("Colour: 0 to 1.") == 1


def test_panels():
    figure = plot_against(
        [0.2, 0.6, 1.0], {"distinct-2": [interval(0.3)] * 3, "ROUGE-L": [0.4, 0.3, 0.2]}, "temperature"
    )
    assert describe(figure) == (
        "2 panels. Panel 1: Line chart with bands. Horizontal axis: temperature, 0.2 to 1. Vertical axis: distinct-2, "
        "0.25 to 0.35. Panel 2: Line chart. Horizontal axis: temperature, 0.2 to 1. Vertical axis: ROUGE-L, 0.2 to 0.4."
    )
    figure = plot_metrics([{f"metric_{number}": number * step for number in range(6)} for step in range(3)])
    assert describe(figure).startswith("6 panels over step: metric 0: 0; metric 1: 0 to 2; metric 2: 0 to 4;")


def test_long_lists_are_cut_and_lists_beside_a_panel_told():
    points = {f"variant {number}": (interval(10 + number, 1), interval(0.5)) for number in range(20)}
    figure = plot_front(points, dict.fromkeys(points, "family"), ["variant 3"], "file, MB (logarithmic)", "ROUGE-1")
    text = describe(figure)
    assert text.startswith("Dot chart. Horizontal axis: file, MB (logarithmic), 9 to 30. ")
    assert text.endswith("List beside it: family, " + ", ".join(list(points)[:11]) + ", and 9 more.")
    figure, axes = plt.subplots()
    axes.set_title("long " * 1000)
    plt.close(figure)
    assert len(describe(figure)) <= alt_text.LONGEST and describe(figure).endswith("…")


def several_dates(figure):
    """Curves over dates, a name at one of them, and bars on the axis to the right."""
    axes = figure.subplots()
    days = [datetime.date(2024, 1, day) for day in (1, 2, 9)]
    axes.plot(days, [1, 2, 3])
    axes.annotate("peak", (days[2], 3))
    axes.twinx().bar(days, [1, float("nan"), 3])


def mixture(figure):
    """Dots with a bar of colours, boxes, errors, and what is drawn of no data."""
    axes = figure.subplots()
    figure.colorbar(axes.scatter([1, 2], [3, 4], c=[1, 2]))
    axes.boxplot([[1, 2, 3]])
    axes.errorbar([1, 2], [3, 4], yerr=0.1, label="measured")
    axes.bar([], [])
    axes.plot([], [])
    figure.legend()


def parts(figure):
    """A histogram in a part of the figure."""
    figure.subfigures(1, 2)[0].subplots().hist([1, 2, 2, 3], bins=3)
    figure.suptitle("above")


ODD = {  # nobody in the kit draws such figures, and learners do
    "empty": lambda figure: None,
    "empty panels": lambda figure: figure.subplots(2, 2),
    "polar": lambda figure: figure.add_subplot(projection="polar").plot([0, 1, 2], [1, 2, 3]),
    "in space": lambda figure: figure.add_subplot(projection="3d").plot([0, 1, 2], [1, 2, 3], [1, 2, 3]),
    "pie": lambda figure: figure.subplots().pie([1, 2], labels=["a", "b"]),
    "no numbers": lambda figure: figure.subplots().imshow(np.full((2, 2), np.nan)),
    "photograph": lambda figure: figure.subplots().imshow(np.zeros((2, 2, 3))),
    "names": lambda figure: figure.subplots().plot(["x", "y", "z"], [1, 2, float("nan")]),
    "dates": several_dates,
    "mixture": mixture,
    "parts": parts,
}


@pytest.mark.parametrize("name", ODD)
def test_no_figure_is_without_a_text(name):
    figure = plt.figure()
    ODD[name](figure)
    plt.close(figure)
    text = describe(figure)
    assert text.endswith(".") and "\n" not in text and "nan" not in text and "inf" not in text, text


def test_a_shell_with_the_extension_shows_the_same_picture_and_a_text_beside_it():
    shell = InteractiveShell()
    shell.display_formatter.formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", png)
    figure = plot_losses({"lora": ([], [[0, 4.0], [100, 0.9]])})
    before, metadata = shell.display_formatter.format(figure)
    assert metadata == {}
    shell.extension_manager.load_extension("helpers.visualization.alt_text")
    after, metadata = shell.display_formatter.format(figure)
    assert metadata == {"image/png": {"alt": describe(figure)}}
    assert after["image/png"] == before["image/png"] and "text/plain" in after
    assert shell.display_formatter.format(SimpleNamespace())[1] == {}


def png(figure):
    """What IPython's own formatter does."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
