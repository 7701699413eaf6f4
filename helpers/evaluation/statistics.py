"""Intervals: how far a mean, or a difference of two, could be off because other dialogues might have been drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that holds the true value with confidence `level`, in the unit of the scores."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self):
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def __format__(self, form):
        """Digits after the point can be asked for as of a number: f"{interval:.3f}", f"{interval:+.1%}"."""
        return f"{self.estimate:{form}} [{self.low:{form}}, {self.high:{form}}]" if form else str(self)


def exactly(value: float) -> Interval:
    """What is counted and not estimated, as an interval without width, for figures that take intervals."""
    return Interval(value, value, value)


def _row_numbers(scores, name):
    values = np.asarray(scores, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: shape {values.shape}; give one number a row, and at least one row")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{name}[{wrong[0]}] is {values[wrong[0]]}; leave rows without a score out before averaging")
    return values


def _cluster_totals(values, clusters):
    """Sum and count of rows for each cluster, (K,) each, in an order that does not depend on the order of the rows."""
    if clusters is None:
        return np.sort(values), np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(
            f"clusters: {len(clusters)} names for {len(values)} scores; give the dialogue's id of every row"
        )
    numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
    by_row = np.lexsort((values, numbers))
    sums = np.bincount(numbers[by_row], weights=values[by_row])
    counts = np.bincount(numbers).astype(float)
    by_cluster = np.lexsort((counts, sums))
    return sums[by_cluster], counts[by_cluster]


def _mean(sums, counts, axis=-1):
    return sums.sum(axis) / counts.sum(axis)


def mean_interval(
    scores: Sequence[float], clusters: Sequence | None = None, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of the rows, with a percentile bootstrap interval over dialogues.

    Args:
        scores: N numbers, one a row.
        clusters: N dialogue ids; rows of one dialogue (other exemplars, other summaries of it) are drawn together,
            because they are alike and count for less than as many dialogues would. None: every row a dialogue.
        level: confidence, between 0 and 1.
        resamples: draws of K dialogues with replacement, K being how many there are.
        seed: of the draws; equal arguments give equal intervals bit for bit, in whatever order the rows stand.
    Raises:
        ValueError: no rows, a score that is not finite, unequal lengths, fewer than two dialogues, a level or a number
            of resamples out of range.
    Source: Efron and Tibshirani 1993, chapters 13 (percentile) and 8 (clusters as units), through
        `scipy.stats.bootstrap`.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level!r}: it must lie between 0 and 1, as 0.95 does")
    if resamples < 1:
        raise ValueError(f"resamples={resamples!r}: it must be at least 1; 2000 give two steady digits")
    values = _row_numbers(scores, "scores")
    sums, counts = _cluster_totals(values, clusters)
    if len(sums) < 2:
        raise ValueError(
            f"clusters: {f'all {len(values)} rows are' if len(values) > 1 else 'the only row is'} of one dialogue; "
            "how much dialogues differ from each other cannot be seen in one: give rows of at least two"
        )
    return percentile_interval((sums, counts), _mean, level, resamples, seed)


def percentile_interval(columns, statistic, level, resamples, seed) -> Interval:
    """A statistic of columns whose rows are drawn together."""
    result = bootstrap(
        columns,
        statistic,
        n_resamples=int(resamples),
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(seed),
        batch=max(1, 2_000_000 // len(columns[0])),
    )
    interval = result.confidence_interval
    low, high = sorted((float(interval.low), float(interval.high)))  # of equal scores, rounding can swap them
    return Interval(float(statistic(*columns)), low, high, level)


def ratio_interval(
    above: Sequence[float],
    below: Sequence[float],
    minus: tuple[Sequence[float], Sequence[float]] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    clusters: Sequence | None = None,
) -> Interval:
    """mean(above) / mean(below) with a percentile bootstrap interval; row i of all columns is about the same dialogue.

    Where the mean below can be drawn as 0, the interval is wide or endless, as it must be: the ratio is not known then.

    Args:
        above, below: N numbers each, such as what a method gains and what there was to gain.
        minus: two more columns, whose ratio is subtracted; all four are drawn together.
        clusters: N names; rows of one name are drawn together. None: every row alone.
    Raises:
        ValueError: no rows, unequal lengths, a number that is not finite.
    """
    columns = [
        _row_numbers(column, name)
        for column, name in zip((above, below, *(minus or ())), ("above", "below", "minus[0]", "minus[1]"))
    ]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            f"columns: {[len(column) for column in columns]} numbers; a ratio of paired rows needs the same "
            "rows in all of them"
        )
    if clusters is not None:
        numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
        columns = [np.bincount(numbers, weights=column) for column in columns]  # sums: all that a ratio of means takes

    def ratio(*drawn, axis=-1):
        sums = [column.sum(axis) for column in drawn]
        with np.errstate(divide="ignore", invalid="ignore"):  # a mean below of 0: see above
            return sums[0] / sums[1] - (sums[2] / sums[3] if minus else 0)

    return percentile_interval(columns, ratio, level, resamples, seed)


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of a − b with its interval; row i of both must be about the same dialogue.

    What makes a dialogue easy or hard for both falls out of the difference, so the interval is narrower than those of
    the two means suggest.

    Args:
        a, b: N numbers each; the other arguments as for `mean_interval`.
    Raises:
        ValueError: unequal lengths, and as for `mean_interval`.
    """
    first, second = _row_numbers(a, "a"), _row_numbers(b, "b")
    if len(first) != len(second):
        raise ValueError(
            f"a has {len(first)} scores, b has {len(second)}; a paired comparison needs the same rows in both"
        )
    return mean_interval(first - second, clusters, level, resamples, seed)
