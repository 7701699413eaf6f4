"""Tests in this folder fetch FLAN-T5-small and DialogSum from the model hub; they run where KIT_HUB_TESTS=1 asks for
it.
"""

import os
from pathlib import Path

import pytest

ASKED = os.environ.get("KIT_HUB_TESTS") == "1"


def pytest_collection_modifyitems(items):
    """Marks the tests of this folder as `hub`, and skips them where nobody has asked for hundreds of megabytes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hub)
            if not ASKED:
                item.add_marker(pytest.mark.skip(reason="fetches a model and data from the hub; set KIT_HUB_TESTS=1"))
