"""Calibration: bins, the error by its definition, and what chance alone gives."""

import numpy as np
import pytest

from helpers.evaluation.calibration import calibrated_error, calibration_error, reliability

SURE, RIGHT = [0.9, 0.5, 0.6, 0.8, 0.3, 0.7], [1, 0, 1, 1, 0, 0]


def test_bins_hold_as_many_answers_each_from_the_least_confident_on():
    bins = reliability(SURE, RIGHT, bins=3)
    assert [each.count for each in bins] == [2, 2, 2]
    assert [each.confidence for each in bins] == pytest.approx([0.4, 0.65, 0.85])
    assert [each.accuracy.estimate for each in bins] == [0, 0.5, 1]
    assert bins[1].accuracy.low == 0 and bins[1].accuracy.high == 1


def test_the_error_is_the_mean_distance_over_bins():
    found = calibration_error(SURE, RIGHT, bins=3)
    assert found.estimate == pytest.approx((0.4 + 0.15 + 0.15) / 3)
    assert found.low <= found.estimate <= found.high or found.low > 0
    assert calibration_error(SURE, RIGHT, bins=1).estimate == pytest.approx(abs(np.mean(SURE) - np.mean(RIGHT)))
    assert calibration_error(SURE[::-1], RIGHT[::-1], bins=3) == found, "the order of the answers says nothing"


def test_chance_alone_gives_an_error_that_shrinks_with_the_number_of_answers():
    generator = np.random.default_rng(1)
    few, many = generator.random(40), generator.random(4000)
    assert 0.05 < calibrated_error(few) < 0.3 and calibrated_error(many) < calibrated_error(few) / 5
    hits = generator.random(4000) < many
    assert calibration_error(many, hits).estimate < 1.5 * calibrated_error(many)
    assert calibration_error(many, generator.random(4000) < 0.5).low > calibrated_error(many)


@pytest.mark.parametrize(
    "sure, right, bins, message",
    [
        ([0.5, 0.6], [1], 1, r"right: shape \(1,\) for confidences of shape \(2,\)"),
        ([0.5, 1.2], [1, 0], 1, "run from 0.5 to 1.2; give probabilities"),
        ([0.5, 0.6], [1, 0], 2, "bins=2: 2 answers allow 1 to 1"),
    ],
)
def test_what_is_no_calibration_is_named(sure, right, bins, message):
    with pytest.raises(ValueError, match=message):
        calibration_error(sure, right, bins)
