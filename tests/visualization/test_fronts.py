"""Figures of many variants: numbers at the dots, names beside them, the front marked."""

import matplotlib.pyplot as plt
import pytest

from helpers.compression.variants import PRICES, Variant
from helpers.evaluation.statistics import Interval
from helpers.visualization.fronts import AXES, plot_front, plot_variants

POINTS = {
    f"variant {number}": (Interval(size, size * 0.9, size * 1.1), Interval(quality, quality - 0.03, quality + 0.03))
    for number, (size, quality) in enumerate(
        [
            (16, 0.7),
            (16, 0.7),
            (8, 0.7),
            (7, 0.69),
            (7, 0.69),
            (6, 0.68),
            (5.6, 0.68),
            (5.5, 0.68),
            (5.4, 0.6),
            (5.1, 0.3),
            (5.1, 0.45),
            (9, 0.6),
            (9, 0.59),
            (9, 0.55),
            (11, 0.65),
            (16, 0.69),
            (16, 0.68),
            (16, 0.62),
            (12, 0.66),
            (16, 0.4),
        ],
        1,
    )
}
GROUPS = {name: "pruning" if number > 14 else "quantization" for number, name in enumerate(POINTS, 1)}
FRONT = ["variant 11", "variant 8", "variant 1"]


@pytest.fixture(scope="module")
def figure():
    return plot_front(POINTS, GROUPS, FRONT, "file, MB", "ROUGE-1")


def test_twenty_variants_have_their_numbers_at_the_dots_and_their_names_beside_them(figure):
    axes, side = figure.axes
    assert [text.get_text() for text in axes.texts] == [str(number) for number in range(1, 21)]
    listed = [text.get_text() for text in side.texts]
    assert (
        set(POINTS) < set(listed)
        and listed[0] == "quantization"
        and listed.index("pruning") == listed.index("variant 14") + 1
    )
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "file, MB" and not plt.get_fignums()


def test_the_front_is_joined_filled_and_bold(figure):
    axes, side = figure.axes
    assert list(axes.lines[0].get_xdata()) == [5.1, 5.5, 16] and list(axes.lines[0].get_ydata()) == [0.45, 0.68, 0.7]
    dots = [line for line in axes.lines[1:] if line.get_marker() not in ("None", "")]
    assert [dot.get_markerfacecolor() != "white" for dot in dots] == [name in FRONT for name in POINTS]
    assert {dot.get_marker() for dot in dots[:14]} == {"o"} and {dot.get_marker() for dot in dots[14:]} == {"s"}
    assert {text.get_text() for text in side.texts if text.get_weight() == "bold"} == set(FRONT)


def test_names_do_not_overlap_and_stay_inside_the_figure(figure):
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[1].texts if text.get_text() in POINTS]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)


def test_no_points_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="points: the mapping is empty"):
        plot_front({}, {}, [], "file, MB", "ROUGE-1")


def variant(name, family, size, quality, milliseconds, machine="here"):
    return Variant(
        name,
        family,
        "",
        "",
        {"rouge1": [quality, quality]},
        size,
        2 * size,
        0.1,
        0,
        [milliseconds, milliseconds],
        machine,
    )


def test_variants_are_set_against_what_binds_and_times_of_other_machines_are_left_out():
    variants = {
        each.name: each
        for each in (
            variant("float32", "quantization", 16e6, 0.7, 4),
            variant("int8", "quantization", 7e6, 0.69, 8),
            variant("student", "distillation", 8e6, 0.4, 2, "elsewhere"),
        )
    }
    for price, (label, of_int8, shown) in {
        "file": ("file, MB", 7, 3),
        "memory": ("in memory, MB", 14, 3),
        "time": ("milliseconds a token", 8, 2),
    }.items():
        axes, side = plot_variants(variants, price).axes
        dots = [line for line in axes.lines[1:] if line.get_marker() not in ("None", "")]
        assert axes.get_xlabel().startswith(label) and len(dots) == shown and list(dots[1].get_xdata()) == [of_int8]
        bold = {text.get_text() for text in side.texts if text.get_weight() == "bold"}
        assert bold == ({"float32"} if price == "time" else {"float32", "int8"})
    assert set(AXES) == set(PRICES)
