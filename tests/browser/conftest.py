"""Tests in this folder drive JupyterLab in a browser; they are left out where there is none, and come after all
others.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
MISSING = [
    what for what, found in (("playwright", importlib.util.find_spec("playwright")), ("chromium", BROWSER)) if not found
]
HERE = Path(__file__).resolve().parent
# No sandbox, as root in a container has none; the rest keeps the browser from the network and the graphics card.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-blink-features=ComputedAccessibilityInfo",
]


def pytest_collection_modifyitems(items):
    """Marks the tests of this folder as `browser`, and skips them with the reason where something is missing.

    They go to the end: the labs have then run as tests, and what they trained is there to be loaded.
    """
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.browser)
        if MISSING:
            item.add_marker(
                pytest.mark.skip(reason=f"{' and '.join(MISSING)} not installed (CONTRIBUTING.md says how)")
            )
        elif os.environ["KIT_TEST_SIZE"] == "quick" and not os.environ.get("KIT_BROWSER"):
            item.add_marker(pytest.mark.skip(reason="in a browser: python kit.py test --full, or KIT_BROWSER=LAB"))
    items[:] = [item for item in items if item not in here] + here


@pytest.fixture(scope="session")
def chromium():
    """The browser, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """JupyterLab on a copy of the kit."""
    from tests.browser.lab_server import LabServer, copy_kit

    place = tmp_path_factory.mktemp("browser")
    server = LabServer(copy_kit(place / "kit"), place / "server")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def labs(chromium, server):
    """The labs, each opened in a tab of its own and run once, when a test asks for it."""
    from tests.browser.open_labs import SCREENSHOTS, OpenLabs

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return OpenLabs(chromium, server, chosen())


@pytest.fixture(autouse=True)
def others_go_on(request):
    """Between tests, labs that wait for a place on the processor are started."""
    if "labs" in request.fixturenames:
        request.getfixturevalue("labs").advance()


def chosen():
    """The numbered labs and the extras that have widgets of their own; "all" adds the other extras (minutes each);
    names, commas between, ask for those alone.
    """
    asked = os.environ.get("KIT_BROWSER", "")
    numbered = sorted(path.stem for path in (HERE.parents[1] / "labs").glob("[0-9]*.ipynb"))
    extras = sorted(path.stem for path in (HERE.parents[1] / "labs" / "extras").glob("*.ipynb"))
    order = [*numbered[:2], *extras, *numbered[2:]]  # lab 3 waits for lab 2, the extras need not
    if asked in ("", "all"):
        return [name for name in order if asked or name in (*numbered, "human_feedback", "chat_model")]
    if unknown := set(asked.split(",")).difference(order):
        raise pytest.UsageError(
            f"KIT_BROWSER: no lab is called {', '.join(sorted(unknown))}; choose all, or from {', '.join(order)}"
        )
    return [name for name in order if name in asked.split(",")]


@pytest.fixture(scope="session", params=chosen())
def lab(request, labs):
    """Each lab in turn, run to its end."""
    return labs.ran(request.param)
