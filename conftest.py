"""The size of labs under test, from `kit.py test`: notebooks get it as LAB_SIZE, unit tests see full size."""

import gc
import os

import pytest

SIZE = os.environ.setdefault("KIT_TEST_SIZE", os.environ.get("LAB_SIZE") or "full")


def pytest_collection_finish():
    """What the imports have made is set aside: each training collects garbage, and then looks at new objects alone."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before a notebook's kernel starts, and before any fixture of a unit test."""
    os.environ.pop("LAB_SIZE", None)
    if item.path.suffix == ".ipynb":
        os.environ["LAB_SIZE"] = SIZE
    elif SIZE == "quick" and item.get_closest_marker("full"):
        pytest.skip("measures in full size: python kit.py test --full")
