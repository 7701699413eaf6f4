"""The start of a lab: what the drop-down offers and says, what `settings` gives, and where runs are kept."""

import os
import random

import pytest

import helpers.lab
from helpers.lab import Lab, about, profile_dropdown, start
from helpers.run_records import RUNS
from helpers.settings import PROFILES, SettingsError, default_profile


@pytest.mark.parametrize(("variable", "value"), [("small", "small"), ("", None), ("huge", None)])
def test_the_drop_down_starts_with_the_environments_choice(monkeypatch, variable, value):
    monkeypatch.setitem(os.environ, "LAB_PROFILE", variable)
    dropdown = profile_dropdown()
    assert list(dropdown.options) == list(PROFILES)
    assert dropdown.value == (value or (None if variable else default_profile()))


def test_the_lab_is_shown_and_returned(monkeypatch):
    shown = []
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    monkeypatch.setattr(helpers.lab, "display", shown.append)
    lab = start()
    assert shown == [lab.view] and lab.profile in lab.view.children and lab.runs == RUNS


def test_another_choice_counts_from_the_next_call_on(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    lab = Lab()
    before = lab.settings()
    lab.profile.value = "small"
    assert (before.profile, lab.settings().profile) == ("pocket", "small")
    assert "google/flan-t5-small" in lab.about.value


def test_settings_begin_with_the_seed(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    lab = Lab()
    drawn = []
    for _ in range(2):
        lab.settings()
        drawn.append(random.random())
    assert drawn[0] == drawn[1]


def test_a_line_says_what_runs_and_the_table_is_folded(monkeypatch):
    monkeypatch.delenv("LAB_SIZE", raising=False)
    page = about("pocket")
    assert page.startswith("<p>model pocket/model · data pocket/data · float32 on ") and "quick" not in page
    assert "<details><summary>all settings</summary>" in page and "train_steps" in page


def test_what_is_wrong_is_told_below_the_drop_down_and_by_settings(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "<b>huge</b>")
    lab = Lab()
    assert "LAB_PROFILE" in lab.about.value and "<b>huge</b>" not in lab.about.value
    with pytest.raises(SettingsError, match="LAB_PROFILE"):
        lab.settings()


def test_in_quick_size_runs_are_not_kept(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "pocket")
    monkeypatch.setenv("LAB_SIZE", "quick")
    lab = Lab()
    assert lab.runs != RUNS and lab.runs.is_dir() and not list(lab.runs.iterdir())
    assert lab.settings().size == "quick" and "quick size" in lab.about.value
    monkeypatch.setenv("LAB_SIZE", "tiny")
    with pytest.raises(SettingsError, match="LAB_SIZE: 'tiny' is not one of full, quick"):
        Lab().settings()
