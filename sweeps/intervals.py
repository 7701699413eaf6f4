"""Intervals that hold for other seeds and other dialogues: a hierarchical bootstrap over training runs and clusters.

Rows of one dialogue's kind (its scenario) are alike, and a training run with another seed gives another model. Both are
drawn anew, with replacement and independently of each other. A bootstrap of a handful of runs is too narrow, as their
spread is itself hardly known: its draws are stretched to the width that the t distribution gives for so few.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from helpers.evaluation.statistics import Interval

RESAMPLES = 2000


def mean_over_seeds(
    values, clusters: Sequence | None = None, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of all numbers with its interval over runs and clusters.

    Args:
        values: (S, N), a row of N numbers for each of S runs; or (N,) of what was not trained and has no runs.
        clusters: N names; numbers of one cluster are drawn together. None: every number is a cluster.
        level: confidence, between 0 and 1; resamples: draws; seed: of the draws.
    Raises:
        ValueError: no numbers, one that is not finite, unequal lengths, fewer than two clusters.
    Source: crossed random effects are drawn as in the pigeonhole bootstrap of Owen 2007; degrees of freedom after
        Satterthwaite 1946.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values: shape {values.shape}; give finite numbers, a row of them for each run")
    numbers = (
        np.arange(values.shape[1]) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    )
    if len(numbers) != values.shape[1]:
        raise ValueError(f"clusters: {len(numbers)} names for {values.shape[1]} numbers of each run")
    counts = np.bincount(numbers).astype(float)  # (K,)
    if len(counts) < 2:
        raise ValueError(
            "clusters: there is one alone; how much clusters differ cannot be seen in one, give two or more"
        )
    sums = np.stack([np.bincount(numbers, weights=row) for row in values])  # (S, K)
    estimate = float(values.mean())
    draws = _draws(sums, counts, resamples, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    spread = draws.std()
    stretch = _half_width(sums, counts, level) / (norm.ppf((1 + level) / 2) * spread) if spread > 0 else 0.0
    return Interval(
        estimate, float(estimate + (low - estimate) * stretch), float(estimate + (high - estimate) * stretch), level
    )


def difference_over_seeds(a, b, clusters: Sequence | None = None, **options) -> Interval:
    """The mean of a − b with its interval; column i of both is about the same dialogue, row s about the same seed.

    Args:
        a, b: (S, N) each, or (N,) of what was not trained.
    Raises:
        ValueError: neither the same number of runs, nor one of the two without runs; as `mean_over_seeds`.
    """
    a, b = (np.atleast_2d(np.asarray(values, dtype=float)) for values in (a, b))
    if a.shape[1] != b.shape[1] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        raise ValueError(f"a has shape {a.shape}, b {b.shape}; compare the same dialogues and as many runs")
    return mean_over_seeds(a - b, clusters, **options)


def _draws(sums, counts, resamples, seed):
    """(R,) means of runs and clusters drawn with replacement; of one run only the clusters are drawn."""
    rng = np.random.default_rng(seed)
    runs, clusters = sums.shape
    run_weights = rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples)
    cluster_weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return ((run_weights @ sums) * cluster_weights).sum(1) / (runs * (cluster_weights @ counts))


def _half_width(sums, counts, level):
    """Half of the t interval's width: variances of runs and of clusters added, what both hold of their interaction
    counted once.
    """
    runs, clusters = sums.shape
    residuals = (sums - sums.sum() / (runs * counts.sum()) * counts) / (counts.sum() / clusters)  # (S, K), mean 0
    of_runs, of_clusters = residuals.mean(1), residuals.mean(0)
    cluster_part = (of_clusters**2).sum() / (clusters - 1) / clusters
    if runs == 1:
        return t.ppf((1 + level) / 2, clusters - 1) * np.sqrt(cluster_part)
    run_part = (of_runs**2).sum() / (runs - 1) / runs
    both = residuals - of_runs[:, None] - of_clusters
    shared = (both**2).sum() / ((runs - 1) * (clusters - 1)) / (runs * clusters)
    variance = run_part + cluster_part - shared
    if variance <= shared:  # runs and clusters do not differ more than their numbers' own noise makes them
        return t.ppf((1 + level) / 2, (runs - 1) * (clusters - 1)) * np.sqrt(shared)
    freedom = variance**2 / (run_part**2 / (runs - 1) + cluster_part**2 / (clusters - 1))
    return t.ppf((1 + level) / 2, freedom) * np.sqrt(variance)
