import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import helpers.evaluation.claims
from helpers.evaluation.claims import CLAIMS_MIME, Claim, checkpoint
from helpers.evaluation.statistics import Interval

ROOT = Path(__file__).resolve().parents[2]
OURS = SimpleNamespace(profile="pocket", size="full", claims_asserted=True, exact_asserted=True)
QUICK = SimpleNamespace(profile="pocket", size="quick", claims_asserted=False, exact_asserted=True)
THEIRS = SimpleNamespace(profile="base", size="full", claims_asserted=False, exact_asserted=False)
TRUE = Claim("one-shot beats <b>zero-shot</b>", Interval(0.2, 0.1, 0.3), np.True_)
FALSE = Claim("water flows uphill", 0.5, False)


@pytest.fixture
def shown(monkeypatch):
    """What the checkpoint displayed."""
    seen = []
    monkeypatch.setattr(helpers.evaluation.claims, "display", lambda data, raw: seen.append(data))
    return seen


def test_claims_that_hold_are_shown_with_their_values(shown):
    checkpoint(OURS, TRUE, Claim("two is two", 2, True))
    page = shown[0]["text/html"]
    assert (
        "0.20 [0.10, 0.30]" in page and "&lt;b&gt;zero-shot" in page and page.count("holds") == 2 and "asserted" in page
    )
    assert shown[0]["text/plain"].splitlines()[1] == "two is two | 2 | holds"


def test_a_failing_claim_raises_under_pythonoptimize():
    code = """
from types import SimpleNamespace
from helpers.evaluation.claims import Claim, checkpoint
settings = SimpleNamespace(profile="pocket", size="full", claims_asserted=True)
checkpoint(settings, Claim("water flows uphill", 0.5, False))
"""
    ended = subprocess.run(
        [sys.executable, "-O", "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert ended.returncode == 1 and "AssertionError: Checkpoint: water flows uphill (measured: 0.5)" in ended.stderr


def test_the_claims_are_kept_as_data_that_json_can_hold(shown):
    checkpoint(OURS, TRUE)
    assert json.loads(json.dumps(shown[0][CLAIMS_MIME])) == [
        {"claim": TRUE.text, "value": "0.20 [0.10, 0.30]", "holds": True}
    ]


def test_a_claim_that_fails_is_shown_then_named(shown):
    with pytest.raises(AssertionError, match=r"^Checkpoint: water flows uphill \(measured: 0\.5\)$"):
        checkpoint(OURS, TRUE, FALSE)
    assert "DOES NOT HOLD" in shown[0]["text/html"] and [row["holds"] for row in shown[0][CLAIMS_MIME]] == [True, False]


def test_nothing_is_asserted_of_a_model_or_data_of_ones_own(shown):
    checkpoint(THEIRS, FALSE)
    assert "measured, not asserted: base" in shown[0]["text/html"] and shown[0][CLAIMS_MIME][0]["holds"] is None


def test_a_lab_that_took_another_model_asserts_only_what_holds_exactly(shown):
    checkpoint(OURS, FALSE, TRUE, as_measured=False)
    assert [row["holds"] for row in shown[0][CLAIMS_MIME]] == [None, None]
    with pytest.raises(AssertionError, match="two is three"):
        checkpoint(OURS, FALSE, Claim("two is three", 2, False, exact=True), as_measured=False)


def test_in_quick_size_only_what_holds_exactly_is_asserted(shown):
    checkpoint(QUICK, FALSE, Claim("two is two", 2, True, exact=True))
    assert [row["holds"] for row in shown[0][CLAIMS_MIME]] == [None, True] and "quick size" in shown[0]["text/html"]
    with pytest.raises(AssertionError, match="two is three"):
        checkpoint(QUICK, Claim("two is three", 2, False, exact=True))
    checkpoint(THEIRS, Claim("two is three", 2, False, exact=True))
