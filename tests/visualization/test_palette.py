"""Colours: enough contrast to white for marks and text, and told apart by the colour-blind wherever they share a
figure.
"""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from helpers import display as show
from helpers.visualization import plots
from helpers.visualization.palette import (
    ALIGNMENT,
    APPLICATIONS,
    BLUE,
    COLOURS,
    COMPRESSION,
    DISTILLATION,
    FAMILIES,
    METHODS,
    MIXTURES,
    PALE,
    PREFERENCES,
    PRUNING,
    RED,
    SERIES,
    ink,
    luminance,
)

ROOT = Path(__file__).resolve().parents[2]
DARK = "#111111"  # behind the outputs in JupyterLab's dark theme
# What each kind of colour-blindness makes of linear RGB: Machado, Oliveira and Fernandes 2009, table 1, severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # of linear sRGB
# Groups of names that one figure can hold; `ALIGNMENT` has several figures with two things each.
TOGETHER = {
    "prompting": set(COLOURS.values()),
    "methods": set(METHODS.values()) | {COLOURS["zero-shot"]},
    "series": set(SERIES),
    "compression": set(COMPRESSION.values()),
    "alignment": set(ALIGNMENT.values()),
    "preferences": set(PREFERENCES.values()) | {ALIGNMENT["before"]},
    "bars": {PALE, BLUE, RED},
    "pruning": set(PRUNING.values()),
    "distillation": set(DISTILLATION.values()),
    "applications": set(APPLICATIONS.values()),
    "families": set(FAMILIES.values()),
    "mixtures": set(MIXTURES.values()),
}
EVERY = sorted(set().union(*TOGETHER.values()) - {PALE})


def linear(colour):
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """From 1 (the same) to 21 (black and white): WCAG 2.2."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour, vision):
    """CIELAB under the white D65, as somebody with this vision sees the colour."""
    ratios = XYZ @ np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(ratios > 216 / 24389, np.cbrt(ratios), (24389 / 27 * ratios + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, vision):
    """ΔE*ab of 1976: about 2 is just visible side by side."""
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def test_the_measures_agree_with_published_values():
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )
    assert lab("#ff0000", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)  # CIELAB of sRGB's red
    assert distance("#ff0000", "#808000", "deuteranopia") < distance("#ff0000", "#808000", "normal") / 2
    assert luminance("#d38100") == pytest.approx(float(linear("#d38100") @ [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("colour", EVERY)
def test_marks_stand_out_from_the_figure(colour):
    assert contrast(colour, "#ffffff") >= 3, "WCAG 2.2, 1.4.11"


@pytest.mark.parametrize("colour", [*EVERY, PALE])
def test_text_in_a_colour_can_be_read_and_keeps_its_hue(colour):
    assert contrast(ink(colour), "#ffffff") >= 4.5, "WCAG 2.2, 1.4.3"
    assert ink(colour) == colour or contrast(ink(colour), "#ffffff") < 4.8, "no darker than need be"
    parts, darker = np.array(to_rgb(colour)), np.array(to_rgb(ink(colour)))
    assert darker / max(darker.max(), 1e-9) == pytest.approx(parts / max(parts.max(), 1e-9), abs=0.02)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("group", TOGETHER)
def test_colours_of_one_figure_are_told_apart(group, vision):
    pairs = {pair: distance(*pair, vision) for pair in combinations(sorted(TOGETHER[group]), 2)}
    assert min(pairs.values()) >= 20, min(pairs, key=pairs.get)


def test_names_that_share_a_figure_share_no_colour():
    assert (
        len(set(COLOURS.values())) == len(COLOURS)
        and len(set(METHODS.values())) == len(METHODS)
        and len(set(SERIES)) == len(SERIES)
    )
    assert METHODS["full"] != COLOURS["zero-shot"] not in METHODS.values()


@pytest.mark.parametrize("edge", [show.GOOD, show.BAD])
@pytest.mark.parametrize("behind", ["#ffffff", DARK])
def test_frames_stand_out_in_both_themes(edge, behind):
    assert contrast(edge, behind) >= 3


def test_messages_keep_the_colour_that_the_theme_gives_to_text():
    assert "color:" not in show.notice("Not yet.", "hint").replace("border", "")


def test_figures_bring_their_own_white_so_that_a_dark_theme_changes_nothing():
    figure = plots.plot_window([10, 20, 30], 25)
    assert to_rgb(figure.get_facecolor()) == to_rgb(figure.axes[0].get_facecolor()) == (1, 1, 1)
    texts = [text.get_color() for text in figure.axes[0].texts] + [
        label.get_color() for label in figure.axes[0].get_xticklabels()
    ]
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in texts)


def test_figures_need_no_latex_whatever_the_users_matplotlibrc_says(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n", encoding="utf-8")
    code = """
from helpers.evaluation.statistics import Interval
from helpers.visualization.plots import plot_intervals
from helpers.visualization.widgets import png
print(len(png(plot_intervals({"100 % of _these_": Interval(0.5, 0.4, 0.6)}, "score"))) > 1000)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "PATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.stdout.strip() == "True", ended.stderr
