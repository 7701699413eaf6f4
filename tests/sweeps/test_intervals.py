"""Intervals over runs and clusters: they hold as often as they say, for any mixture of the two kinds of noise."""

import numpy as np
import pytest

from helpers.evaluation.statistics import mean_interval
from sweeps.intervals import difference_over_seeds, mean_over_seeds

# Standard deviations of runs, of clusters, of a cluster within a run, of a number within both.
NOISES = {"clusters": (0.0, 1.0, 0.0, 1.0), "runs": (0.3, 0.1, 0.0, 0.3), "both": (0.2, 1.0, 0.5, 1.0)}


def simulated(rng, runs, clusters, size, noise):
    """(S, K * size) numbers whose true mean is 0."""
    of_runs, of_clusters, of_both, within = noise
    shapes = ((runs, 1, 1), (1, clusters, 1), (runs, clusters, 1), (runs, clusters, size))
    parts = [scale * rng.normal(size=shape) for scale, shape in zip((of_runs, of_clusters, of_both, within), shapes)]
    return sum(parts).reshape(runs, -1)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("runs", (3, 5))
def test_95_percent_intervals_hold_the_truth_in_92_to_97_percent(noise, runs):
    rng = np.random.default_rng(20)
    names = np.repeat(np.arange(40), 4)
    count = 1000
    held = 0
    for _ in range(count):
        interval = mean_over_seeds(simulated(rng, runs, 40, 4, NOISES[noise]), names, resamples=400)
        held += interval.low <= 0 <= interval.high
    assert 0.92 <= held / count <= 0.97


def test_dialogues_alone_would_promise_too_much():
    """The mean over seeds with an interval over dialogues misses the truth far more often than 5 times in 100."""
    rng = np.random.default_rng(20)
    held = 0
    for _ in range(300):
        found = mean_interval(simulated(rng, 3, 40, 4, NOISES["runs"]).mean(0), resamples=200)
        held += found.low <= 0 <= found.high
    assert held / 300 < 0.6


def test_an_interval_does_not_depend_on_the_order_of_rows_and_runs():
    rng = np.random.default_rng(0)
    values, names = simulated(rng, 5, 10, 3, NOISES["both"]), np.repeat(list("abcdefghij"), 3)
    order = rng.permutation(30)
    first, second = mean_over_seeds(values, names), mean_over_seeds(values[:, order], names[order])
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert first.estimate == pytest.approx(values.mean()) and first.low < first.estimate < first.high


def test_what_was_not_trained_has_the_noise_of_clusters_alone():
    values = np.random.default_rng(0).normal(size=200)
    ours, plain = mean_over_seeds(values), mean_interval(values)
    assert ours.estimate == pytest.approx(plain.estimate)
    assert (ours.high - ours.low) == pytest.approx(plain.high - plain.low, rel=0.1)


def test_a_difference_is_taken_within_dialogues_and_seeds():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(5, 60))
    gain = difference_over_seeds(base + 0.1, base)
    assert gain.low == pytest.approx(0.1) and gain.high == pytest.approx(0.1)
    assert difference_over_seeds(base, base[0]).estimate == pytest.approx((base - base[0]).mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_seeds(np.zeros((3, 0))), "give finite numbers"),
        (lambda: mean_over_seeds([[1.0, np.nan]]), "give finite numbers"),
        (lambda: mean_over_seeds([[1.0, 2.0]], ["a"]), "1 names for 2 numbers"),
        (lambda: mean_over_seeds([[1.0, 2.0]], ["a", "a"]), "there is one alone"),
        (lambda: difference_over_seeds(np.zeros((3, 4)), np.zeros((2, 4))), "as many runs"),
        (lambda: difference_over_seeds(np.zeros((3, 4)), np.zeros((3, 5))), "same dialogues"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
