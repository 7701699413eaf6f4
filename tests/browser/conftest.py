"""Tests in this folder drive JupyterLab in a browser; they are left out where there is none."""

import importlib.util
import shutil
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = [what for what, found in (("playwright", importlib.util.find_spec("playwright")),
                                    ("chromium", any(map(shutil.which, BROWSERS)))) if not found]


def pytest_collection_modifyitems(items):
    """Marks the tests of this folder as `browser`, and skips them with the reason where something is missing."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=f"{' and '.join(MISSING)} not installed"))
