"""The start of a lab: a drop-down of profiles, settings folded away, one seed, and the folder that keeps its runs.

A notebook calls `start` once, and takes the settings where its first section begins:

    lab = start()
    settings = lab.settings()
"""

from __future__ import annotations

import html
import os
import sys
import tempfile
from pathlib import Path

import ipywidgets as widgets
from IPython.display import display

from helpers.display import notice, table
from helpers.run_records import KIT, RUNS
from helpers.settings import (
    PROFILES,
    QUICK,
    Settings,
    SettingsError,
    chosen_size,
    default_profile,
    load_settings,
    seed_everything,
)


def profile_dropdown() -> widgets.Dropdown:
    """The choice of a profile, set to LAB_PROFILE or to what suits this machine."""
    chosen = os.environ.get("LAB_PROFILE") or default_profile()
    return widgets.Dropdown(options=list(PROFILES), value=chosen if chosen in PROFILES else None, description="profile")


class Lab:
    """What `start` gives to a notebook.

    Attributes:
        profile: the drop-down; what is chosen there counts from the next call of `settings` on.
        view: the drop-down with a line and a folded table below it that follow the choice.
        runs: the folder for trainings. In quick size it is a temporary one: such runs are not kept.
    """

    def __init__(self):
        self.profile, self.about = profile_dropdown(), widgets.HTML()
        self.view = widgets.VBox([self.profile, self.about], layout=widgets.Layout(width="99%"))
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) if _is_quick() else None
        self.runs = Path(self._temporary.name) if self._temporary else RUNS
        self.profile.observe(self._tell, "value")
        self._tell()

    def settings(self) -> Settings:
        """The settings of the chosen profile; every random generator is set to their seed.

        Raises:
            SettingsError: LAB_PROFILE, LAB_SIZE, LAB_MODEL or LAB_DATA cannot be used; the message says why.
        """
        settings = load_settings(self.profile.value)
        seed_everything(settings)
        return settings

    def _tell(self, _=None):
        self.about.value = about(self.profile.value)


def _is_quick():
    try:
        return chosen_size() == QUICK
    except SettingsError:  # is told by `settings`, and below the drop-down
        return False


def _short(place):
    """A folder of the kit by its place in it; anything else as it is."""
    path = Path(place)
    return path.relative_to(KIT).as_posix() if path.is_absolute() and path.is_relative_to(KIT) else place


def about(profile: str | None) -> str:
    """HTML below the drop-down: the profile's model, data and device in a line, all settings folded; or what is
    wrong.
    """
    try:
        settings = load_settings(profile)
    except SettingsError as error:
        return notice(error)
    facts = [
        f"model {_short(settings.model)}",
        f"data {_short(settings.data)}",
        f"{settings.dtype} on {settings.device}",
        f"seed {settings.seed}",
    ]
    if settings.size == QUICK:
        facts.append("quick size: few rows and steps, so that numbers mean nothing")
    if "google.colab" in sys.modules and settings.device == "cpu":
        facts.append("for FLAN-T5 choose Runtime > Change runtime type > GPU")
    line = html.escape(" · ".join(facts))
    values = {name: _short(value) if isinstance(value, str) else value for name, value in vars(settings).items()}
    every = table(("setting", "value"), values.items()).data
    return f"<p>{line}</p><details><summary>all settings</summary>{every}</details>"


def start() -> Lab:
    """Shows the drop-down of profiles and returns the lab; run the cells below again after another choice."""
    lab = Lab()
    display(lab.view)
    return lab
