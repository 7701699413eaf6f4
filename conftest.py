"""The size of labs under test, from `kit.py test`: notebooks get it as LAB_SIZE, unit tests see full size."""

import functools
import gc
import os

import pytest

SIZE = os.environ.setdefault("KIT_TEST_SIZE", os.environ.get("LAB_SIZE") or "full")


def pytest_collection_finish():
    """What the imports have made is set aside: each training collects garbage, and then looks at new objects alone."""
    gc.collect()
    gc.freeze()


@functools.cache
def without_models(notebook):
    """Why a lab cannot run that loads a model out of a package; "" where it can, or loads none."""
    from cli.publish import LOADS_MODELS

    if not LOADS_MODELS.search(notebook.read_text(encoding="utf-8")):
        return ""
    from helpers.models.packaged import PACKAGED, ModelError, packaged_file

    try:
        for name in PACKAGED:
            packaged_file(name)
    except ModelError as missing:
        return str(missing)
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before a notebook's kernel starts, and before any fixture of a unit test."""
    os.environ.pop("LAB_SIZE", None)
    if item.path.suffix == ".ipynb":
        os.environ["LAB_SIZE"] = SIZE
        if os.environ.get("LAB_PROFILE") == "pocket" and without_models(item.path):
            pytest.skip(without_models(item.path))
    elif SIZE == "quick" and item.get_closest_marker("full"):
        pytest.skip("measures in full size: python kit.py test --full")
