from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from helpers.evaluation.calibration import Bin
from helpers.evaluation.statistics import Interval
from helpers.visualization.curves import plot_lines, plot_losses, plot_metrics, plot_series
from helpers.visualization.palette import COLOURS, GREY, METHODS, PALE, colour_of
from helpers.visualization.plots import (
    number_plainly,
    percent,
    plot_against,
    plot_grid,
    plot_intervals,
    plot_next_token,
    plot_prices,
    plot_reliability,
    plot_samples,
    plot_tradeoff,
    plot_window,
)

INTERVALS = {
    "zero-shot": Interval(0.2, 0.15, 0.25),
    "three-shot, unseen": Interval(0.5, 0.4, 0.6),
    "mine": Interval(0.1, 0.0, 0.2),
}
ROWS = [
    {"token": "▁cost$", "original": 0.5, "final": 0.8, "in_top_k": True, "in_top_p": True},
    {"token": "\n", "original": 0.2, "final": 0.0, "in_top_k": True, "in_top_p": False},
    {"token": "<b>", "original": 0.1, "final": 0.0, "in_top_k": False, "in_top_p": False},
]


@pytest.fixture(autouse=True)
def closed():
    """Figures are returned closed: otherwise a notebook would show each of them twice."""
    before = set(plt.get_fignums())
    yield
    assert set(plt.get_fignums()) == before


def labels(axes):
    return [text.get_text() for text in axes.texts]


def test_a_way_of_prompting_keeps_its_colour_whatever_follows_its_name():
    assert colour_of("three-shot") == colour_of("three-shot, unseen") == COLOURS["three-shot"]
    assert colour_of("something new") == GREY and len(set(COLOURS.values())) == len(COLOURS)


def test_intervals_stand_in_order_with_their_means_and_colours():
    axes = plot_intervals(INTERVALS, "ROUGE-L", "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(INTERVALS) and axes.yaxis_inverted()
    assert labels(axes) == ["0.20", "0.50", "0.10"] and axes.get_xlabel() == "ROUGE-L" and axes.get_xlim()[0] == 0
    assert to_hex(axes.lines[0].get_color()) == COLOURS["zero-shot"] and list(axes.lines[0].get_xdata()) == [0.15, 0.25]


def test_a_difference_below_zero_is_not_cut_off():
    axes = plot_intervals({"wrong style": Interval(-0.1, -0.2, 0.05)}, "difference").axes[0]
    assert axes.get_xlim()[0] < -0.2 and axes.get_xlim()[1] > 0.05


def test_no_intervals_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="intervals: the mapping is empty"):
        plot_intervals({}, "ROUGE-L")


def test_next_token_says_what_became_of_every_candidate():
    figure = plot_next_token(ROWS, "title")
    axes = figure.axes[0]
    assert labels(axes) == ["50.0% → 80.0%", "20.0%, cut by top-p", "10.0%, cut by top-k"] and axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["␣cost\\$", "⏎", "<b>"]
    assert len(axes.patches) == 6 and "probability" in axes.get_xlabel() and axes.get_xlim()[1] > 0.8
    figure.canvas.draw()  # a bare dollar sign would fail only here, as a broken formula


def test_a_probability_that_is_not_0_never_looks_like_it():
    assert [percent(share) for share in (0, 1e-9, 0.0012, 1.0)] == ["0", "<0.1%", "0.1%", "100.0%"]


def test_a_few_far_samples_do_not_squeeze_all_others():
    estimates = [*np.linspace(-50, 50, 999), 900.0]
    axes = plot_samples(estimates, Interval(0.0, -5, 5), "change").axes[0]
    assert axes.get_xlim()[1] < 100 and axes.get_xlabel().startswith("change (") and "beyond" in axes.get_xlabel()
    bars = [bar for bar in axes.patches if bar.get_height() and to_hex(bar.get_facecolor()) == PALE]
    assert sum(bar.get_height() for bar in bars) == 1000


def test_next_token_of_no_candidates_is_an_empty_figure():
    assert len(plot_next_token([]).axes[0].patches) == 0


def test_a_panel_for_each_quantity_with_a_band_where_there_are_intervals():
    series = list(INTERVALS.values())
    figure = plot_against(
        [0.2, 0.5, 1.0], {"quality": series, "words": [9, 8, 7]}, "temperature", greedy={"quality": 0.3}
    )
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("quality", "words") and first.get_xlabel() == "temperature"
    assert (
        list(first.lines[0].get_ydata()) == [0.2, 0.5, 0.1]
        and len(first.collections) == 1
        and labels(first) == ["greedy"]
    )
    assert list(second.lines[0].get_ydata()) == [9, 8, 7] and len(second.collections) == 0 and labels(second) == []


def test_prompts_beyond_the_window_have_another_colour():
    axes = plot_window([100, 500, 600], 512).axes[0]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert (
        colours[0] == colours[1] != colours[2]
        and labels(axes) == ["window: 512 tokens"]
        and axes.get_ylabel() == "tokens"
    )


def test_samples_are_all_counted():
    axes = plot_samples([0.1, 0.2, 0.2, 0.4], Interval(0.25, 0.2, 0.3), "ROUGE-1", name="all 200").axes[0]
    assert labels(axes) == ["all 200"]
    bars = [bar for bar in axes.patches if bar.get_height() and to_hex(bar.get_facecolor()) == PALE]
    assert (
        sum(bar.get_height() for bar in bars) == 4 and axes.get_xlabel() == "ROUGE-1" and axes.get_ylabel() == "count"
    )


def test_reliability_has_a_dot_a_bin_and_the_line_of_those_who_are_as_sure_as_they_should_be():
    bins = [Bin(0.4, Interval(0.3, 0.1, 0.5), 9), Bin(0.9, Interval(0.95, 0.9, 1.0), 9)]
    axes = plot_reliability({"texts": bins, "letters": bins[:1]}, "Right as often as it is sure?").axes[0]
    assert [line.get_xydata().tolist() for line in axes.lines[:2]] == [[[0, 0], [1, 1]], [[0.4, 0.3], [0.9, 0.95]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["texts", "letters"]
    assert axes.get_xlabel() == "confidence in the chosen answer" and axes.get_ylabel() == "share of right answers"


NAMES = ("full", "lora", "prompt")


@pytest.mark.parametrize(
    "figure",
    [
        plot_losses({name: ([], [[1, 3.0], [2, 2.5]]) for name in NAMES}),
        plot_lines([1, 2], {name: [0.3, 0.2] for name in NAMES}, "x", "y"),
        plot_series([1, 2], {name: [Interval(0.2, 0.1, 0.3)] * 2 for name in NAMES}, "x", "y"),
    ],
    ids=["losses", "lines", "series"],
)
def test_names_of_curves_that_end_alike_stand_above_each_other(figure):
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in figure.axes[0].texts]  # without the lines that lead to them
    assert len(boxes) == 3 and not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_loss_curves_have_a_line_each_for_training_and_validation_and_a_name():
    axes = plot_losses({"full": ([[1, 3.0], [2, 2.0]], [[2, 2.5]]), "lora": ([], [[2, 2.6]]), "prompt": ([], [])}).axes[
        0
    ]
    assert [list(line.get_ydata()) for line in axes.lines] == [[3.0, 2.0], [2.5], [2.6]] and labels(axes) == [
        "full",
        "lora",
    ]
    assert [to_hex(line.get_color()) for line in axes.lines] == [METHODS["full"], METHODS["full"], METHODS["lora"]]
    assert axes.get_ylim()[0] == 0 and "nats" in axes.get_ylabel()


def test_prices_stand_on_a_logarithmic_axis_with_their_intervals():
    axes = plot_prices(
        {"full": (100, Interval(0.6, 0.5, 0.7)), "lora": (3, Interval(0.55, 0.5, 0.6))},
        "trainable, %",
        "ROUGE-1",
        {"zero-shot": 0.3},
    ).axes[0]
    assert axes.get_xscale() == "log" and sorted(labels(axes)) == ["full", "lora", "zero-shot"]
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.7] and list(axes.lines[1].get_xdata()) == [100]


def test_series_share_a_panel_with_a_band_and_a_name_each():
    series = {"full": list(INTERVALS.values()), "lora": list(INTERVALS.values())}
    axes = plot_series([100, 300, 1000], series, "training dialogues", "ROUGE-1", {"zero-shot": 0.3}).axes[0]
    assert (
        axes.get_xscale() == "log"
        and sorted(labels(axes)) == ["full", "lora", "zero-shot"]
        and len(axes.collections) == 2
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "300", "1,000"]
    assert list(axes.lines[0].get_ydata()) == [0.2, 0.5, 0.1] and to_hex(axes.lines[0].get_color()) == METHODS["full"]


def test_series_may_have_even_places_and_names_where_the_lines_are_apart():
    series = {"Wanda": list(INTERVALS.values()), "zeros": list(INTERVALS.values())}
    axes = plot_series([0.1, 0.5, 0.9], series, "zeros", "ROUGE-1", logarithmic=False, named_at=1).axes[0]
    assert axes.get_xscale() == "linear" and [label.get_text() for label in axes.get_xticklabels()] == [
        "0.1",
        "0.5",
        "0.9",
    ]
    assert {text.xy for text in axes.texts} == {(0.5, 0.5)}


def test_a_grid_shows_each_number_and_leaves_out_what_a_row_does_not_have():
    axes = plot_grid({"one": [0.0, 0.25], "two": [1.0, 0.5, 0.125]}, "head").axes[0]
    assert labels(axes) == ["0", "0.25", "1", "0.5", "0.12"] and [
        label.get_text() for label in axes.get_yticklabels()
    ] == ["one", "two"]
    assert axes.images[0].get_array().mask.tolist() == [[False, False, True], [False, False, False]]


def test_lines_have_their_places_in_order_and_a_logarithmic_height():
    axes = plot_lines(
        ["tensor", 64, 32], {"8 bits": [0.03, 0.02, 0.01], "4 bits": [0.5, 0.3, 0.2]}, "who shares a scale", "error"
    ).axes[0]
    assert (
        axes.get_yscale() == "log"
        and sorted(labels(axes)) == ["4 bits", "8 bits"]
        and list(axes.lines[1].get_ydata()) == [0.5, 0.3, 0.2]
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["tensor", "64", "32"]


@pytest.mark.parametrize(
    "heights, expected",
    [
        ([0.011, 0.05], ["0.015", "0.02", "0.03", "0.05"]),
        ([0.011, 0.9], ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        ([0.00002, 0.9], ["0.0001", "0.001", "0.01", "0.1"]),
        ([9, 15], ["10", "12", "14"]),
        ([12344, 12361], ["12345", "12350", "12355", "12360"]),
        ([1.00009, 1.00021], ["1.0001", "1.00015", "1.0002"]),
        ([80_000, 2e9], ["100000", "1000000", "10000000", "100000000", "1000000000"]),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers_as_many_as_it_has_room_for(heights, expected):
    axes = plot_lines([1, 2], {"error": heights}, "bits", "error").axes[0]
    low, high = heights
    ticks = zip(axes.get_yticks(), axes.get_yticklabels())
    assert [label.get_text() for place, label in ticks if low <= place <= high] == expected


def test_every_logarithmic_axis_has_two_different_numbers_or_more_and_each_stands_where_it_should():
    figure, axes = plt.subplots(figsize=(7.5, 3.4))
    axes.set_yscale("log")
    random = np.random.default_rng(0)
    for more in 10 ** random.uniform([[-4], [0], [2]], [[0], [2], [8]], (3, 300)).ravel():  # narrow, wider, wide
        low = 10 ** random.uniform(-5, 6)
        high = low * (1 + more)
        axes.set_ylim(low, high)
        number_plainly(axes.yaxis)
        places = [place for place in axes.yaxis.get_majorticklocs() if low <= place <= high]
        found = axes.yaxis.get_major_formatter().format_ticks(places)
        assert len(found) >= 2 and len(set(found)) == len(found), (low, high, found)
        assert [float(text) for text in found] == pytest.approx(places, rel=1e-9)
    plt.close(figure)


def test_a_tradeoff_has_a_cross_for_each_point_and_joins_what_belongs_together():
    points = {
        "full 1": (Interval(0.1, 0.0, 0.2), Interval(0.5, 0.4, 0.6)),
        "full 2": (Interval(0.3, 0.2, 0.4), Interval(0.7, 0.6, 0.8)),
    }
    axes = plot_tradeoff(points, "skill kept", "ROUGE-1", {"full": ["full 1", "full 2"]}).axes[0]
    assert labels(axes) == ["full 1", "full 2"] and len(axes.lines) == 7
    assert list(axes.lines[0].get_xdata()) == [0.0, 0.2] and list(axes.lines[1].get_ydata()) == [0.4, 0.6]
    assert list(axes.lines[-1].get_xdata()) == [0.1, 0.3] and axes.lines[-1].get_linestyle() == ":"


def test_names_of_dots_cross_neither_each_other_nor_the_axis():
    close = {
        f"a variant with a long name {number}": (Interval(place, place, place), Interval(0.3, 0.3, 0.3))
        for number, place in enumerate((0.10, 0.11, 0.12, 0.9))
    }
    figure = plot_tradeoff(close, "file, MB", "ROUGE-1")
    figure.draw_without_rendering()
    axes, boxes = figure.axes[0], [Text.get_window_extent(note) for note in figure.axes[0].texts]
    assert all(box.x0 > axes.bbox.x0 for box in boxes) and not any(
        one.overlaps(other) for one, other in combinations(boxes, 2)
    )


def test_metrics_have_a_panel_each_over_steps_all_of_them_or_those_chosen():
    figure = plot_metrics(
        [{"score": 0.0, "kl": 0.1, "update_kl": 0.2}, {"score": 1.0, "kl": 0.3, "update_kl": 0.1}], columns=2
    )
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["score", "kl", "update kl"]
    assert list(shown[1].lines[0].get_xdata()) == [1, 2] and list(shown[1].lines[0].get_ydata()) == [0.1, 0.3]
    chosen = plot_metrics([{"score": 0.0, "kl": 0.1}, {"score": 1.0, "kl": 0.3}], ["kl"], columns=1)
    assert [axes.get_title(loc="left") for axes in chosen.axes] == ["kl"]
    assert list(chosen.axes[0].lines[0].get_ydata()) == [0.1, 0.3]
    with pytest.raises(ValueError, match="history: is empty"):
        plot_metrics([])
