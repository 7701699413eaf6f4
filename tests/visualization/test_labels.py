"""What is written into figures: titles that say what to see, large enough letters, dots for seeds, names apart."""

import inspect
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import helpers.visualization
from helpers.evaluation.calibration import Bin
from helpers.evaluation.statistics import Interval
from helpers.transformer.positions import sinusoids
from helpers.visualization import curves, fronts, heatmaps, plots, scaling
from helpers.visualization.labels import LINE, apart, draw_levels, label_apart, name_curves
from tests.training.test_scaling_laws import LAW, made
from tests.visualization.test_fronts import FRONT, GROUPS, POINTS, variant

WHOLE = Interval(0.5, 0.4, 0.6)
SIZE = {"weights": 4e6, "activations": 1e6}
ROWS = [{"token": "a", "original": 0.5, "final": 0.8, "in_top_k": True, "in_top_p": True}]
# Every function that draws a figure, with arguments that it can draw.
FIGURES = {
    plots.plot_intervals: ({"full": WHOLE, "lora": WHOLE}, "ROUGE-1"),
    plots.plot_next_token: (ROWS,),
    plots.plot_against: ([1, 2], {"ROUGE-1": [WHOLE, WHOLE]}, "temperature", {"ROUGE-1": 0.45}),
    plots.plot_window: ([10, 20, 30], 25),
    plots.plot_samples: ([0.1, 0.5, 0.5, 0.6], WHOLE, "ROUGE-1"),
    plots.plot_tradeoff: ({"full": (WHOLE, WHOLE)}, "reward", "ROUGE-1"),
    plots.plot_grid: ({"one": [0.1, 0.2]}, "head"),
    plots.plot_reliability: ({"texts": [Bin(0.4, WHOLE, 9), Bin(0.9, WHOLE, 9)]},),
    plots.plot_prices: ({"full": (100, WHOLE)}, "trainable, %", "ROUGE-1", {"zero-shot": 0.3}),
    curves.plot_losses: ({"full": ([[0, 3.0]], [[1, 2.0]])},),
    curves.plot_series: ([1, 2], {"full": [WHOLE, WHOLE]}, "rank", "ROUGE-1", {"zero-shot": 0.3}),
    curves.plot_lines: ([1, 2], {"full": [0.3, 0.2]}, "bits", "error"),
    curves.plot_metrics: ([{"score": 0.1, "kl": 0.2}],),
    fronts.plot_front: (POINTS, GROUPS, FRONT, "file, MB", "ROUGE-1"),
    fronts.plot_variants: ({"float32": variant("float32", "quantization", 16e6, 0.7, 4)}, "file"),
    heatmaps.plot_attention: (np.eye(2), ["I", "am"], ["a", "b"]),
    heatmaps.plot_sinusoids: (sinusoids(16, 8),),
    heatmaps.plot_biases: ([-1, 0, 1], {"encoder": np.ones((2, 3))}),
    heatmaps.plot_masks: ({"all": np.ones((3, 3)), "causal": np.tri(3)},),
    scaling.plot_bytes: ({"one": SIZE}, 1e6, "MB", 3e6),
    scaling.plot_runs: (made(LAW), LAW),
    scaling.plot_budget: (LAW, [LAW, LAW], 1e12, 60.0),
}
TITLE = (
    "Further right is better: what the eye should look for in this figure, in so many words that they need two lines"
)
every_figure = pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)


def test_no_figure_is_forgotten():
    drawing = {name for name in helpers.visualization.__all__ if name.startswith("plot_")}
    for module in (plots, curves, fronts, heatmaps, scaling):
        found = inspect.getmembers(module, inspect.isfunction)
        drawing |= {
            name for name, made_by in found if name.startswith("plot_") and made_by.__module__ == module.__name__
        }
    assert drawing == {draw.__name__ for draw in FIGURES}


@every_figure
def test_a_title_says_what_to_see_from_the_left_edge_within_the_figure(draw):
    figure = draw(*FIGURES[draw], title=TITLE)
    figure.draw_without_rendering()
    title = figure._suptitle  # the text itself, for which there is no public name
    box, panels = title.get_window_extent(), [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
    assert " ".join(title.get_text().split()).startswith(TITLE) and title.get_text().count("\n") >= 1
    assert title.get_fontsize() >= 11 and title.get_ha() == "left"
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert not any(box.overlaps(panel) for panel in panels) and not plt.get_fignums()


@every_figure
def test_without_a_title_nothing_stands_above(draw):
    assert TITLE not in draw(*FIGURES[draw]).get_suptitle()


@every_figure
def test_letters_have_at_least_ten_points(draw):
    figure = draw(*FIGURES[draw], title=TITLE)
    figure.draw_without_rendering()
    small = [text for text in figure.findobj(Text) if text.get_text() and text.get_fontsize() < 10]
    assert [text.get_text() for text in small] == []


def dots(axes):
    """(x, y) of all small dots of a panel."""
    return [place for line in axes.lines if line.get_markersize() == 4 for place in line.get_xydata().tolist()]


@pytest.mark.parametrize(
    ("draw", "seeds", "expected"),
    [
        (plots.plot_intervals, {"lora": [0.4, 0.6]}, [[0.4, 1], [0.6, 1]]),
        (plots.plot_against, {"ROUGE-1": [[0.4, 0.6], [0.5]]}, [[1, 0.4], [1, 0.6], [2, 0.5]]),
        (plots.plot_tradeoff, {"full": ([0.4, 0.6], [0.3, 0.7])}, [[0.4, 0.3], [0.6, 0.7]]),
        (plots.plot_prices, {"full": [0.4, 0.6]}, [[100, 0.4], [100, 0.6]]),
        (curves.plot_series, {"full": [[0.4, 0.6], [0.5]]}, [[1, 0.4], [1, 0.6], [2, 0.5]]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_seed_has_a_small_dot_and_the_axis_says_so(draw, seeds, expected):
    axes = draw(*FIGURES[draw], seeds=seeds).axes[0]
    assert dots(axes) == expected and "one seed each" in axes.get_xlabel()
    plain = draw(*FIGURES[draw]).axes[0]
    assert dots(plain) == [] and "seed" not in plain.get_xlabel()


def boxes(axes):
    """Where the names of a panel stand, without the lines that lead to them."""
    axes.figure.draw_without_rendering()
    return [Text.get_window_extent(note) for note in axes.texts]


@pytest.fixture
def panel():
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    yield figure, axes
    plt.close(figure)


def test_a_name_covers_no_curve_and_no_other_dot(panel):
    figure, axes = panel
    axes.plot([0, 0.5, 1], [0.5, 0.5, 1.0], "o-")  # leaves the middle to the left, and upwards to the right
    axes.plot(0.53, 0.45, "o")  # below on the right
    label_apart(figure, axes, {"middle": (0.5, 0.5)})
    (box,) = boxes(axes)
    along = np.linspace(0, 1, 400)
    curve = axes.transData.transform(np.stack([along, np.interp(along, [0, 0.5, 1], [0.5, 0.5, 1.0])], axis=1))
    other = axes.transData.transform((0.53, 0.45))
    assert not any(box.contains(*place) for place in [*curve, other])


def test_names_of_crowded_dots_do_not_meet_and_far_ones_have_a_line(panel):
    figure, axes = panel
    places = {f"name {number}": (0.5 + 0.01 * number, 0.5) for number in range(6)}
    axes.plot(*zip(*places.values()), "o")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_apart(figure, axes, places)
    assert not any(one.overlaps(other) for one, other in combinations(boxes(axes), 2))
    far = [abs(note.xyann[1]) > 1.5 * LINE for note in axes.texts]
    assert any(far) and all(note.arrow_patch is not None for note, away in zip(axes.texts, far) if away)


def test_a_name_shows_its_dollars(panel):
    figure, axes = panel
    label_apart(figure, axes, {"$5 and $6": (0.5, 0.5)})
    assert axes.texts[0].get_text() == r"\$5 and \$6"


def test_heights_move_as_little_as_it_takes():
    assert apart(np.array([50.0, 90.0]), 0, 100).tolist() == [50, 90]
    assert apart(np.array([50.0, 50.0]), 0, 100).tolist() == [50 - LINE / 2, 50 + LINE / 2]
    assert apart(np.array([]), 0, 100).tolist() == []
    for heights in ([0, 1, 2], [99, 99, 100], [0, 50, 51]):
        moved = apart(np.array(heights, dtype=float), 0, 100)
        assert all(two - one >= LINE - 1e-9 for one, two in pairwise(moved))
        assert moved[0] >= LINE / 2 - 1e-9 and moved[-1] <= 100


def test_a_curve_that_ends_before_the_others_is_named_beside_its_end(panel):
    figure, axes = panel
    axes.plot([0, 1], [0, 1])
    axes.plot([0, 0.5], [0, 0.1])
    axes.margins(x=0.2)
    name_curves(figure, axes, {"long": (1, 1), "short": (0.5, 0.1)}, {"long": "#000000", "short": "#000000"})
    assert [(note.get_text(), note.xy) for note in axes.texts] == [("long", (1, 1)), ("short", (0.5, 0.1))]


def test_a_level_is_named_where_no_curve_passes(panel):
    figure, axes = panel
    axes.plot([0, 0.25, 1], [0.52, 0.52, 0.9])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    draw_levels(figure, axes, {"before": 0.5})
    (box,) = boxes(axes)
    curve = axes.transData.transform(np.stack([np.linspace(0, 0.25, 200), np.full(200, 0.52)], axis=1))
    assert len(axes.lines) == 2 and not any(box.contains(*place) for place in curve)
    draw_levels(figure, axes, None)
    assert len(axes.lines) == 2
